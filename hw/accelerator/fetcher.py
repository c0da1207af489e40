"""Read a range of memory by AXI4: bursts, and room for them."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent
from .config import BURST

__all__ = ["OUTSTANDING", "Fetcher"]

#: Bursts of a range that are on their way at most. More would not be faster, and what is asked for
#: later, but wanted sooner, would wait for them.
OUTSTANDING = 8


class Fetcher(SharedComponent):
    """Ask for a range of bytes in bursts that end at multiples of `BURST`, and count its beats.

    Parameters
    ----------
    axi_bytes : int
        Of a beat, a power of two from 4 to 64.
    address : int
        Bits of an address.
    room : int
        Beats that there can be room for.
    kind : str
        Name of the module.

    Members
    -------
    i_begin, i_address, i_bytes : 1, address, 32
        Begin with a range of at least one byte. Not while busy.
    i_room : In(range(room + 1))
        Beats that there is room for, beside those that are on their way.
    i_stop : In(1)
        Ask for no more; what was asked for still comes.
    o_valid, i_ready, o_address, o_len : 1, 1, address, 8
        The address channel: a burst of ``o_len + 1`` beats. Once valid it stays.
    i_beat : In(1)
        A beat of the range comes in this cycle.
    o_waiting : Out(range(room + 1))
        Beats that are on their way.
    o_busy : Out(1)
        Beats are to come.

    Latency: the first address is there in the second cycle after `i_begin`.
    """

    i_begin: Signal
    i_address: Signal
    i_bytes: Signal
    i_room: Signal
    i_stop: Signal
    o_valid: Signal
    i_ready: Signal
    o_address: Signal
    o_len: Signal
    i_beat: Signal
    o_waiting: Signal
    o_busy: Signal

    def __init__(self, *, axi_bytes: int, address: int, room: int, kind: str = "fetcher") -> None:
        signature: dict[str, Any] = {
            "i_begin": In(1),
            "i_address": In(address),
            "i_bytes": In(32),
            "i_room": In(range(room + 1)),
            "i_stop": In(1),
            "o_valid": Out(1),
            "i_ready": In(1),
            "o_address": Out(address),
            "o_len": Out(8),
            "i_beat": In(1),
            "o_waiting": Out(range(room + 1)),
            "o_busy": Out(1),
        }
        parameters = (axi_bytes, address, room)
        super().__init__(kind=kind, parameters=parameters, signature=signature, resets=True)
        self.axi_bytes, self.address = axi_bytes, address

    def body(self, platform: object) -> Module:
        """Build what is left to ask for, and the count of what is on its way."""
        m = Module()
        size, bits = self.axi_bytes, self.axi_bytes.bit_length() - 1
        per_burst = BURST // size

        within = per_burst.bit_length() - 1  # bits of a beat's place in its burst
        # What is left to ask for, in beats.
        start = Signal(self.address - bits)
        left = Signal(32)
        valid = Signal()
        length = Signal(range(per_burst + 1))
        place = start[:within]
        fits = Signal.like(length)
        waiting = Signal.like(self.o_waiting)
        m.d.comb += [
            fits.eq(Mux(left < per_burst - place, left, per_burst - place)),
            self.o_valid.eq(valid),
            self.o_address.eq(Cat(Const(0, bits), start)),
            self.o_len.eq(length - 1),
            self.o_waiting.eq(waiting),
        ]
        asked = valid & self.i_ready
        with m.If(asked):
            after = Cat(Const(0, within), start[within:] + 1)
            m.d.sync += [valid.eq(0), start.eq(after), left.eq(left - length)]
        with m.Elif(~valid & (left != 0)):
            with m.If(self.i_stop):
                m.d.sync += left.eq(0)
            with m.Elif((fits <= self.i_room) & (waiting <= (OUTSTANDING - 1) * per_burst)):
                m.d.sync += [valid.eq(1), length.eq(fits)]
        m.d.sync += waiting.eq(waiting + Mux(asked, length, 0) - self.i_beat)

        m.d.comb += self.o_busy.eq(valid | (left != 0) | (waiting != 0))
        with m.If(self.i_begin):
            m.d.sync += [
                start.eq(self.i_address[bits:]),
                left.eq((self.i_bytes + self.i_address[:bits] + size - 1) >> bits),
            ]
        return m
