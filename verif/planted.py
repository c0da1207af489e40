"""Plant bugs in the gateware's source, and see who notices: ``make planted``.

Each bug is tried on a copy of the project: the unit test of its component, and the core's suite.
Writes docs/planted.md and docs/planted.json; a bug that neither notices ends with exit status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from hw.config import ArrayConfig
from report.command import OneLineParser
from report.files import write_atomically
from report.jobs import ExecutorError, add_executor_options, executor, run_jobs
from report.output import run as run_command
from report.tables import Sheet
from sim.rtl import RtlError, Simulator
from verif.lib.suite import GROUPS, check, runs

ROOT = Path(__file__).parents[1]
ST_OS = ArrayConfig(rows=3, cols=5, st_os=True)
HIGH = ArrayConfig(rows=5, cols=3, st_os=True, act_width=5, acc_width=19)
ONE = ArrayConfig(rows=5, cols=3, st_os=True, accumulators=1)
PLAIN = ArrayConfig(rows=3, cols=5)
TWO_STAGES = ArrayConfig(rows=3, cols=4, st_os=True, mac_stages=2)


@dataclass(frozen=True)
class Bug:
    """A bug: `old` becomes `new` in the source of a component.

    Parameters
    ----------
    component, what : str
        Name of the component's unit test, and the bug in words.
    file : str
        In ``hw/``.
    old, new : str
        `old` stands there once.
    config : ArrayConfig
        The core that the suite runs on.
    """

    component: str
    what: str
    file: str
    old: str
    new: str
    config: ArrayConfig = ST_OS


BUGS = [
    Bug("controller", "emit = C + 1 is legal", "control/command_port.py",
        "command.emit <= cols", "command.emit <= cols + 1"),
    Bug("controller", "emit = C is illegal", "control/command_port.py",
        "command.emit <= cols", "command.emit < cols"),
    Bug("controller", "reserved bit 63 is not checked", "control/command_port.py",
        "command.reserved == 0", "command.reserved[:-1] == 0"),
    Bug("controller", "depth 0 is legal", "control/command_port.py",
        "(command.depth != 0)", "(command.depth >= 0)"),
    Bug("controller", "folds = 0 is legal", "control/command_port.py",
        "with m.If(command.folds == 0):", "with m.If(command.folds == 0xFFFF):"),
    Bug("controller", "accumulate is legal after a command that emits", "control/command_port.py",
        "(~command.accumulate | kept)", "(~command.accumulate | kept | 1)"),
    Bug("controller", "C + 1 taps are legal", "control/command_port.py",
        "(command.depth > cols)", "(command.depth > cols + 1)"),
    Bug("controller", "several folds that keep their sums are legal", "control/command_port.py",
        "command.st_os & ~keeps & ~command.accumulate", "command.st_os & ~command.accumulate"),
    Bug("controller", "ST-OS is legal on a plain core", "control/command_port.py",
        "with m.If(command.st_os | ~single):", "with m.If(~single):", PLAIN),
    Bug("controller", "an illegal command changes what is kept", "control/command_port.py",
        "        with m.If(accept):\n", "        with m.If(accept):\n            "
        "m.d.sync += kept.eq(keeps)\n"),
    Bug("controller", "results: the last fold counts as wide as the others", "control/rules.py",
        "                self._fold_width.eq(following),\n", "", ST_OS),
    Bug("controller", "results: the fold before may still be leaving", "control/rules.py",
        "self.room.eq(apart & ~self._draining)", "self.room.eq(apart)"),
    Bug("controller", "results: the new width does not count", "control/rules.py",
        "self.room.eq(apart & ~self._draining)", "self.room.eq(~self._draining)"),
    Bug("controller", "ST-OS one step too early after GEMM", "control/rules.py",
        "m.d.sync += [wave.eq(wave_after), settled.eq(wave_after == 0)]",
        "m.d.sync += [wave.eq(wave_after - 1), settled.eq(wave_after <= 1)]"),
    Bug("controller", "no bubble between ST-OS and GEMM", "control/rules.py",
        "Mux(st_os, settled, ~southward)", "Mux(st_os, settled, 1)"),
    Bug("controller", "dropped sums are not cleared", "control/sequencer.py",
        "m.d.sync += self.clear.eq(command.clear)", "m.d.sync += self.clear.eq(0)"),
    Bug("controller", "one accumulator: a kept fold counts with its own width",
        "control/command_port.py", "m.d.comb += width.eq(cols)", "m.d.comb += width.eq(1)", ONE),
    Bug("controller", "weights are taken without activations", "control/controller.py",
        "self.o_wgt_ready.eq(self.i_en & go & self.i_act_valid & beat.tap)",
        "self.o_wgt_ready.eq(self.i_en & go & beat.tap)"),
    Bug("controller", "depth is counted with 15 bits", "control/sequencer.py",
        "self._taps_left.eq(command.depth_1)", "self._taps_left.eq(command.depth_1[:15])"),
    Bug("controller", "folds are counted with 15 bits", "control/sequencer.py",
        "folds.eq(command.folds),", "folds.eq(command.folds[:15]),"),
    Bug("controller", "cmd_error is not kept", "control/command_port.py",
        "            with m.If(legal):\n", "            m.d.sync += self.error.eq(0)\n"
        "            with m.If(legal):\n"),
    Bug("pe", "the sum does not start from zero", "array/pe.py",
        "m.d.sync += acc.eq(0)", "m.d.sync += acc.eq(1)"),
    Bug("pe", "a result is not held for its release", "array/pe.py",
        "m.d.sync += held.eq(~self.i_release & (held | finish))", "m.d.sync += held.eq(finish)"),
    Bug("pe", "one accumulator: a result is not held", "array/pe.py",
        "held.eq(~self.i_release & (held | (valid & mark)))", "held.eq(valid & mark)", ONE),
    Bug("pe", "weights are unsigned", "array/pe.py",
        "weight = Signal(signed(config.weight_width)", "weight = Signal((config.weight_width)"),
    Bug("pe", "activations move when they should stand", "array/pe.py",
        "with m.If(self.i_move):", "with m.If(self.i_en):"),
    Bug("pe", "two stages: the tags are a step early", "array/pe.py",
        "            valid, mark = valid_q, mark_q\n", "", TWO_STAGES),
    Bug("row", "the chain begins with ones", "array/row.py",
        "Const(0, config.acc_width)", "Const(1, config.acc_width)"),
    Bug("grid", "every row is released with the first", "array/grid.py",
        "row.i_release.eq(self.i_release[r])", "row.i_release.eq(self.i_release[0])"),
    Bug("grid", "all rows get the weights of the first", "array/grid.py",
        "row.i_operand.eq(north)", "row.i_operand.eq(self.i_operand)"),
    Bug("skew", "lines move while the array stands", "array/skew.py",
        "            with m.If(self.i_en):\n", "            with m.If(1):\n"),
    Bug("skew", "deskew in the order of skew", "array/skew.py",
        "self.lanes - 1 - lane if self.reverse else lane", "lane"),
    Bug("skid", "a waiting beat is lost", "control/skid.py",
        "self.o.eq(Mux(self.o_en, self.i, kept))", "self.o.eq(self.i)"),
    Bug("skid", "the sink's ready comes too late", "control/skid.py",
        "self.o_en.eq(~self.i_valid | self.i_ready)", "self.o_en.eq(1)"),
    Bug("drain", "ST-OS tokens go down the rows, too", "control/drain.py",
        "spread.eq(to_all | direct_q)", "spread.eq(to_all)"),
    Bug("drain", "ST-OS results are deskewed", "control/drain.py",
        "self.o_bypass.eq(bypass)", "self.o_bypass.eq(0)"),
    Bug("core_ports", "pad bits are zero on output", "top.py",
        "element[-1].replicate(width - len(element))", "Const(0, width - len(element))", HIGH),
    Bug("core_ports", "broadcast weights travel south", "core.py",
        "~parts.controller.o_broadcast.replicate(TAGS.size)", "~Const(0, TAGS.size)"),
    Bug("core_ports", "input registers do not stand still", "core.py",
        "with m.If(parts.en):\n        m.d.sync += [activations.eq",
        "with m.If(1):\n        m.d.sync += [activations.eq"),
]  # fmt: skip


def plant(bug: Bug, folder: Path) -> None:
    """Copy the project to a folder, with the bug in it."""
    for name in ("hw", "golden", "sim", "report", "verif"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    path = folder / "hw" / bug.file
    text = path.read_text()
    if text.count(bug.old) != 1:
        raise ValueError(f"{bug.what}: its place stands {text.count(bug.old)} times in {bug.file}")
    text = text.replace(bug.old, bug.new)
    if "Const(" in bug.new and "Const," not in text:
        text = text.replace("import Cat, ", "import Cat, Const, ", 1)
    path.write_text(text)


def suite_complaint(config: ArrayConfig) -> str:
    """Return the first group of the core's suite that complains, or nothing."""
    simulator = Simulator(config)
    for group in GROUPS:
        for run in runs(config, group):
            try:
                check(simulator, run)
            except (AssertionError, RtlError):
                return group
    return ""


def attempt(bug: Bug) -> tuple[str, str]:
    """Return which unit test and which group of the suite notice a bug, if any."""
    with tempfile.TemporaryDirectory(prefix="stos-") as name:
        folder = Path(name)
        plant(bug, folder)
        environment = os.environ | {"PYTHONPATH": str(folder)}

        def run(*command: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, *command], cwd=folder, env=environment, capture_output=True,
                text=True, check=False,
            )  # fmt: skip

        test = f"verif/unit/test_{bug.component}.py"
        units = run("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test)
        found = re.search(r"^(?:FAILED|ERROR) \S+::(\w+)", units.stdout, re.M)
        if units.returncode not in (0, 1) or (units.returncode == 1) != bool(found):
            raise RuntimeError(f"{bug.what}: the unit test did not run: {units.stdout[-800:]}")
        core = run("-m", "verif.planted", "--on", bug.config.to_json())
        if core.returncode:
            raise RuntimeError(f"{bug.what}: the suite did not run: {core.stderr[-800:]}")
        return found[1] if found else "", core.stdout.strip()


def main() -> int:
    """Run the command line; return the exit status."""
    parser = OneLineParser("verif.planted", "Plant bugs in the gateware, and see who notices.")
    parser.add_argument("--on", help=argparse.SUPPRESS)  # the suite on one core, in a copy
    add_executor_options(parser)
    arguments = parser.parse_args()
    if arguments.on:
        print(suite_complaint(ArrayConfig.from_json(arguments.on)))
        return 0
    try:
        with executor(arguments) as pool:
            names = [bug.what for bug in BUGS]
            results = run_jobs(pool, attempt, [(bug,) for bug in BUGS], names)
    except ExecutorError as error:
        print(f"verif.planted: {error}", file=sys.stderr)
        return 1
    rows: list[tuple[str, ...]] = [
        (f"{bug.component}: {bug.what}", unit or "-", group or "-")
        for bug, (unit, group) in zip(BUGS, results, strict=True)
    ]
    missed = [bug.what for bug, found in zip(BUGS, results, strict=True) if not any(found)]
    sheet = Sheet(
        title=f"{len(BUGS)} planted bugs, {len(BUGS) - len(missed)} noticed",
        columns=("bug", "unit test", "suite"),
        rows=rows,
    )
    text = f"""\
# Planted bugs

`make planted` plants each bug in a copy of the gateware, and runs the unit test of the component
(`verif/unit`) and the core's suite (`verif/lib/suite.py`, in the order of its groups) until one
complains.

{sheet.markdown()}
Bugs at the ports of the core, each with the complaint that it has to raise, are tests of their
own: `verif/test_rtl.py` (the C++ harness), `verif/test_cocotb.py`, `verif/fourstate`. Every formal
property has one, too ([formal](formal.md)); [mutation](mutation.md) plants them by the thousand.
"""
    data = [
        {**asdict(bug), "config": bug.config.flags(), "unit": unit, "suite": group}
        for bug, (unit, group) in zip(BUGS, results, strict=True)
    ]
    docs = ROOT / "docs"
    write_atomically(
        {docs / "planted.md": text, docs / "planted.json": json.dumps(data, indent=1) + "\n"}
    )
    print(text)
    return 1 if missed else 0


if __name__ == "__main__":
    run_command(main, "verif.planted")
