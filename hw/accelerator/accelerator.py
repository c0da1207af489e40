"""The accelerator: registers, an AXI4 master, and the machine between them."""

from __future__ import annotations

import zlib
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, ResetSignal, Signal, Value
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out

from ..config import ArrayConfig
from ..share import ModuleLibrary, SharedComponent
from .engine import word_bytes
from .fetcher import Fetcher
from .jobs import JOB, Base, Kind
from .machine import Machine
from .registers import VERSION, Registers
from .storer import Storer

__all__ = ["HEADER", "MAGIC", "Accelerator", "fingerprint"]

MAGIC = 0x474D4953  # "SIMG"

#: Bytes of the image's header: magic, version, fingerprint and bytes of the stream, 32 bits each.
HEADER = 64

_LOADING = 32  # beats of a load that are asked for ahead


def fingerprint(config: ArrayConfig, word: int, rows: int, depth: int) -> int:
    """Return what an image has to say of the machine that it is for."""
    return zlib.crc32(f"{config.flags()} {word} {rows} {depth}".encode())


class Accelerator(SharedComponent):
    """Run the image at IMAGE, from INPUT to OUTPUT.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    rows : int
        Of a bank of the activation memory.
    depth : int
        Words of the ring, a power of two.
    axi_bytes, address : int
        Bytes of a beat and bits of an address of the AXI4 port.

    Members
    -------
    s_axi_ctl_* : AXI4-Lite
        See `hw.accelerator.registers`.
    m_axi_* : AXI4
        INCR bursts of at most 256 bytes. Reads of the image have id 0, of tensors id 1.
    irq : Out(1)

    Latency: see `sim.accelerator`.
    """

    def __init__(
        self, *, config: ArrayConfig, rows: int, depth: int, axi_bytes: int, address: int
    ) -> None:
        word = word_bytes(config, axi_bytes)
        log2 = axi_bytes.bit_length() - 1
        self.registers = Registers(
            shape=(config.rows, config.cols), features=int(config.st_os) | log2 << 8
        )
        control = self.registers.signature.members
        signature: dict[str, Any] = {
            name: member for name, member in control.items() if name.startswith("s_axi")
        }
        channels: dict[str, dict[str, Any]] = {
            "aw": {
                "id": 1,
                "addr": address,
                "len": 8,
                "size": 3,
                "burst": 2,
                "prot": 3,
                "cache": 4,
            },
            "w": {"data": 8 * axi_bytes, "strb": axi_bytes, "last": 1},
            "b": {"id": 1, "resp": 2},
            "ar": {
                "id": 1,
                "addr": address,
                "len": 8,
                "size": 3,
                "burst": 2,
                "prot": 3,
                "cache": 4,
            },
            "r": {"id": 1, "data": 8 * axi_bytes, "resp": 2, "last": 1},
        }
        for channel, fields in channels.items():
            ours, theirs = (In, Out) if channel in ("b", "r") else (Out, In)
            for name, width in {**fields, "valid": 1}.items():
                signature[f"m_axi_{channel}{name}"] = ours(width)
            signature[f"m_axi_{channel}ready"] = theirs(1)
        signature["irq"] = Out(1)
        parameters = (config, rows, depth, axi_bytes, address)
        super().__init__(kind="core", parameters=parameters, signature=signature, resets=True)
        self.config, self.word, self.rows, self.depth = config, word, rows, depth
        self.axi_bytes, self.address = axi_bytes, address

    def body(self, platform: object) -> Module:
        """Wire the parts, and build the sequence of a run."""
        m = Module()
        size, log2 = self.axi_bytes, self.axi_bytes.bit_length() - 1
        ports: Any = self
        m.submodules.registers = registers = self.registers
        machine = Machine(config=self.config, word=self.word, rows=self.rows, depth=self.depth)
        clear = Signal()
        if isinstance(platform, ModuleLibrary):
            reset = ResetSignal() | clear
            m.submodules.machine = platform.instance(machine, reset)
        else:
            m.submodules.machine = ResetInserter(clear)(machine)
        beats = self.depth * self.word // size
        m.submodules.stream = stream = Fetcher(
            axi_bytes=size, address=self.address, room=beats, kind="stream_fetcher"
        )
        m.submodules.load = load = Fetcher(
            axi_bytes=size, address=self.address, room=_LOADING, kind="load_fetcher"
        )
        m.submodules.store = store = Storer(axi_bytes=size, address=self.address)
        for name in registers.signature.members:
            if name.startswith("s_axi"):
                one, other = getattr(registers, name), getattr(self, name)
                inward = registers.signature.members[name].flow == In
                m.d.comb += one.eq(other) if inward else other.eq(one)
        m.d.comb += ports.irq.eq(registers.o_irq)

        # --- The read channels ---
        sel, held, kept = Signal(), Signal(), Signal()
        m.d.comb += [
            sel.eq(Mux(held, kept, load.o_valid)),
            ports.m_axi_arvalid.eq(Mux(sel, load.o_valid, stream.o_valid)),
            ports.m_axi_araddr.eq(Mux(sel, load.o_address, stream.o_address)),
            ports.m_axi_arlen.eq(Mux(sel, load.o_len, stream.o_len)),
            ports.m_axi_arid.eq(sel),
            load.i_ready.eq(sel & ports.m_axi_arready),
            stream.i_ready.eq(~sel & ports.m_axi_arready),
            ports.m_axi_rready.eq(1),
        ]
        m.d.sync += [kept.eq(sel), held.eq(ports.m_axi_arvalid & ~ports.m_axi_arready)]
        beat = ports.m_axi_rvalid
        m.d.comb += [
            stream.i_beat.eq(beat & ~ports.m_axi_rid[0]), load.i_beat.eq(beat & ports.m_axi_rid[0]),
        ]  # fmt: skip
        for channel in ("aw", "ar"):
            m.d.comb += [
                getattr(self, f"m_axi_{channel}size").eq(log2),
                getattr(self, f"m_axi_{channel}burst").eq(1),
                getattr(self, f"m_axi_{channel}cache").eq(3),
            ]

        # --- The image ---
        header = Signal(8 * HEADER, reset_less=True)
        heading = Signal()  # beats are the header's
        with m.If(stream.i_beat):
            m.d.sync += header.eq(Cat(header, ports.m_axi_rdata)[8 * size :])
        per_word = self.word // size
        waiting = stream.o_waiting
        room = Signal.like(stream.i_room)
        if per_word == 1:
            m.d.comb += [
                machine.i_push.eq(stream.i_beat & ~heading), machine.i_data.eq(ports.m_axi_rdata),
            ]  # fmt: skip
            free: Value = machine.o_room
        else:
            part = Signal(range(per_word))
            word = Signal(8 * (self.word - size), reset_less=True)
            with m.If(stream.i_beat & ~heading):
                m.d.sync += [part.eq(part + 1), word.eq(Cat(word, ports.m_axi_rdata)[8 * size :])]
            m.d.comb += [
                machine.i_push.eq(stream.i_beat & ~heading & (part == per_word - 1)),
                machine.i_data.eq(Cat(word, ports.m_axi_rdata)),
            ]
            free = (machine.o_room << (per_word.bit_length() - 1)) - part
            with m.If(clear):
                m.d.sync += part.eq(0)
        m.d.comb += [
            room.eq(Mux(free > waiting, free - waiting, 0)),
            stream.i_room.eq(Mux(heading, beats, room)),
            load.i_room.eq(_LOADING - load.o_waiting),
        ]

        # --- Transfers ---
        job = View(JOB, machine.o_job)
        bases = Cat(
            addr[: self.address]
            for addr in (registers.o_image, registers.o_input, registers.o_output,
                         registers.o_scratch)  # in the order of `Base`
        )  # fmt: skip
        assert [one.value for one in Base] == [0, 1, 2, 3]
        place = (bases.word_select(job.base, self.address) + job.offset)[: self.address]
        moving = Signal()
        begin = Signal()
        is_load = job.kind == Kind.LOAD
        m.d.comb += [
            begin.eq(machine.o_transfer & ~moving),
            load.i_begin.eq(begin & is_load), load.i_address.eq(place), load.i_bytes.eq(job.bytes),
            store.i_begin.eq(begin & ~is_load), store.i_address.eq(place),
            store.i_bytes.eq(job.bytes),
            machine.i_load.eq(load.o_strobe & load.i_beat.replicate(size)),
            machine.i_load_address.eq(job.local + load.o_offset),
            machine.i_load_data.eq(ports.m_axi_rdata),
            machine.i_store.eq(store.o_read),
            machine.i_store_address.eq(job.local + store.o_offset),
            store.i_data.eq(machine.o_store),
            machine.i_transferred.eq(moving & ~load.o_busy & ~store.o_busy),
            ports.m_axi_awvalid.eq(store.o_aw_valid), ports.m_axi_awaddr.eq(store.o_aw_address),
            ports.m_axi_awlen.eq(store.o_aw_len), store.i_aw_ready.eq(ports.m_axi_awready),
            ports.m_axi_wvalid.eq(store.o_w_valid), ports.m_axi_wdata.eq(store.o_w_data),
            ports.m_axi_wstrb.eq(store.o_w_strobe), ports.m_axi_wlast.eq(store.o_w_last),
            store.i_w_ready.eq(ports.m_axi_wready), ports.m_axi_bready.eq(1),
            store.i_b.eq(ports.m_axi_bvalid),
        ]  # fmt: skip
        m.d.sync += moving.eq(machine.o_transfer & ~machine.i_transferred)

        self._run(m, registers, machine, stream, load, store, header, heading, clear)
        self._count(m, registers, machine)
        return m

    def _run(
        self, m: Module, registers: Registers, machine: Machine, stream: Fetcher, load: Fetcher,
        store: Storer, header: Signal, heading: Signal, clear: Signal,
    ) -> None:  # fmt: skip
        """Build the sequence of a run, and how it ends."""
        ports: Any = self
        code, stop = Signal(8), Signal()
        image = registers.o_image[: self.address]
        wanted = fingerprint(self.config, self.word, self.rows, self.depth)
        good = (
            (header[:32] == MAGIC)
            & (header[32:64] == VERSION[0] << 16 | VERSION[1] << 8 | VERSION[2])
            & (header[64:96] == wanted)
        )
        fault = Signal(8)
        m.d.comb += [
            fault.eq(
                Mux(ports.m_axi_rvalid & ports.m_axi_rresp[1], 4,
                    Mux(ports.m_axi_bvalid & ports.m_axi_bresp[1], 5,
                        Mux(registers.o_abort, 1, 0)))
            ),
            stream.i_stop.eq(stop), load.i_stop.eq(stop), store.i_stop.eq(stop),
            registers.i_code.eq(code), registers.i_job.eq(machine.o_index),
        ]  # fmt: skip
        quiet = ~stream.o_busy & ~load.o_busy & ~store.o_busy
        with m.FSM() as run:
            with m.State("IDLE"):
                with m.If(registers.o_start):
                    m.d.sync += [code.eq(0), stop.eq(0), heading.eq(1)]
                    m.next = "HEADER"
            with m.State("HEADER"):
                with m.If(registers.o_image[:6].any()):
                    m.d.sync += code.eq(6)
                    m.next = "STOP"
                with m.Else():
                    m.d.comb += [
                        stream.i_begin.eq(1), stream.i_address.eq(image), stream.i_bytes.eq(HEADER),
                    ]  # fmt: skip
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(fault.any()):
                    m.d.sync += code.eq(fault)
                    m.next = "STOP"
                with m.Elif(~stream.o_busy):
                    m.d.sync += heading.eq(0)
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += code.eq(2)
                m.next = "STOP"
                with m.If(good):
                    m.d.sync += code.eq(0)
                    m.d.comb += [
                        stream.i_begin.eq(1), stream.i_address.eq(image + HEADER),
                        stream.i_bytes.eq(header[96:128]), machine.i_start.eq(1),
                    ]  # fmt: skip
                    m.next = "RUN"
            with m.State("RUN"):
                with m.If(fault.any()):
                    m.d.sync += code.eq(fault)
                    m.next = "STOP"
                with m.Elif(machine.o_done):
                    m.d.sync += code.eq(Mux(machine.o_illegal, 3, 0))
                    m.next = "STOP"
            with m.State("STOP"):
                m.d.sync += stop.eq(1)
                m.d.comb += clear.eq(1)
                with m.If(stop & quiet):
                    m.d.comb += registers.i_done.eq(1)
                    m.next = "IDLE"
        del run

    def _count(self, m: Module, registers: Registers, machine: Machine) -> None:
        """Count what the cycles of a run are spent on; every cycle is of one class."""
        ports: Any = self
        size = self.axi_bytes
        ticks: dict[str, Value] = {
            "cycles": Const(1, 1),
            "array_cycles": machine.o_array,
            "weights_cycles": machine.o_weights,
            "activations_cycles": machine.o_activations,
            "results_cycles": ~(machine.o_array | machine.o_weights | machine.o_activations),
        }
        counters = {name: Signal(64, name=name) for name in (*ticks, "bytes_read", "bytes_written")}
        with m.If(registers.o_start):
            m.d.sync += [counter.eq(0) for counter in counters.values()]
        with m.Elif(registers.o_busy):
            for name, tick in ticks.items():
                m.d.sync += counters[name].eq(counters[name] + tick)
            with m.If(ports.m_axi_rvalid):
                m.d.sync += counters["bytes_read"].eq(counters["bytes_read"] + size)
            with m.If(ports.m_axi_wvalid & ports.m_axi_wready):
                m.d.sync += counters["bytes_written"].eq(counters["bytes_written"] + size)
        for name, counter in counters.items():
            m.d.comb += getattr(registers, f"i_{name}").eq(counter)
