"""The counters count what they are told to, from 0 or from wherever they are."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.counters import COUNTED, Counters
from verif.lib.machines import SMALL
from verif.unit.stepper import Drive, Stepper

CLASSES = ("array", "weights", "activations")
SIZES = sorted({4, 64, *(one.axi_bytes for one in SMALL)})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ones", [False, True])
def test_sums(size: int, ones: bool) -> None:
    """All sums, over starts and idle cycles; with ones, from the greatest values on."""
    dice = random.Random(size)
    sums = {"cycles": 0, **dict.fromkeys((f"{one}_cycles" for one in (*CLASSES, "results")), 0)}
    sums |= {"bytes_read": 0, "bytes_written": 0}
    if ones:
        sums = {name: -(size if name.startswith("bytes") else 1) for name in sums}

    def drive() -> Drive:
        nonlocal sums
        for cycle in range(300):
            kind = dice.choice([*CLASSES, "results"])
            busy, read, written = (int(dice.random() < 0.7) for _ in range(3))
            busy &= cycle > 2  # what they begin with can be seen
            start = int(dice.random() < 0.03 and cycle > 100)
            seen = yield {
                "i_start": start, "i_busy": busy, "i_read": read, "i_written": written,
                **{f"i_{one}": int(one == kind) for one in CLASSES},
            }  # fmt: skip
            for name, value in sums.items():
                assert getattr(seen, f"o_{name}") == value % (1 << COUNTED), (name, cycle)
            if busy:
                sums["cycles"] += 1
                sums[f"{kind}_cycles"] += 1
                sums["bytes_read"] += size * read
                sums["bytes_written"] += size * written
            if start:
                sums = dict.fromkeys(sums, 0)

    Stepper(Counters(axi_bytes=size)).run(drive(), ones=ones)
