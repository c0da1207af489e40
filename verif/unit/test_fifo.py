"""The queue gives what came, in order, and says how much room it has."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.fifo import Fifo
from verif.unit.stepper import Drive, Stepper


@pytest.mark.parametrize("depth", [2, 8])
@pytest.mark.parametrize("pace", [0.3, 0.7, 1.0])
def test_order(depth: int, pace: float) -> None:
    """Words pushed and popped at any time."""
    dice = random.Random(depth)
    words = [dice.getrandbits(16) for _ in range(200)]
    found: list[int] = []

    def drive() -> Drive:
        pushed, room = 0, depth
        for _ in range(3000):
            push = int(pushed < len(words) and room > 0 and dice.random() < pace)
            pop = int(dice.random() < 0.6)
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

    Stepper(Fifo(depth=depth, width=16)).run(drive())
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
