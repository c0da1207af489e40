"""The drain: when the rows are released, and which steps have a result beat at the output."""

from __future__ import annotations

import itertools
import random

import pytest

from hw.config import ArrayConfig
from hw.control import Drain
from verif.unit.stepper import Stepper, check_stalls

VALID, FIRST, LAST = 1, 2, 4
CONFIGS = [
    ArrayConfig(rows=rows, cols=cols, st_os=st_os, mac_stages=stages)
    for (rows, cols), st_os, stages in itertools.product(
        [(1, 1), (1, 4), (3, 1), (2, 2), (4, 3)], (False, True), (1, 2)
    )
]
#: With results every few steps, too.
PACED = [(config, 1) for config in CONFIGS] + [
    (config, every) for config in CONFIGS for every in (2, 4) if config.rows % every == 0
]
paced = pytest.mark.parametrize(("config", "every"), PACED)


def step(config: ArrayConfig, token: int, direct: int = 0) -> dict[str, int]:
    inputs = {"i_en": 1, "i_token": token}
    return inputs | {"i_direct": direct} if config.st_os else inputs


def test_gemm() -> None:
    """Two results of a 2 x 3 array: 3 steps to the east edge, then one row per step."""
    config = ArrayConfig(rows=2, cols=3)
    tokens = [VALID | FIRST, VALID | LAST, 0, 0, 0, 0, 0]
    trace = Stepper(Drain(config=config)).run([step(config, token) for token in tokens])
    assert [seen.o_release for seen in trace] == [0, 0, 0, 0b01, 0b10, 0, 0]
    assert [seen.o_valid for seen in trace] == [0, 0, 0, 0, 0, 1, 1]
    assert [seen.o_last for seen in trace[5:]] == [0, 1]


def test_st_os() -> None:
    """The same for ST-OS: all rows in the next step, the output one later, without deskew."""
    config = ArrayConfig(rows=2, cols=3, st_os=True)
    tokens = [VALID | FIRST, VALID | LAST, 0, 0, 0, 0, 0]
    trace = Stepper(Drain(config=config)).run([step(config, token, 1) for token in tokens])
    assert [seen.o_release for seen in trace] == [0, 0b11, 0, 0, 0, 0, 0]
    assert [seen.o_valid for seen in trace] == [0, 0, 1, 1, 0, 0, 0]
    assert [seen.o_last for seen in trace[2:4]] == [0, 1]
    assert [seen.o_bypass for seen in trace[2:4]] == [1, 1]


def random_folds(
    config: ArrayConfig, dice: random.Random, count: int, every: int = 1
) -> list[tuple[int, int]]:
    """Return the (token, direct) of every step: folds as close together as they may come."""
    steps: list[tuple[int, int]] = []
    direct = 0
    for _ in range(count):
        emit = dice.randint(1, config.cols)
        gap = dice.choice([0, 0, dice.randint(0, 2 * config.cols)])
        if config.st_os and dice.random() < 0.5:
            if not direct:  # ST-OS after GEMM: all tokens of the wave have left the rows
                gap += config.rows + config.cols - 2
            now = 1
        else:
            now = 0
        stays = dice.randint(0, gap) if direct else 0  # `i_direct` does, without a token
        if every > 1:
            stays = gap * direct
        steps += [(0, int(index < stays)) for index in range(gap)]
        direct = now
        last = dice.random() < 0.7
        for beat in range(emit):
            flags = FIRST * (beat == 0) + LAST * (last and beat == emit - 1)
            steps += [(VALID | flags, direct), *[(0, direct)] * (every - 1)]
    return steps + [(0, direct)] * (config.rows + config.cols + config.mac_stages + every)


def expected(
    config: ArrayConfig, steps: list[tuple[int, int]], every: int = 1
) -> tuple[list[int], list[int], list]:
    """Return for every step the rows released, and shifted, and (last, bypass), or None."""
    released, shifted = [0] * len(steps), [0] * len(steps)
    output: list[tuple[int, int] | None] = [None] * len(steps)
    for time, (token, direct) in enumerate(steps):
        if not token:
            continue
        to_row_0 = config.mac_stages + (0 if direct else config.cols - 1)
        for row in range(config.rows):
            to_row = to_row_0 + (row % every if direct else row)
            if token & FIRST:
                released[time + to_row] |= 1 << row
            shifted[time + to_row + 1] |= 1 << row
        to_output = config.mac_stages + (every if direct else config.cols + config.rows - 1)
        output[time + to_output] = (int(token & LAST > 0), direct)
    return released, shifted, output


def compare(config: ArrayConfig, steps: list[tuple[int, int]], trace: list, every: int = 1) -> None:
    released, shifted, output = expected(config, steps, every)
    for index, seen in enumerate(trace):
        assert seen.o_release == released[index], f"step {index}"
        if every > 1:
            assert seen.o_shift == shifted[index], f"step {index}"
            assert seen.o_token == [*shifted, 0][index + 1], f"step {index}"
            for first in range(0, config.rows, every):  # rows that share a lane
                assert (seen.o_shift >> first & (1 << every) - 1).bit_count() <= 1
        assert seen.o_valid == (output[index] is not None), f"step {index}"
        if (beat := output[index]) is not None:
            assert seen.o_last == beat[0]
            if config.st_os and config.rows > 1:  # one row has nothing to deskew
                assert seen.o_bypass == beat[1]


@paced
def test_random(config: ArrayConfig, every: int) -> None:
    """Folds of both modes in random order, without a gap and with one."""
    stepper = Stepper(Drain(config=config, every=every))
    for seed in range(2):
        steps = random_folds(config, random.Random(seed), 20, every)
        trace = stepper.run([step(config, *pair) for pair in steps], seed=seed)
        compare(config, steps, trace, every)


@paced
def test_stalls(config: ArrayConfig, every: int) -> None:
    """Tokens stand still without `i_en`."""
    steps = random_folds(config, random.Random(5), 4, every)
    check = [step(config, *pair) for pair in steps]
    check_stalls(Stepper(Drain(config=config, every=every)), check, {"i_en": 0})


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_reset(config: ArrayConfig) -> None:
    """A reset in any step forgets every token on its way."""
    stepper = Stepper(Drain(config=config))
    before = random_folds(config, random.Random(6), 2)
    after = random_folds(config, random.Random(7), 1)
    for cut in range(0, len(before), 2):
        steps = [step(config, *pair) for pair in before[:cut]]
        steps.append({"rst": 1})
        steps += [step(config, *pair) for pair in after]
        compare(config, after, stepper.run(steps, seed=cut)[cut + 1 :])
