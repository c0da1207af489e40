"""The end of the result stream: it turns the sink's ready into the enable of the array."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from .emit.share import SharedComponent

__all__ = ["Skid"]


class Skid(SharedComponent):
    """Keep the one beat that the array still sends when the sink stops taking beats.

    So the enable of the array is a register: it does not depend on the sink's ready in the same
    cycle. Beats pass without delay while the sink takes them.

    Parameters
    ----------
    width : int
        Bits of a beat.

    Members
    -------
    i, i_valid : width, 1
        Beat of the array; it is taken whenever the array moves.
    o_en : Out(1)
        The array moves in this step.
    o, o_valid, i_ready : width, 1, 1
        Beat for the sink.

    Latency: 0. Throughput: one beat per cycle.
    """

    def __init__(self, *, width: int) -> None:
        signature: dict[str, Any] = {
            "i": In(width),
            "i_valid": In(1),
            "o_en": Out(1, init=1),
            "o": Out(width),
            "o_valid": Out(1),
            "i_ready": In(1),
        }
        super().__init__(kind="skid", parameters=width, signature=signature, resets=True)
        self.width = width

    def body(self, platform: object) -> Module:
        """Build the register and its bypass."""
        m = Module()
        kept = Signal(self.width, reset_less=True)
        m.d.comb += [
            self.o.eq(Mux(self.o_en, self.i, kept)),
            self.o_valid.eq(self.i_valid | ~self.o_en),
        ]
        with m.If(self.o_en):
            m.d.sync += [kept.eq(self.i), self.o_en.eq(~self.i_valid | self.i_ready)]
        with m.Elif(self.i_ready):
            m.d.sync += self.o_en.eq(1)
        return m
