"""One layer of each operator at a real size, every output compared on the RTL."""

from __future__ import annotations

import numpy as np
import pytest
from bench import simulator
from tiles import operands

import golden
from golden.mapping import MAPPINGS
from hw.config import ArrayConfig
from sim import cycles

RNG = np.random.default_rng(8)
X = operands(RNG, (14, 14, 64), 8)
TAPS = operands(RNG, (3, 3, 64), 8)
POINT = operands(RNG, (64, 64), 8)


def activation(acc):
    """Stand in for requantization: shift, and clip like a ReLU."""
    return np.clip(acc >> 9, 0, 127)


LAYERS = {
    "linear": (golden.linear, golden.lower_linear, (X[0, 0], POINT), {}),
    "pointwise": (golden.pointwise_conv2d, golden.lower_pointwise_conv2d, (X, POINT), {}),
    "conv2d": (
        golden.conv2d,
        golden.lower_conv2d,
        (X, operands(RNG, (3, 3, 64, 24), 8)),
        {"stride": 2, "pad_value": -7},
    ),
    "depthwise": (golden.depthwise_conv2d, golden.lower_depthwise_conv2d, (X, TAPS), {}),
    "depthwise_stride_2": (
        golden.depthwise_conv2d,
        golden.lower_depthwise_conv2d,
        (X, TAPS),
        {"stride": 2, "pad_value": 5},
    ),
    "fuse_half": (
        golden.fuse_conv2d,
        golden.lower_fuse_conv2d,
        (X, TAPS[0, :, :32], TAPS[:, 0, :32]),
        {},
    ),
    "fuse_full": (
        golden.fuse_conv2d,
        golden.lower_fuse_conv2d,
        (X, TAPS[0], TAPS[:, 0]),
        {"variant": "full", "stride": 2},
    ),
    "abconv": (
        golden.abconv2d,
        golden.lower_abconv2d,
        (X, operands(RNG, (3, 3, 16, 16), 8), 4),
        {},
    ),
    "abconv_exp": (
        golden.abconv_exp2d,
        golden.lower_abconv_exp2d,
        (X, operands(RNG, (16, 32), 8), operands(RNG, (3, 3, 32, 16), 8), 4),
        {"activation": activation},
    ),
}


def prove_layer(name, config, mapping):
    """Compare the RTL's sums with the operator's, and its cycles with the program's."""
    operator, lower, arguments, options = LAYERS[name]
    lowerings = lower(*arguments, config, **options, mapping=mapping)
    lowerings = lowerings if isinstance(lowerings, tuple) else (lowerings,)
    for lowering in lowerings:
        result = simulator(config).run(lowering.tiles)
        assert result.cycles == cycles(lowering.program, config)
        got = lowering.collect(result.outputs)
    np.testing.assert_array_equal(got, operator(*arguments, **options), err_msg=name)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("st_os", [False, True], ids=["plain", "st_os"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, st_os, mapping):
    """The RTL's result is the operator's, in exactly the predicted cycles."""
    prove_layer(name, ArrayConfig(rows=16, cols=16, st_os=st_os), mapping)


@pytest.mark.parametrize("st_os", [False, True], ids=["plain", "st_os"])
def test_64x64(st_os):
    """Every lowering on an array as large as those of the headline tables."""
    for name in LAYERS:
        prove_layer(name, ArrayConfig(rows=64, cols=64, st_os=st_os), "best")
