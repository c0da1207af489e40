"""A memory of SDRAM behind an AXI4 port, which a host reads and writes, too."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent
from .litedram import Core, LiteDram
from .memory import memory_ports

__all__ = ["Sdram"]

# Control of the pins, and commands, as LiteDRAM's registers have them.
_HARDWARE, _CKE, _ODT, _RESET_N = 1, 2, 4, 8
_CS, _WE, _CAS, _RAS = 1, 2, 4, 8
_ALL_BANKS = 1 << 10
#: Seconds that a chip is left alone for after power-up, and cycles after a command.
_POWER_UP, _PAUSE = 200e-6, 16
_REFRESHES = 8
_BURST_LENGTH_1 = 0


def bring_up(core: Core, clock: int) -> list[tuple[int, int, int]]:
    """Return what is to be written into which register before the chip can be used.

    Parameters
    ----------
    core : Core
    clock : int
        Cycles per second.

    Returns
    -------
    list of (int, int, int)
        Register, value, and the cycles to wait for afterwards. The sequence is JEDEC's.
    """
    register = core.registers

    def command(pins: int, address: int = 0) -> list[tuple[int, int, int]]:
        name = "sdram_dfii_pi0_"
        return [
            (register[f"{name}address"], address, 0), (register[f"{name}baddress"], 0, 0),
            (register[f"{name}command"], _CS | pins, 0),
            (register[f"{name}command_issue"], 1, _PAUSE),
        ]  # fmt: skip

    mode = core.cas_latency << 4 | _BURST_LENGTH_1
    return [
        (register["sdram_dfii_control"], _CKE | _ODT | _RESET_N, int(clock * _POWER_UP)),
        *command(_RAS | _WE, _ALL_BANKS),  # precharge
        *(step for _ in range(_REFRESHES) for step in command(_RAS | _CAS)),
        *command(_RAS | _CAS | _WE, mode),
        (register["sdram_dfii_control"], _HARDWARE, 0),
        (register["ddrctrl_init_done"], 1, 0),
    ]


class Sdram(SharedComponent):
    """LiteDRAM's controller, which this brings up after a reset.

    Addresses repeat after the last byte of the chip. Nothing is taken before the chip is up.

    Parameters
    ----------
    clock : int
        Cycles per second: of the design, and of the chip.
    axi_bytes : int
        Bytes of a beat.
    address : int
        Bits of an AXI4 address.

    Members
    -------
    i_ar..., o_r..., i_aw..., i_w..., o_b... : AXI4
        As of the accelerator, but for what never changes.
    i_request, i_write, i_address, i_write_data, o_grant, o_answer, o_read_data
        As of `Link`.
    o_sdram_a, and so on
        Pins of the chip, its clock apart; data are in, out, and whether they are driven.
    """

    def __init__(self, *, clock: int, axi_bytes: int, address: int) -> None:
        signature = memory_ports(axi_bytes, address) | {"i_awlen": In(8)}
        self.controller = LiteDram(clock=clock, axi_width=8 * axi_bytes)
        self.pins = [
            (f"{way[0]}_{name.removesuffix(f'_{way[0]}')}", name, bits)
            for way, name, bits in self.controller.core.ports if name.startswith("sdram_")
        ]  # fmt: skip
        for name, _, bits in self.pins:
            signature[name] = In(bits) if name.startswith("i_") else Out(bits)
        parameters = (clock, axi_bytes, address)
        super().__init__(kind="sdram", parameters=parameters, signature=signature, resets=True)
        self.clock, self.axi_bytes = clock, axi_bytes

    def body(self, platform: object) -> Module:
        """Wire the controller's ports, and bring it up."""
        m = Module()
        ports: Any = self
        inner: Any = self.controller
        m.submodules.controller = self.controller
        for name, own, _ in self.pins:
            if name.startswith("i_"):
                m.d.comb += getattr(inner, own).eq(getattr(ports, name))
            else:
                m.d.comb += getattr(ports, name).eq(getattr(inner, own))
        for name in self.signature.members:
            channel = f"user_port_axi_{name[2:]}"
            if hasattr(inner, channel) and name.startswith("i_"):
                m.d.comb += getattr(inner, channel).eq(getattr(ports, name))
            elif hasattr(inner, channel):
                m.d.comb += getattr(ports, name).eq(getattr(inner, channel))
        size = (self.axi_bytes - 1).bit_length()
        for channel in ("ar", "aw"):
            m.d.comb += [
                getattr(inner, f"user_port_axi_{channel}burst").eq(1),  # INCR
                getattr(inner, f"user_port_axi_{channel}size").eq(size),
            ]

        # --- The host: one word at a time ---
        answer = Signal()
        data = Signal(32, reset_less=True)
        done = inner.user_port_host_ack
        m.d.comb += [
            inner.user_port_host_cyc.eq(ports.i_request),
            inner.user_port_host_stb.eq(ports.i_request),
            inner.user_port_host_we.eq(ports.i_write),
            inner.user_port_host_adr.eq(ports.i_address),
            inner.user_port_host_dat_w.eq(ports.i_write_data), inner.user_port_host_sel.eq(15),
            ports.o_grant.eq(done), ports.o_answer.eq(answer), ports.o_read_data.eq(data),
        ]  # fmt: skip
        m.d.sync += [answer.eq(done), data.eq(inner.user_port_host_dat_r)]

        # --- After a reset ---
        steps = bring_up(self.controller.core, self.clock)
        step = Signal(range(len(steps) + 1))
        wait = Signal(range(max(cycles for *_, cycles in steps) + 1))
        target, value, pause = (
            Array(Const(one[part], max(entry[part] for entry in steps).bit_length())
                  for one in steps)[step]
            for part in range(3)
        )  # fmt: skip
        asks = (step != len(steps)) & (wait == 0)
        m.d.comb += [
            inner.wb_ctrl_cyc.eq(asks), inner.wb_ctrl_stb.eq(asks), inner.wb_ctrl_we.eq(1),
            inner.wb_ctrl_sel.eq(15), inner.wb_ctrl_adr.eq(target), inner.wb_ctrl_dat_w.eq(value),
        ]  # fmt: skip
        with m.If(asks & inner.wb_ctrl_ack):
            m.d.sync += [step.eq(step + 1), wait.eq(pause)]
        with m.Else():
            m.d.sync += wait.eq(Mux(wait == 0, 0, wait - 1))
        return m
