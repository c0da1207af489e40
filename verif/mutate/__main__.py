"""Measure the mutation score of the suite, and write docs/mutation.md and docs/mutation.json."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from report.command import OneLineParser
from report.files import write_atomically
from report.jobs import ExecutorError, add_executor_options, executor, run_jobs
from report.output import run

from .campaign import COMPONENTS, CONFIGS, Config, Verdict, judge, kind
from .netlist import Mutant
from .report import Campaign

__all__ = ["main", "sampled"]


def sampled(config: Config, component: str, count: int, seed: int) -> list[Mutant]:
    """Return `count` mutants of a component, or all if there are fewer; always the same."""
    mutants = [one for one in kind(config).netlist(config).mutants if one.component == component]
    if len(mutants) <= count:
        return mutants
    chosen = random.Random(f"{seed} {component} {config}").sample(range(len(mutants)), count)
    return [mutants[index] for index in sorted(chosen)]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer from 1, not {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser("verif.mutate", str(__doc__))
    parser.add_argument(
        "--sample", type=_count, default=120, metavar="N",
        help="mutants of each component of each machine",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument(
        "--component", action="append", choices=list(COMPONENTS), default=argparse.SUPPRESS,
        help="only this one (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--config", action="append", type=int, choices=range(len(CONFIGS)), metavar="I",
        default=argparse.SUPPRESS,
        help=f"only machine I of 0 to {len(CONFIGS) - 1} (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=Path("docs"), metavar="FOLDER",
        help="where mutation.md and mutation.json go",
    )  # fmt: skip
    add_executor_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; return 1 if a score is too low, or an explanation is out of date."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    components = getattr(arguments, "component", list(COMPONENTS))
    configs = [CONFIGS[n] for n in sorted(set(getattr(arguments, "config", range(len(CONFIGS)))))]
    jobs: list[tuple[Config, list[Mutant]]] = []
    totals: dict[tuple[Config, str], int] = {}
    texts: set[str] = set()
    for config in configs:
        listed = kind(config).netlist(config).mutants
        texts |= set(map(str, listed))
        wanted = [one for one in kind(config).components(config) if one in components]
        for component in wanted:
            totals[config, component] = sum(one.component == component for one in listed)
        for batch in kind(config).BATCHES:
            mutants = [
                mutant
                for component in batch
                if component in wanted
                for mutant in sampled(config, component, arguments.sample, arguments.seed)
            ]
            if mutants:
                jobs.append((config, mutants))
    names = [f"{config.flags()}: {mutants[0].component} ..." for config, mutants in jobs]
    try:
        with executor(arguments) as pool:
            results: list[list[Verdict]] = run_jobs(pool, judge, jobs, names)
    except ExecutorError as error:
        print(f"verif.mutate: {error}", file=sys.stderr)
        return 1
    campaign = Campaign(totals, arguments.sample, arguments.seed)
    for (config, _), verdicts in zip(jobs, results, strict=True):
        campaign.add(config, verdicts)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_atomically({
        arguments.output / "mutation.json": json.dumps(campaign.to_dict(), indent=1) + "\n",
        arguments.output / "mutation.md": campaign.page(),
    })  # fmt: skip
    whole = (
        all(
            getattr(arguments, name, None) == parser.get_default(name)
            for name in ("sample", "seed")
        )
        and not {"component", "config"} & vars(arguments).keys()
    )
    problems = campaign.problems(texts if whole else None)
    for problem in problems:
        print(f"verif.mutate: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    run(main, "verif.mutate")
