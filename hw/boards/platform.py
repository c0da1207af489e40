"""A design on the pins of a board, as `amaranth-boards` describes it."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from amaranth.build import Attrs
from amaranth.build.run import BuildPlan, LocalBuildProducts
from amaranth.hdl import (
    ClockDomain,
    ClockSignal,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Signal,
)  # fmt: skip
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer
from amaranth_boards.resources import UARTResource

from report.errors import Failure, UserError

from .catalog import BOARDS, BoardKind
from .config import BoardConfig
from .ecp5 import WHOLE, pack_product_register

__all__ = ["plan", "pll", "program"]

# MHz of the phase detector and of the oscillator of an ECP5.
_DETECTOR, _OSCILLATOR = (3.125, 400), (400, 800)


def pll(given: float, wanted: float) -> tuple[int, int, int]:
    """Return the divisors of input, feedback and output of the PLL of an ECP5.

    Parameters
    ----------
    given, wanted : float
        MHz of the input and the output.

    Raises
    ------
    UserError
        If none give the output, to a tenth of a percent.
    """
    found = []
    for divide in range(1, 129):
        detector = given / divide
        multiply = round(wanted / detector)
        if not (_DETECTOR[0] <= detector <= _DETECTOR[1] and 1 <= multiply <= 80):
            continue
        out = detector * multiply
        for post in range(1, 129):
            if _OSCILLATOR[0] <= out * post <= _OSCILLATOR[1]:
                middle = abs(out * post - sum(_OSCILLATOR) / 2)
                found.append((abs(out / wanted - 1), middle, divide, multiply, post))
    error, _, *divisors = min(found, default=(1.0, 0, 0, 0, 0))
    if error > 1e-3:
        raise UserError(f"no PLL makes {wanted:g} MHz of {given:g}; whole MHz are easier")
    return divisors[0], divisors[1], divisors[2]


class _Design(Elaboratable):
    """Clock, reset, pins, and the emitted design behind them."""

    def __init__(
        self, kind: BoardKind, design: BoardConfig, divisors: tuple[int, int, int]
    ) -> None:
        self.kind, self.design, self.divisors = kind, design, divisors

    def elaborate(self, platform: Any) -> Module:
        """Request the resources, and wire them."""
        m = Module()
        kind = self.kind
        m.domains.sync = ClockDomain()

        def take(port: Any) -> Any:
            """Return what an input says."""
            buffer = io.Buffer(io.Direction.Input, port)
            m.submodules += buffer
            return buffer.i

        def give(port: Any, value: Any) -> None:
            """Drive an output."""
            buffer = io.Buffer(io.Direction.Output, port)
            m.submodules += buffer
            m.d.comb += buffer.o.eq(value)

        clock = take(platform.request(platform.default_clk, dir="-"))
        divide, multiply, post = self.divisors
        fast, locked = Signal(), Signal()
        late: dict[str, Any] = {}
        if self.design.sdram:  # the chip's clock, a quarter of a cycle after the design's
            m.domains.chip = ClockDomain(reset_less=True)
            late = {
                "p_CLKOS_ENABLE": "ENABLED", "p_CLKOS_DIV": post,
                "p_CLKOS_FPHASE": 2 * (post % 4),  # eighths of the oscillator's period
                "p_CLKOS_CPHASE": post // 2 + post // 4, "o_CLKOS": ClockSignal("chip"),
            }  # fmt: skip
        m.submodules.pll = Instance(
            "EHXPLLL",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED", p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC", p_OUTDIVIDER_MUXD="DIVD", p_CLKI_DIV=divide,
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=post, p_CLKOP_CPHASE=post // 2,
            p_CLKOP_FPHASE=0, p_FEEDBK_PATH="CLKOP", p_CLKFB_DIV=multiply,
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            i_RST=0, i_STDBY=0, i_CLKI=clock, o_CLKOP=fast, i_CLKFB=fast, i_PHASESEL0=0,
            i_PHASESEL1=0, i_PHASEDIR=1, i_PHASESTEP=1, i_PHASELOADREG=1, i_PLLWAKESYNC=0,
            i_ENCLKOP=0, o_LOCK=locked, **late,
        )  # fmt: skip
        m.d.comb += ClockSignal().eq(fast)  # the tools derive its frequency
        reset = ~locked
        if kind.button:
            reset = reset | take(platform.request(*kind.button, dir="-"))
        m.submodules.reset = ResetSynchronizer(reset)

        if kind.wires:
            rx, tx = kind.wires
            attributes = Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")
            platform.add_resources(
                [UARTResource(0, rx=rx, tx=tx, conn=("io", 0), attrs=attributes)]
            )
        wire = platform.request("uart", 0, dir="-")
        lamps: dict[tuple[str, int], Any] = {}
        shown = Signal(3)
        for index, (name, number, part) in enumerate(kind.lights):
            if (name, number) not in lamps:
                lamps[name, number] = platform.request(name, number, dir="-")
            lamp = lamps[name, number]
            give(getattr(lamp, part) if part else lamp, shown[index])
        sent = Signal()
        give(wire.tx, sent)
        chip = self._chip(m, platform.request("sdram", 0, dir="-")) if self.design.sdram else {}
        m.submodules.board = Instance(
            "stos_board", i_clk=ClockSignal(), i_rst=ResetSignal(), i_i_rx=take(wire.rx),
            o_o_tx=sent, o_o_busy=shown[0], o_o_done=shown[1], o_o_error=shown[2],
            **chip,
        )  # fmt: skip
        return m

    def _chip(self, m: Module, pins: Any) -> dict[str, Any]:
        """Give the pins of the SDRAM their buffers; return the ports of the design for them."""
        clock: Any = io.DDRBuffer(io.Direction.Output, pins.clk, o_domain="chip")
        m.submodules.chip_clock = clock
        m.d.comb += clock.o.eq(0b01)  # high in the first half of a cycle
        ports: dict[str, Any] = {}
        names = {
            "a": "a", "ba": "ba", "cas_n": "cas", "cke": "clk_en", "cs_n": "cs", "dm": "dqm",
            "ras_n": "ras", "we_n": "we",
        }  # fmt: skip
        for name, own in names.items():
            pin = getattr(pins, own)  # names ending in _n say what is at the pin
            buffer = io.Buffer(
                io.Direction.Output, io.SingleEndedPort(pin.io, direction=io.Direction.Output)
            )
            m.submodules += buffer
            ports[f"o_o_sdram_{name}"] = buffer.o
        data = Signal(len(pins.dq))
        driven, given = Signal.like(data), Signal.like(data)
        for index in range(len(data)):
            m.submodules[f"data_{index}"] = buffer = io.Buffer(io.Direction.Bidir, pins.dq[index])
            m.d.comb += [
                buffer.o.eq(given[index]),
                buffer.oe.eq(driven[index]),
                data[index].eq(buffer.i),
            ]
        ports |= {"i_i_sdram_dq": data, "o_o_sdram_dq": given, "o_o_sdram_dq_oe": driven}
        return ports


def _platform(board: str) -> Any:
    kind = BOARDS[board]
    module = importlib.import_module(f"amaranth_boards.{kind.module}")
    return getattr(module, kind.platform)()


def plan(board: str, design: BoardConfig, text: str, seed: int, name: str) -> BuildPlan:
    """Return the files that build a design, and the script that does it.

    Parameters
    ----------
    board : str
    design : BoardConfig
    text : str
        Its Verilog.
    seed : int
        Of the placer.
    name : str
        Of the top module, and of the files.
    """
    platform = _platform(board)
    divisors = pll(platform.default_clk_frequency / 1e6, design.clock / 1e6)
    platform.add_file("stos_board.v", text)
    commands, array = "", design.accelerator.array
    extra: dict[str, str] = {}
    if array.mac_stages == 2:
        commands, extra = pack_product_register(array, name)
    for file, text in extra.items():
        commands = commands.replace(file, f"{file}.txt")  # it is none of the design's
        platform.add_file(f"{file}.txt", text)
    before = dict(os.environ)
    for variable in ("YOSYS", "NEXTPNR_ECP5", "ECPPACK", "OPENFPGALOADER"):
        os.environ.setdefault(variable, "true")  # they are looked for even if none is run
    try:
        return _built(platform, _Design(BOARDS[board], design, divisors), name, commands, seed)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _built(platform: Any, top: _Design, name: str, commands: str, seed: int) -> BuildPlan:
    """Return the files of a design."""
    found: BuildPlan = platform.build(
        top, name=name, do_build=False,
        script_after_read=commands + WHOLE.format(top=name), synth_opts="-run check:",
        nextpnr_opts=f"--placer static --seed {seed} --report report.json --timing-allow-fail",
    )  # fmt: skip
    return found


def program(board: str, bits: Path, tools: dict[str, str]) -> None:
    """Load a bitstream into a board, with the tool that its description names.

    Raises
    ------
    Failure
        If that fails.
    """
    os.environ.update(tools)
    try:
        _platform(board).toolchain_program(LocalBuildProducts(bits.parent), bits.stem)
    except (OSError, CalledProcessError) as error:
        raise Failure(f"the board cannot be programmed: {error}") from error
