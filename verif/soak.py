"""Run the core's suite on random cores with new seeds until the time is up: ``make soak``."""

from __future__ import annotations

import itertools
import time

import numpy as np
from rich.console import Console

from hw.config import ArrayConfig
from report.command import OneLineParser
from report.output import run as run_command
from sim.rtl import RtlError, Simulator
from verif.lib.suite import GROUPS, check, runs


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


def main() -> int:
    """Run the command line; return the exit status."""
    parser = OneLineParser("verif.soak", "Run the core's suite on random cores with new seeds.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    arguments = parser.parse_args()
    if not arguments.minutes >= 0 or arguments.seed < 0:
        parser.error("--minutes and --seed must not be negative")
    end = time.monotonic() + 60 * arguments.minutes
    console, count = Console(stderr=True), 0
    with console.status("") as status:
        for seed in itertools.count(arguments.seed):
            config = random_config(np.random.default_rng(seed))
            status.update(f"seed {seed}: {config}; {count:,} runs so far")
            simulator = Simulator(config)
            for group in GROUPS:
                try:
                    for run in runs(config, group, seed):
                        check(simulator, run)
                        count += 1
                except (AssertionError, RtlError) as error:
                    print(f"{config.flags()}, {group}: {error}")
                    print(f"repeat: python -m verif.soak --seed {seed} --minutes 0")
                    return 1
            if time.monotonic() >= end:
                print(f"{count:,} runs on {seed - arguments.seed + 1} cores, all exact")
                return 0
    return 0


if __name__ == "__main__":
    run_command(main, "verif.soak")
