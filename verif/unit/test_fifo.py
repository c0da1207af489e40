"""The queue gives what came, in order, and says how much room it has."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.config import BURST
from hw.accelerator.fetcher import OUTSTANDING
from hw.accelerator.fifo import Fifo
from verif.lib.machines import SMALL
from verif.unit.stepper import Drive, Stepper

#: Words and their bits.
SHAPES = [
    (2, 16), (8, 16),
    *((OUTSTANDING * BURST // one.axi_bytes, 8 * one.axi_bytes) for one in SMALL),
]  # fmt: skip


@pytest.mark.parametrize(("depth", "width"), SHAPES)
@pytest.mark.parametrize("pace", [0.3, 0.7, 1.0])
def test_order(depth: int, width: int, pace: float) -> None:
    """Words pushed and popped at any time, until it is full, too."""
    dice = random.Random(depth)
    words = [dice.getrandbits(width) for _ in range(3 * depth + 200)]
    found: list[int] = []

    def drive() -> Drive:
        pushed, room = 0, depth
        for _ in range(30 * depth + 3000):
            push = int(pushed < len(words) and room > 0 and dice.random() < pace)
            pop = int(dice.random() < (0.6 if len(found) > depth else 0.2))
            seen = yield {"i_push": push, "i_data": words[pushed] if push else None, "i_pop": pop}
            inside = pushed - len(found)
            assert seen.o_busy == (inside > 0)
            assert seen.o_room == depth - inside + seen.o_valid
            pushed += push
            if pop and seen.o_valid:
                found.append(seen.o_data)
            room = seen.o_room - push
            if len(found) == len(words):
                return
        raise AssertionError("words are missing")

    Stepper(Fifo(depth=depth, width=width)).run(drive())
    assert found == words


def test_a_word_per_cycle() -> None:
    """What is pushed in every cycle comes out in every cycle, two cycles later."""
    steps = [{"i_push": int(n < 9), "i_data": n, "i_pop": 1} for n in range(14)]
    trace = Stepper(Fifo(depth=2, width=8)).run(steps)
    assert [seen.o_valid for seen in trace] == [0, 0] + [1] * 9 + [0] * 3
    assert [seen.o_data for seen in trace if seen.o_valid] == list(range(9))


def test_depths_are_powers_of_two() -> None:
    """Another depth has no addresses that go round."""
    with pytest.raises(ValueError, match="power of two"):
        Fifo(depth=3, width=8)
