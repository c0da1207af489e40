"""Tables of a mutation campaign."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hw.config import ArrayConfig

from .campaign import Verdict
from .netlist import COMPONENTS

__all__ = ["Campaign"]


class Campaign:
    """Verdicts of a campaign.

    Parameters
    ----------
    totals : dict
        Number of mutants that each component of each core has.
    sample, seed : int
        How many of them were run, and which.
    """

    def __init__(
        self, totals: dict[tuple[ArrayConfig, str], int], sample: int, seed: int
    ) -> None:
        self.totals, self.sample, self.seed = totals, sample, seed
        self.verdicts: dict[tuple[ArrayConfig, str], list[Verdict]] = {key: [] for key in totals}

    def add(self, config: ArrayConfig, verdicts: Iterable[Verdict]) -> None:
        """Add what a job returned."""
        for verdict in verdicts:
            self.verdicts[config, verdict.mutant.component].append(verdict)

    def finish(self, folder: Path) -> int:
        """Write the files; return the exit status."""
        data = self.to_dict()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "mutation.json").write_text(json.dumps(data, indent=1) + "\n")
        for row in data["components"]:
            print(row)
        for row in data["survivors"]:
            print(row)
        return 0

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
        survivors = [
            {"config": config.flags(), "mutant": str(one.mutant), "number": one.mutant.number}
            for (config, _), verdicts in self.verdicts.items()
            for one in verdicts
            if one.survived
        ]
        killers = Counter(
            one.killer for verdicts in self.verdicts.values() for one in verdicts if one.killer
        )
        return {
            "sample": self.sample,
            "seed": self.seed,
            "components": components,
            "killers": dict(killers.most_common()),
            "configs": configs,
            "survivors": survivors,
        }


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
