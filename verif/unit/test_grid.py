"""The grid: a diagonal wave for GEMM, rows in line for ST-OS."""

from __future__ import annotations

import itertools

import pytest

from hw.array import Grid
from hw.config import ArrayConfig
from verif.unit.stepper import Inputs, Stepper, check_stalls, pack, unpack
from verif.unit.waves import Waves

CONFIGS = [
    ArrayConfig(
        rows=rows, cols=cols, st_os=st_os, act_width=widths[0], weight_width=widths[1],
        acc_width=widths[2], accumulators=accumulators, mac_stages=stages,
    )
    for ((rows, cols), st_os, accumulators), (stages, widths) in zip(
        itertools.product([(1, 1), (3, 1), (2, 3)], (False, True), (1, 2)),
        itertools.cycle([(1, (2, 2, 4)), (2, (3, 2, 7)), (2, (4, 4, 8))]),
    )
]  # fmt: skip


def test_two_by_two() -> None:
    """[[1, 2], [3, 4]] times [[5, 6], [7, 8]], skewed by hand, is [[19, 22], [43, 50]]."""
    config = ArrayConfig(rows=2, cols=2, act_width=5, weight_width=5, acc_width=12)

    def step(
        a: tuple[int, int], west: tuple[int, int], east: tuple[int, int], release: int = 0
    ) -> Inputs:
        """Take a column of activations, and (tags, weight) for both columns."""
        operands = pack([32 * tags + weight for tags, weight in (west, east)], 7)
        activations = pack(a, 5)
        return {
            "i_en": 1, "i_move": 1, "i_release": release, "i_a": activations, "i_operand": operands,
        }  # fmt: skip

    valid, last, clear, idle = 1, 3, 2, (0, 0)
    steps = [
        step((0, 0), (clear, 0), idle),
        step((1, 0), (valid, 6), (clear, 0)),  # output 1 in the west column
        step((2, 3), (last, 8), (valid, 5)),  # output 0 in the east column
        step((0, 4), idle, (last, 7)),
        step((0, 0), idle, idle, release=0b01),  # row 0 is done,
        step((0, 0), idle, idle, release=0b10),  # and row 1 one step later
        *[step((0, 0), idle, idle)] * 2,
    ]
    trace = [unpack(seen.o_result, 12, 2) for seen in Stepper(Grid(config=config)).run(steps)]
    row_0, row_1 = zip(*trace, strict=True)
    assert row_0[5:7] == (19, 22)
    assert row_1[6:8] == (43, 50)


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_random(config: ArrayConfig) -> None:
    """Random tiles as close together as the rules of the controller allow, and with bubbles."""
    stepper = Stepper(Grid(config=config))
    for seed, bubbles in enumerate((0.0, 0.3)):
        waves = Waves(config, seed, bubbles)
        waves.random_tiles(12)
        waves.compare(stepper, seed=seed)


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_stalls(config: ArrayConfig) -> None:
    """Nothing moves without `i_en`."""
    waves = Waves(config, 5)
    waves.random_tiles(3)
    check_stalls(Stepper(Grid(config=config)), waves.steps(), {"i_en": 0, "i_move": 0})
