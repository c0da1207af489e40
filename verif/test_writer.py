"""Networks as files and back: `to_tflite`, `recognize`, and many inputs at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden.int8 import batch
from golden.int8.array_operators import ABConv2D, DepthwiseConv2D, FuseConv2D
from golden.int8.batch import run_batch
from golden.int8.graph import Graph
from golden.int8.tflite import load as load_file
from golden.int8.transform import abconv, fuse, recognize
from golden.int8.writer import to_tflite
from report.errors import UserError
from verif.lib.fetch import find
from verif.lib.interpreters import litert, micro
from verif.lib.models import ACT, SAME, VALID, Net, everything, load, needs_models


def plain(folder: Path) -> Graph:
    """Return a network of what can be written, odd shapes and both strides."""
    net = Net(3, (1, 11, 9, 4))
    x = net.conv(net.input, (3, 3), 8, StrideH=2, StrideW=2, FusedActivationFunction=ACT.RELU6)
    y = net.depthwise(x, (3, 3), FusedActivationFunction=ACT.RELU)
    y = net.conv(y, (1, 1), 8)
    y = net.depthwise(net.sum(x, y), (5, 5), StrideH=2, StrideW=2)
    y = net.conv(y, (1, 1), 16, FusedActivationFunction=ACT.RELU6)
    return load(net.done(net.conv(y, (1, 1), 8)), folder)


def others(folder: Path) -> Graph:
    """Return a network of the other operators that can be written."""
    net = Net(4, (1, 11, 9, 4))
    writer = net.writer
    x = net.conv(net.input, (3, 3), 8, StrideH=2, Padding=VALID, FusedActivationFunction=ACT.RELU)
    y = net.activation(net.shapes[x], 2 * net.scales[x])
    x = writer.add("SUB", [x, net.constant((1, 1, 1, 8), 0.02)], y)
    y = net.activation(net.shapes[x], net.scales[x] ** 2 * 40)
    x = writer.add("MUL", [x, x], y)
    x = writer.add("HARD_SWISH", [x], net.activation(net.shapes[x], net.scales[x]))
    x = net.depthwise(x, (3, 3), 2)
    x = net.pool("MAX_POOL_2D", x, (3, 2), StrideH=1, StrideW=2, Padding=SAME)
    x = net.pool("AVERAGE_POOL_2D", x, (2, 2), StrideH=1, StrideW=1, Padding=VALID)
    mean = net.activation((1, 1, 1, 16), 0.7 * net.scales[x])
    x = writer.add("MEAN", [x, net.list([1, 2])], mean, KeepDims=True)
    x = writer.add("RESHAPE", [x, net.list([1, 16])], net.like(x, (1, 16)))
    x = net.weighted("FULLY_CONNECTED", x, (5, 16), (1, 5), per_channel=False)
    x = writer.add("SOFTMAX", [x], net.activation((1, 5), 1 / 256, -128), Beta=0.5)
    return load(net.done(x), folder)


def pictures(graph: Graph, count: int = 3) -> np.ndarray:
    shape = (count, *graph.inputs[0].shape[1:])
    return np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)


def without_bias(graph: Graph) -> Graph:
    """Return the network without biases: blocks of an ABConv may then share theirs."""
    changed = [
        replace(one, bias=np.zeros_like(one.bias)) if isinstance(one, ABConv2D) else one
        for one in graph.operators
    ]
    return replace(graph, operators=tuple(changed))


CHANGES = {
    "as it is": lambda graph: graph,
    "half": lambda graph: fuse(graph, "half"),
    "full": lambda graph: fuse(graph, "full"),
    "abconv": lambda graph: without_bias(abconv(graph, 4)),
    "abconv exp": lambda graph: without_bias(abconv(graph, 2, expand=True)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_written_networks_are_the_same(change, tmp_path):
    """A file gives in LiteRT and TFLM what the graph does, and is recognized as that graph."""
    graph = CHANGES[change](plain(tmp_path))
    content = to_tflite(graph)
    read = load(content, tmp_path)
    found = recognize(read)
    assert [one.kind for one in found.operators] == [one.kind for one in graph.operators]
    for one, other in zip(graph.operators, found.operators, strict=True):
        for a, b in zip(getattr(one, "weights", ()), getattr(other, "weights", ()), strict=True):
            assert np.array_equal(a, b)
    for x in pictures(graph):
        wanted = graph.run(x)
        assert np.array_equal(read.run(x), wanted) and np.array_equal(found.run(x), wanted)
        assert np.array_equal(litert(content, x[None])[0][0], wanted)
        assert np.array_equal(micro(content, x[None])[0][0], wanted)


def test_every_operator_is_written(tmp_path):
    """So are those of networks that the project does not train."""
    graph = others(tmp_path)
    content = to_tflite(graph)
    read = load(content, tmp_path)
    assert str(read) == str(graph)
    for x in pictures(graph, 5):
        steps = graph.run(x, return_all=True)
        assert all(
            np.array_equal(steps[key], one) for key, one in read.run(x, return_all=True).items()
        )
        assert np.array_equal(micro(content, x[None])[0][0], graph.run(x))


def changed(graph: Graph, kind: type, index: int = 0, **fields) -> Graph:
    """Return the network with other fields of its operator of a kind."""
    some = [one for one in graph.operators if isinstance(one, kind)]
    one = some[index]
    other = replace(one, **fields)
    return replace(
        graph, operators=tuple(other if each is one else each for each in graph.operators)
    )


def test_full_needs_two_alike(tmp_path):
    """Filters with other activations or scales, or whose results others read, are not FuSe full."""
    read = load(to_tflite(fuse(plain(tmp_path), "full")), tmp_path)
    count = sum(isinstance(one, FuseConv2D) for one in recognize(read).operators)
    assert count == 2
    other = changed(read, DepthwiseConv2D, 0, activation="RELU6")
    assert sum(isinstance(one, FuseConv2D) for one in recognize(other).operators) == 1
    rows = next(one for one in read.operators if isinstance(one, DepthwiseConv2D))
    seen = replace(read, outputs=(*read.outputs, rows.output))
    assert sum(isinstance(one, FuseConv2D) for one in recognize(seen).operators) == 1
    scaled = replace(rows.output, scale=2 * rows.output.scale)
    one = next(one for one in read.operators if rows.output in one.inputs)
    moved = tuple(
        replace(rows, output=scaled) if each is rows
        else replace(one, inputs=(scaled, *one.inputs[1:])) if each is one else each
        for each in read.operators
    )  # fmt: skip
    found = recognize(replace(read, operators=moved))
    assert sum(isinstance(each, FuseConv2D) for each in found.operators) == 1


def test_abconv_needs_its_own(tmp_path):
    """A convolution between reshapes whose result others read, too, stays as it is."""
    read = load(to_tflite(without_bias(abconv(plain(tmp_path), 4))), tmp_path)
    count = sum(isinstance(one, ABConv2D) for one in recognize(read).operators)
    assert count == 3
    inner = next(
        one for one, after in zip(read.operators, read.operators[1:], strict=False)
        if one.kind == "CONV_2D" and after.kind == "RESHAPE"
    )  # fmt: skip
    seen = replace(read, outputs=(*read.outputs, inner.output))
    assert sum(isinstance(one, ABConv2D) for one in recognize(seen).operators) == count - 1


def test_nothing_else_is_recognized(tmp_path):
    """One weight beside the row, or blocks that are not channels, and a layer stays as it is."""
    graph = fuse(plain(tmp_path), "half")
    read = load(to_tflite(graph), tmp_path)
    place = next(i for i, one in enumerate(read.operators) if isinstance(one, DepthwiseConv2D))
    for at in ((0, 0, 0), (0, 0, -1), (2, 1, 0), (1, 2, -1)):
        one = read.operators[place]
        weights = one.weights[0].copy()
        weights[at] = 1
        operators = list(read.operators)
        operators[place] = replace(one, weights=(weights,))
        found = recognize(replace(read, operators=tuple(operators)))
        assert not isinstance(found.operators[place], FuseConv2D)
    assert isinstance(recognize(read).operators[place], FuseConv2D)
    net = Net(1, (1, 4, 4, 8))
    folded = net.writer.add(
        "RESHAPE", [net.input, net.writer.tensor((4,), data=[1, 8, 4, 4], dtype=np.int32)],
        net.like(net.input, (1, 8, 4, 4)),
    )  # fmt: skip
    y = net.conv(folded, (1, 1), 4)
    target = net.writer.tensor((4,), data=[1, 4, 4, 8], dtype=np.int32)
    y = net.writer.add("RESHAPE", [y, target], net.like(y, (1, 4, 4, 8)))
    other = load(net.done(y), tmp_path)
    assert recognize(other) is other


def test_what_cannot_be_written(tmp_path):
    """What a file cannot say is refused, with the operator."""
    graph = plain(tmp_path)
    with pytest.raises(UserError, match="op02_ABCONV_2D: ABConv can be .* the same biases"):
        to_tflite(abconv(graph, 4))
    with pytest.raises(UserError, match="PAD cannot be written"):
        to_tflite(load(everything(), tmp_path))


@pytest.mark.parametrize("change", CHANGES)
def test_batches(change, tmp_path):
    """Many inputs at once are what each is alone."""
    graph = CHANGES[change](plain(tmp_path))
    x = pictures(graph, 5)
    assert np.array_equal(run_batch(graph, x), np.stack([graph.run(one) for one in x]))


def test_batches_of_everything(tmp_path):
    """So are those of a network with operators that know no batch."""
    graph = load(everything(), tmp_path)
    x = pictures(graph, 3)
    wanted = np.stack([np.ravel(graph.run(one)) for one in x])
    assert np.array_equal(run_batch(graph, x).reshape(3, -1), wanted)


@needs_models
@pytest.mark.parametrize("name", ["vww_96_int8", "users/mnv2_160_035", "users/mnv1_025_128_u8"])
def test_batches_of_real_networks(name):
    """So are those of networks that people have, uint8 among them."""
    graph = load_file(find(f"models/{name}.tflite"))
    x = pictures(graph, 2)
    x = x.view(np.uint8) if graph.inputs[0].dtype == "uint8" else x
    wanted = np.stack([np.ravel(graph.run(one)) for one in x])
    assert np.array_equal(run_batch(graph, x).reshape(2, -1), wanted)


def test_long_sums_are_exact():
    """A sum that float32 has no number for is computed in float64."""
    a, b = np.full((1, 2048), 127, np.int8), np.full((2048, 1), 127, np.int8)
    b[0] = 126
    wanted = a.astype(np.int64) @ b.astype(np.int64)
    assert wanted > 1 << 24 and wanted % 2 == 1
    assert np.array_equal(batch._product(a, b), wanted)
