"""Triangles of registers that turn aligned lanes into a diagonal wave, and back."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["Skew"]


class _Skew(SharedComponent):
    """What `Skew` and its bit planes have in common: ports, and the delay of a lane."""

    i_en: Signal
    i_bypass: Signal
    i: Signal
    o: Signal

    def __init__(self, *, kind: str, lanes: int, width: int, reverse: bool, bypass: bool) -> None:
        signature: dict[str, Any] = {
            "i_en": In(1),
            "i": In(lanes * width),
            "o": Out(lanes * width),
        }
        if bypass:
            signature["i_bypass"] = In(1)
        super().__init__(kind=kind, parameters=(lanes, width, reverse, bypass), signature=signature)
        self.lanes = lanes
        self.width = width
        self.reverse = reverse
        self.bypass = bypass

    def delay(self, lane: int) -> int:
        """Return the delay of a lane in steps."""
        return self.lanes - 1 - lane if self.reverse else lane


class _BitPlane(_Skew):
    """One bit of every lane: a shift register per lane, newest bit on the right."""

    def body(self, platform: object) -> Module:
        m = Module()
        for lane in range(self.lanes):
            delay = self.delay(lane)
            if delay == 0:
                m.d.comb += self.o[lane].eq(self.i[lane])
                continue
            line = Signal(delay, reset_less=True, name=f"line_{lane}")
            with m.If(self.i_en):
                m.d.sync += line.eq(Cat(self.i[lane], line))
            oldest = line[-1]
            if self.bypass:
                oldest = Mux(self.i_bypass, self.i[lane], oldest)
            m.d.comb += self.o[lane].eq(oldest)
        return m


class Skew(_Skew):
    """Delay every lane by its own number of steps.

    Parameters
    ----------
    kind : str
        Name of the module.
    lanes, width : int
        Number of lanes, and bits of one lane.
    reverse : bool
        False: lane i is delayed by i steps (skew). True: by ``lanes - 1 - i`` (deskew).
    bypass : bool
        Whether `i_bypass` exists, which passes all lanes without delay.

    Members
    -------
    i_en : In(1)
        The lines move in this step.
    i_bypass : In(1)
        Pass the lanes as they come; the lines move on nevertheless. Only with `bypass`.
    i, o : lanes * width
        The lanes, lane 0 in the low bits.

    Latency: `delay(lane)` steps, none with `i_bypass`.
    """

    def __init__(
        self, *, kind: str, lanes: int, width: int, reverse: bool = False, bypass: bool = False
    ) -> None:
        super().__init__(kind=kind, lanes=lanes, width=width, reverse=reverse, bypass=bypass)

    def body(self, platform: object) -> Module:
        """Build one plane per bit, so that a wide triangle is as short as a narrow one."""
        m = Module()
        planes = []
        for bit in range(self.width):
            plane = _BitPlane(
                kind=f"{self.kind}_bit",
                lanes=self.lanes,
                width=1,
                reverse=self.reverse,
                bypass=self.bypass,
            )
            m.submodules[f"bit_{bit}"] = plane
            m.d.comb += [plane.i_en.eq(self.i_en), plane.i.eq(self.i[bit :: self.width])]
            if self.bypass:
                m.d.comb += plane.i_bypass.eq(self.i_bypass)
            planes.append(plane)
        m.d.comb += self.o.eq(Cat(plane.o[n] for n in range(self.lanes) for plane in planes))
        return m
