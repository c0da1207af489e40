"""Which bytes of the beats of a bus belong to a range of bytes."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["Span"]


class Span(SharedComponent):
    """Follow the beats that a range of bytes lies in, from the first one to the last one.

    Parameters
    ----------
    axi_bytes : int
        Of a beat, a power of two.
    local : int
        Bits of an address where the bytes come from, or go to.

    Members
    -------
    i_begin, i_inside, i_bytes, i_local : 1, range(axi_bytes), local + 1, local
        Begin with a range of at least one byte, that many bytes behind the beginning of a beat. Its
        first byte has that address on the other side.
    i_next : In(1)
        Go on to the next beat.
    i_end : In(1)
        There are no more beats.
    o_more : Out(1)
        There is a beat.
    o_left : Out(local + 2)
        Bytes from byte 0 of this beat to the end of the range; 0 after the last beat.
    o_first, o_end : range(axi_bytes), range(axi_bytes + 1)
        The first byte of the beat that belongs to the range, and the one behind the last.
    o_local : Out(local)
        The address of byte 0 of the beat there; in front of `i_local` in a first beat.

    Latency: none; all of it is in registers.
    """

    i_begin: Signal
    i_inside: Signal
    i_bytes: Signal
    i_local: Signal
    i_next: Signal
    i_end: Signal
    o_more: Signal
    o_left: Signal
    o_first: Signal
    o_end: Signal
    o_local: Signal

    def __init__(self, *, axi_bytes: int, local: int) -> None:
        signature: dict[str, Any] = {
            "i_begin": In(1), "i_inside": In(range(axi_bytes)), "i_bytes": In(local + 1),
            "i_local": In(local), "i_next": In(1), "i_end": In(1), "o_more": Out(1),
            "o_left": Out(local + 2), "o_first": Out(range(axi_bytes)),
            "o_end": Out(range(axi_bytes + 1)), "o_local": Out(local),
        }  # fmt: skip
        parameters = (axi_bytes, local)
        super().__init__(kind="span", parameters=parameters, signature=signature, resets=True)
        self.axi_bytes = axi_bytes

    def body(self, platform: object) -> Module:
        """Build the bytes that are left, counted from byte 0 of the beat, and its address."""
        m = Module()
        size, bits = self.axi_bytes, self.axi_bytes.bit_length() - 1
        left = Signal.like(self.o_left)
        more = Signal()
        first = Signal.like(self.o_first)
        end = Signal.like(self.o_end)
        local = Signal.like(self.o_local)
        m.d.comb += [
            self.o_more.eq(more), self.o_left.eq(left), self.o_local.eq(local),
            self.o_first.eq(first), self.o_end.eq(end),
        ]  # fmt: skip
        full = left[bits:].any()  # the beat, or more
        rest = left[:bits] & full.replicate(bits)  # behind it, but for whole beats
        with m.If(self.i_next):
            m.d.sync += [
                more.eq((left[bits:] > 1) | rest.any()), first.eq(0), local.eq(local + size),
                left.eq(Mux(full, Cat(left[:bits], left[bits:] - 1), 0)),
                end.eq(Mux(left[bits:] > 1, size, rest)),
            ]  # fmt: skip
        with m.If(self.i_end):
            m.d.sync += [more.eq(0), left.eq(0)]
        with m.If(self.i_begin):
            total = self.i_bytes + self.i_inside
            m.d.sync += [
                more.eq(1), first.eq(self.i_inside), local.eq(self.i_local - self.i_inside),
                left.eq(total), end.eq(Mux(total[bits:].any(), size, total[:bits])),
            ]  # fmt: skip
        return m
