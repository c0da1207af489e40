"""Random cores and accelerators, new seeds, until the time is up: ``make soak``."""

from __future__ import annotations

import itertools
import random
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console

from hw.accelerator.config import AcceleratorConfig
from hw.config import ArrayConfig
from report.command import OneLineParser
from report.errors import UserError
from report.output import run as run_command
from sim.accelerator.compiler import Program, compile_graph
from sim.accelerator.rtl import AcceleratorSimulator
from sim.accelerator.run import Placed, place
from sim.accelerator.run import run as run_network
from sim.rtl import RtlError, Simulator
from verif.lib.attacks import good, kept, mutated
from verif.lib.models import load
from verif.lib.suite import GROUPS, check, runs
from verif.lib.wild import NO_ROOM, inputs, wild

#: Of every accelerator: random networks, and changed images.
NETWORKS, IMAGES = 120, 120
#: What a small machine may say of a network of `wild`: there is no room.
REFUSALS = re.compile(f"{NO_ROOM}|no job says that")


def random_config(rng: np.random.Generator) -> ArrayConfig:
    """Return a small core with any parameters."""
    act, weight = (int(rng.integers(2, 16, endpoint=True)) for _ in range(2))
    return ArrayConfig(
        rows=int(rng.integers(1, 7)),
        cols=int(rng.integers(1, 7)),
        st_os=bool(rng.random() < 0.7),
        act_width=act,
        weight_width=weight,
        acc_width=int(rng.integers(act + weight, 64, endpoint=True)),
        accumulators=int(rng.integers(1, 3)),
        mac_stages=int(rng.integers(1, 3)),
    )


def random_machine(rng: np.random.Generator) -> AcceleratorConfig:
    """Return a small accelerator with any parameters."""
    while True:
        array = ArrayConfig(
            rows=int(rng.integers(1, 11)),
            cols=int(rng.integers(1, 11)),
            st_os=bool(rng.random() < 0.7),
            mac_stages=int(rng.integers(1, 3)),
        )
        try:
            return AcceleratorConfig(
                array=array,
                axi_width=int(rng.choice([32, 64, 128, 256, 512])),
                act_kib=int(rng.choice([2, 4, 8, 32])),
                wgt_kib=int(rng.choice([1, 2, 4, 16])),
                rows_per_lane=int(rng.choice([1, 1, 2, 4, 8])),
            )
        except UserError:  # words too wide for so small a ring, or rows that do not divide
            continue


def core_round(seed: int, done: Counter[str]) -> None:
    """Run the core's suite on a random core.

    Raises
    ------
    AssertionError, RtlError
        If anything is wrong; the text says on which core.
    """
    config = random_config(np.random.default_rng(seed))
    simulator = Simulator(config)
    for group in GROUPS:
        try:
            for run in runs(config, group, seed):
                check(simulator, run)
                done["core"] += 1
        except (AssertionError, RtlError) as error:
            raise AssertionError(f"{config.flags()}, {group}: {error}") from error


def accelerator_round(seed: int, done: Counter[str]) -> None:
    """Run random networks, and attacks on one of them, on a random accelerator.

    Raises
    ------
    AssertionError
        If anything is wrong; the text says on which machine.
    """
    rng = np.random.default_rng(seed)
    config = random_machine(rng)
    core = AcceleratorSimulator(config)
    shortest: tuple[int, Program, Placed] | None = None
    what = ""
    try:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(seed * NETWORKS, (seed + 1) * NETWORKS):
                most = int(rng.choice([300, 600, 4_000]))
                latency, stall = int(rng.integers(0, 201)), float(rng.choice([0, 0, 0.2, 0.6]))
                what = f"wild({number}, {most}), latency {latency}, stall {stall}"
                graph = load(wild(number, most), Path(folder))
                values = inputs(graph, number)
                try:
                    program = compile_graph(graph, config)
                except UserError as error:
                    if not REFUSALS.search(str(error)):
                        raise
                    done["networks that are refused"] += 1
                    continue
                run_network(
                    graph, values, config, simulator=core, latency=latency, stall=stall, seed=number
                )
                done["networks"] += 1
                cycles = program.timing().cycles
                if shortest is None or cycles < shortest[0]:
                    shortest = cycles, program, place(program, values)
        if shortest:
            _attack(core, *shortest, seed, done)
    except Exception as error:
        raise AssertionError(f"{config.flags()}: {what}: {error!r}") from error


def _attack(
    core: AcceleratorSimulator, cycles: int, program: Program, placed: Placed, seed: int,
    done: Counter[str],
) -> None:  # fmt: skip
    """Change the image, answer with errors, abort and reset; a good run follows each."""
    dice = random.Random(seed)
    wanted = good(core, program, placed)
    for number in range(IMAGES):
        mutated(core, program, placed, seed * IMAGES + number)
        done["changed images"] += 1
    assert good(core, program, placed) == wanted
    probe = core.run(placed.memory, placed.addresses)
    for _ in range(10):
        beat, burst = dice.randint(1, probe.beats), dice.randint(1, probe.bursts)
        cycle = dice.randint(2, cycles - 10)
        for read, write, abort, code in ((beat, 0, 0, 4), (0, burst, 0, 5), (0, 0, cycle, 1)):
            found = core.run(
                placed.memory, placed.addresses, response=dice.choice([2, 3]), bad_read=read,
                bad_write=write, abort=abort,
            )  # fmt: skip
            what = f"beat {read}, burst {write}, abort in {abort}"
            assert (found.done, found.code) == (True, code), f"{what}: code {found.code}"
            assert kept(program, placed, placed.memory, found.memory), f"{what}: a stray write"
            done["errors and aborts"] += 1
        core.run(placed.memory, placed.addresses, reset=cycle)
        assert good(core, program, placed, reset=1) == wanted, f"reset in cycle {cycle}"
        done["resets"] += 1


ROUNDS = {"core": core_round, "accelerator": accelerator_round}


def main() -> int:
    """Run the command line; return the exit status."""
    parser = OneLineParser("verif.soak", "Run random cores and accelerators with new seeds.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--only", choices=ROUNDS, help="cores, or accelerators, only")
    arguments = parser.parse_args()
    if not arguments.minutes >= 0 or arguments.seed < 0:
        parser.error("--minutes and --seed must not be negative")
    end = time.monotonic() + 60 * arguments.minutes
    console, done = Console(stderr=True), Counter[str]()
    names = [arguments.only] if arguments.only else list(ROUNDS)
    with console.status("") as status:
        for seed in itertools.count(arguments.seed):
            for name in names:
                status.update(f"{name}, seed {seed}; {done.total():,} runs so far")
                try:
                    ROUNDS[name](seed, done)
                except AssertionError as error:
                    print(error)
                    print(f"repeat: python -m verif.soak --only {name} --seed {seed} --minutes 0")
                    return 1
            if time.monotonic() >= end:
                for what, count in done.items():
                    print(f"{count:8,} {what}")
                print(f"{seed - arguments.seed + 1} of each, all exact")
                return 0
    return 0


if __name__ == "__main__":
    run_command(main, "verif.soak")
