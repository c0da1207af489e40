"""What the cycles of a run are spent on, and how many bytes it moves."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["COUNTED", "Counters"]

#: Bits that count, of registers of 64: at one gigahertz, a quarter of an hour of cycles, and a
#: quarter of a minute of bytes of the widest bus.
COUNTED = 40


class Counters(SharedComponent):
    """Count the cycles of a run, each of one class, and the beats of both directions.

    Parameters
    ----------
    axi_bytes : int
        Bytes of a beat, a power of two.

    Members
    -------
    i_start : In(1)
        All are 0 in the next cycle.
    i_busy : In(1)
        The cycle counts.
    i_array, i_weights, i_activations : In(1) each
        What it is spent on, at most one of them; a result if none.
    i_read, i_written : In(1) each
        A beat comes, or goes.
    o_cycles, o_{array,weights,activations,results}_cycles, o_bytes_{read,written} : Out(COUNTED)
        The sums, modulo 2**COUNTED.

    Latency: a cycle.
    """

    i_start: Signal
    i_busy: Signal
    i_array: Signal
    i_weights: Signal
    i_activations: Signal
    i_read: Signal
    i_written: Signal

    def __init__(self, *, axi_bytes: int) -> None:
        classes = ("array", "weights", "activations")
        signature: dict[str, Any] = {
            **{f"i_{name}": In(1) for name in ("start", "busy", *classes, "read", "written")},
            "o_cycles": Out(COUNTED),
            **{f"o_{name}_cycles": Out(COUNTED) for name in (*classes, "results")},
            **{f"o_bytes_{name}": Out(COUNTED) for name in ("read", "written")},
        }
        super().__init__(kind="counters", parameters=axi_bytes, signature=signature, resets=True)
        self.axi_bytes = axi_bytes

    def body(self, platform: object) -> Module:
        """Build a counter for each sum."""
        m = Module()
        ticks: dict[str, Value] = {
            "cycles": Const(1, 1),
            "array_cycles": self.i_array,
            "weights_cycles": self.i_weights,
            "activations_cycles": self.i_activations,
            "results_cycles": ~(self.i_array | self.i_weights | self.i_activations),
            "bytes_read": self.i_read,
            "bytes_written": self.i_written,
        }
        for name, tick in ticks.items():
            # Of bytes the beats are counted.
            whole = self.axi_bytes.bit_length() - 1 if name.startswith("bytes") else 0
            counter = Signal(COUNTED - whole, name=name.replace("bytes", "beats"))
            with m.If(self.i_start):
                m.d.sync += counter.eq(0)
            with m.Elif(self.i_busy):
                m.d.sync += counter.eq(counter + tick)
            m.d.comb += getattr(self, f"o_{name}").eq(counter << whole)
        return m
