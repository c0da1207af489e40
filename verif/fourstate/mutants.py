"""Bugs to plant in an emitted core, to show that the bench sees them."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True)
class Mutant:
    """A bug: replacements in the emitted text, and the check that has to find it."""

    name: str
    check: str
    replacements: tuple[tuple[str, str], ...]  # regular expression, its replacement
    hidden: bool = False  # passes as it is emitted: only the pessimistic text shows it

    def plant(self, verilog: str) -> str:
        """Return the text with the bug."""
        for pattern, replacement in self.replacements:
            verilog, count = re.subn(pattern, replacement, verilog, flags=re.M)
            if count != 1:
                raise ValueError(f"{self.name}: {pattern} occurs {count} times, not once")
        return verilog


def _no_reset(register: str) -> tuple[tuple[str, str], ...]:
    """Remove the branch that resets a register."""
    return ((rf"if \(rst\) {register} <= [^;]*;\s*else ", ""),)


def _initialised(module: str, register: str) -> tuple[tuple[str, str], ...]:
    """Start a register at zero instead of resetting it, so that only later resets go wrong."""
    return (*_no_reset(register), _declare(module, f"  initial {register} = 0;"))


def _declare(module: str, text: str) -> tuple[str, str]:
    """Add declarations and logic to a module."""
    return rf"^(module stos_core{module} \([^;]*\);)$", rf"\1\n{text}"


MUTANTS = [
    # Control that is not reset.
    *(
        Mutant(f"{register} not reset", check, _no_reset(register))
        for register, check in {
            "flush": "handshake",
            "busy": "handshake",
            "full": "handshake",
            "o_en": "handshake",
            "beat": "handshake",
            "cmd_error": "cmd_error",
            "kept": "handshake",
        }.items()
    ),
    Mutant(
        "reset needs two cycles",
        "handshake",
        (
            _declare("", "  reg early; always @(posedge clk) early <= rst;"),
            (r"(stos_core_skid skid \([^;]*)\.rst\(rst\)", r"\1.rst(rst & early)"),
        ),
    ),
    Mutant(
        "tvalid is X before the first command",
        "handshake",
        (
            _declare("_drain", "  reg ever; always @(posedge clk) if (i_token[0]) ever <= 1'h1;"),
            (r"assign o_valid = beat\[0\];", "assign o_valid = beat[0] | ~ever;"),
        ),
    ),
    Mutant(
        "tlast goes through a flag without reset",
        "tlast",
        (
            _declare("_drain", "  reg mute; always @(posedge clk) if (beat[2]) mute <= ~beat[0];"),
            (r"assign o_last = beat\[2\];", "assign o_last = beat[2] & ~mute;"),
        ),
    ),
    Mutant(
        "flush one step too short",
        "flush",
        ((r"= flush & settled & i_en;", "= flush & (settled | wave <= 1) & i_en;"),),
    ),
    Mutant("a drain token survives a reset in traffic", "tlast", _initialised("_drain", "row_4")),
    Mutant("kept sums survive a reset in traffic", "cycles", _initialised("_controller", "kept")),
    Mutant(
        "a flag without reset freezes the activations",
        "unknown",
        (
            _declare("", "  reg stuck; always @(posedge clk)\n    stuck <= stuck & ~cmd_error;"),
            (
                r"if \(skid_o_en\) act <= ",
                r"if (stuck) act <= act;\n    else if (skid_o_en) act <= ",
            ),
        ),
        hidden=True,
    ),
    # Operand bits that must not be used.
    Mutant(
        "sign taken from a pad bit",
        "unknown",
        ((r"s_axis_act_tdata\[8:0\]", "s_axis_act_tdata[9], s_axis_act_tdata[7:0]"),),
    ),
    Mutant(
        "unused weight lane leaks into a used one in GEMM",
        "unknown",
        ((r"\.i\(\{wgt\[7:0\],", ".i({wgt[7:0] ^ wgt[39:32],"),),
    ),
    Mutant(
        "unused activation lane leaks into the row above",
        "unknown",
        ((r"s_axis_act_tdata\[8:0\]", "s_axis_act_tdata[8:0] ^ s_axis_act_tdata[72:64]"),),
    ),
    Mutant(
        "operands taken while tvalid is low",
        "unknown",
        ((r"wire advance = o_act_ready & i_act_valid;", "wire advance = o_act_ready;"),),
    ),
    # Sums.
    Mutant(
        "accumulators not cleared after dropped sums",
        "unknown",
        ((r"finish \| wipe \| flushed;", "finish | flushed;"),),
    ),
    Mutant(
        "accumulators not cleared after reset",
        "unknown",
        ((r"finish \| wipe \| flushed;", "finish | wipe;"),),
    ),
    # What the bench checks beside X.
    Mutant(
        "output pads with zeros",
        "value",
        (
            (
                r"assign m_axis_out_tdata = \{\{3\{skid_o\[104\]\}\}",
                "assign m_axis_out_tdata = {3'd0",
            ),
        ),
    ),
    Mutant(
        "a waiting beat is lost",
        "stable",
        ((r"assign o = o_en \? i : kept;", "assign o = i;"),),
    ),
    Mutant(
        "one bubble more after a command",
        "cycles",
        ((r"(wire load = .*)\(~busy \| \(advance & ends\)\)", r"\1~busy"),),
    ),
]
