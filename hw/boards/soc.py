"""What is on a board: the accelerator, its memory, and a link to a host."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..accelerator.accelerator import Accelerator
from ..accelerator.fifo import Fifo
from ..accelerator.registers import REGISTERS
from ..share import SharedComponent
from .config import BoardConfig
from .link import Link
from .memory import HOST, BoardMemory
from .sdram import Sdram
from .uart import Receiver, Transmitter

__all__ = ["QUEUE", "Soc"]

#: Bytes that may be on their way to the board.
QUEUE = 1024
#: What a packet waits for its next byte: so many bytes, but 20 ms at least, as USB adapters pause.
_PATIENCE, _LEAST = 64, 50
#: Cycles from one look at the status to the next.
_LOOKS = 4096


class Soc(SharedComponent):
    """A host loads an image and inputs over the wire, starts a run, and reads the outputs.

    Parameters
    ----------
    design : BoardConfig

    Members
    -------
    i_rx, o_tx : 1
        The wire.
    o_busy, o_done, o_error : Out(1) each
        Lights: bits of STATUS.
    i_sdram_..., o_sdram_...
        Pins of the chip, if the design has one; as of `Sdram`.
    """

    i_rx: Signal
    o_tx: Signal
    o_busy: Signal
    o_done: Signal
    o_error: Signal

    def __init__(self, *, design: BoardConfig) -> None:
        names = ("tx", "busy", "done", "error")
        signature: dict[str, Any] = {"i_rx": In(1)} | {f"o_{name}": Out(1) for name in names}
        config = design.accelerator
        self.store: BoardMemory | Sdram
        if design.sdram:
            self.store = Sdram(
                clock=design.clock, axi_bytes=config.axi_bytes, address=config.axi_addr_width
            )
            pins = {name for name, *_ in self.store.pins}
            signature |= {n: m for n, m in self.store.signature.members.items() if n in pins}
        else:
            self.store = BoardMemory(
                size=design.memory_bytes, axi_bytes=config.axi_bytes, address=config.axi_addr_width
            )
        super().__init__(kind="core", parameters=design, signature=signature, resets=True)
        self.design = design

    def body(self, platform: object) -> Module:
        """Wire the parts."""
        m = Module()
        design, config, divisor = self.design, self.design.accelerator, self.design.divisor
        m.submodules.accelerator = core = Accelerator(config=config, kind="accelerator")
        m.submodules.memory = self.store
        m.submodules.receiver = receiver = Receiver(divisor=divisor)
        m.submodules.transmitter = transmitter = Transmitter(divisor=divisor)
        m.submodules.queue = queue = Fifo(depth=QUEUE, width=8, kind="byte_queue")
        m.submodules.link = link = Link(
            memory=design.memory_bytes, clock=design.clock, queue=QUEUE,
            patience=max(10 * divisor * _PATIENCE, design.clock // _LEAST),
        )  # fmt: skip
        bus: Any = core
        host: Any = link
        store: Any = self.store
        m.d.comb += [
            receiver.i_rx.eq(self.i_rx), self.o_tx.eq(transmitter.o_tx),
            queue.i_push.eq(receiver.o_valid & queue.o_room.any()),
            queue.i_data.eq(receiver.o_data), queue.i_pop.eq(host.o_take),
            host.i_valid.eq(queue.o_valid), host.i_data.eq(queue.o_data),
            transmitter.i_valid.eq(host.o_valid), transmitter.i_data.eq(host.o_data),
            host.i_ready.eq(transmitter.o_ready),
            store.i_request.eq(host.o_request), store.i_write.eq(host.o_write),
            store.i_address.eq(host.o_address), store.i_write_data.eq(host.o_write_data),
            host.i_grant.eq(store.o_grant), host.i_answer.eq(store.o_answer),
            host.i_read_data.eq(store.o_read_data),
        ]  # fmt: skip
        for name in store.signature.members:
            if name in HOST:
                continue
            pin = name in self.signature.members
            ours = getattr(self, name) if pin else getattr(bus, f"m_axi_{name[2:]}")
            theirs = getattr(store, name)
            m.d.comb += theirs.eq(ours) if name.startswith("i_") else ours.eq(theirs)
        self._registers(m, bus, host)
        return m

    def _registers(self, m: Module, bus: Any, host: Any) -> None:
        """Give the registers to the link, and look at the status while it does not read one."""
        lights = Signal(3)
        wait = Signal(range(_LOOKS))
        looks = Signal()  # the read that goes on is ours; the registers take one at a time
        due = wait == _LOOKS - 1
        ours = due & ~host.o_arvalid
        status = next(one.offset for one in REGISTERS if one.name == "STATUS")
        starts = bus.s_axi_ctl_arvalid & bus.s_axi_ctl_arready
        m.d.sync += wait.eq(Mux(due, wait, wait + 1))
        m.d.comb += [
            bus.s_axi_ctl_awvalid.eq(host.o_awvalid), bus.s_axi_ctl_awaddr.eq(host.o_awaddr),
            bus.s_axi_ctl_wvalid.eq(host.o_wvalid), bus.s_axi_ctl_wdata.eq(host.o_wdata),
            bus.s_axi_ctl_wstrb.eq(15), bus.s_axi_ctl_bready.eq(1), bus.s_axi_ctl_rready.eq(1),
            host.i_awready.eq(bus.s_axi_ctl_awready), host.i_wready.eq(bus.s_axi_ctl_wready),
            host.i_bvalid.eq(bus.s_axi_ctl_bvalid), host.i_bresp.eq(bus.s_axi_ctl_bresp),
            bus.s_axi_ctl_arvalid.eq(host.o_arvalid | ours),
            bus.s_axi_ctl_araddr.eq(Mux(ours, status, host.o_araddr)),
            host.i_arready.eq(bus.s_axi_ctl_arready),
            host.i_rvalid.eq(bus.s_axi_ctl_rvalid),
            host.i_rdata.eq(bus.s_axi_ctl_rdata), host.i_rresp.eq(bus.s_axi_ctl_rresp),
            Cat(self.o_busy, self.o_done, self.o_error).eq(lights),
        ]  # fmt: skip
        with m.If(starts):
            m.d.sync += looks.eq(ours)
            with m.If(ours):
                m.d.sync += wait.eq(0)
        with m.If(bus.s_axi_ctl_rvalid & looks):
            m.d.sync += lights.eq(bus.s_axi_ctl_rdata[:3])
