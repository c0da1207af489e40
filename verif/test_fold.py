"""Folded networks: smaller, and the same for every input."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.int8.array_operators import ArrayOperator, Conv2D
from golden.int8.graph import Graph
from golden.int8.transform import fold, fuse
from verif.lib.fetch import find, needs
from verif.lib.models import ACT, SAME, VALID, Net, everything, load, modern

import golden.int8.tflite  # isort: skip


def macs(graph: Graph) -> int:
    return sum(one.workload.macs for one in graph.operators if isinstance(one, ArrayOperator))


def kill(net: Net, rng: np.random.Generator, share: float) -> None:
    """Set the weights of some output channels to zero, and some weights of input channels."""
    for kind, inputs, *_ in net.writer.operators:
        if kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            continue
        data, axis = net.writer.tensors[inputs[1]][3], net.writer.tensors[inputs[1]][5]
        dead = rng.random(data.shape[axis]) < share
        data[(slice(None),) * axis + (dead,)] = 0
        if kind != "DEPTHWISE_CONV_2D":
            data[..., rng.random(data.shape[-1]) < share / 3] = 0


def network(seed: int, share: float) -> bytes:
    """Return a network with dead channels behind all that passes them on, and all that does not."""
    net, rng = Net(seed, (1, 8, 7, 3)), np.random.default_rng(seed)
    writer = net.writer

    def activation() -> int:
        return int(rng.choice([ACT.NONE, ACT.RELU, ACT.RELU6]))

    def padding() -> int:
        return int(rng.choice([SAME, VALID]))

    x = net.conv(net.input, (3, 3), 8, FusedActivationFunction=activation(), Padding=SAME)
    x = net.depthwise(x, (3, 3), int(rng.integers(1, 3)), Padding=padding(),
                      FusedActivationFunction=activation())  # fmt: skip
    y = net.conv(x, (1, 1), 8, FusedActivationFunction=activation())
    z = net.depthwise(y, (1, 1), FusedActivationFunction=activation())
    z = net.conv(z, (3, 3), 8, Padding=SAME, FusedActivationFunction=activation())
    x = net.sum(y, z, activation())
    kinds = [
        ("HARD_SWISH", {}), ("LEAKY_RELU", {"Alpha": 0.2}), ("RELU6", {}), ("QUANTIZE", {}),
    ]  # fmt: skip
    kind, options = kinds[int(rng.integers(len(kinds)))]
    x = writer.add(kind, [x], net.activation(net.shapes[x], net.scales[x]), **options)
    x = writer.add(
        "MUL", [x, net.constant((8,), 0.02)], net.activation(net.shapes[x], net.scales[x])
    )
    pool = ["AVERAGE_POOL_2D", "MAX_POOL_2D"][int(rng.integers(2))]
    x = net.pool(pool, x, (2, 2), StrideH=2, StrideW=2, Padding=SAME)
    _, h, w, c = net.shapes[x]
    pads = net.list([[0, 0], [1, 0], [0, 1], [0, 0]])
    x = writer.add("PAD", [x, pads], net.like(x, (1, h + 1, w + 1, c)))
    x = net.conv(x, (2, 2), 8, Padding=padding(), FusedActivationFunction=activation())
    if rng.random() < 0.3:
        wide = net.like(x, (*net.shapes[x][:3], 16))
        x = writer.add("CONCATENATION", [x, x], wide, Axis=3)
    _, h, w, c = net.shapes[x]
    mean = writer.add("MEAN", [x, net.list([1, 2])], net.activation((1, c), net.scales[x]))
    flat = writer.add("RESHAPE", [x, net.list([1, -1])], net.like(x, (1, h * w * c)))
    one = net.weighted(
        "FULLY_CONNECTED", mean, (6, c), (1, 6), FusedActivationFunction=activation()
    )
    two = net.weighted("FULLY_CONNECTED", flat, (6, h * w * c), (1, 6))
    three = net.weighted("FULLY_CONNECTED", net.sum(one, two), (4, 6), (1, 4))
    kill(net, rng, share)
    outputs = [three, one] if rng.random() < 0.5 else [three]
    return writer.content([net.input], outputs)


def loaded(content: bytes) -> Graph:
    with tempfile.TemporaryDirectory() as folder:
        return load(content, Path(folder))


def same(graph: Graph, folded: Graph, x: np.ndarray) -> None:
    wanted, found = graph.run(x), folded.run(x)
    if not isinstance(wanted, tuple):
        wanted, found = (wanted,), (found,)
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]))
def test_fold(seed, share):
    """Every output stays the same for every input; nothing gets more."""
    graph = loaded(network(seed, share))
    folded, rng = fold(graph), np.random.default_rng(seed)
    assert macs(folded) <= macs(graph)
    assert share < 1 or macs(folded) < macs(graph)
    shape = graph.inputs[0].shape
    for x in (
        rng.integers(-128, 127, shape, np.int8, endpoint=True), np.full(shape, -128, np.int8),
        np.full(shape, 127, np.int8), np.full(shape, graph.inputs[0].zero_point, np.int8),
    ):  # fmt: skip
        same(graph, folded, x)
    assert macs(fold(folded)) == macs(folded)  # at once


def test_what_is_dropped():
    """A convolution with dead channels, and those that it reads in vain."""
    net = Net(5, (1, 6, 6, 3))
    x = net.conv(net.input, (3, 3), 8, FusedActivationFunction=ACT.RELU)
    y = net.conv(x, (1, 1), 5)
    first, second = (net.writer.tensors[operator[1][1]][3] for operator in net.writer.operators)
    first[:3] = 0  # constants, which go into biases: a 1 x 1 window has no padding
    second[..., 3:5] = 0  # read in vain
    graph = loaded(net.done(y))
    folded = fold(graph)
    shapes = [one.weights[0].shape for one in folded.operators if isinstance(one, Conv2D)]
    assert shapes == [(3, 3, 3, 3), (1, 1, 3, 5)]
    same(graph, folded, np.random.default_rng(1).integers(-128, 127, (1, 6, 6, 3), np.int8))


def test_padding_shows():
    """A constant that is not the zero point differs from the padding around it: it stays."""
    net = Net(5, (1, 6, 6, 3))
    x = net.conv(net.input, (1, 1), 4)
    y = net.conv(x, (3, 3), 2, Padding=SAME)
    net.writer.tensors[net.writer.operators[0][1][1]][3][1] = 0
    net.writer.tensors[net.writer.operators[0][1][2]][3][1] = 10**6
    graph = loaded(net.done(y))
    assert graph.run(np.zeros((6, 6, 3), np.int8), return_all=True)["op00_CONV_2D"][0, 0, 1] == 127
    assert macs(fold(graph)) == macs(graph)


def test_something_is_left():
    """A network whose layers are all dead still has layers."""
    graph = loaded(network(3, 1.0))
    folded = fold(graph)
    assert len(folded.operators) == len(graph.operators)
    assert all(min(one.output.shape) > 0 for one in folded.operators)


@pytest.mark.parametrize("content", [everything(), modern()], ids=["everything", "modern"])
def test_nothing_to_fold(content):
    """Networks without dead channels stay as they are; FuSe layers are left alone."""
    graph = loaded(content)
    assert macs(fold(graph)) == macs(graph)
    if graph.inputs[0].dtype == "int8":
        fused = fuse(graph, "half")
        same(fused, fold(fused), np.zeros(graph.inputs[0].shape, np.int8))


@needs("models/vww_96_int8.tflite")
def test_visual_wake_words():
    """83 percent of its weights are zero."""
    graph = golden.int8.tflite.load(find("models/vww_96_int8.tflite"))
    folded = fold(graph)
    assert (macs(graph), macs(folded)) == (7489664, 3733073)
    rng = np.random.default_rng(1)
    for _ in range(5):
        same(graph, folded, rng.integers(-128, 127, graph.inputs[0].shape, np.int8))
