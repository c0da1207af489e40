"""A rotation of the lanes of a word, which makes words of any address, and turns corners."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["Rotator"]


class Rotator(SharedComponent):
    """Lane n of the result is lane ``n + by`` of the input, counted round.

    Parameters
    ----------
    lanes : int
        A power of two.
    width : int
        Bits of a lane.

    Members
    -------
    i_by : In(log2(lanes))
    i, o : lanes * width
        Lane 0 in the low bits.

    Latency: none.
    """

    i_by: Signal
    i: Signal
    o: Signal

    def __init__(self, *, lanes: int, width: int) -> None:
        if lanes < 2 or lanes & (lanes - 1):
            raise ValueError(f"lanes must be a power of two, at least 2, not {lanes}")
        signature: dict[str, Any] = {
            "i_by": In(lanes.bit_length() - 1), "i": In(lanes * width), "o": Out(lanes * width),
        }  # fmt: skip
        super().__init__(
            kind="rotator", parameters=(lanes, width), signature=signature, planes=width
        )
        self.lanes, self.width = lanes, width

    def plane(self) -> Rotator:
        """Return the rotator of one bit of every lane."""
        return Rotator(lanes=self.lanes, width=1)

    def body(self, platform: object) -> Module:
        """Build a stage for every bit of the distance."""
        m = Module()
        word: Value = self.i
        for stage in range(len(self.i_by)):
            step = self.width << stage
            turned = Signal(len(word), name=f"turned_{stage}")
            m.d.comb += turned.eq(Mux(self.i_by[stage], Cat(word[step:], word[:step]), word))
            word = turned
        m.d.comb += self.o.eq(word)
        return m
