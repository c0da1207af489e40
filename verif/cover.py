"""What the suites cover of the emitted Verilog, and of the core's commands: ``make coverage``.

Writes docs/coverage.md and docs/coverage.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, TypeAlias

from hw.accelerator.config import AcceleratorConfig
from hw.config import ArrayConfig, Command, CommandError
from report.command import OneLineParser
from report.files import write_atomically
from report.jobs import ExecutorError, add_executor_options, executor, run_jobs
from report.output import run as run_command
from report.tables import Sheet
from sim.accelerator.rtl import AcceleratorSimulator
from sim.rtl import Simulator
from sim.rtl.toolchain import find_verilator
from verif.lib.suite import CONFIGS, GROUPS, Run, check, runs
from verif.mutate import accelerator

DOCS = Path(__file__).parents[1] / "docs"
KINDS = ("line", "branch", "toggle")

#: A point of the emitted Verilog: module, kind, and what it is.
Point = tuple[str, str, str]
#: A command in its surroundings: what came before, the command, and whether streams paused.
Bin = tuple[str, str, str]
Config: TypeAlias = ArrayConfig | AcceleratorConfig
Result = tuple[Config, Counter[Point], Counter[Bin], int]


def points(folder: Path) -> Counter[Point]:
    """Return how often each point was reached, the most in any instance of its module."""
    found: Counter[Point] = Counter()
    for path in folder.glob("*.dat"):
        for line in path.read_text().splitlines()[1:]:
            text, count = re.fullmatch(r"C '(.*)' (\d+)", line).groups()  # type: ignore[union-attr]
            fields = dict(field.split("\2") for field in text.split("\1")[1:])
            kind, module = fields["page"].removeprefix("v_").split("/")
            what = fields["o"] if kind == "toggle" else f"line {fields['l']} {fields['o']}"
            point = (re.sub("^stos_[a-z]+_?", "", module) or "top", kind, what)
            found[point] = max(found[point], int(count))
    return found


def commands(run: Run, config: ArrayConfig) -> list[Bin]:
    """Return the functional bin of every command of a run."""
    words = run.words or [tile.command.encode() for tile in run.tiles]
    before, found = "reset", []
    pauses = "stalled" if run.stalls and run.stalls.any else "full speed"
    kept = False
    for word in words:
        try:
            command = Command.decode(word)
            command.check(config, kept=kept)
        except CommandError:
            found.append((before, "illegal", pauses))
            before = f"{before.removesuffix(' + illegal')} + illegal"
            continue
        kept = command.emit == 0
        mode = "ST-OS" if command.st_os else "GEMM"
        emit = {0: "keeps", config.cols: "all columns"}.get(command.emit, "some columns")
        depth = "K = 1" if command.depth == 1 else "K = 65535" if command.depth == 65535 else "K"
        folds = {1: "", 65535: ", F = 65535"}.get(command.folds, ", folds")
        more = ", continues" if command.accumulate else ""
        found.append((before, f"{mode}, {depth}{folds}, {emit}{more}", pauses))
        before = f"{mode} {'kept' if kept else 'emitted'}"
    return found


def measure(config: Config) -> tuple[Counter[Point], Counter[Bin], int]:
    """Run its suite on one machine; return what was reached, and the number of runs."""
    bins: Counter[Bin] = Counter()
    count = 0
    with tempfile.TemporaryDirectory(prefix="stos-") as name:
        if isinstance(config, AcceleratorConfig):
            core = AcceleratorSimulator(config, coverage=Path(name))
            for question in accelerator.questions(config):
                assert not question.killed(core, 0)
                count += 1
            core.close()
            return points(Path(name)), bins, count
        simulator = Simulator(config, coverage=Path(name))
        for group in GROUPS:
            for run in runs(config, group):
                check(simulator, run)
                bins.update(commands(run, config))
                count += 1
        simulator.close()
        return points(Path(name)), bins, count


def possible() -> set[Bin]:
    """Return all bins that a core with several columns and ST-OS can have."""
    legal = set()
    for mode, emit, depth in itertools.product(
        ("GEMM", "ST-OS"), ("keeps", "some columns", "all columns"), ("K = 1", "K")
    ):
        for folds in ("", ", folds") if mode == "ST-OS" and emit != "keeps" else ("",):
            for more in ("", ", continues") if not folds else ("",):
                legal.add((f"{mode}, {depth}{folds}, {emit}{more}", bool(more)))
    states = ("GEMM kept", "GEMM emitted", "ST-OS kept", "ST-OS emitted", "reset")
    befores = [*states, *(f"{state} + illegal" for state in states)]
    pauses = ("full speed", "stalled")
    found = {(b, "illegal", p) for b, p in itertools.product(befores, pauses)}
    for before, (what, continues), pause in itertools.product(befores, legal, pauses):
        if not continues or "kept" in before:
            found.add((before, what, pause))
    return found


def _share(found: list[int]) -> str:
    return f"{found[0]:,} of {found[1]:,}" if found[1] else ""


class Structure:
    """Points of some machines that were reached, and that were not."""

    def __init__(self, results: list[Result]) -> None:
        self.totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        self.holes: dict[str, set[str]] = defaultdict(set)
        self.runs = sum(one[3] for one in results)
        self.machines = [one[0].flags() for one in results]
        for config, reached, _, _ in results:
            for (module, kind, what), count in reached.items():
                self.totals[module, kind][0] += count > 0
                self.totals[module, kind][1] += 1
                if not count:
                    self.holes[f"{module}: {what} ({kind})"].add(config.flags())

    def sheet(self, title: str) -> Sheet:
        """Return the table of modules."""
        totals = self.totals
        rows = [
            (module, *(_share(totals.get((module, kind), [0, 0])) for kind in KINDS))
            for module in dict.fromkeys(module for module, _ in sorted(totals))
        ]
        every = [
            [sum(totals[m, k][i] for m, k in totals if k == kind) for i in (0, 1)] for kind in KINDS
        ]
        rows.append(("total", *(_share(found) for found in every)))
        return Sheet(title=title, columns=("module", *KINDS), rows=rows)

    def merged(self) -> dict[str, int]:
        """Return the holes, bits of a signal as one, and how many there are of each."""
        found = Counter(re.sub(r"\[\d+\]", "[...]", name) for name in self.holes)
        return dict(sorted(found.items()))

    def missing(self) -> str:
        """Return the list of the lines and branches among the holes, and the count of toggles."""
        lines = [name for name in self.merged() if not name.endswith("(toggle)")]
        toggles = sum("(toggle)" in name for name in self.holes)
        return "".join(f"- {name}\n" for name in lines) + (
            f"- {toggles:,} toggles: `coverage.json` names them\n"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as it is written as JSON."""
        return {
            "runs": self.runs,
            "machines": self.machines,
            "points": {f"{m} {k}": v for (m, k), v in sorted(self.totals.items())},
            "holes": self.merged(),
        }


def report(results: list[Result]) -> tuple[str, str]:
    """Return the page and the data."""
    cores = Structure([one for one in results if isinstance(one[0], ArrayConfig)])
    accelerators = Structure([one for one in results if isinstance(one[0], AcceleratorConfig)])
    bins: Counter[Bin] = Counter()
    for _, _, seen, _ in results:
        bins += seen
    legal = possible()
    befores = sorted({before for before, *_ in legal})
    functional = Sheet(
        title="Commands in their surroundings",
        columns=("after", "bins at full speed", "bins with stalls", "commands"),
        rows=[
            (
                before,
                *(
                    _share([len({b for b in wanted if bins[b]}), len(wanted)])
                    for pause in ("full speed", "stalled")
                    for wanted in [[b for b in legal if b[0] == before and b[2] == pause]]
                ),
                f"{sum(count for b, count in bins.items() if b[0] == before):,}",
            )
            for before in befores
        ],
    )
    missing = sorted(b for b in legal if not bins[b])
    text = f"""\
# What the suites cover

Measured by `make coverage` with {find_verilator().version.split(" rev")[0]}: {cores.runs:,} runs of
`verif/lib/suite.py` on {len(cores.machines)} cores, and {accelerators.runs:,} of
`verif/mutate/accelerator.py` on {len(accelerators.machines)} accelerators. A point of a module
counts as reached if some instance reached it; a toggle is one direction of one bit.

{cores.sheet("Points of the cores' Verilog").markdown()}
A bin is a command (mode, K = 1 or more, one fold or several, what it emits, whether it continues)
after what came before it. The 16-bit ends of K and F are a group of their own (`limits`).

{functional.markdown()}
{accelerators.sheet("Points of the accelerators' Verilog").markdown()}
Networks are random, with and without stalls; the rest are bus errors, aborts, images that were
changed, and accesses to all registers.

## Holes

{"".join(f"- {' / '.join(b)}{chr(10)}" for b in missing)}
Of the cores:

{cores.missing()}
Of the accelerators:

{accelerators.missing()}"""
    data = {
        "cores": cores.to_dict(),
        "accelerators": accelerators.to_dict(),
        "commands": {" / ".join(b): n for b, n in sorted(bins.items())},
        "missing": [" / ".join(b) for b in missing],
    }
    return text, json.dumps(data, indent=1) + "\n"


def main() -> int:
    """Run the command line; return the exit status."""
    parser = OneLineParser("verif.cover", "Measure what the suites cover.")
    add_executor_options(parser)
    arguments: argparse.Namespace = parser.parse_args()
    configs: list[Config] = [
        *accelerator.CONFIGS,
        *(config for config in CONFIGS if config.cols < 16),
    ]
    try:
        with executor(arguments) as pool:
            names = [config.flags() for config in configs]
            results = run_jobs(pool, measure, [(config,) for config in configs], names)
    except ExecutorError as error:
        print(f"verif.cover: {error}", file=sys.stderr)
        return 1
    merged = [(config, *result) for config, result in zip(configs, results, strict=True)]
    text, data = report(merged)
    write_atomically({DOCS / "coverage.md": text, DOCS / "coverage.json": data})
    print(text)
    return 0


if __name__ == "__main__":
    run_command(main, "verif.cover")
