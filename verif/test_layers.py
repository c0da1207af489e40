"""One layer of each operator at a real size, every output compared on the RTL."""

from __future__ import annotations

import numpy as np
import pytest

import golden
from golden import MAPPINGS, Operands, map_workload
from hw.config import ArrayConfig
from sim import cycles
from verif.lib.bench import simulator
from verif.lib.tiles import operands

RNG = np.random.default_rng(8)
X = operands(RNG, (14, 14, 64), 8)
TAPS = operands(RNG, (3, 3, 64), 8)
POINT = operands(RNG, (64, 64), 8)


def activation(acc):
    """Stand in for requantization: shift, and clip like a ReLU."""
    return np.clip(acc >> 9, 0, 127)


# Operator and arguments, and the same as operands of a workload.
EXPAND, SHARED = operands(RNG, (16, 32), 8), operands(RNG, (3, 3, 32, 16), 8)
MIDDLE = activation(golden.abconv2d(X, EXPAND, 4))
WIDE, BLOCK = operands(RNG, (3, 3, 64, 24), 8), operands(RNG, (3, 3, 16, 16), 8)
ROW, COLUMN = TAPS[0], TAPS[:, 0]
LAYERS = {
    "linear": (golden.linear(X[0, 0], POINT), Operands.of("linear", X[0, 0], POINT)),
    "pointwise": (golden.pointwise_conv2d(X, POINT), Operands.of("conv", X, POINT)),
    "conv2d": (
        golden.conv2d(X, WIDE, stride=2, pad_value=-7),
        Operands.of("conv", X, WIDE, stride=2, pad_value=-7),
    ),
    "depthwise": (golden.depthwise_conv2d(X, TAPS), Operands.of("depthwise", X, TAPS)),
    "depthwise_stride_2": (
        golden.depthwise_conv2d(X, TAPS, stride=2, pad_value=5),
        Operands.of("depthwise", X, TAPS, stride=2, pad_value=5),
    ),
    "fuse_half": (
        golden.fuse_conv2d(X, ROW[:, :32], COLUMN[:, :32]),
        Operands.of("fuse_half", X, ROW[:, :32], COLUMN[:, :32]),
    ),
    "fuse_full": (
        golden.fuse_conv2d(X, ROW, COLUMN, variant="full", stride=2),
        Operands.of("fuse_full", X, ROW, COLUMN, stride=2),
    ),
    "abconv": (golden.abconv2d(X, BLOCK, 4), Operands.of("abconv", X, BLOCK, groups=4)),
    "abconv_exp, first": (
        golden.abconv2d(X, EXPAND, 4), Operands.of("abconv", X, EXPAND, groups=4),
    ),
    "abconv_exp": (
        golden.abconv_exp2d(X, EXPAND, SHARED, 4, activation=activation),
        Operands.of("abconv", MIDDLE, SHARED, groups=4),
    ),
}  # fmt: skip


def prove_layer(name, config, mapping):
    """Compare the RTL's sums with the operator's, and its cycles with the program's."""
    want, data = LAYERS[name]
    plan = map_workload(data.workload, config, mapping)
    lowering = plan.tiles(data)
    result = simulator(config).run(lowering.tiles)
    assert result.cycles == plan.cycles == cycles(plan.program, config)
    got = lowering.collect(result.outputs)
    np.testing.assert_array_equal(got.reshape(want.shape), want, err_msg=name)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("st_os", [False, True], ids=["plain", "st_os"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, st_os, mapping):
    """The RTL's result is the operator's, in exactly the predicted cycles."""
    prove_layer(name, ArrayConfig(rows=16, cols=16, st_os=st_os), mapping)


@pytest.mark.long
def test_64x64():
    """Every lowering on an array as large as those of the headline tables."""
    for name in LAYERS:
        prove_layer(name, ArrayConfig(rows=64, cols=64, st_os=True), "best")
