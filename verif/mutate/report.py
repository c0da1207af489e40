"""What a mutation campaign found, as a page and as data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .campaign import COMPONENTS, Config, Verdict
from .netlist import Mutant

__all__ = ["Campaign", "Explanations"]

#: Every component should reach this.
GOAL = 0.95

_PAGE = """\
# Mutation score

How many small faults in the emitted netlist does the suite notice? Each component of `hw/` should
lose at least {goal:.0%} of its mutants.

{components}

*Mutants* were run: at most {sample} of each component of each core, chosen by seed {seed} from the
*population*. *Equivalent* ones were proved to change nothing that can be seen. *Score* is
killed / (mutants - equivalent). Of the core with a single PE, which has no neighbours, only
controller, core and skid count: most wires of its PE and its row go nowhere.

## What a mutant is

Yosys reads the Verilog that ships. Every port of every cell, with every bit, is a place; there a
bit is inverted, stuck at 0 or 1, or inverted depending on its neighbour; numbers are off by one,
and cells are replaced by others that are easily taken for them. So enables and resets are dropped
(the multiplexer in front of a register is stuck), branches are swapped and limits are off by
one. A fault in a module is in all of its instances. A net with one reader has its faults once.

All mutants of a few components are in one simulator, chosen by an input. A run of the core's suite
kills a mutant if `check` would fail: outputs, cycles without stalls, `cmd_error`, the rules of the
streams, or a core that takes more than twice as long. Runs of more than 20,000 cycles are
tried on the controller and the core only, which have the long counters and what feeds them.
Of an accelerator, what no run notices goes to the component's unit test, which steps the module of
the netlist cycle by cycle, as it steps the component under Amaranth, its long cases included.

## Equivalent mutants

| proof | mutants |
|---|---|
{proofs}

*Same function*: no value of inputs and registers makes a difference. *Not observed*: it changes
only registers that no output depends on. *Induction*: side by side from reset, with any inputs,
the module and the mutant never differ at an output; invariants and equalities are guessed, and kept
if they are inductive. Outputs of the drain count while `o_valid` is 1. A mutant that is not proved
counts as a survivor.

## Who kills them

| group of runs | kills first |
|---|---|
{killers}

## Survivors

{survivors}

## Run it

    make mutate
    python -m verif.mutate --sample 100 --component drain --config 0

Cores: {configs}.

Data: [mutation.json](mutation.json).
"""


class Explanations:
    """Why mutants survive, from `explained.txt`."""

    def __init__(self) -> None:
        path = Path(__file__).with_name("explained.txt")
        self.reasons: dict[str, str] = {}
        for line in path.read_text().splitlines():
            if line and not line.startswith("#"):
                pattern, _, reason = line.partition("\t")
                if not reason:
                    raise ValueError(f"{path} needs an expression, a tab and a reason, not {line}")
                self.reasons[pattern] = reason
        self.used: set[str] = set()

    def of(self, mutant: Mutant) -> str:
        """Return why a mutant survives, or nothing."""
        for pattern, reason in self.reasons.items():
            if re.fullmatch(pattern, str(mutant)):
                self.used.add(pattern)
                return reason
        return ""


class Campaign:
    """Verdicts of a campaign.

    Parameters
    ----------
    totals : dict
        Number of mutants that each component of each core has.
    sample, seed : int
        How many of them were run, and which.
    """

    def __init__(self, totals: dict[tuple[Config, str], int], sample: int, seed: int) -> None:
        self.totals, self.sample, self.seed = totals, sample, seed
        self.verdicts: dict[tuple[Config, str], list[Verdict]] = {key: [] for key in totals}
        self.explanations = Explanations()

    def add(self, config: Config, verdicts: Iterable[Verdict]) -> None:
        """Add what a job returned."""
        for verdict in verdicts:
            self.verdicts[config, verdict.mutant.component].append(verdict)

    @property
    def survivors(self) -> list[tuple[Config, Verdict]]:
        """Holes in the suite, and the cores that they are in."""
        return [
            (config, one)
            for (config, _), verdicts in self.verdicts.items()
            for one in verdicts
            if one.survived
        ]

    def problems(self, mutants: Iterable[str] | None) -> list[str]:
        """Return what is wrong: components below the goal, and explanations of nothing.

        Parameters
        ----------
        mutants : iterable of str, optional
            All that there are, of which the campaign ran a sample, if it was of all cores and
            components: every explanation has to fit one.
        """
        found = [
            f"{row['component']} has a score of {row['score']:.1%}, less than {GOAL:.0%}"
            for row in self.to_dict()["components"]
            if row["score"] is not None and row["score"] < GOAL
        ]
        if mutants is None:
            return found
        stale = set(self.explanations.reasons) - self.explanations.used
        for mutant in mutants:
            stale -= {pattern for pattern in stale if re.fullmatch(pattern, mutant)}
        return found + [f"no mutant fits {pattern}" for pattern in sorted(stale)]

    def to_dict(self) -> dict[str, Any]:
        """Return everything that was measured."""
        components = []
        for component in COMPONENTS:
            keys = [key for key in self.totals if key[1] == component]
            if keys:
                verdicts = [one for key in keys for one in self.verdicts[key]]
                total = sum(self.totals[key] for key in keys)
                components.append({"component": component} | _count(verdicts, total))
        configs = []
        for (config, component), verdicts in self.verdicts.items():
            row = {"config": config.flags(), "component": component}
            configs.append(row | _count(verdicts, self.totals[config, component]))
        everything = [one for verdicts in self.verdicts.values() for one in verdicts]
        return {
            "sample": self.sample,
            "seed": self.seed,
            "components": components,
            "killers": dict(Counter(v.killer for v in everything if v.killer).most_common()),
            "proofs": dict(Counter(v.equivalent for v in everything if v.equivalent).most_common()),
            "configs": configs,
            "survivors": [
                {
                    "config": config.flags(),
                    "number": one.mutant.number,
                    "mutant": str(one.mutant),
                    "explanation": self.explanations.of(one.mutant),
                }
                for config, one in self.survivors
            ],
        }

    def page(self) -> str:
        """Return the page."""
        data = self.to_dict()
        lines = ["| component | population | mutants | equivalent | killed | survived | score |",
                 "|---|---|---|---|---|---|---|"]  # fmt: skip
        for row in data["components"]:
            score = "" if row["score"] is None else f"{row['score']:.1%}"
            cells = [str(row[key]) for key in list(row)[:-1]]
            lines.append(f"| {' | '.join([*cells, score])} |")
        return _PAGE.format(
            goal=GOAL,
            components="\n".join(lines),
            sample=self.sample,
            seed=self.seed,
            proofs="\n".join(f"| {name} | {count} |" for name, count in data["proofs"].items()),
            killers="\n".join(f"| {name} | {count} |" for name, count in data["killers"].items()),
            survivors=self._survivors(data["survivors"]),
            configs="; ".join(f"`{flags}`" for flags in dict.fromkeys(
                config.flags() for config, _ in self.totals)),
        )  # fmt: skip

    def _survivors(self, rows: list[dict[str, Any]]) -> str:
        """Return a list of the survivors, those with one explanation together."""
        groups: dict[str, list[str]] = {}
        for row in rows:
            groups.setdefault(row["explanation"], []).append(f"{row['mutant']} ({row['config']})")
        parts = []
        for reason, mutants in sorted(groups.items(), reverse=True):
            items = "\n".join(f"- {mutant}" for mutant in mutants)
            parts.append(f"{reason or 'Not explained:'}\n\n{items}")
        return "\n\n".join(parts) or "None."


def _count(verdicts: list[Verdict], total: int) -> dict[str, Any]:
    equivalent = sum(bool(one.equivalent) for one in verdicts)
    killed = sum(bool(one.killer) for one in verdicts)
    real = len(verdicts) - equivalent
    return {
        "population": total,
        "mutants": len(verdicts),
        "equivalent": equivalent,
        "killed": killed,
        "survived": real - killed,
        "score": round(killed / real, 4) if real else None,
    }
