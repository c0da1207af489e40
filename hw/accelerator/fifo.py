"""A queue in a memory block."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent
from .ram import Ram

__all__ = ["Fifo"]


class Fifo(SharedComponent):
    """Words that wait, in order.

    Parameters
    ----------
    depth : int
        Words, a power of two.
    width : int
        Bits of a word, a multiple of 8.
    kind : str
        Name of the module.

    Members
    -------
    i_push, i_data : 1, width
        A word comes. There is to be room.
    o_room : Out(range(depth + 1))
        Words that there is room for.
    o_valid, o_data : 1, width
        The next word.
    i_pop : In(1)
        It is taken.
    o_busy : Out(1)
        Words are there.

    Latency: two cycles from a push to `o_valid`. Throughput: a word per cycle.
    """

    i_push: Signal
    i_data: Signal
    o_room: Signal
    o_valid: Signal
    o_data: Signal
    i_pop: Signal
    o_busy: Signal

    def __init__(self, *, depth: int, width: int, kind: str = "fifo") -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two, at least 2, not {depth}")
        signature: dict[str, Any] = {
            "i_push": In(1), "i_data": In(width), "o_room": Out(range(depth + 1)),
            "o_valid": Out(1), "o_data": Out(width), "i_pop": In(1), "o_busy": Out(1),
        }  # fmt: skip
        super().__init__(kind=kind, parameters=(depth, width), signature=signature, resets=True)
        self.depth, self.width = depth, width

    def body(self, platform: object) -> Module:
        """Build the memory, whose output is the next word, and the addresses."""
        m = Module()
        m.submodules.ram = ram = Ram(kind=f"{self.kind}_ram", depth=self.depth, width=self.width)
        bits = self.depth.bit_length() - 1
        # of the next word to come, and of the next one to be read
        write = Signal(bits)
        read = Signal(bits)
        held = Signal(range(self.depth + 1))  # words that are not read
        valid = Signal()  # the memory shows a word
        stays = valid & ~self.i_pop
        reads = (held != 0) & ~stays
        m.d.comb += [
            self.o_valid.eq(valid), self.o_data.eq(ram.o_read_data),
            self.o_room.eq(self.depth - held), self.o_busy.eq(valid | (held != 0)),
            ram.i_write.eq(self.i_push.replicate(self.width // 8)),
            ram.i_write_address.eq(write), ram.i_write_data.eq(self.i_data),
            ram.i_read.eq(reads), ram.i_read_address.eq(read),
        ]  # fmt: skip
        m.d.sync += [
            valid.eq(reads | stays), held.eq(held + self.i_push - reads),
            write.eq(write + self.i_push), read.eq(read + reads),
        ]  # fmt: skip
        return m
