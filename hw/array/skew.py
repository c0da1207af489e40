"""Triangles of registers that turn aligned lanes into a diagonal wave, and back."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ..share import ModuleLibrary, SharedComponent

__all__ = ["Skew"]


class Skew(SharedComponent):
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
    group : int
        Neighbouring lanes that come one after the other, on one line; it divides `lanes`.

    Members
    -------
    i_en : In(1)
        The lines move in this step.
    i_bypass : In(1), or In(2) with groups
        Pass the lanes as they come; the lines move on nevertheless. Only with `bypass`. With
        groups: 0 for the triangle; 1 where the lanes of each come one step apart, 2 where they come
        two steps apart: they are brought in line.
    i : In(lanes / group * width)
        The lanes, or what all lanes of each group take, the first one in the low bits.
    o : Out(lanes * width)
        The lanes, lane 0 in the low bits.

    Latency: `delay(lane)` steps; with `i_bypass`, none for the last lane of a group.
    """

    i_en: Signal
    i_bypass: Signal
    i: Signal
    o: Signal

    def __init__(
        self, *, kind: str, lanes: int, width: int, reverse: bool = False, bypass: bool = False,
        group: int = 1,
    ) -> None:  # fmt: skip
        signature: dict[str, Any] = {
            "i_en": In(1),
            "i": In(lanes // group * width),
            "o": Out(lanes * width),
        }
        if bypass:
            signature["i_bypass"] = In(1 if group == 1 else 2)
        parameters = (lanes, width, reverse, bypass, group)
        super().__init__(kind=kind, parameters=parameters, signature=signature, planes=width)
        self.lanes = lanes
        self.width = width
        self.reverse = reverse
        self.bypass = bypass
        self.group = group

    def delay(self, lane: int) -> int:
        """Return the delay of a lane in steps."""
        return self.lanes - 1 - lane if self.reverse else lane

    def plane(self, suffix: str = "") -> Skew:
        """Return the triangle of one bit of every lane."""
        return Skew(
            kind=self.kind + suffix, lanes=self.lanes, width=1, reverse=self.reverse,
            bypass=self.bypass, group=self.group,
        )  # fmt: skip

    def body(self, platform: object) -> Module:
        """Build a line of words per group, the newest word in the low bits."""
        if isinstance(platform, ModuleLibrary) and platform.bit_planes and self.width > 1:
            return self._instances()
        m = Module()
        for number in range(self.lanes // self.group):
            own = range(number * self.group, (number + 1) * self.group)
            newest = self.i.word_select(number, self.width)
            longest = max(map(self.delay, own))
            if self.bypass:
                longest = max(longest, 2 * (self.group - 1))
            words: Value = newest
            if longest:
                line = Signal(longest * self.width, reset_less=True, name=f"line_{number}")
                with m.If(self.i_en):
                    m.d.sync += line.eq(Cat(newest, line))
                words = Cat(newest, line)
            for lane in own:
                early = own[-1] - lane  # how far it comes before the last one
                found = words.word_select(self.delay(lane), self.width)
                if self.bypass and longest:
                    found = Mux(self.i_bypass[0], words.word_select(early, self.width), found)
                if self.bypass and self.group > 1:
                    twice = words.word_select(2 * early, self.width)
                    found = Mux(self.i_bypass[1], twice, found)
                m.d.comb += self.o.word_select(lane, self.width).eq(found)
        return m

    def _instances(self) -> Module:
        """Build it of instances of its plane."""
        m = Module()
        for bit in range(self.width):
            plane = self.plane("_bit")
            m.submodules[f"bit_{bit}"] = plane
            own = slice(bit, None, self.width)
            m.d.comb += [plane.i_en.eq(self.i_en), plane.i.eq(Cat(*self.i[own]))]
            m.d.comb += Cat(*self.o[own]).eq(plane.o)
            if self.bypass:
                m.d.comb += plane.i_bypass.eq(self.i_bypass)
        return m
