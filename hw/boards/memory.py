"""A memory of block RAM behind an AXI4 port, which a host reads and writes, too."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..accelerator.fifo import Fifo
from ..accelerator.ram import Ram
from ..share import SharedComponent

__all__ = ["HOST", "LATENCY", "WAITING", "BoardMemory", "memory_ports"]

#: Cycles from an address to its first beat, and bursts that may wait.
LATENCY, WAITING = 5, 32

_SLVERR = 2

#: Ports of a memory that are the host's, as of `Link`.
HOST: dict[str, Any] = {
    "i_request": In(1), "i_write": In(1), "i_address": In(29), "i_write_data": In(32),
    "o_grant": Out(1), "o_answer": Out(1), "o_read_data": Out(32),
}  # fmt: skip


def memory_ports(axi_bytes: int, address: int) -> dict[str, Any]:
    """Return the ports of a memory: AXI4, but for what never changes, and the host's.

    Parameters
    ----------
    axi_bytes : int
        Bytes of a beat.
    address : int
        Bits of an AXI4 address.
    """
    return {
        "i_arid": In(2), "i_araddr": In(address), "i_arlen": In(8), "i_arvalid": In(1),
        "o_arready": Out(1), "o_rid": Out(2), "o_rdata": Out(8 * axi_bytes), "o_rresp": Out(2),
        "o_rlast": Out(1), "o_rvalid": Out(1), "i_rready": In(1),
        "i_awid": In(2), "i_awaddr": In(address), "i_awvalid": In(1), "o_awready": Out(1),
        "i_wdata": In(8 * axi_bytes), "i_wstrb": In(axi_bytes), "i_wlast": In(1),
        "i_wvalid": In(1), "o_wready": Out(1), "o_bid": Out(2), "o_bresp": Out(2),
        "o_bvalid": Out(1), "i_bready": In(1), **HOST,
    }  # fmt: skip


class BoardMemory(SharedComponent):
    """From address 0 on; what is behind it is answered with SLVERR, and never written.

    Bursts are INCR, of whole beats, and do not cross 4 KiB, as the accelerator's do. Up to
    `WAITING` bursts of reads wait, and follow one another without a pause: this is a memory with
    the fixed latency `LATENCY`, as `sim.accelerator` has it.

    Parameters
    ----------
    size : int
        Bytes, a multiple of 4,096.
    axi_bytes : int
        Bytes of a beat.
    address : int
        Bits of an AXI4 address.

    Members
    -------
    i_ar..., o_r..., i_aw..., i_w..., o_b... : AXI4
        As of the accelerator, but for what never changes.
    i_request, i_write, i_address, i_write_data, o_grant, o_answer, o_read_data
        As of `Link`. The accelerator goes first.

    Latency: `LATENCY` cycles from an address to its first beat; two from a grant to an answer, one
    from the last beat that is written to its response.
    """

    def __init__(self, *, size: int, axi_bytes: int, address: int) -> None:
        if size % 4096:
            raise ValueError(f"a memory must have a multiple of 4,096 bytes, not {size}")
        signature = memory_ports(axi_bytes, address)
        parameters = (size, axi_bytes, address)
        super().__init__(kind="memory", parameters=parameters, signature=signature, resets=True)
        self.size, self.axi_bytes = size, axi_bytes

    def body(self, platform: object) -> Module:
        """Build the memory, a burst of each direction, and the host's turn."""
        m = Module()
        ports: Any = self
        size, depth = self.axi_bytes, self.size // self.axi_bytes
        inner = size.bit_length() - 1  # bits of an address inside a beat
        m.submodules.ram = ram = Ram(kind="memory_ram", depth=depth, width=8 * size)
        rows = len(ram.i_read_address)

        # --- Writes: the first beat may come with its address ---
        writing = Signal()
        answering = Signal()
        to = Signal(rows)
        to_id = Signal(2)
        to_wrong = Signal()
        answer = Signal(3)  # id, and whether it was wrong
        stays = answering & ~ports.i_bready
        begins = ports.i_awvalid & ~writing
        row = Mux(writing, to, ports.i_awaddr[inner:][:rows])
        number = Mux(writing, to_id, ports.i_awid)
        outside = Mux(writing, to_wrong, ports.i_awaddr >= self.size)
        beat = ports.i_wvalid & ports.o_wready
        last = beat & ports.i_wlast
        m.d.comb += [
            ports.o_awready.eq(~writing),
            ports.o_wready.eq((writing | begins) & ~(ports.i_wlast & stays)),
            ports.o_bvalid.eq(answering), ports.o_bid.eq(answer[:2]),
            ports.o_bresp.eq(Mux(answer[2], _SLVERR, 0)),
        ]  # fmt: skip
        m.d.sync += [
            answering.eq(last | stays), writing.eq((writing | begins) & ~last),
            to.eq(row + beat), to_id.eq(number), to_wrong.eq(outside),
        ]  # fmt: skip
        with m.If(last):
            m.d.sync += answer.eq(Cat(number, outside))

        # --- Reads ---
        m.submodules.queue = queue = Fifo(depth=WAITING, width=32, kind="read_queue")
        wrong = ports.i_araddr >= self.size
        asks = Cat(ports.i_arlen, ports.i_arid, wrong, ports.i_araddr[inner:][:rows])
        reading = Signal()
        source = Signal(rows)
        left = Signal(8)  # beats of the burst after this one
        kept = Signal(3)  # of the burst: id, and whether it is wrong
        # What was read, and what is in the register behind the memory.
        read, shown = (Signal(name=f"{name}_valid") for name in ("read", "shown"))
        read_flags, flags = (Signal(4, name=f"{name}_flags") for name in ("read", "shown"))
        data = Signal(8 * size, reset_less=True)
        moves = ~shown | ports.i_rready
        free = ~reading | (moves & (left == 0))
        m.d.comb += [
            queue.i_push.eq(ports.i_arvalid & ports.o_arready), queue.i_data.eq(asks),
            queue.i_pop.eq(free), ports.o_arready.eq(queue.o_room.any()),
            ports.o_rvalid.eq(shown), ports.o_rdata.eq(data), ports.o_rid.eq(flags[:2]),
            ports.o_rresp.eq(Mux(flags[2], _SLVERR, 0)), ports.o_rlast.eq(flags[3]),
        ]  # fmt: skip
        with m.If(free):
            m.d.sync += reading.eq(queue.o_valid)
            m.d.sync += Cat(left, kept, source).eq(queue.o_data)
        with m.Elif(moves):
            m.d.sync += [source.eq(source + 1), left.eq(left - 1)]
        with m.If(moves):
            m.d.sync += [
                read.eq(reading), read_flags.eq(Cat(kept, left == 0)), shown.eq(read),
                flags.eq(read_flags),
            ]  # fmt: skip

        # --- The host ---
        index = ports.i_address[inner - 2 :]
        lane = ports.i_address[: inner - 2]  # of the beat's words of 32 bits
        grant = ports.i_request & Mux(ports.i_write, ~beat, ~reading & moves)
        asked = Signal(2)  # a read of the host: in the memory, in the register
        lanes = [Signal(max(1, inner - 2), name=f"lane_{n}") for n in range(2)]
        with m.If(moves):
            m.d.sync += [data.eq(ram.o_read_data), lanes[0].eq(lane), lanes[1].eq(lanes[0])]
            m.d.sync += asked.eq(Cat(grant & ~ports.i_write, asked[0]))
        with m.Else():
            m.d.sync += asked[1].eq(0)
        m.d.comb += [
            ports.o_grant.eq(grant), ports.o_answer.eq(asked[1]),
            ports.o_read_data.eq(data.word_select(lanes[1], 32) if inner > 2 else data),
            ram.i_read.eq(moves), ram.i_read_address.eq(Mux(reading, source, index)),
            ram.i_write_address.eq(Mux(beat, row, index)),
            ram.i_write_data.eq(
                Mux(beat, ports.i_wdata, ports.i_write_data.replicate(size // 4))
            ),
        ]  # fmt: skip
        some = Cat((lane == n).replicate(4) for n in range(size // 4)) if inner > 2 else 15
        with m.If(beat):
            m.d.comb += ram.i_write.eq(Mux(outside, 0, ports.i_wstrb))
        with m.Elif(grant & ports.i_write):
            m.d.comb += ram.i_write.eq(some)
        return m
