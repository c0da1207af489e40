"""The skid register: beats in order, none lost, none twice, and an enable that is a register."""

from __future__ import annotations

import random

import pytest

from hw.control import Skid
from verif.unit.stepper import Drive, Inputs, Stepper


def test_sink_that_stops() -> None:
    """Beats 5, 6, 7 for a sink that does not take 6 for two cycles."""
    steps: list[Inputs] = [
        {"i": 5, "i_valid": 1, "i_ready": 1},  # passes in the same cycle
        {"i": 6, "i_valid": 1, "i_ready": 0},  # is offered and kept
        {"i": None, "i_valid": None, "i_ready": 0},  # the array stands still
        {"i": None, "i_valid": None, "i_ready": 1},  # the kept beat leaves
        {"i": 7, "i_valid": 1, "i_ready": 1},
        {"i": None, "i_valid": 0, "i_ready": 0},  # no beat: the array goes on
        {"i": None, "i_valid": 0, "i_ready": 0},
    ]
    trace = Stepper(Skid(width=3)).run(steps)
    assert [seen.o_en for seen in trace] == [1, 1, 0, 0, 1, 1, 1]
    assert [seen.o_valid for seen in trace] == [1, 1, 1, 1, 1, 0, 0]
    assert [seen.o for seen in trace[:5]] == [5, 6, 6, 6, 7]


def traffic(dice: random.Random, valid: float, ready: float, resets: float, count: int) -> Drive:
    """Yield random cycles, and check each against a queue of at most one beat."""
    queue: list[int] = []
    for _ in range(count):
        beat = dice.getrandbits(8)
        inputs = {
            "i": beat,
            "i_valid": int(dice.random() < valid),
            "i_ready": int(dice.random() < ready),
            "rst": int(dice.random() < resets),
        }
        seen = yield inputs
        assert seen.o_en == (not queue), "the array moves unless a beat waits"
        if seen.o_en and inputs["i_valid"]:
            queue.append(beat)
        assert seen.o_valid == bool(queue), "no delay, and no beat from nowhere"
        if queue:
            assert seen.o == queue[0]
            if inputs["i_ready"]:
                queue.pop()
        if inputs["rst"]:
            queue.clear()


@pytest.mark.parametrize("valid", [0.2, 0.7, 1.0])
@pytest.mark.parametrize("ready", [0.1, 0.6, 1.0])
@pytest.mark.parametrize("resets", [0.0, 0.2])
def test_random(valid: float, ready: float, resets: float) -> None:
    """Against a queue of at most one beat, from always waiting to always taking."""
    stepper = Stepper(Skid(width=8))
    trace = stepper.run(traffic(random.Random(1), valid, ready, resets, 200), seed=1)
    assert len(trace) == 200


@pytest.mark.parametrize("width", [1, 33])
def test_width(width: int) -> None:
    """All bits of a beat are kept."""
    for beat in (0, (1 << width) - 1, 0x1_5A5A_A5A5 % (1 << width)):
        steps = [{"i": beat, "i_valid": 1, "i_ready": 0}] + [{"i_ready": 0}] * 2
        trace = Stepper(Skid(width=width)).run(steps)
        assert [(seen.o_valid, seen.o) for seen in trace] == [(1, beat)] * 3
