"""A rotation of the lanes of a word, which makes words of any address, and turns corners."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["Rotator"]


class Rotator(SharedComponent):
    """Lane n of the result is lane ``n + by * step`` of the input, counted round.

    Parameters
    ----------
    lanes : int
        A power of two.
    width : int
        Bits of a lane.
    step : int
        A power of two below `lanes`: it turns by so many lanes, or by a multiple.
    steps : int, optional
        By less than so many of these, a power of two; else by any number of them.

    Members
    -------
    i_by : In(range(steps))
        In steps.
    i, o : lanes * width
        Lane 0 in the low bits.

    Latency: none.
    """

    i_by: Signal
    i: Signal
    o: Signal

    def __init__(self, *, lanes: int, width: int, step: int = 1, steps: int | None = None) -> None:
        if lanes < 2 or lanes & (lanes - 1):
            raise ValueError(f"lanes must be a power of two, at least 2, not {lanes}")
        steps = lanes // step if steps is None else steps
        signature: dict[str, Any] = {
            "i_by": In(range(steps)), "i": In(lanes * width), "o": Out(lanes * width),
        }  # fmt: skip
        part = "fine_rotator" if step == 1 else "coarse_rotator"
        kind = "rotator" if steps == lanes else part
        super().__init__(
            kind=kind, parameters=(lanes, width, step, steps), signature=signature, planes=width
        )
        self.lanes, self.width, self.step, self.steps = lanes, width, step, steps

    def plane(self) -> Rotator:
        """Return the rotator of one bit of every lane."""
        return Rotator(lanes=self.lanes, width=1, step=self.step, steps=self.steps)

    def body(self, platform: object) -> Module:
        """Build a stage for every bit of the distance."""
        m = Module()
        word: Value = self.i
        for stage in range(len(self.i_by)):
            bits = self.width * self.step << stage
            turned = Signal(len(word), name=f"turned_{stage}")
            m.d.comb += turned.eq(Mux(self.i_by[stage], Cat(word[bits:], word[:bits]), word))
            word = turned
        m.d.comb += self.o.eq(word)
        return m
