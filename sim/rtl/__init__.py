"""The generated Verilog in a simulator: Verilator, and a C++ harness that feeds it from memory."""

from .runner import Result, RtlError, Simulator, Stalls

__all__ = ["Result", "RtlError", "Simulator", "Stalls"]
