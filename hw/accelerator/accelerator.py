"""The accelerator: registers, an AXI4 master, and the machine between them."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, ResetSignal, Signal, Value
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out

from ..share import ModuleLibrary, SharedComponent
from .config import BURST, AcceleratorConfig
from .counters import Counters
from .fetcher import OUTSTANDING, Fetcher
from .fifo import Fifo
from .header import HEADER, Header
from .jobs import TRANSFER, Base
from .machine import Machine
from .registers import CONTROL_PORTS, Registers
from .span import Span
from .storer import Storer

__all__ = ["Accelerator", "accelerator_ports"]

# Ids of what is read.
_PROGRAM, _WEIGHTS, _TENSOR = 0, 1, 2


def accelerator_ports(config: AcceleratorConfig) -> list[tuple[str, str, int]]:
    """Return (name, direction, width) of every port of an accelerator but `clk` and `rst`."""
    size, address = config.axi_bytes, config.axi_addr_width
    found = list(CONTROL_PORTS)
    request = {
        "id": 2, "addr": address, "len": 8, "size": 3, "burst": 2, "prot": 3, "cache": 4,
    }  # fmt: skip
    channels = {
        "aw": request, "w": {"data": 8 * size, "strb": size, "last": 1}, "b": {"id": 2, "resp": 2},
        "ar": request, "r": {"id": 2, "data": 8 * size, "resp": 2, "last": 1},
    }  # fmt: skip
    for channel, fields in channels.items():
        ours, theirs = ("input", "output") if channel in ("b", "r") else ("output", "input")
        found += [
            (f"m_axi_{channel}{name}", ours, width)
            for name, width in {**fields, "valid": 1}.items()
        ]
        found.append((f"m_axi_{channel}ready", theirs, 1))
    return [*found, ("irq", "output", 1)]


def _left(free: Value, fetcher: Fetcher) -> Value:
    """Return the beats that there is room for beside those that are on their way."""
    waiting = fetcher.o_waiting
    return Mux(free > waiting, free - waiting, 0)


class Accelerator(SharedComponent):
    """Run the image at IMAGE, from INPUT to OUTPUT.

    Parameters
    ----------
    config : AcceleratorConfig
    kind : str
        Of the module, where it is not the top one.

    Members
    -------
    s_axi_ctl_* : AXI4-Lite
        See `hw.accelerator.registers`.
    m_axi_* : AXI4
        INCR bursts of at most 256 bytes. Reads of the program have id 0, of weights 1, of tensors
        2.
    irq : Out(1)

    Latency: see `sim.accelerator`.
    """

    def __init__(self, *, config: AcceleratorConfig, kind: str = "core") -> None:
        array = config.array
        self.registers = Registers(
            shape=(array.rows, array.cols),
            features=int(array.st_os) | (config.axi_bytes.bit_length() - 1) << 8,
        )
        signature = {
            name: (In if direction == "input" else Out)(width)
            for name, direction, width in accelerator_ports(config)
        }
        super().__init__(kind=kind, parameters=config, signature=signature, resets=True)
        self.config = config

    def body(self, platform: object) -> Module:
        """Wire the parts, and build the sequence of a run."""
        m = Module()
        config = self.config
        size, word = config.axi_bytes, config.word
        address, local = config.axi_addr_width, config.local_bits
        ports: Any = self
        registers: Any = self.registers
        m.submodules.registers = registers
        machine = Machine(
            config=config.array, word=word, rows=config.bank_rows, depth=config.ring_words,
            program=config.program_words, every=config.rows_per_lane,
        )  # fmt: skip
        loading = OUTSTANDING * BURST // size
        clear = Signal()
        if isinstance(platform, ModuleLibrary):
            reset = ResetSignal() | clear
            m.submodules.machine = platform.instance(machine, reset)
        else:
            m.submodules.machine = ResetInserter(clear)(machine)
        program, weights, load = (
            Fetcher(axi_bytes=size, address=address, room=room, kind=f"{name}_fetcher")
            for name, room in (
                ("program", config.program_words * word // size),
                ("weights", config.ring_words * word // size),
                ("tensor", loading),
            )
        )  # fmt: skip
        m.submodules.fetch_program, m.submodules.fetch_weights = program, weights
        m.submodules.fetch_tensor = load
        m.submodules.load_fifo = fifo = Fifo(depth=loading, width=8 * size, kind="load_fifo")
        m.submodules.load_span = span = Span(axi_bytes=size, local=local)
        m.submodules.store = store = Storer(axi_bytes=size, address=address, local=local)
        for name in registers.signature.members:
            if name.startswith("s_axi"):
                one, other = getattr(registers, name), getattr(self, name)
                inward = registers.signature.members[name].flow == In
                m.d.comb += one.eq(other) if inward else other.eq(one)
        m.d.comb += ports.irq.eq(registers.o_irq)

        # --- The read channels: the program goes first, and weights come last ---
        held = Signal()  # an address that was not taken stays
        kept = Signal(2)
        chosen = Signal(2)
        fetchers = {_PROGRAM: program, _WEIGHTS: weights, _TENSOR: load}
        best = Mux(program.o_valid, _PROGRAM, Mux(load.o_valid, _TENSOR, _WEIGHTS))
        beat, source = ports.m_axi_rvalid, ports.m_axi_rid
        m.d.comb += [
            chosen.eq(Mux(held, kept, best)),
            ports.m_axi_arid.eq(chosen),
            ports.m_axi_rready.eq(1),
            ports.m_axi_awid.eq(0),
        ]
        for number, fetcher in fetchers.items():
            own = chosen == number
            m.d.comb += [
                fetcher.i_ready.eq(own & ports.m_axi_arready),
                fetcher.i_beat.eq(beat & (source == number)),
            ]
            with m.If(own):
                m.d.comb += [
                    ports.m_axi_arvalid.eq(fetcher.o_valid),
                    ports.m_axi_araddr.eq(fetcher.o_address),
                    ports.m_axi_arlen.eq(fetcher.o_len),
                ]
        m.d.sync += [kept.eq(chosen), held.eq(ports.m_axi_arvalid & ~ports.m_axi_arready)]
        for channel in ("aw", "ar"):
            m.d.comb += [
                getattr(self, f"m_axi_{channel}size").eq(size.bit_length() - 1),
                getattr(self, f"m_axi_{channel}burst").eq(1),
                getattr(self, f"m_axi_{channel}cache").eq(3),
                getattr(self, f"m_axi_{channel}prot").eq(0),
            ]

        # --- The image ---
        heading = Signal()  # beats are the header's
        m.submodules.header = header = Header(axi_bytes=size, fingerprint=config.fingerprint)
        m.d.comb += [
            header.i_start.eq(registers.o_start), header.i_beat.eq(program.i_beat & heading),
            header.i_data.eq(ports.m_axi_rdata),
        ]  # fmt: skip
        for fetcher, push, data, room, skip in (
            (program, machine.i_program, machine.i_program_data, machine.o_program_room, heading),
            (weights, machine.i_push, machine.i_data, machine.o_room, Const(0)),
        ):
            self._gather(m, fetcher, skip, clear, push, data, room)
        with m.If(heading):
            m.d.comb += program.i_room.eq(HEADER // size)
        with m.If(load.o_busy & (machine.o_room != config.ring_words)):  # a tensor comes first
            m.d.comb += weights.i_room.eq(0)
        m.d.comb += load.i_room.eq(_left(fifo.o_room, load))

        # --- Transfers ---
        job = View(TRANSFER, machine.o_job)
        bases = Cat(
            addr[:address]
            for addr in (registers.o_image, registers.o_input, registers.o_output,
                         registers.o_scratch)  # in the order of `Base`
        )  # fmt: skip
        assert [one.value for one in Base] == [0, 1, 2, 3]
        place = Signal(address)  # in memory; a job is there for a cycle before it is carried out
        m.d.sync += place.eq(bases.word_select(job.base, address) + job.offset)
        signs = Cat(Const(0, 7), job.flip).replicate(size)
        moving = Signal()
        arriving = Signal()
        # A word behind the queue, which is written in this cycle: from the queue's memory to that
        # of activations it is far. The queue stays while it must, so this needs no enable.
        loads = Signal()
        loaded = Signal(8 * size, reset_less=True)
        # Signs of the load that is on its way, in front of the queue: what that gives comes late.
        flip = Signal()
        flips = Cat(Const(0, 7), flip).replicate(size)
        begin = Signal()
        is_load = machine.o_is_load
        m.d.comb += [
            begin.eq(machine.o_transfer & ~moving),
            load.i_begin.eq(begin & is_load), load.i_address.eq(place), load.i_bytes.eq(job.bytes),
            store.i_begin.eq(begin & ~is_load), store.i_address.eq(place),
            store.i_bytes.eq(job.bytes[: local + 1]), store.i_local.eq(job.local[:local]),
            span.i_begin.eq(load.i_begin), span.i_inside.eq(place[: size.bit_length() - 1]),
            span.i_bytes.eq(job.bytes[: local + 1]), span.i_local.eq(job.local[:local]),
            span.i_next.eq(loads),
            fifo.i_push.eq(load.i_beat), fifo.i_data.eq(ports.m_axi_rdata ^ flips),
            fifo.i_pop.eq(machine.o_next_load),
            machine.i_load.eq(loads),
            machine.i_load_first.eq(span.o_first), machine.i_load_end.eq(span.o_end),
            machine.i_load_address.eq(span.o_local),
            machine.i_load_data.eq(loaded),
            machine.i_loading.eq(arriving), machine.i_load_left.eq(span.o_left[: local + 1]),
            machine.i_store.eq(store.o_read),
            machine.i_store_address.eq(store.o_local),
            machine.i_transferred.eq(moving & (is_load | ~store.o_busy)),
            ports.m_axi_awvalid.eq(store.o_aw_valid), ports.m_axi_awaddr.eq(store.o_aw_address),
            ports.m_axi_awlen.eq(store.o_aw_len), store.i_aw_ready.eq(ports.m_axi_awready),
            ports.m_axi_wvalid.eq(store.o_w_valid), ports.m_axi_wdata.eq(machine.o_store ^ signs),
            ports.m_axi_wstrb.eq(store.o_w_strobe), ports.m_axi_wlast.eq(store.o_w_last),
            store.i_w_ready.eq(ports.m_axi_wready), ports.m_axi_bready.eq(1),
            store.i_b.eq(ports.m_axi_bvalid),
        ]  # fmt: skip
        m.d.sync += [
            loads.eq(fifo.o_valid & machine.o_next_load),
            loaded.eq(fifo.o_data),
            moving.eq(machine.o_transfer & ~machine.i_transferred),
            arriving.eq(load.i_begin | (arriving & (load.o_busy | fifo.o_busy))),
        ]
        with m.If(load.i_begin):
            m.d.sync += flip.eq(job.flip)

        parts = [*fetchers.values(), store]
        self._run(m, registers, machine, parts, header, heading, clear, arriving)

        # --- Counters ---
        m.submodules.counters = counters = Counters(axi_bytes=size)
        m.d.comb += [
            counters.i_start.eq(registers.o_start), counters.i_busy.eq(registers.o_busy),
            counters.i_array.eq(machine.o_array), counters.i_weights.eq(machine.o_weights),
            counters.i_activations.eq(machine.o_activations),
            counters.i_read.eq(ports.m_axi_rvalid),
            counters.i_written.eq(ports.m_axi_wvalid & ports.m_axi_wready),
            *(
                getattr(registers, f"i_{name.removeprefix('o_')}").eq(getattr(counters, name))
                for name, member in counters.signature.members.items() if member.flow == Out
            ),
        ]  # fmt: skip
        return m

    def _gather(
        self, m: Module, fetcher: Fetcher, skip: Value, clear: Value, push: Value, data: Value,
        free: Value,
    ) -> None:  # fmt: skip
        """Make words of beats, and say how many beats there is room for."""
        ports: Any = self
        size, word = self.config.axi_bytes, self.config.word
        beat = fetcher.i_beat & ~skip
        per_word = word // size
        if per_word == 1:
            m.d.comb += [push.eq(beat), data.eq(ports.m_axi_rdata)]
        else:
            part = Signal(range(per_word), name=f"{fetcher.kind}_part")
            begun = Signal(8 * (word - size), name=f"{fetcher.kind}_begun", reset_less=True)
            with m.If(beat):
                m.d.sync += [part.eq(part + 1), begun.eq(Cat(begun, ports.m_axi_rdata)[8 * size :])]
            m.d.comb += [
                push.eq(beat & (part == per_word - 1)), data.eq(Cat(begun, ports.m_axi_rdata)),
            ]  # fmt: skip
            free = (free << (per_word.bit_length() - 1)) - part
            with m.If(clear):
                m.d.sync += part.eq(0)
        m.d.comb += fetcher.i_room.eq(_left(free, fetcher))

    def _run(
        self, m: Module, registers: Any, machine: Machine, parts: list[Any],
        header: Header, heading: Signal, clear: Signal,
        arriving: Signal,
    ) -> None:  # fmt: skip
        """Build the sequence of a run, and how it ends."""
        ports: Any = self
        code = Signal(8)
        index = Signal(16)  # of the job, which stays after the run
        stop = Signal()
        image = registers.o_image[: self.config.axi_addr_width]
        program, weights, *_ = parts
        fault = Signal(8)
        m.d.comb += [
            fault.eq(
                Mux(ports.m_axi_rvalid & ports.m_axi_rresp[1], 4,
                    Mux(ports.m_axi_bvalid & ports.m_axi_bresp[1], 5,
                        Mux(registers.o_abort, 1, 0)))
            ),
            *(part.i_stop.eq(stop) for part in parts),
            registers.i_code.eq(code), registers.i_job.eq(index),
        ]  # fmt: skip
        quiet = ~(Cat(part.o_busy for part in parts).any() | arriving)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(registers.o_start):
                    m.d.sync += [code.eq(0), stop.eq(0), heading.eq(1), index.eq(0)]
                    m.next = "HEADER"
            with m.State("HEADER"):
                with m.If(fault.any()):
                    m.d.sync += code.eq(fault)
                    m.next = "STOP"
                with m.Elif(registers.o_image[:6].any()):
                    m.d.sync += code.eq(6)
                    m.next = "STOP"
                with m.Else():
                    m.d.comb += [
                        program.i_begin.eq(1), program.i_address.eq(image),
                        program.i_bytes.eq(HEADER),
                    ]  # fmt: skip
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(fault.any()):
                    m.d.sync += code.eq(fault)
                    m.next = "STOP"
                with m.Elif(~program.o_busy):
                    m.d.sync += heading.eq(0)
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += code.eq(Mux(fault.any(), fault, 2))
                m.next = "STOP"
                with m.If(header.o_good & ~fault.any()):
                    m.d.sync += code.eq(0)
                    m.next = "RUN"
                with m.If(header.o_good):  # all of these stop again if there is a fault
                    m.d.comb += [
                        program.i_begin.eq(1), program.i_address.eq(image + HEADER),
                        program.i_bytes.eq(header.o_program_bytes),
                        weights.i_begin.eq(header.o_weights_bytes.any()),
                        weights.i_address.eq(image + header.o_weights_offset),
                        weights.i_bytes.eq(header.o_weights_bytes),
                        machine.i_start.eq(1),
                    ]  # fmt: skip
            with m.State("RUN"):
                m.d.sync += index.eq(machine.o_index)
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
