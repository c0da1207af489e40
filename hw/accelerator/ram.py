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

    def verilog(self, name: str) -> str:
        """Return what every tool takes for a memory block."""
        width, last = self.width, self.depth - 1
        address = len(self.i_read_address) - 1
        bytes_ = width // 8
        lanes = "".join(
            f"    if (i_write[{n}]) memory[i_write_address][{8 * n + 7}:{8 * n}] <= "
            f"i_write_data[{8 * n + 7}:{8 * n}];\n"
            for n in range(bytes_)
        )
        return f"""\
// A memory block with a write port and a read port, as every FPGA and memory compiler has it.
module {name} (
  input  wire clk,
  input  wire [{bytes_ - 1}:0] i_write,
  input  wire [{address}:0] i_write_address,
  input  wire [{width - 1}:0] i_write_data,
  input  wire i_read,
  input  wire [{address}:0] i_read_address,
  output reg [{width - 1}:0] o_read_data
);
  // A word that is read and written in one cycle is never used: no logic has to keep it.
  (* no_rw_check, rw_addr_collision = "no" *)
  reg [{width - 1}:0] memory [0:{last}];
  always @(posedge clk) begin
{lanes}    if (i_read) o_read_data <= memory[i_read_address];
  end
endmodule
"""

    def body(self, platform: object) -> Module:
        """Build the memory and its ports."""
        m = Module()
        memory: Any = Memory(shape=self.width, depth=self.depth, init=[])
        m.submodules.memory = memory
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
