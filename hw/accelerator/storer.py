"""Write a range of memory by AXI4: bursts, strobes, and the responses."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent
from .config import BURST

__all__ = ["AHEAD", "Storer"]

#: Beats that wait for the bus.
AHEAD = 4


class Storer(SharedComponent):
    """Write a range of bytes in bursts that end at multiples of `BURST`.

    Its data come from a memory that can be read at any byte address: for a beat at bus address a
    it asks for the bytes of the range from ``a - address`` on. The address of a burst is shown once
    its first beat is there.

    Parameters
    ----------
    axi_bytes : int
        Of a beat, a power of two from 4 to 64.
    address : int
        Bits of an address.

    Members
    -------
    i_begin, i_address, i_bytes : 1, address, 32
        Begin with a range of at least one byte. Not while busy.
    o_read, o_offset : 1, 32
        The beat that begins at this byte of the range (negative in front of it) is to be read.
    i_data : In(8 * axi_bytes)
        What was asked for two cycles before.
    i_stop : In(1)
        Begin no more bursts; those that have begun are written.
    o_aw_valid, i_aw_ready, o_aw_address, o_aw_len : 1, 1, address, 8
    o_w_valid, i_w_ready, o_w_data, o_w_strobe, o_w_last : 1, 1, 8 * axi_bytes, axi_bytes, 1
    i_b : In(1)
        A response comes in this cycle.
    o_busy : Out(1)
        Something is to be written, or answered.

    Latency: a beat per cycle once the first is there.
    """

    i_begin: Signal
    i_address: Signal
    i_bytes: Signal
    o_read: Signal
    o_offset: Signal
    i_data: Signal
    i_stop: Signal
    o_aw_valid: Signal
    i_aw_ready: Signal
    o_aw_address: Signal
    o_aw_len: Signal
    o_w_valid: Signal
    i_w_ready: Signal
    o_w_data: Signal
    o_w_strobe: Signal
    o_w_last: Signal
    i_b: Signal
    o_busy: Signal

    def __init__(self, *, axi_bytes: int, address: int) -> None:
        signature: dict[str, Any] = {
            "i_begin": In(1), "i_address": In(address), "i_bytes": In(32), "o_read": Out(1),
            "o_offset": Out(32), "i_data": In(8 * axi_bytes), "i_stop": In(1),
            "o_aw_valid": Out(1), "i_aw_ready": In(1), "o_aw_address": Out(address),
            "o_aw_len": Out(8), "o_w_valid": Out(1), "i_w_ready": In(1),
            "o_w_data": Out(8 * axi_bytes), "o_w_strobe": Out(axi_bytes), "o_w_last": Out(1),
            "i_b": In(1), "o_busy": Out(1),
        }  # fmt: skip
        parameters = (axi_bytes, address)
        super().__init__(kind="storer", parameters=parameters, signature=signature, resets=True)
        self.axi_bytes, self.address = axi_bytes, address

    def body(self, platform: object) -> Module:
        """Build the side that reads, the queue, and the three channels."""
        m = Module()
        size, bits = self.axi_bytes, self.axi_bytes.bit_length() - 1
        per_burst = BURST // size
        place_bits = per_burst.bit_length() - 1

        # Beats to be read, and where the next one lies on the bus.
        left = Signal(32)
        beat = Signal(self.address - bits)
        offset = Signal(32)
        count = Signal(32)
        pushed = Signal(range(AHEAD + 1))
        queued = Signal(range(AHEAD + 1))
        pop = self.o_w_valid & self.i_w_ready
        place = beat[:place_bits] if place_bits else Const(0, 1)
        at_end = (place == per_burst - 1) | (left == 1)
        opens = Signal(init=1)  # the next beat is the first one of a burst
        stopped = Signal()
        halts = (self.i_stop | stopped) & opens
        read = Signal()
        m.d.comb += [
            read.eq((left != 0) & ~halts & (pushed - pop < AHEAD)),
            self.o_read.eq(read),
            self.o_offset.eq(offset),
        ]
        with m.If(halts):
            m.d.sync += left.eq(0)
        with m.Elif(read):
            m.d.sync += [left.eq(left - 1), beat.eq(beat + 1), offset.eq(offset + size),
                         opens.eq(at_end)]  # fmt: skip
        m.d.sync += pushed.eq(pushed + read - pop)

        # Two cycles later its data are there: flags ride beside them.
        first = offset[-1]
        inside = offset[:bits]
        rest = (count - offset)[:32]
        strobe = Cat(Mux(first, n >= size - inside, 1) & (rest > n) for n in range(size))
        flags: Value = Cat(strobe, at_end)
        valid = read
        for step in range(2):
            now = Signal(name=f"coming_{step}")
            more = Signal.like(flags, name=f"flags_{step}")
            m.d.sync += [now.eq(valid), more.eq(flags)]
            valid, flags = now, more
        entry = Cat(self.i_data, flags)
        queue = [Signal(len(entry), name=f"beat_{n}", reset_less=True) for n in range(AHEAD)]
        stays = queued - pop
        following = [*queue[1:], Const(0, len(entry))]
        for n, (slot, behind) in enumerate(zip(queue, following, strict=True)):
            with m.If(valid & (stays == n)):
                m.d.sync += slot.eq(entry)
            with m.Elif(pop):
                m.d.sync += slot.eq(behind)
        m.d.sync += queued.eq(stays + valid)
        front = queue[0]
        last = front[-1]
        m.d.comb += [
            self.o_w_data.eq(front[: 8 * size]),
            self.o_w_strobe.eq(front[8 * size : 9 * size]),
            self.o_w_last.eq(last),
        ]

        # The address goes out with the first beat of its burst, or before it.
        # of the burst, and beats from there
        start = Signal(self.address - bits)
        ahead = Signal(32)
        begun = Signal()  # its address was taken, its last beat was not
        shown = Signal()  # the address is shown: it stays
        here = start[:place_bits] if place_bits else Const(0, 1)
        length = Signal(range(per_burst + 1))
        m.d.comb += [
            length.eq(Mux(ahead < per_burst - here, ahead, per_burst - here)),
            self.o_aw_valid.eq(shown),
            self.o_aw_address.eq(Cat(Const(0, bits), start)),
            self.o_aw_len.eq(length - 1),
            self.o_w_valid.eq((queued != 0) & begun),
        ]
        answers = Signal(16)
        taken = shown & self.i_aw_ready
        with m.If(~shown & ~begun & (queued != 0)):
            m.d.sync += shown.eq(1)
        with m.If(taken):
            m.d.sync += [shown.eq(0), begun.eq(1)]
        with m.If(pop & last):
            m.d.sync += [begun.eq(0), start.eq(start + length), ahead.eq(ahead - length)]
        m.d.sync += answers.eq(answers + taken - self.i_b)
        m.d.comb += self.o_busy.eq((left != 0) | (pushed != 0) | shown | begun | (answers != 0))
        m.d.sync += stopped.eq((stopped | self.i_stop) & self.o_busy)

        with m.If(self.i_begin):
            own = self.i_address[:bits]
            beats = (self.i_bytes + own + size - 1) >> bits
            m.d.sync += [
                left.eq(beats), ahead.eq(beats), beat.eq(self.i_address[bits:]),
                start.eq(self.i_address[bits:]), offset.eq(-own), count.eq(self.i_bytes),
                opens.eq(1),
            ]  # fmt: skip
        return m
