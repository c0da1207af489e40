"""The operators against literals and SciPy, and their lowering against the operators."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate

import golden
from golden import Operands, map_workload
from hw.config import ArrayConfig
from verif.lib.strategies import check, layers, machines
from verif.lib.tiles import operands


def test_literals():
    """Sums small enough to do by hand."""
    x = np.array([[[1], [2], [3]], [[4], [5], [6]], [[7], [8], [9]]])
    assert golden.linear([1, -2], [[3, 4], [5, 6]]).tolist() == [-7, -8]
    assert golden.pointwise_conv2d(x, [[2, -1]])[1, 2].tolist() == [12, -6]
    ones = np.ones((3, 3, 1, 1), int)
    assert golden.conv2d(x, ones)[..., 0].tolist() == [[12, 21, 16], [27, 45, 33], [24, 39, 28]]
    assert golden.conv2d(x, ones, padding="valid").tolist() == [[[45]]]
    assert golden.conv2d(x, ones, padding=((1, 0), (1, 0)), pad_value=10)[0, 0, 0] == 62
    assert golden.depthwise_conv2d(x, ones[..., 0], stride=2)[..., 0].tolist() == [
        [12, 16],
        [24, 28],
    ]
    row, column = [[1], [10], [100]], [[1], [0], [-1]]
    full = golden.fuse_conv2d(x, row, column, variant="full")
    assert full[..., 0].tolist() == [[210, 321, 32], [540, 654, 65], [870, 987, 98]]
    assert full[..., 1].tolist() == [[-4, -5, -6], [-6, -6, -6], [4, 5, 6]]
    assert golden.fuse_conv2d(x, row, column, variant="full", stride=2)[1, 0].tolist() == [870, 4]
    blocks = golden.abconv2d(np.array([[[1, 2, 3, 4]]]), [[1, 0, 2], [0, 1, 3]], 2)
    assert blocks[0, 0].tolist() == [1, 2, 8, 3, 4, 18]
    assert golden.linear([100, 100], [[100], [100]], acc_width=14).tolist() == [3616]


def scipy_depthwise(x, w, stride, padding, pad_value):
    (top, bottom), (left, right) = padding
    x = np.pad(x, ((top, bottom), (left, right), (0, 0)), constant_values=pad_value)
    dense = [correlate(x[..., c], w[..., c], "valid", "direct") for c in range(x.shape[2])]
    return np.stack(dense, axis=2)[:: stride[0], :: stride[1]]


def lower(config, mapping, want, kind, *arrays, **geometry):
    """Check a layer as `golden.map_workload` lays it onto a machine."""
    data = Operands.of(kind, *arrays, **geometry)
    check(data, map_workload(data.workload, config, mapping), want)


MAPPINGS = st.sampled_from(golden.MAPPINGS)


@settings(max_examples=150, deadline=None)
@given(layers(), machines(), MAPPINGS)
def test_depthwise(layer, config, mapping):
    """Against SciPy, then lowered."""
    rng, x, kernel, stride, padding, pad_value = layer
    w = operands(rng, (*kernel, x.shape[2]), 8)
    geometry = {"stride": stride, "padding": padding, "pad_value": pad_value}
    want = scipy_depthwise(x, w, stride, padding, pad_value)
    np.testing.assert_array_equal(golden.depthwise_conv2d(x, w, **geometry), want)
    want = golden.depthwise_conv2d(x, w, **geometry, acc_width=config.acc_width)
    lower(config, mapping, want, "depthwise", x, w, **geometry)


@settings(max_examples=150, deadline=None)
@given(layers(odd_square=True), machines(), MAPPINGS, st.sampled_from(["half", "full"]))
def test_fuse(layer, config, mapping, variant):
    """Against a depthwise convolution whose kernels are zero off the middle line."""
    rng, x, (k, _), stride, padding, pad_value = layer
    each = x.shape[2] // (2 if variant == "half" else 1)
    w_row, w_col = operands(rng, (k, each), 8), operands(rng, (k, each), 8)
    square = np.zeros((k, k, 2 * each), int)
    square[k // 2, :, :each], square[:, k // 2, each:] = w_row, w_col
    both = x if variant == "half" else np.concatenate([x, x], axis=2)
    want = scipy_depthwise(both, square, stride, padding, pad_value)
    geometry = {"variant": variant, "stride": stride, "padding": padding, "pad_value": pad_value}
    np.testing.assert_array_equal(golden.fuse_conv2d(x, w_row, w_col, **geometry), want)
    want = golden.fuse_conv2d(x, w_row, w_col, **geometry, acc_width=config.acc_width)
    kind = f"fuse_{geometry.pop('variant')}"
    lower(config, mapping, want, kind, x, w_row, w_col, **geometry)


@settings(max_examples=100, deadline=None)
@given(layers(), machines(), MAPPINGS, st.integers(1, 12))
def test_conv2d(layer, config, mapping, c_out):
    """Against sums of SciPy's correlations, then lowered."""
    rng, x, kernel, stride, padding, pad_value = layer
    w = operands(rng, (*kernel, x.shape[2], c_out), 8)
    geometry = {"stride": stride, "padding": padding, "pad_value": pad_value}
    maps = [scipy_depthwise(x, w[..., n], stride, padding, pad_value).sum(2) for n in range(c_out)]
    np.testing.assert_array_equal(golden.conv2d(x, w, **geometry), np.stack(maps, axis=2))
    want = golden.conv2d(x, w, **geometry, acc_width=config.acc_width)
    lower(config, mapping, want, "conv", x, w, **geometry)


@settings(max_examples=100, deadline=None)
@given(layers(), machines(), MAPPINGS, st.sampled_from([1, 2, 4]), st.integers(1, 5))
def test_abconv(layer, config, mapping, groups, c_out):
    """Compare k = 1 with the Kronecker product; any k and the expansion, lowered."""
    rng, x, kernel, stride, padding, pad_value = layer
    x = np.repeat(x, 2, axis=2)
    each = x.shape[2] // groups
    w1 = operands(rng, (each, c_out), 8)
    dense = np.kron(np.eye(groups, dtype=int), w1)
    np.testing.assert_array_equal(golden.abconv2d(x, w1, groups), x @ dense)

    geometry = {"stride": stride, "padding": padding, "pad_value": pad_value}
    w = operands(rng, (*kernel, each, c_out), 8)
    want = golden.abconv2d(x, w, groups, **geometry, acc_width=config.acc_width)
    lower(config, mapping, want, "abconv", x, w, groups=groups, **geometry)

    def activation(acc):
        return np.clip(acc >> 6, 0, 127)

    w = operands(rng, (*kernel, c_out, 3), 8)
    arguments = (x, w1, w, groups)
    options = {"activation": activation, **geometry}
    want = golden.abconv_exp2d(*arguments, **options, acc_width=config.acc_width)
    middle = golden.abconv2d(x, w1, groups, acc_width=config.acc_width)
    lower(config, mapping, middle, "abconv", x, w1, groups=groups)
    lower(config, mapping, want, "abconv", activation(middle), w, groups=groups, **geometry)


@settings(max_examples=50, deadline=None)
@given(machines(), MAPPINGS, st.integers(1, 40), st.integers(1, 30), st.integers(0, 2**32))
def test_linear_and_pointwise(config, mapping, c_in, c_out, seed):
    """Lowered."""
    rng = np.random.default_rng(seed)
    x, w = operands(rng, (3, 4, c_in), 8), operands(rng, (c_in, c_out), 8)
    want = golden.pointwise_conv2d(x, w, acc_width=config.acc_width)
    lower(config, mapping, want, "conv", x, w)
    lower(config, mapping, want, "linear", x, w)
    want = golden.linear(x[0, 0], w, acc_width=config.acc_width)
    lower(config, mapping, want, "linear", x[0, 0], w)


def test_deep_reduction():
    """More than 65535 products are split over commands that accumulate."""
    config = ArrayConfig(rows=1, cols=2)
    x, w = np.full(70000, -128), np.full((70000, 3), 127)
    data = Operands.of("linear", x, w)
    plan = map_workload(data.workload, config)
    assert len(plan.commands) > len([command for command in plan.commands if command.emit])
    check(data, plan, [-128 * 127 * 70000] * 3)


X, W = np.zeros((4, 4, 2), int), np.zeros((3, 3, 2), int)
CONFIG = ArrayConfig(rows=2, cols=2, st_os=True)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: golden.linear([1.5], [[1]]), TypeError, "x must be an array of integers"),
        (lambda: golden.conv2d(X, W), ValueError, "w must have 4 dimensions"),
        (lambda: golden.depthwise_conv2d(X, W[..., :1]), ValueError, "2 channels, not 1"),
        (lambda: golden.depthwise_conv2d(X, W, stride=0), ValueError, "stride"),
        (lambda: golden.depthwise_conv2d(X, W, padding="full"), ValueError, "'full'"),
        (lambda: golden.depthwise_conv2d(X, W, padding=-1), ValueError, "does not fit"),
        (lambda: golden.fuse_conv2d(X, W[0], W[0]), ValueError, "1 channels, not 2"),
        (lambda: golden.fuse_conv2d(X, W[0], W[0], variant="third"), ValueError, "'third'"),
        (lambda: golden.abconv2d(X, W[0, :1], 3), ValueError, "groups must divide"),
        (lambda: golden.gemm_tile([[1.0]], [[1]], CONFIG), TypeError, "a must be an array of int"),
        (lambda: golden.gemm_tile([[128]], [[1]], CONFIG), ValueError, "-128 to 127"),
        (lambda: golden.gemm_tile([[1]] * 3, [[1]], CONFIG), ValueError, "1 to 2 rows, not 3"),
        (lambda: golden.st_os_tile([[1] * 5], [[1] * 3], CONFIG), ValueError, "1 to 2, not 3"),
        (lambda: golden.st_os_tile([[1]], [[1]], CONFIG.replace(st_os=False)), ValueError, "ST-OS"),
    ],
)
def test_bad_input(call, error, text):
    """The right exception, with the value and what is legal."""
    with pytest.raises(error, match=text):
        call()
