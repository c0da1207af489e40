"""A row of PEs: activations and results move east, operands go south."""

from __future__ import annotations

import itertools
import random

import pytest

from hw.array import Row
from hw.config import ArrayConfig
from hw.layouts import operand_layout
from verif.unit.stepper import Inputs, Stepper, check_stalls, pack, signed
from verif.unit.waves import Waves

CONFIGS = [
    ArrayConfig(
        rows=1, cols=cols, st_os=st_os, act_width=3, weight_width=2, acc_width=6,
        accumulators=accumulators, mac_stages=stages,
    )
    for cols, st_os, accumulators, stages in itertools.product(
        (1, 3), (False, True), (1, 2), (1, 2)
    )
]  # fmt: skip


def test_two_columns() -> None:
    """(1, 2) times the columns (3, 4) and (5, 6), by hand; zeros come after the results."""
    config = ArrayConfig(rows=1, cols=2, act_width=4, weight_width=4, acc_width=12)

    def step(a: int, west: tuple[int, int], east: tuple[int, int], release: int = 0) -> Inputs:
        """Take an activation, and (tags, weight) for the west and the east column."""
        operands = pack([16 * tags + weight for tags, weight in (west, east)], 6)
        return {"i_en": 1, "i_move": 1, "i_release": release, "i_a": a, "i_operand": operands}

    valid, last, clear, idle = 1, 3, 2, (0, 0)
    steps = [
        step(0, (clear, 0), idle),
        step(1, (valid, 3), (clear, 0)),  # 1 meets 3 in the west,
        step(2, (last, 4), (valid, 5)),  # and 5 one step later in the east
        step(0, idle, (last, 6)),
        step(0, idle, idle, release=1),  # 2 * 6 is added in the east
        *[step(0, idle, idle)] * 4,
    ]
    trace = [signed(seen.o_result, 12) for seen in Stepper(Row(config=config)).run(steps)]
    assert trace[5:] == [1 * 5 + 2 * 6, 1 * 3 + 2 * 4, 0, 0]


def test_operands_go_south() -> None:
    """Every column hands on its own operand one step later."""
    config = CONFIGS[-1]
    width, cols = operand_layout(config).size, config.cols
    dice = random.Random(1)
    steps, want = [], []
    for index in range(30):
        operands = [dice.getrandbits(width) for _ in range(cols)]
        step = {"i_en": 1, "i_operand": pack(operands, width)}
        if index % 3:
            step |= {"i_broadcast_en": 0, "i_broadcast": 0}
        else:
            operands = [dice.getrandbits(width)] * cols  # the line replaces all of them
            step |= {"i_broadcast_en": 1, "i_broadcast": operands[0]}
        steps.append(step)
        want.append(pack(operands, width))
    trace = Stepper(Row(config=config)).run(steps)
    assert [seen.o_operand for seen in trace[1:]] == want[:-1]


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_random(config: ArrayConfig) -> None:
    """Sums of products of random tiles, as close together as the result chain allows."""
    stepper = Stepper(Row(config=config))
    for seed, bubbles in enumerate((0.0, 0.0, 0.3)):
        waves = Waves(config, seed, bubbles)
        waves.random_tiles(12)
        waves.compare(stepper, seed=seed)


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_stalls(config: ArrayConfig) -> None:
    """Nothing moves without `i_en`."""
    waves = Waves(config, 5)
    waves.random_tiles(3)
    check_stalls(Stepper(Row(config=config)), waves.steps(), {"i_en": 0, "i_move": 0})
