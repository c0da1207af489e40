"""The weight ring: words from memory in the order of their use, read again for every tile."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent
from .ram import Ram

__all__ = ["Ring"]


class Ring(SharedComponent):
    """A buffer of words that are read block by block, each block some times over, and then freed.

    Parameters
    ----------
    depth : int
        Words, a power of two.
    width : int
        Bits of a word, a multiple of 8.
    kind : str
        Name of the module.
    again : bool
        Whether a block can be read more than once.

    Members
    -------
    i_push, i_data : 1, width
        A word comes from memory. There is to be room.
    o_room : Out(range(depth + 1))
        Words that there is room for. It may say one less for a cycle after a word is freed.
    i_block, i_words, i_times, o_block : 1, 16, 16, 1
        The next block: its words, at least 1, and how often it is read, at least once (`again`
        only). It is taken in a cycle with both `i_block` and `o_block`. A block larger than the
        ring must be read once only. In its last reading every word is freed at once.
    o_valid, o_data, o_next : 1, width, 1
        The next word; and whether there is one in the next cycle.
    i_pop : In(1)
        It is taken.

    Latency: two cycles from a push to `o_valid`. Throughput: a word per cycle, from one block to
    the next and from the end of a block to its beginning, if `i_block` is there in time.
    """

    i_push: Signal
    i_data: Signal
    o_room: Signal
    i_block: Signal
    i_words: Signal
    i_times: Signal
    o_block: Signal
    o_valid: Signal
    o_data: Signal
    o_next: Signal
    i_pop: Signal

    def __init__(self, *, depth: int, width: int, kind: str = "ring", again: bool = True) -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two, at least 2, not {depth}")
        signature: dict[str, Any] = {
            "i_push": In(1),
            "i_data": In(width),
            "o_room": Out(range(depth + 1)),
            "i_block": In(1),
            "i_words": In(16),
            "o_block": Out(1),
            "o_valid": Out(1),
            "o_data": Out(width),
            "o_next": Out(1),
            "i_pop": In(1),
        }
        if again:
            signature["i_times"] = In(16)
        parameters = (depth, width, again)
        super().__init__(kind=kind, parameters=parameters, signature=signature, resets=True)
        self.depth, self.width, self.again = depth, width, again

    def body(self, platform: object) -> Module:
        """Build the memory, whose output is the next word, and the counters of the block."""
        m = Module()
        m.submodules.ram = ram = Ram(kind=f"{self.kind}_ram", depth=self.depth, width=self.width)
        bits = self.depth.bit_length() - 1
        # the next word to come; the first of the block
        write = Signal(bits)
        base = Signal(bits)
        held = Signal(range(self.depth + 1))  # words from the base on
        busy = Signal()
        words = Signal.like(self.i_words)
        offset: Value = Const(0)  # of the next word to be read
        if self.again:
            offset = Signal(range(self.depth + 1), name="offset")
        valid = Signal()  # the memory shows a word
        stays = valid & ~self.i_pop
        read = Signal()
        m.d.comb += [
            self.o_valid.eq(valid),
            self.o_data.eq(ram.o_read_data),
            read.eq(busy & (offset < held) & ~stays),
            ram.i_write.eq(self.i_push.replicate(self.width // 8)),
            ram.i_write_address.eq(write),
            ram.i_write_data.eq(self.i_data),
            ram.i_read.eq(read),
            ram.i_read_address.eq(base + offset),
        ]
        m.d.comb += self.o_next.eq(read | stays)
        m.d.sync += valid.eq(self.o_next)

        # In the last reading the block becomes shorter with every word. The next word is the last
        # one of its reading.
        last: Value = Const(1)
        ends = Signal()
        if self.again:
            last = Signal(name="last_reading")
            times = Signal(16)
            with m.If(read):
                m.d.sync += offset.eq(Mux(ends | last, 0, offset + 1))
                with m.If(ends):
                    m.d.sync += [times.eq(times - 1), last.eq(times == 2)]
            with m.If(self.i_block & self.o_block):
                m.d.sync += [times.eq(self.i_times), last.eq(self.i_times == 1)]
        frees = read & last
        m.d.comb += self.o_block.eq(~busy | (frees & ends))
        with m.If(read):
            m.d.sync += ends.eq(Mux(ends, words == 1, offset + 2 == words))
        with m.If(frees):
            m.d.sync += [base.eq(base + 1), words.eq(words - 1)]
            with m.If(ends):
                m.d.sync += busy.eq(0)
        with m.If(self.i_block & self.o_block):
            m.d.sync += [
                busy.eq(1),
                words.eq(self.i_words),
                ends.eq(self.i_words == 1),
            ]
        m.d.sync += held.eq(held + self.i_push - frees)
        with m.If(self.i_push):
            m.d.sync += write.eq(write + 1)
        m.d.comb += self.o_room.eq(self.depth - held)
        return m
