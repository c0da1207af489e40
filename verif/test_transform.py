"""The rules by which FuSe and ABConv layers get their weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden.int8.array_operators import (
    ABConv2D,
    ArrayOperator,
    Conv2D,
    DepthwiseConv2D,
    FuseConv2D,
)
from golden.int8.graph import Graph
from golden.int8.transform import abconv, fuse
from verif.lib.models import Net, everything, load


def single(tmp_path: Path, channels: int = 8) -> Graph:
    """Return a network of a depthwise and a 1 x 1 convolution without zero points."""
    net = Net(5, (1, 9, 9, channels))
    y = net.conv(net.depthwise(net.input, (3, 3)), (1, 1), channels)
    return load(net.done(y), tmp_path)


def real(one: ArrayOperator) -> np.ndarray:
    return one.weights[0] * one.weight_scales.astype(float)


def as_depthwise(one: FuseConv2D) -> list[DepthwiseConv2D]:
    """Return FuSeConv as depthwise convolutions of square kernels that are mostly zeros."""
    k, c_in = one.kernel[0], one.inputs[0].shape[3]
    squares = [np.zeros((k, k, w.shape[2]), np.int8) for w in one.weights]
    squares[0][k // 2], squares[1][:, k // 2] = one.weights[0][0], one.weights[1][:, 0]
    found, start = [], 0
    for square in squares:
        # Over all channels that it can read; those that it does not are cut off again.
        wide = np.zeros((k, k, c_in), np.int8)
        if one.variant == "half":
            wide[..., start : start + square.shape[2]] = square
        else:
            wide = square
        count = wide.shape[2]
        part = slice(0, count) if one.variant == "half" else slice(start, start + count)
        found.append(
            DepthwiseConv2D(
                inputs=one.inputs,
                output=replace(one.output, shape=(*one.output.shape[:3], count)),
                weights=(wide,),
                weight_scales=one.weight_scales[part],
                bias=one.bias[part],
                activation=one.activation,
                stride=one.stride,
                padding=one.padding,
            )  # fmt: skip
        )
        start += square.shape[2]
    return found


@pytest.mark.parametrize("variant", ["half", "full"])
def test_fuse_is_depthwise(variant, tmp_path):
    """FuSeConv gives what depthwise convolutions give, which LiteRT has checked; bit for bit."""
    rng = np.random.default_rng(2)
    for seed in (3, 4):
        graph = fuse(load(everything(seed), tmp_path), variant)
        fused = [one for one in graph.operators if isinstance(one, FuseConv2D)]
        assert len(fused) == 3
        for one in fused:
            if one.inputs[0].shape[3] * (1 + (variant == "full")) != one.channels:
                continue  # a channel multiplier
            x = rng.integers(-128, 127, one.inputs[0].shape, np.int8, endpoint=True)
            row, column = (part(x) for part in as_depthwise(one))
            if variant == "half":
                half = one.channels // 2
                wanted = np.concatenate([row[..., :half], column[..., half:]], axis=3)
            else:
                wanted = np.concatenate([row, column], axis=3)
            np.testing.assert_array_equal(one(x), wanted)
            assert len(np.unique(wanted)) > 5


@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize("groups", [2, 4])
def test_abconv_is_a_convolution(groups, expand, tmp_path):
    """ABConv gives what a convolution with the weights on the diagonal gives; bit for bit."""
    rng = np.random.default_rng(2)
    graph = abconv(load(everything(3), tmp_path), groups, expand=expand)
    shared = [one for one in graph.operators if isinstance(one, ABConv2D)]
    assert len(shared) >= 2
    for one in shared:
        weights = np.kron(np.eye(groups, dtype=np.int8), one.weights[0][0, 0])
        convolution = Conv2D(
            inputs=one.inputs, output=one.output, weights=(weights[None, None],),
            weight_scales=one.weight_scales, bias=one.bias, activation=one.activation,
            stride=one.stride, padding=one.padding,
        )  # fmt: skip
        x = rng.integers(-128, 127, one.inputs[0].shape, np.int8, endpoint=True)
        np.testing.assert_array_equal(one(x), convolution(x))
        assert len(np.unique(one(x))) > 5


@pytest.mark.parametrize("variant", ["half", "full"])
def test_fuse_keeps_what_does_not_change_across(variant, tmp_path):
    """On columns that are constant a row filter gives what the kernel gave, and so on."""
    graph = single(tmp_path)
    depthwise = graph.operators[0]
    fused = fuse(graph, variant).operators[0]
    assert isinstance(fused, FuseConv2D) and isinstance(depthwise, DepthwiseConv2D)
    rng = np.random.default_rng(1)
    line = rng.integers(-128, 127, (9, 8), np.int8, endpoint=True)
    for axis, part in ((0, slice(None, 4)), (1, slice(4, None))):
        image = np.broadcast_to(np.expand_dims(line, axis), (9, 9, 8))[None]
        inside = np.s_[0, 1:-1, 1:-1]
        wanted, got = depthwise(image)[inside], fused(image)[inside]
        if variant == "full":
            got = got[..., :8] if axis == 0 else got[..., 8:]
        else:
            wanted, got = wanted[..., part], got[..., part]
        # Weights rounded to int8 again: a unit or two.
        assert np.abs(wanted.astype(int) - got).max() <= 2
        assert len(np.unique(wanted)) > 20


def test_fuse_full_takes_the_mean(tmp_path):
    """What reads FuSe full has every weight twice, half as large, and the same bias."""
    graph = single(tmp_path)
    before, after = graph.operators[1], fuse(graph, "full").operators[1]
    assert isinstance(before, Conv2D) and isinstance(after, Conv2D)
    w, twice = real(before), real(after)
    np.testing.assert_allclose(twice[:, :, :8], w / 2, atol=np.abs(w).max() / 250)
    np.testing.assert_array_equal(twice[:, :, :8], twice[:, :, 8:])
    scale = after.inputs[0].scale
    biases = [one.bias * one.weight_scales * scale for one in (before, after)]
    np.testing.assert_allclose(*biases, rtol=1e-3, atol=1e-3)


def test_abconv_is_least_squares(tmp_path):
    """No other shared block, within rounding, is nearer to the convolution."""
    graph = single(tmp_path)
    before, after = graph.operators[1], abconv(graph, 2).operators[1]
    assert isinstance(before, Conv2D) and isinstance(after, ABConv2D)
    w = real(before)[0, 0]
    # Least squares by an independent solver: every element of w is seen twice on the diagonal.
    rows = [np.kron(np.eye(2), basis).ravel() for basis in np.eye(16).reshape(16, 4, 4)]
    solution = np.linalg.lstsq(np.array(rows).T, w.ravel(), rcond=None)[0].reshape(4, 4)
    got = after.weights[0][0, 0] * after.weight_scales[:4].astype(float)
    np.testing.assert_allclose(got, solution, atol=np.abs(solution).max() / 250)
    np.testing.assert_array_equal(after.weight_scales[:4], after.weight_scales[4:])
    assert len(after.bias) == 8


def test_abconv_exp_is_a_product(tmp_path):
    """The two factors give the shared block, and nothing between them saturates."""
    graph = single(tmp_path)
    shared, (_, first, second) = (
        abconv(graph, 2).operators[1],
        abconv(graph, 2, expand=True).operators,
    )
    assert isinstance(first, ABConv2D) and isinstance(second, ABConv2D)
    assert isinstance(shared, ABConv2D)
    assert first.output.shape == (1, 9, 9, 2 * 32)  # c_mid by golden.abconv.expansion
    product = (
        (first.weights[0][0, 0] * first.weight_scales[:32].astype(float))
        @ (second.weights[0][0, 0] * second.weight_scales[:4].astype(float))
    )  # fmt: skip
    w = shared.weights[0][0, 0] * shared.weight_scales[:4].astype(float)
    np.testing.assert_allclose(product, w, atol=np.abs(w).max() / 30)
    # The input that drives a channel furthest, channel by channel.
    for channel in range(4):
        signs = first.weights[0][0, 0, :, channel] > 0
        worst = np.tile(np.where(signs, 127, -128), 2).astype(np.int8)
        reach = []
        for x in (worst, ~worst):
            sums = first.accumulate(np.broadcast_to(x, (1, 9, 9, 8)))[0, 0, channel]
            total = sums - first.inputs[0].zero_point * first.weights[0][0, 0, :, channel].sum(
                dtype=int
            )
            scale = first.inputs[0].scale * first.weight_scales[channel]
            reach.append(abs(total * scale / first.output.scale))
        assert 126 < max(reach) < 128


def test_transform_refusals(tmp_path):
    graph = single(tmp_path)
    plain = replace(graph, operators=graph.operators[:1], outputs=(graph.operators[0].output,))
    odd = single(tmp_path, channels=5)
    for change, text in (
        (lambda: fuse(graph, "most"), "'half' or 'full', not 'most'"),
        (lambda: fuse(odd, "half"), "FuSe half: op00_DEPTHWISE_CONV_2D: 5 channels are odd"),
        (lambda: fuse(plain, "full"), "FuSe full: op00_.*it is the network's output"),
        (lambda: abconv(graph, 1), "at least 2, not 1"),
        (lambda: abconv(graph, 3), "no 1x1 convolution has channels that 3 groups divide"),
        (lambda: abconv(plain, 2), "no 1x1 convolution"),
        (lambda: fuse(abconv(fuse(graph, "half"), 2), "half"), "no depthwise convolution"),
    ):
        with pytest.raises(ValueError, match=text):
            change()
