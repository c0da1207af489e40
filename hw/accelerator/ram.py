"""A memory block with a write port and a read port, as every FPGA and memory compiler has it."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["Ram"]


class Ram(SharedComponent):
    """`depth` words of `width` bits; bytes can be written alone.

    Parameters
    ----------
    kind : str
        Name of the module.
    depth, width : int
        The width is a multiple of 8.

    Members
    -------
    i_write : In(width / 8)
        Bytes to write.
    i_write_address, i_write_data : range(depth), width
    i_read : In(1)
        The read port moves.
    i_read_address : In(range(depth))
    o_read_data : Out(width)
        What was read last; of a word that is written in the same cycle, anything.

    Latency: one cycle.
    """

    i_write: Signal
    i_write_address: Signal
    i_write_data: Signal
    i_read: Signal
    i_read_address: Signal
    o_read_data: Signal

    def __init__(self, *, kind: str, depth: int, width: int) -> None:
        address = max(1, (depth - 1).bit_length())
        signature: dict[str, Any] = {
            "i_write": In(width // 8),
            "i_write_address": In(address),
            "i_write_data": In(width),
            "i_read": In(1),
            "i_read_address": In(address),
            "o_read_data": Out(width),
        }
        super().__init__(kind=kind, parameters=(depth, width), signature=signature)
        self.depth, self.width = depth, width

    def body(self, platform: object) -> Module:
        """Build the memory and its ports."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.width, depth=self.depth, init=[])
        write = memory.write_port(granularity=8)
        read = memory.read_port()
        m.d.comb += [
            write.en.eq(self.i_write),
            write.addr.eq(self.i_write_address),
            write.data.eq(self.i_write_data),
            read.en.eq(self.i_read),
            read.addr.eq(self.i_read_address),
            self.o_read_data.eq(read.data),
        ]
        return m
