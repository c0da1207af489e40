"""The boards that designs are built for, and the options that describe a design."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from report.errors import UserError

from ..accelerator.config import AcceleratorConfig
from ..config import ArrayConfig
from .config import DEFAULTS, BoardConfig

__all__ = ["BAUD", "BOARDS", "CLOCK", "BoardKind", "add_options", "design_of"]

#: Baud where nothing else is asked for, and MHz where no board is.
BAUD, CLOCK = 2_000_000, 50.0


@dataclass(frozen=True, kw_only=True)
class BoardKind:
    """A board as `amaranth-boards` describes it.

    Parameters
    ----------
    module, platform : str
        Where its description is.
    lights : tuple of (str, int, str)
        Resource, number and part of the lights for busy, done and error.
    clock : float
        MHz where nothing else is asked for.
    button : tuple of (str, int), optional
        Resource of a button that resets.
    loader : tuple of (str, str)
        Variable that names the tool that programs it, and the tool.
    sdram : bool
        It has SDRAM that this project's designs can use.
    wires : tuple of (str, str), optional
        Pins of the connector ``io_0`` where a serial adapter is to be wired, if the board has none:
        to the board, and from it.
    """

    module: str
    platform: str
    lights: tuple[tuple[str, int, str], ...]
    clock: float = CLOCK
    button: tuple[str, int] | None = None
    loader: tuple[str, str] = ("OPENFPGALOADER", "openFPGALoader")
    sdram: bool = False
    wires: tuple[str, str] | None = None


_RGB = (("rgb_led", 0, "b"), ("rgb_led", 0, "g"), ("rgb_led", 0, "r"))

BOARDS = {
    "ulx3s-85f": BoardKind(
        module="ulx3s", platform="ULX3S_85F_Platform",
        lights=(("led", 0, ""), ("led", 1, ""), ("led", 2, "")), button=("button_fire", 0),
        sdram=True,
    ),
    "ecpix5-85f": BoardKind(module="ecpix5", platform="ECPIX585Platform", lights=_RGB,
                            button=("rst", 0)),
    "orangecrab-r0.2-85f": BoardKind(
        module="orangecrab_r0_2", platform="OrangeCrabR0_2_85FPlatform", lights=_RGB,
        clock=48.0, button=("button", 0), wires=("0", "1"),
        loader=("DFU_UTIL", "dfu-util"),
    ),
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe a board's design; `design_of` reads them."""
    group = parser.add_argument_group("board")
    memory = group.add_mutually_exclusive_group()
    memory.add_argument(
        "--memory-kib", type=int, default=288, help="KiB of block RAM for the image and tensors"
    )
    memory.add_argument(
        "--sdram", action="store_true", help="the board's SDRAM holds them, not block RAM"
    )
    group.add_argument(
        "--clock", type=float, default=argparse.SUPPRESS, metavar="MHZ",
        help="of the design (default: 50, or 48 if the board has that)",
    )  # fmt: skip
    group.add_argument("--baud", type=int, default=BAUD, help="of the serial port")
    ArrayConfig.add_options(parser)
    AcceleratorConfig.add_options(parser)
    parser.set_defaults(**DEFAULTS)


def design_of(arguments: argparse.Namespace, clock: float = CLOCK) -> BoardConfig:
    """Return the design that options describe, with a clock of so many MHz if they name none.

    Raises
    ------
    UserError
        If there is none.
    """
    megahertz = getattr(arguments, "clock", clock)
    if not 1 <= megahertz <= 400:
        raise UserError(f"--clock must be 1 to 400 MHz, not {megahertz:g}")
    return BoardConfig(
        accelerator=AcceleratorConfig.from_options(ArrayConfig.from_options(arguments), arguments),
        memory_kib=arguments.memory_kib, clock=round(1e6 * megahertz),
        baud=arguments.baud, sdram=arguments.sdram,
    )  # fmt: skip
