"""Skew and deskew: lane i is delayed by its own number of steps."""

from __future__ import annotations

import random

import pytest

from hw.array import Skew
from verif.unit.stepper import Stepper, check_stalls, pack, unpack

SHAPES = [(1, 1), (1, 4), (2, 1), (4, 3), (6, 2)]
#: Whether it is a deskew, whether it can be passed by, and lanes that come one after the other.
KINDS = [(False, False, 1), (False, True, 1), (True, False, 1), (True, True, 1), (True, True, 2)]


def skew(
    lanes: int, width: int, reverse: bool = False, bypass: bool = False, group: int = 1
) -> Skew:
    return Skew(kind="skew", lanes=lanes, width=width, reverse=reverse, bypass=bypass, group=group)


def test_three_lanes() -> None:
    """Columns of one beat become a diagonal, and a deskew turns the diagonal into a column."""
    beats = [(1, 2, 3), (4, 5, 6), (7, 7, 7), (7, 7, 7)]
    steps = [{"i_en": 1, "i": pack(beat, 4)} for beat in beats]
    trace = [unpack(seen.o, 4, 3) for seen in Stepper(skew(3, 4)).run(steps)]
    assert trace[0][0] == 1
    assert trace[1][:2] == [4, 2]
    assert trace[2] == [7, 5, 3]
    assert trace[3][2] == 6
    steps = [{"i_en": 1, "i": pack(beat, 4)} for beat in [(1, 0, 0), (4, 2, 0), (0, 5, 3)]]
    trace = [unpack(seen.o, 4, 3) for seen in Stepper(skew(3, 4, reverse=True)).run(steps)]
    assert trace[2] == [1, 2, 3]


def test_delay() -> None:
    """Lane 0 is the first of a skew and the last of a deskew."""
    for reverse, delays in ((False, [0, 1, 2]), (True, [2, 1, 0])):
        dut = Stepper(skew(3, 1, reverse)).component
        assert [dut.delay(lane) for lane in range(3)] == delays


@pytest.mark.parametrize(("lanes", "width"), SHAPES)
@pytest.mark.parametrize(("reverse", "bypass", "group"), [*KINDS, (True, True, 4)])
def test_random(lanes: int, width: int, reverse: bool, bypass: bool, group: int) -> None:
    """Lane by lane ``o(t) = i(t - delay)``, or with `i_bypass` ``o(t) = i(t)``, and pauses.

    Lanes of a group share their input, and are then one step or two apart.
    """
    lanes *= group
    dut = skew(lanes, width, reverse, bypass, group)
    dice = random.Random(1)
    steps = []
    for _ in range(100):
        steps.append(
            {"i_en": int(dice.random() < 0.8), "i": dice.getrandbits(lanes // group * width)}
        )
        if bypass:
            steps[-1]["i_bypass"] = dice.choice([0, 0, 1, 1 if group == 1 else 2])
    past: list[list[int]] = []  # the beats of the steps so far
    compared = 0
    for inputs, seen in zip(steps, Stepper(dut).run(steps, seed=2), strict=True):
        now = unpack(inputs["i"], width, lanes // group)
        for lane, got in enumerate(unpack(seen.o, width, lanes)):
            delay = lanes - 1 - lane if reverse else lane
            if by := inputs.get("i_bypass"):
                delay = by * (group - 1 - lane % group)
            if delay <= len(past):
                assert got == [*past, now][-1 - delay][lane // group]
                compared += 1
        if inputs["i_en"]:
            past.append(now)
    assert compared > 70 * lanes


@pytest.mark.parametrize(("reverse", "bypass", "group"), KINDS)
def test_stalls(reverse: bool, bypass: bool, group: int) -> None:
    """The lines stand still without `i_en`."""
    dice = random.Random(3)
    steps = [{"i_en": 1, "i": dice.getrandbits(8 // group)} for _ in range(20)]
    stall = {"i_en": 0}
    if bypass:
        steps = [inputs | {"i_bypass": dice.randrange(2)} for inputs in steps]
    check_stalls(Stepper(skew(4, 2, reverse, bypass, group)), steps, stall)
