"""From components to Verilog text."""

from __future__ import annotations

from .verilog import emit_accelerator, emit_board, emit_verilog

__all__ = ["emit_accelerator", "emit_board", "emit_verilog"]
