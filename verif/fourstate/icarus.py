"""Run tiles on an emitted core in Icarus Verilog, with X on every input bit that has no value.

``python -m verif.fourstate.icarus --rows 3 --cols 5 --st-os --seed 7`` runs the whole bench, which
is `bench.v`.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from golden import Tile, execute
from golden.machine.schedule import cycles
from hw.config import ArrayConfig
from hw.emit import emit_verilog
from report.command import OneLineParser
from report.output import run as run_command
from verif.lib.tiles import gemm, random_tiles, st_os

HERE = Path(__file__).resolve().parent

__all__ = ["Failure", "Job", "bench_runs", "compile_bench", "pessimistic", "simulate"]


class Failure(AssertionError):
    """What the bench found; `check` is the name of the check."""

    def __init__(self, check: str, text: str) -> None:
        super().__init__(text)
        self.check = check


@dataclass(frozen=True)
class Run:
    """Ranges of the beats of one sequence, and how it is run: a line of ``runs.txt``."""

    label: str
    ranges: tuple[int, ...]  # first and last + 1 of cmd, act, wgt, out
    stalls: tuple[int, int, int, int] = (0, 0, 0, 0)  # idle cmd, act, wgt; back-pressure: percent
    seed: int = 0
    unknown: int = 0  # cycles with X on all inputs before the reset: they turn all registers to X
    stop: int = 0  # reset in this cycle
    cycles: int = 0  # from the first command to the last result; 0: not checked


@dataclass
class Job:
    """What one simulation is to do: beats in text form, and the runs that use them."""

    config: ArrayConfig
    seed: int
    every: int = 1
    beats: dict[str, list[str]] = field(
        default_factory=lambda: {name: [] for name in ("cmd", "act", "wgt", "out")}
    )
    runs: list[Run] = field(default_factory=list)

    def sequence(
        self, rng: np.random.Generator, tiles: Sequence[Tile], illegal: bool = False
    ) -> tuple[int, ...]:
        """Add the beats of `tiles`, and return their ranges.

        Bits that nobody may use are X. Of a tile, `rng` chooses how many rows are used; of sums
        that are dropped, none is.
        """
        config = self.config
        before = [len(beats) for beats in self.beats.values()]
        needed = list(_needed(rng, tiles, config))
        for tile, want, (rows, outputs) in zip(tiles, execute(tiles, config), needed, strict=True):
            command = tile.command
            self.beats["cmd"].append(f"0{command.encode():064b}")
            reach = outputs + command.depth - 1 if command.st_os else command.depth
            self._add("act", tile.act, [rows * (u < reach) for u in range(len(tile.act))])
            lanes = rows if command.st_os else outputs
            self._add("wgt", tile.wgt, [lanes] * len(tile.wgt))
            width = 8 * config.acc_bytes  # sign-extended: no pad bits
            for index, beat in enumerate(want):
                tlast = str(int(index == len(want) - 1))
                self.beats["out"].append(tlast + _bits(beat, rows, width, width))
        if illegal:
            where = before[0] + int(rng.integers(len(tiles), endpoint=True))
            no_depth, reserved_bit, wide = 0x1_0001_0000, 1 << 62 | 0x1_0001_0001, 0xFFFF_0001_0001
            word = int(rng.choice([no_depth, reserved_bit, wide]))
            self.beats["cmd"].insert(where, f"1{word:064b}")
        after = [len(beats) for beats in self.beats.values()]
        return tuple(number for pair in zip(before, after, strict=True) for number in pair)

    def _add(self, name: str, beats: np.ndarray, used: list[int]) -> None:
        config = self.config
        width, pitch = {
            "act": (config.act_width, config.act_bytes),
            "wgt": (config.weight_width, config.weight_bytes),
        }[name]
        for beat, lanes in zip(beats, used, strict=True):
            self.beats[name].append(_bits(beat, lanes, width, 8 * pitch))


def _bits(beat: np.ndarray, used: int, width: int, pitch: int) -> str:
    """Return a beat in binary: X in pad bits, and in all lanes but the first `used`."""
    pad = "x" * (pitch - width)
    lanes = [
        pad + format(int(value) & (1 << width) - 1, f"0{width}b") if lane < used else "x" * pitch
        for lane, value in enumerate(beat)
    ]
    return "".join(reversed(lanes))


def _needed(
    rng: np.random.Generator, tiles: Sequence[Tile], config: ArrayConfig
) -> Iterator[tuple[int, int]]:
    """Yield for every tile how many rows, and how many outputs per row, are used at the end."""
    needed: list[tuple[int, int]] = []
    later: Tile | None = None
    for tile in reversed(tiles):
        if tile.command.emit:
            rows = int(rng.integers(1, config.rows, endpoint=True))
            needed.append((rows, tile.command.out_beats(config)))
        elif later is not None and later.command.accumulate:
            needed.append(needed[-1])
        else:  # dropped
            needed.append((0, 0))
        later = tile
    return reversed(needed)


def bench_runs(config: ArrayConfig, seed: int, every: int = 1) -> Job:
    """Return the whole bench: full speed, stalls, and resets in mixed tiles.

    There is a reset in every `every`-th cycle of the tiles at full speed, and in every third of
    these with stalls. What runs after it is chosen at random: other seeds, other combinations.
    """
    rng = np.random.default_rng(seed)
    job = Job(config, seed, every)
    unknown = config.rows + config.cols + 4

    def add(label: str, tiles: Sequence[Tile], **options: Any) -> Run:
        taken = cycles([tile.command for tile in tiles], config)
        return Run(label, job.sequence(rng, tiles), cycles=taken, **options)

    for _ in range(4):
        job.runs.append(add("full speed", random_tiles(rng, config, 6), unknown=unknown))
    for stalls in (
        (0, 0, 0, 50), (30, 30, 30, 0), (70, 0, 0, 0), (0, 70, 0, 30), (0, 0, 70, 30), (50,) * 4,
    ):  # fmt: skip
        ranges = job.sequence(rng, random_tiles(rng, config, 4), illegal=True)
        start = int(rng.integers(1 << 30))
        job.runs.append(Run("stalls", ranges, stalls, seed=start, unknown=unknown))

    k = min(2, config.cols)
    after = [
        add("after that reset", [kind(rng, config, config.rows, k, config.cols) for kind in kinds])
        for kinds in (((gemm, st_os), (st_os, gemm)) if config.st_os else ((gemm,), (gemm, gemm)))
    ]
    tiles = mixed(rng, config)
    ranges = job.sequence(rng, tiles, illegal=True)
    end = cycles([tile.command for tile in tiles], config) + config.rows + config.cols + 2
    stops = [((0, 0, 0, 0), stop) for stop in range(1, end, every)]
    stops += [((0, 10, 10, 40), stop) for stop in range(1, end * 3 // 2, 3 * every)]
    resets = []
    for stalls, stop in stops:
        start = int(rng.integers(1 << 30))
        resets.append(Run("interrupted", ranges, stalls, seed=start, stop=stop))
        resets.append(after[int(rng.integers(len(after)))])
    # They come early, because X from before a reset would hide what a known value does.
    job.runs[1:1] = resets
    return job


def mixed(rng: np.random.Generator, config: ArrayConfig) -> list[Tile]:
    """Return tiles with every change of mode, with sums that are continued and that are dropped."""
    rows, cols = config.rows, config.cols
    other = st_os if config.st_os else gemm
    k = min(2, cols)
    return [
        gemm(rng, config, rows, k, cols),
        other(rng, config, rows, k, cols if other is gemm else cols + 1),
        gemm(rng, config, rows, k, cols, keep=True),
        other(rng, config, rows, k, cols, keep=True, accumulate=True),
        gemm(rng, config, rows, 1, 1, accumulate=True),
        other(rng, config, rows, k, cols, keep=True),
        gemm(rng, config, rows, 1, cols, keep=True),
        other(rng, config, rows, 1, 1),
    ]


def pessimistic(verilog: str) -> str:
    """Rewrite ``if (c) q <= a; else q <= b;`` as ``q <= c ? a : b;`` in an emitted text.

    A simulator takes an X as false in the first form, and so hides it; in the second form q
    becomes X unless a and b agree.
    """
    block = re.compile(r"  always @\(posedge clk\)\n((?: {4,}\S.*\n)+)")
    rewritten = block.sub(lambda found: _single(found.group(1)), verilog)
    assert not re.search(r"\b(if|case[xz]?)\b", rewritten), "an emitted statement has another form"
    return rewritten


def _single(body: str) -> str:
    target = re.search(r"(\w+) <= ", body)
    assert target, body
    value, rest = _value(body, target.group(1))
    assert not rest, body
    return f"  always @(posedge clk)\n    {target.group(1)} <= {value};\n"


def _value(text: str, target: str) -> tuple[str, str]:
    """Return the value that a statement gives to its target, and the text after the statement."""
    text = text.strip()
    if text.startswith("begin"):
        value, rest = _value(text[5:], target)
        assert rest.startswith("end"), text
        return value, rest[3:].strip()
    if not text.startswith("if ("):
        left, value = text.split(";", 1)[0].split("<=", 1)
        assert left.strip() == target, text
        return f"({value.strip()})", text.split(";", 1)[1].strip()
    depth = list(accumulate((char == "(") - (char == ")") for char in text[3:]))
    end = 4 + depth.index(0)
    yes, rest = _value(text[end:], target)
    no = target
    if rest.startswith("else"):
        no, rest = _value(rest[4:], target)
    return f"({text[3:end]} ? {yes} : {no})", rest


def compile_bench(job: Job, verilog: str, folder: Path) -> Path:
    """Write the files of a job and elaborate bench and core; return the program for vvp."""
    config = job.config
    for name, beats in job.beats.items():
        (folder / f"{name}.mem").write_text("\n".join(beats) + "\n")
    lines = [
        " ".join(map(str, (*run.ranges, *run.stalls, run.seed, run.unknown, run.stop, run.cycles)))
        for run in job.runs
    ]
    (folder / "runs.txt").write_text("\n".join(lines) + "\n")
    (folder / "core.v").write_text(verilog)
    parameters = {
        "ACT": 8 * config.act_bytes * config.rows,
        "WGT": 8 * config.weight_bytes * config.weight_lanes,
        "OUT": 8 * config.acc_bytes * config.rows,
        "LANE": 8 * config.acc_bytes,
        "FLUSH": config.rows + config.cols + 1,
        "TAIL": config.rows + config.cols + 4,
    } | {f"{name.upper()}S": len(beats) for name, beats in job.beats.items()}
    program = folder / "bench.vvp"
    _call(
        "iverilog", "-g2005", "-Wall", "-s", "bench", "-o", program,
        *(f"-Pbench.{name}={value}" for name, value in parameters.items()),
        HERE / "bench.v", folder / "core.v",
    )  # fmt: skip
    return program


def simulate(job: Job, program: Path) -> str:
    """Run a job; return the bench's last line, or raise `Failure` with what it found."""
    text = _call("vvp", "-n", program, f"+dir={program.parent}")
    failed = re.search(r"^FAIL (\d+) (\d+) (\w+): (.*)$", text, re.M)
    if not failed:
        passed = re.search(r"^PASS (\d+) runs, (\d+) beats, .*$", text, re.M)
        assert passed, f"neither PASS nor FAIL: {text[-2000:]}"
        assert int(passed.group(1)) == len(job.runs) > 0, "not everything was run"
        assert int(passed.group(2)) > 0, "nothing was compared"
        return passed.group()
    number, cycle, check, what = failed.groups()
    run = job.runs[int(number)]
    again = shlex.join(["vvp", "-n", str(program), f"+dir={program.parent}", "+vcd=wave.vcd"])
    options = f"{job.config.flags()} --seed {job.seed} --every {job.every}"
    ends = f"to be reset in cycle {run.stop}" if run.stop else "to the end"
    raise Failure(
        check,
        f"{check}: {what}\n"
        f"{job.config.flags()}, cycle {cycle} after the reset that starts run {number}\n"
        f"run {number}: {run.label}, after {run.unknown} cycles of X, idle cmd, act, wgt and "
        f"back-pressure {run.stalls} %, seed {run.seed}, {ends}\n"
        f"repeat: python -m verif.fourstate.icarus {options}\n"
        f"or only this simulation: {again}",
    )


def _call(*words: str | Path) -> str:
    command = [str(word) for word in words]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode or result.stderr:
        raise RuntimeError(f"{shlex.join(command)}: {result.stderr.strip() or result.stdout}")
    return result.stdout


def main() -> int:
    """Run the bench from the command line, on both forms of the text."""
    parser = OneLineParser("verif.fourstate.icarus", __doc__)
    ArrayConfig.add_options(parser)
    parser.add_argument("--seed", type=int, default=1, help="of the tiles and everything else")
    parser.add_argument("--every", type=int, default=1, help="reset in every n-th cycle only")
    arguments = parser.parse_args()
    try:
        config = ArrayConfig.from_options(arguments)
    except ValueError as error:
        parser.error(str(error))
    if arguments.seed < 0:
        parser.error(f"--seed must not be negative, not {arguments.seed}")
    if arguments.every < 1:
        parser.error(f"--every must be at least 1, not {arguments.every}")
    if not shutil.which("iverilog"):
        parser.error("iverilog (Icarus Verilog) is missing")
    job = bench_runs(config, arguments.seed, arguments.every)
    verilog = emit_verilog(config)
    for name, text in (("emitted", verilog), ("pessimistic", pessimistic(verilog))):
        folder = Path("build", "fourstate", name)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            print(f"{name}: {simulate(job, compile_bench(job, text, folder))}", flush=True)
        except Failure as failure:
            print(f"{name}: FAIL {failure}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    run_command(main, "verif.fourstate.icarus")
