"""The requantization lane gives what `golden.arith.quant` does, for every sum."""

from __future__ import annotations

import random

import numpy as np
import pytest

from golden.arith import quant
from hw.accelerator.requantizer import (
    LIMITS,
    PARAMETERS,
    Requantizer,
    lane_steps,
    wide_steps,
)
from hw.layouts import encode
from verif.unit.stepper import Stepper


def parameters(bias: int, multiplier: int, shift: int, twice: int) -> int:
    return encode(
        PARAMETERS, {"bias": bias, "multiplier": multiplier, "shift": shift - 1, "twice": twice}
    )


def limits(zero: int, low: int, high: int) -> int:
    """Return the same limits for both tensors."""
    value = encode(LIMITS, {"zero": zero, "low": low, "high": high})
    return value | value << LIMITS.size


def extremes(dice: random.Random) -> int:
    """Return a sum: any, a small one, or one at an end of int32."""
    edge = dice.choice([0, 1 << 31, -(1 << 31), 1 << 30, -(1 << 30)])
    near = edge + dice.randint(-3, 3)
    return max(
        -(1 << 31),
        min(
            (1 << 31) - 1,
            dice.choice([dice.randint(-(1 << 31), (1 << 31) - 1), dice.randint(-4000, 4000), near]),
        ),
    )


@pytest.mark.parametrize("mac_stages", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_as_golden(seed: int, mac_stages: int) -> None:
    """Double rounding, all shifts, every bias, dead channels, every range."""
    dice = random.Random(seed)
    tensors = [
        (dice.randint(-128, 127), *sorted(dice.randint(-128, 127) for _ in range(2)))
        for _ in range(2)
    ]
    both = sum(limits(*one) >> LIMITS.size << LIMITS.size * n for n, one in enumerate(tensors))
    steps, wanted, wide = [], [], []
    for _ in range(3000):
        total, bias = extremes(dice), extremes(dice)
        shift = dice.randint(-31, 8)
        multiplier = dice.choice([0, 1 << 30, (1 << 31) - 1, dice.randint(1 << 30, (1 << 31) - 1)])
        acc = (total + bias + (1 << 31)) % (1 << 32) - (1 << 31)
        if shift > 0 and not -(1 << 31) <= acc << shift < 1 << 31:
            shift = 0  # the reference wraps; a compiler refuses that
        carry = dice.randint(0, 1)
        steps.append(
            {
                "i_en": 1,
                "i_sum": (total - carry) % (1 << 32),
                "i_carry": carry,
                "i_limits": both,
                "i_odd": (odd := dice.randint(0, 1)),
                "i_parameters": parameters(bias, multiplier, 31 - shift, int(shift < 0)),
            }
        )
        zero, low, high = tensors[odd]
        wanted.append(int(quant.requantize(acc, multiplier, shift, zero, (low, high))))
        wide.append(int(quant.multiply(acc, multiplier, shift)))
    last = steps[-1]
    late = lane_steps(mac_stages)
    trace = Stepper(Requantizer(mac_stages=mac_stages)).run([*steps, *[last] * late])
    for seen, value in zip(trace[wide_steps(mac_stages) :], wide, strict=False):
        if abs(value) < 1 << 31:
            whole = seen.o_wide - (seen.o_wide >> 32 << 33)
            assert (whole >> 1) + (whole & 1) == value
    got = np.array([seen.o for seen in trace[late:]], np.uint8).view(np.int8)
    assert got.tolist() == wanted


@pytest.mark.parametrize("mac_stages", [1, 2])
def test_averages(mac_stages: int) -> None:
    """Multipliers that are a little too great round halves of averages away from zero."""
    dice = random.Random(1)
    steps, wanted = [], []
    for _ in range(2000):
        count = dice.choice([4, 9, 16, 25, 49, 64])
        total = dice.randint(-128 * count, 127 * count)
        multiplier = (1 << 20) // count + 1
        steps.append(
            {
                "i_en": 1,
                "i_sum": total % (1 << 32),
                "i_carry": 0,
                "i_odd": 0,
                "i_limits": limits(0, -128, 127),
                "i_parameters": parameters(0, multiplier, 20, 0),
            }
        )
        wanted.append(int(np.sign(total)) * ((abs(total) + count // 2) // count))
    late = lane_steps(mac_stages)
    trace = Stepper(Requantizer(mac_stages=mac_stages)).run([*steps, *[steps[-1]] * late])
    got = np.array([seen.o for seen in trace[late:]], np.uint8).view(np.int8)
    assert got.tolist() == wanted
