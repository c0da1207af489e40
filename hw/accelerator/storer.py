"""Write a range of memory by AXI4: bursts, strobes, and the responses."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent
from .config import BURST
from .span import Span

__all__ = ["Storer"]


class Storer(SharedComponent):
    """Write a range of bytes in bursts that end at multiples of `BURST`.

    Its data come from a memory that can be read at any byte address, in two steps: for a beat at
    bus address a it asks for the bytes at ``i_local + a - i_address``. Both steps stand still while
    a beat waits for the bus. The address of a burst is shown together with its first beat,
    and neither channel waits for the other one: a memory may take data before their address.

    Parameters
    ----------
    axi_bytes : int
        Of a beat, a power of two from 4 to 64.
    address : int
        Bits of an address.
    local : int
        Bits of an address of the memory that is read.

    Members
    -------
    i_begin, i_address, i_bytes, i_local : 1, address, local + 1, local
        Begin with a range of at least one byte. Not while busy.
    o_read, o_local : 1, local
        The memory goes a step on, and reads the beat that begins at this address, if there is one;
        a first beat may begin in front of the range.
    i_data : In(8 * axi_bytes)
        What was asked for two steps before.
    i_stop : In(1)
        Begin no more bursts; those that have begun are written. It stays until `o_busy` is low.
    o_aw_valid, i_aw_ready, o_aw_address, o_aw_len : 1, 1, address, 8
    o_w_valid, i_w_ready, o_w_strobe, o_w_last : 1, 1, axi_bytes, 1
        The data of a beat are `i_data`.
    i_b : In(1)
        A response comes in this cycle.
    o_busy : Out(1)
        Something is to be written, or answered.

    Latency: a beat per cycle once the first is there.
    """

    i_begin: Signal
    i_address: Signal
    i_bytes: Signal
    i_local: Signal
    o_read: Signal
    o_local: Signal
    i_stop: Signal
    o_aw_valid: Signal
    i_aw_ready: Signal
    o_aw_address: Signal
    o_aw_len: Signal
    o_w_valid: Signal
    i_w_ready: Signal
    o_w_strobe: Signal
    o_w_last: Signal
    i_b: Signal
    o_busy: Signal

    def __init__(self, *, axi_bytes: int, address: int, local: int) -> None:
        signature: dict[str, Any] = {
            "i_begin": In(1), "i_address": In(address), "i_bytes": In(local + 1),
            "i_local": In(local), "o_read": Out(1), "o_local": Out(local), "i_stop": In(1),
            "o_aw_valid": Out(1), "i_aw_ready": In(1), "o_aw_address": Out(address),
            "o_aw_len": Out(8), "o_w_valid": Out(1), "i_w_ready": In(1),
            "o_w_strobe": Out(axi_bytes), "o_w_last": Out(1),
            "i_b": In(1), "o_busy": Out(1),
        }  # fmt: skip
        parameters = (axi_bytes, address, local)
        super().__init__(kind="storer", parameters=parameters, signature=signature, resets=True)
        self.axi_bytes, self.address, self.local = axi_bytes, address, local

    def body(self, platform: object) -> Module:
        """Build the beats to be read, the two steps of the memory, and the channels."""
        m = Module()
        size, bits = self.axi_bytes, self.axi_bytes.bit_length() - 1
        per_burst = BURST // size
        within = per_burst.bit_length() - 1  # bits of a beat's place in its burst
        m.submodules.span = span = Span(axi_bytes=size, local=self.local)

        # The beat to be read.
        place = Signal(within)
        opens = Signal(init=1)  # it is the first one of a burst
        moves = Signal()
        more = span.o_more
        halts = self.i_stop & opens
        read = more & ~halts & moves
        fits = Signal(range(per_burst + 1))  # beats from this one to the end of its burst
        low, high = span.o_left[: BURST.bit_length() - 1], span.o_left[BURST.bit_length() - 1 :]
        beats = (low + size - 1) >> bits
        to_end = per_burst - place
        m.d.comb += [
            fits.eq(Mux(high.any() | (beats > to_end), to_end, beats)),
            span.i_next.eq(read),
            span.i_end.eq(halts),
        ]
        at_end = fits == 1
        with m.If(read):
            m.d.sync += [place.eq(place + 1), opens.eq(at_end)]

        # Two steps later its data are there: this is beside them.
        length = Signal(8)
        m.d.comb += length.eq(fits - 1)
        state = [
            (Signal(name=f"valid_{n}"), Signal(8, name=f"length_{n}", reset_less=True),
             Signal(size, name=f"strobe_{n}", reset_less=True))
            for n in range(2)
        ]  # fmt: skip
        parts = [(n >= span.o_first) & (n < span.o_end) for n in range(size - 1)]
        strobes = Cat(*parts, span.o_end[-1])
        with m.If(moves):
            for new, old in zip(state, ((read, length, strobes), state[0]), strict=True):
                m.d.sync += [one.eq(other) for one, other in zip(new, old, strict=True)]
        coming, (front, left, strobe) = state[0][0], state[1]
        begun = Signal()  # the address of its burst is, or was, shown
        shown = Signal()  # an address is shown: it stays until it is taken
        fresh = Signal()  # no address of the range was shown
        pop = front & begun & self.i_w_ready
        last = left == 0
        start = Signal(self.address - bits)  # of the burst whose address was shown last
        long = Signal(8, reset_less=True)  # its length
        m.d.comb += [
            moves.eq(~front | pop),
            self.o_read.eq(moves & (more | coming | front)),
            self.o_local.eq(span.o_local),
            self.o_w_valid.eq(front & begun),
            self.o_w_strobe.eq(strobe),
            self.o_w_last.eq(last),
            self.o_aw_valid.eq(shown),
            self.o_aw_address.eq(Cat(Const(0, bits), start)),
            self.o_aw_len.eq(long),
        ]
        # The address of a burst is shown with its first beat, when the address before is taken.
        taken = shown & self.i_aw_ready
        still = begun & ~(pop & last)
        shows = Mux(moves, coming, front) & ~still & (~shown | self.i_aw_ready)
        m.d.sync += [shown.eq(shows | (shown & ~taken)), begun.eq(still | shows)]
        with m.If(shows):
            m.d.sync += [
                fresh.eq(0), long.eq(Mux(moves, state[0][1], left)),
                start.eq(Cat(Mux(fresh, start[:within], 0), start[within:] + ~fresh)),
            ]  # fmt: skip
        answers = Signal(16)
        m.d.sync += answers.eq(answers + taken - self.i_b)
        m.d.comb += self.o_busy.eq(more | coming | front | shown | (answers != 0))

        inside = self.i_address[:bits]
        m.d.comb += [
            span.i_begin.eq(self.i_begin), span.i_inside.eq(inside), span.i_bytes.eq(self.i_bytes),
            span.i_local.eq(self.i_local),
        ]  # fmt: skip
        with m.If(self.i_begin):
            first = self.i_address[bits:]
            m.d.sync += [place.eq(first), start.eq(first), opens.eq(1), fresh.eq(1)]
        return m
