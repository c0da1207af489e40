"""Import and golden execution of int8 models: against reference results and another interpreter."""

from __future__ import annotations

import contextlib
import re
import signal
import struct
import tempfile
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite as schema
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as newer

from golden.arith import activations, quant
from golden.arith.window import Window
from golden.int8 import tflite
from golden.int8.array_operators import FullyConnected
from golden.int8.graph import Graph
from golden.int8.kinds import KINDS
from golden.int8.tensor import DTYPES
from verif.lib.fetch import find, missing, needs
from verif.lib.interpreters import litert, micro, micro_steps, reference
from verif.lib.models import (
    ACT,
    EVERYTHING,
    SAME,
    VALID,
    VARIANTS,
    Net,
    Writer,
    everything,
    load,
    modern,
    needs_models,
    reference_input,
    single,
    variant,
)  # fmt: skip


def compare(graph: Graph, content: bytes, x: np.ndarray) -> None:
    """Compare every operator with LiteRT's kernels, on the inputs that it has there."""
    wanted = reference(content, x)
    assert graph.names == list(wanted)
    values = {graph.inputs[0]: x}
    for name, one in zip(graph.names, graph.operators, strict=True):
        found = one(*(values[t] if t.data is None else t.data for t in one.inputs))
        assert found.dtype == np.int8
        value = values[one.output] = wanted[name].reshape(one.output.shape)
        if isinstance(one, FullyConnected):
            np.testing.assert_array_equal(rounded_once(one, values[one.inputs[0]]), value, name)
            assert np.abs(found.astype(int) - value).max() <= 1
        else:
            np.testing.assert_array_equal(found, value, err_msg=name)


def compare_micro(graph: Graph, content: bytes, x: np.ndarray) -> None:
    """Compare every operator with TFLM's kernels, from the network's input on."""
    for step, wanted in zip(graph.steps(x), micro_steps(content, x), strict=True):
        np.testing.assert_array_equal(step.output.ravel(), wanted.ravel(), err_msg=step.name)


def rounded_once(one: FullyConnected, x: np.ndarray) -> np.ndarray:
    """Return what LiteRT makes of golden's sums: it multiplies by a float, and rounds once."""
    source, target = one.inputs[0], one.output
    totals = one.accumulate(x) + one.bias
    totals -= source.zero_point * one.weights[0].sum(0, dtype=np.int64)
    real = totals * (source.scale * one.weight_scales.astype(float) / target.scale)
    nearest = np.copysign(np.floor(np.abs(real) + 0.5), real) + target.zero_point
    limits = quant.activation_range(one.activation, target.scale, target.zero_point)
    return np.clip(nearest, *limits).reshape(target.shape)


# The reference results: of three tensors that an ADD overwrote in place no copy was kept, so the
# file has the sum under their names. An interpreter that keeps all tensors has golden's values.
OVERWRITTEN = {
    "resnet8_chelsea": {
        "op02_CONV_2D": "op03_ADD",
        "op06_CONV_2D": "op07_ADD",
        "op10_CONV_2D": "op11_ADD",
    }
}


RESULTS = [
    ("vww_96_int8", "vww_astronaut"),
    ("vww_96_int8", "vww_coffee"),
    ("pretrainedResnet_quant", "resnet8_chelsea"),
    ("kws_ref_model", "kws_random7"),
    ("ad01_int8", "autoencoder_random1"),
]


@needs_models
@pytest.mark.parametrize(("model", "result"), RESULTS)
def test_reference_results(model, result):
    """Every operator's output is the reference interpreter's, bit for bit."""
    path = find(f"models/{model}.tflite")
    if said := missing(f"models/{result}.npz"):
        pytest.skip(said)
    graph, wanted = tflite.load(path), np.load(find(f"models/{result}.npz"))
    found = graph.run(wanted["input"], return_all=True)
    names = [name for name in wanted.files if name[:2] == "op" and name[2].isdigit()]
    assert not names or list(found) == names
    overwritten = OVERWRITTEN.get(result, {})
    for name in names:
        source = overwritten.get(name, name)
        np.testing.assert_array_equal(wanted[name], found[source], err_msg=name)
    np.testing.assert_array_equal(graph.run(wanted["input"]), wanted["output"])


@needs_models
@pytest.mark.parametrize(("model", "result"), RESULTS)
def test_interpreters_agree(model, result):
    """So are those of the interpreters that are here."""
    path = find(f"models/{model}.tflite")
    graph = tflite.load(path)
    x = reference_input(graph, result).reshape(graph.inputs[0].shape)
    compare(graph, path.read_bytes(), x)
    compare_micro(graph, path.read_bytes(), x)


@needs_models
def test_autoencoder():
    """What one rounding instead of two makes of ten fully connected layers: as docs/networks.md."""
    path = find("models/ad01_int8.tflite")
    graph, content, rng = tflite.load(path), path.read_bytes(), np.random.default_rng(1)
    layers, results = np.zeros(len(graph.operators)), []
    for _ in range(25):
        x = rng.integers(-128, 127, graph.inputs[0].shape, np.int8, endpoint=True)
        compare_micro(graph, content, x)
        steps = list(graph.steps(x))
        layers += [
            (rounded_once(one.operator, one.inputs[0]) != one.output).mean() / 25 for one in steps
        ]
        *_, litert = reference(content, x).values()
        results.append(litert.astype(int) - steps[-1].output)
    assert (round(1 / layers.max()), round(1 / layers.min())) == (21, 1333)
    assert round((np.array(results) != 0).mean(), 2) == 0.36
    assert np.abs(results).max() == 3


@needs("models/users/person_detect.tflite")
def test_refused_by_one():
    """A model that TFLM runs, but LiteRT refuses: its biases are quantized along an axis 3."""
    path = find("models/users/person_detect.tflite")
    x = np.random.default_rng(1).integers(-128, 127, (1, 96, 96, 1), np.int8, endpoint=True)
    compare_micro(tflite.load(path), path.read_bytes(), x)
    with pytest.raises(ValueError):
        reference(path.read_bytes())


BEHIND = "faults/buffers_after_the_flatbuffer.tflite"


@needs(BEHIND)
def test_buffers_behind_in_a_published_format():
    """A whole MobileNetV2 as today's converters write it."""
    graph, content = tflite.load(find(BEHIND)), find(BEHIND).read_bytes()
    x = np.random.default_rng(1).integers(-128, 127, graph.inputs[0].shape, np.int8, endpoint=True)
    compare(graph, content, x)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(name, tmp_path):
    """What converters write, but `everything` has not."""
    content = variant(name)
    graph = load(content, tmp_path)
    x = np.random.default_rng(1).integers(-128, 127, graph.inputs[0].shape, np.int8, endpoint=True)
    if name != "reshape, absent operand":  # on which LiteRT crashes
        compare(graph, content, x)
    if name not in ("pad, int64", "buffers behind the flatbuffer"):  # neither of which TFLM reads
        compare_micro(graph, content, x)
    found = graph.run(x)
    assert found.size == np.prod(graph.outputs[0].shape) and len(np.unique(found)) > 2
    if name == "output inside":
        np.testing.assert_array_equal(found, graph.run(x, return_all=True)["op01_CONV_2D"])


@pytest.mark.parametrize("seed", range(40))
def test_all_operators(seed, tmp_path):
    """A model with every operator, of many sizes, is what the reference kernels say."""
    content = everything(seed, 7 + seed % 13, 20 - seed % 11)
    graph = load(content, tmp_path)
    assert {one.kind for one in graph.operators} == EVERYTHING
    rng = np.random.default_rng(seed)
    for x in (
        rng.integers(-128, 127, graph.inputs[0].shape, np.int8, endpoint=True),
        *extremes(graph),
    ):
        compare(graph, content, x)
        compare_micro(graph, content, x)


@pytest.mark.parametrize("seed", range(12))
def test_modern(seed, tmp_path):
    """Real numbers at the ends, three outputs, and operators in between that are not in those."""
    content, rng = modern(seed), np.random.default_rng(seed)
    graph = load(content, tmp_path)
    assert [one.dtype for one in graph.outputs] == ["float32", "float32", "int8"]
    for scale in (1, 10):
        x = rng.normal(0, scale, graph.inputs[0].shape).astype(np.float32)
        for found, wanted in zip(graph.run(x), micro(content, x), strict=True):
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found.ravel(), wanted.ravel())
        whole, other = graph.run(x), litert(content, x)
        for index in (0, 2):  # the other comes out of a fully connected layer
            np.testing.assert_array_equal(whole[index].ravel(), other[index].ravel())


def test_several_inputs(tmp_path):
    """In the order of the file; each of its own type and shape."""
    writer = Writer()
    first = writer.tensor((1, 3, 4), 0.1, 3)
    second = writer.tensor((1, 3, 1), 0.05, 200, dtype=np.uint8)
    whole = writer.add("QUANTIZE", [second], writer.tensor((1, 3, 1), 0.05, 72))
    y = writer.add("ADD", [first, whole], writer.tensor((1, 3, 4), 0.2, -7))
    content, rng = writer.content([second, first], [y, first]), np.random.default_rng(1)
    x = rng.integers(0, 256, (1, 3, 1)).astype(np.uint8), bits(rng, (1, 3, 4))
    graph = load(content, tmp_path)
    for found, wanted in zip(graph.run(*x), litert(content, *x), strict=True):
        np.testing.assert_array_equal(found, wanted[0])
    for wrong, error, text in (
        (x[:1], ValueError, "has 2 inputs, not 1"),
        (x[::-1], TypeError, "must be uint8, not int8"),
        ((x[0], x[1][:, :2]), ValueError, "must be 3x4, not 2x4"),
    ):
        with pytest.raises(error, match=text):
            graph.run(*wrong)


def extremes(graph: Graph) -> list[np.ndarray]:
    return [np.full(graph.inputs[0].shape, value, np.int8) for value in (-128, 127)]


SCALE = st.floats(-3, 0).map(lambda x: float(np.float32(10**x)))
ZERO = st.integers(-128, 127)
VALUES = st.integers(0, 2**32 - 1).map(np.random.default_rng)
ACTIVATION = st.sampled_from(quant.ACTIVATIONS)


def bits(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return int8 values, mostly from a narrow range, as in the last layers of a network."""
    low = int(rng.integers(-128, 127))
    high = int(rng.integers(low, 127)) if rng.random() < 0.7 else 127
    return rng.integers(low, high, shape, np.int8, endpoint=True)


def only(content: bytes, *inputs: np.ndarray) -> np.ndarray:
    """Return the output of the one operator, the same by both interpreters."""
    (value,), (other,) = litert(content, *inputs), micro(content, *inputs)
    np.testing.assert_array_equal(other.ravel(), value.ravel())
    return value


def softmax(x: np.ndarray, scale: float, beta: float = 1.0) -> None:
    """Compare with the reference kernel."""
    writer = Writer()
    source, target = writer.tensor(x.shape, scale, 3), writer.tensor(x.shape, 1 / 256, -128)
    writer.add("SOFTMAX", [source], target, Beta=beta)
    wanted = only(writer.content([source], [target]), x)
    np.testing.assert_array_equal(activations.softmax(x, scale, beta), wanted)


@settings(max_examples=100, deadline=None)
@given(VALUES, st.integers(1, 511), SCALE, st.sampled_from([0.25, 1.0, 3.0]))
def test_softmax(rng, classes, scale, beta):
    softmax(bits(rng, (100, classes)), scale, beta)


@pytest.mark.parametrize(
    "scale, row",
    [
        (0.031171055510640144, [127, -117, -114, 85, 99, 88, 43, -66, -61]),
        (0.009416158311069012, [127, 5, -55, 40, -40]),
        (0.06987441331148148, [127, -90, 110, 87, 104, 61, 19, 39]),
    ],
)
def test_softmax_near_ties(scale, row):
    """Where the last bit of a constant decides, one of some ten million outputs."""
    softmax(np.array([row], np.int8), scale)


def test_softmax_limit():
    """Up to 511 equal classes; the reference kernel stops the process at 512."""
    softmax(np.full((2, 511), 5, np.int8), 0.1)
    with pytest.raises(ValueError, match="512 or more of the classes"):
        activations.softmax(np.full((2, 512), 5, np.int8), 0.1)
    sharp = np.full((1, 2000), -128, np.int8)
    sharp[0, 7] = 127
    softmax(sharp, 0.1)


@settings(max_examples=60, deadline=None)
@given(st.tuples(SCALE, SCALE, SCALE), st.tuples(ZERO, ZERO, ZERO), ACTIVATION)
@example((0.0015, 0.0011, 0.001), (-40, 88, -57), "NONE")  # many sums at ties
def test_add(scales, zeros, activation):
    """All pairs of operands."""
    scales = tuple(float(np.float32(scale)) for scale in scales)
    a, b = np.meshgrid(*[np.arange(-128, 128).astype(np.int8)] * 2)
    writer = Writer()
    tensors = [writer.tensor(a.shape, *one) for one in zip(scales, zeros, strict=True)]
    writer.add("ADD", tensors[:2], tensors[2], FusedActivationFunction=getattr(ACT, activation))
    wanted = only(writer.content(tensors[:2], tensors[2:]), a, b)
    limits = quant.activation_range(activation, scales[2], zeros[2])
    found = quant.add(a, b, scales=scales, zero_points=zeros, limits=limits)
    np.testing.assert_array_equal(found, wanted)


@settings(max_examples=60, deadline=None)
@given(
    VALUES, st.sampled_from(["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]), SCALE,
    ACTIVATION, st.booleans(),
)  # fmt: skip
def test_weighted(rng, kind, scale, activation, per_channel):
    """Convolutions and fully connected layers: many sums, any scales."""
    net = Net(int(rng.integers(1 << 30)), (1, 9, 9, 8))
    net.target = scale
    options = {
        "per_channel": per_channel, "FusedActivationFunction": getattr(ACT, activation),
    }  # fmt: skip
    if kind == "CONV_2D":
        y = net.weighted(kind, net.input, (200, 2, 3, 8), (1, 9, 9, 200), **options)
    elif kind == "DEPTHWISE_CONV_2D":
        y = net.depthwise(net.input, (4, 3), 20, **options)
    else:
        y = net.weighted(kind, net.input, (4000, 648), (1, 4000), **options)
    content = net.done(y)
    with tempfile.TemporaryDirectory() as folder:
        graph = load(content, Path(folder))
    x = bits(rng, (1, 9, 9, 8))
    compare(graph, content, x)
    compare_micro(graph, content, x)


@settings(max_examples=150, deadline=None)
@given(
    VALUES, st.tuples(*[st.integers(1, 9)] * 3), st.booleans(), st.booleans(),
    st.sampled_from([(1, 2), (2, 1), (1,), (3,), (1, 2, 3)]), SCALE, SCALE, ZERO, ZERO,
)  # fmt: skip
def test_mean(rng, sizes, same, keep_dims, axes, source, target, zero, other):
    if same:
        target, other = source, zero
    x = bits(rng, (1, *sizes))
    writer = Writer()
    inputs = [writer.tensor(x.shape, source, zero)]
    inputs.append(writer.tensor((len(axes),), data=axes, dtype=np.int32))
    found = quant.mean(
        x, axes, scales=(source, target), zero_points=(zero, other), keep_dims=keep_dims
    )
    output = writer.tensor(found.shape, target, other)
    writer.add("MEAN", inputs, output, KeepDims=keep_dims)
    np.testing.assert_array_equal(found, only(writer.content(inputs[:1], [output]), x))


@settings(max_examples=150, deadline=None)
@given(
    VALUES, st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"]),
    st.tuples(*[st.integers(1, 9)] * 2), st.tuples(*[st.integers(1, 9)] * 2),
    st.tuples(*[st.integers(1, 3)] * 2), st.booleans(), ZERO, ACTIVATION,
)  # fmt: skip
def test_pools(rng, kind, size, kernel, stride, same, zero, activation):
    if not same:
        kernel = tuple(map(min, kernel, size))
    x = bits(rng, (1, *size, 3))
    window = Window.of(size, kernel, stride, "same" if same else "valid")
    writer = Writer()
    source = writer.tensor(x.shape, 0.1, zero)
    target = writer.tensor((1, *window.output, 3), 0.1, zero)
    writer.add(
        kind, [source], target, FilterHeight=kernel[0], FilterWidth=kernel[1],
        StrideH=stride[0], StrideW=stride[1], Padding=SAME if same else VALID,
        FusedActivationFunction=getattr(ACT, activation),
    )  # fmt: skip
    pool = quant.average_pool if kind == "AVERAGE_POOL_2D" else quant.max_pool
    content, limits = (
        writer.content([source], [target]),
        quant.activation_range(activation, 0.1, zero),
    )
    for values in (x, np.minimum(x, -1)):  # of padding nothing must be seen, be all else negative
        found = pool(values[0], window, limits)
        np.testing.assert_array_equal(found, only(content, values)[0])


def test_arithmetic_by_hand():
    """The steps of requantization, on numbers worked out by hand."""
    assert quant.quantize_multiplier(0.75) == (0x60000000, 0)
    assert quant.quantize_multiplier(1.0) == (1 << 30, 1)
    assert quant.quantize_multiplier(1 - 2**-40) == (1 << 30, 1)  # the mantissa rounds up to 1
    assert quant.quantize_multiplier(2.0**-32) == (1 << 30, -31)
    assert quant.quantize_multiplier(2.0**-33) == (0, 0)
    assert quant.high_mul([64, -64, 3, -3], 1 << 30).tolist() == [32, -32, 2, -1]
    assert quant.high_mul(-(1 << 31), -(1 << 31)) == (1 << 31) - 1
    # Halves away from zero: 5 / 2, -5 / 2, 6 / 4, -6 / 4, -1 / 2.
    assert quant.rounding_shift([5, -5, 6, -6, -1], [1, 1, 2, 2, 1]).tolist() == [3, -3, 2, -2, -1]
    # Halves up, 3.5 and -3.5, where there is no shift.
    assert quant.multiply([7, -7], *quant.quantize_multiplier(0.5)).tolist() == [4, -3]
    # It rounds twice: 5 * 3/8 = 1.875, as (5 * 3/4 = 3.75 -> 4) / 2.
    assert quant.multiply(5, *quant.quantize_multiplier(0.375)) == 2
    assert quant.requantize([1000, -1000, 10], 1 << 30, 0, 3).tolist() == [127, -128, 8]
    assert quant.activation_range("RELU6", 0.05, -100) == (-100, 20)
    assert quant.activation_range("NONE", 0.05, -100) == (-128, 127)
    with pytest.raises(ValueError, match=r"2\*\*30"):
        quant.quantize_multiplier(2.0**30)


def test_fully_connected_multiplier():
    """The product of two scales is exact: where a float32 would show, in one of many outputs."""
    rng, seen = np.random.default_rng(1), 0
    for _ in range(100):
        source, weights = (float(np.float32(x)) for x in rng.uniform(0.001, 0.1, 2))
        target = float(np.float32(source * weights * rng.uniform(256, 1024)))
        exact = quant.quantize_multiplier(source * weights / target)
        rounded = quant.quantize_multiplier(float(np.float32(source * weights)) / target)
        sums = np.arange(-120000, 120000)
        found = quant.requantize(sums, *exact, 0)
        sums = sums[found != quant.requantize(sums, *rounded, 0)]
        if not len(sums):
            continue
        # Weights are 0, so the sums are the biases.
        writer, seen = Writer(), seen + len(sums)
        x, y = writer.tensor((1, 1), source), writer.tensor((1, len(sums)), target)
        zeros = writer.tensor((len(sums), 1), weights, data=np.zeros((len(sums), 1)))
        biases = writer.tensor(sums.shape, source * weights, data=sums, dtype=np.int32)
        writer.add("FULLY_CONNECTED", [x, zeros, biases], y)
        content = writer.content([x], [y])
        with tempfile.TemporaryDirectory() as folder:
            graph = load(content, Path(folder))
        compare_micro(graph, content, np.zeros((1, 1), np.int8))
        compare(graph, content, np.zeros((1, 1), np.int8))
    assert seen > 5


@pytest.mark.parametrize("shift", range(-9, 0))
def test_rounding_twice(shift):
    """Requantization rounds twice, LiteRT's fully connected layers once; how often it shows."""
    rng = np.random.default_rng(1)
    real = rng.uniform(2.0 ** (shift - 1), 2.0**shift, (1000, 1))
    multipliers = np.array([quant.quantize_multiplier(float(x)) for x in real.flat])
    assert set(multipliers[:, 1]) == {shift}
    sums = (rng.uniform(-127, 127, (1000, 1000)) / real).astype(int)
    once = np.copysign(np.floor(np.abs(sums * real) + 0.5), sums)
    differences = quant.multiply(sums, multipliers[:, :1], shift) - once
    assert np.abs(differences).max() == 1
    assert 0.9 < (differences != 0).mean() * 2 ** (1 - shift) < 1.1


def test_graph_interface(tmp_path):
    """What a user sees of a graph: shapes, names, text, refusals."""
    graph = load(everything(), tmp_path)
    x = np.zeros((13, 9, 3), np.int8)
    every = graph.run(x, return_all=True)
    assert list(every) == graph.names and len(every) == len(graph.operators)
    np.testing.assert_array_equal(graph.run(x), graph.run(x[None]))
    np.testing.assert_array_equal(graph.run(x), every["op18_SOFTMAX"])
    assert graph.run(x).shape == (7,) and every["op00_CONV_2D"].shape == (7, 5, 8)
    assert str(graph).splitlines()[1].split()[:3] == ["op00_CONV_2D", "3x3/2", "7x5x8"]
    with pytest.raises(TypeError, match="int8, not int64"):
        graph.run(x.astype(int))
    with pytest.raises(ValueError, match="13x9x3, not 9x13x3"):
        graph.run(x.transpose(1, 0, 2))


def small(**changes) -> bytes:
    """Return a network of one convolution and a RESHAPE, changed as asked."""
    net = Net(1, changes.pop("shape", (1, 6, 6, 4)))
    y = net.conv(net.input, (3, 3), 4, **changes.pop("options", {}))
    writer = net.writer
    for kind, inputs, options in changes.pop("more", []):
        y = writer.add(kind, [y, *inputs], net.like(y, net.shapes[y]), **options)
    for index, change in changes.pop("tensors", {}).items():
        shape, scales, zero, data, dtype, axis, name = writer.tensors[index]
        fields = {"shape": shape, "scales": scales, "zero": zero, "data": data, "dtype": dtype}
        fields |= {"axis": axis, "name": name} | change
        writer.tensors[index] = tuple(fields.values())
    writer.fields = changes.pop("fields", {})
    content = writer.content(changes.pop("inputs", [0]), changes.pop("outputs", [y]))
    assert not changes
    return content


TWO, TINY = np.array([1, 2], np.float32), np.array([1e-20], np.float32)
FLOAT = {"dtype": np.dtype(np.float32)}
POOL = {"FilterHeight": 2, "FilterWidth": 2, "StrideH": 1, "StrideW": 1, "Padding": SAME}
POOLED: list[Any] = [("MAX_POOL_2D", [], POOL)]
REFUSED = {
    "operator": (
        {"more": [("TRANSPOSE_CONV", [0], {})]},
        "1 of 2 operators are not supported: 1 TRANSPOSE_CONV$",
    ),
    "custom": ({"more": [("CUSTOM", [0], {})]}, "are not supported: 1 CUSTOM 'Warp'$"),
    "float": ({"tensors": {3: FLOAT}}, "must all be int8 or all uint8, not int8, float32"),
    "float weights": ({"tensors": {1: FLOAT}}, "tensor1 is FLOAT32; supported: INT8 or UINT8"),
    "dilation": ({"options": {"DilationWFactor": -2}}, r"0 \(CONV_2D\): dilation must be at"),
    "activation": ({"options": {"FusedActivationFunction": ACT.TANH}}, "TANH is not supported"),
    "batch": ({"shape": (2, 6, 6, 4)}, "must have batch 1, not the shape"),
    "batch inside": ({"tensors": {3: {"shape": (2, 6, 6, 4)}}}, "6x6x4, not 2x6x6x4"),
    "padding": ({"options": {"Padding": 2}}, "padding must be SAME or VALID, not 2"),
    "stride": ({"options": {"StrideW": 0}}, r"strides must be at least 1, not \(1, 0\)"),
    "output": ({"options": {"StrideW": 2}, "tensors": {3: {"shape": (1, 6, 6, 4)}}}, "6x3x4, not"),
    "weight zero": ({"tensors": {1: {"zero": 1}}}, "weights must have zero point 0"),
    "zero": ({"tensors": {3: {"zero": 128}}}, "one zero point, -128 to 127"),
    "bias scales": ({"tensors": {2: {"scales": TWO}}}, "1 or 4 scales, or none"),
    "large axis": ({"tensors": {2: {"axis": 8}}}, "tensor2 is quantized along axis 8; it must be"),
    "scales": ({"tensors": {1: {"scales": TWO}}}, "1 or 4 scales, not 2"),
    "axis": ({"tensors": {1: {"axis": 3}}}, "along axis 0, not 3"),
    "more bytes": ({"tensors": {1: {"data": np.zeros(999, np.int8)}}}, "144 bytes, not 999"),
    "bytes": ({"tensors": {1: {"data": np.zeros(7, np.int8)}}}, "must have 144 bytes, not 7"),
    "no data": ({"tensors": {1: {"data": None}}}, "tensor1 must be a constant"),
    "biases": ({"tensors": {2: {"shape": (2,), "data": np.zeros(2, np.int32)}}}, "4 biases, not 2"),
    "groups": (
        {"tensors": {1: {"shape": (4, 3, 3, 2), "data": np.zeros((4, 3, 3, 2), np.int8)}}},
        "must have 2 channels, not 4",
    ),
    "schema": ({"fields": {"Model": {"Version": 4}}}, "schema must be of version 3, not 4"),
    "no schema": ({"fields": {"Model": {"Version": 0}}}, "schema must be of version 3, not 0"),
    "no subgraph": ({"fields": {"Model": {"Subgraphs": 0}}}, "there must be 1 subgraph, not 0"),
    "no buffers": ({"fields": {"Model": {"Buffers": 0}}}, "has buffer 1; there are 0 buffers"),
    "no codes": (
        {"fields": {"Model": {"OperatorCodes": 0}}},
        "operator 0 has operator code 0; there are 0 operator codes",
    ),
    "code index": (
        {"fields": {"Operator": {"OpcodeIndex": 1}}},
        "operator 0 has operator code 1; there are 1 operator codes",
    ),
    "wrapped code index": (
        {"fields": {"Operator": {"OpcodeIndex": (1 << 32) - 1}}}, "has operator code 4294967295; ",
    ),
    "unknown code": (
        {"fields": {"OperatorCode": {"BuiltinCode": 9999}}}, "not supported: 1 operator code 9999$",
    ),
    "negative code": (
        {"fields": {"OperatorCode": {"BuiltinCode": -7, "DeprecatedBuiltinCode": -9}}},
        "not supported: 1 operator code -7$",
    ),
    "custom without a name": (
        {"fields": {"OperatorCode": {"BuiltinCode": schema.BuiltinOperator.CUSTOM}}},
        "not supported: 1 CUSTOM ''$",
    ),
    "other options": (
        {"fields": {"Operator": {"BuiltinOptionsType": schema.BuiltinOptions.Pool2DOptions}}},
        "operator 0 .CONV_2D.: its options are Pool2DOptions; they must be Conv2DOptions",
    ),
    "unknown options": (
        {"fields": {"Operator": {"BuiltinOptionsType": 255}}},
        "its options are table 255; they must be Conv2DOptions",
    ),
    "options without a type": (
        {"fields": {"Operator": {"BuiltinOptionsType": 0}}},
        "its options are without a type; they must be Conv2DOptions",
    ),
    "type without options": (
        {"fields": {"Operator": {"BuiltinOptions": 0}}}, "it has no Conv2DOptions",
    ),
    "options of the second kind": (
        {"fields": {"Operator": {"BuiltinOptions2Type": 1}}},
        "its options are table 1 of the second kind; they must be Conv2DOptions",
    ),
    "no options": (
        {"fields": {"Operator": {"BuiltinOptionsType": 0, "BuiltinOptions": 0}}},
        "it has no Conv2DOptions",
    ),
    "unknown activation": (
        {"options": {"FusedActivationFunction": 77}}, "activation 77 is not supported",
    ),
    "negative padding": ({"options": {"Padding": -1}}, "padding must be SAME or VALID, not -1"),
    "buffer": (
        {"fields": {"Tensor": {"Buffer": 3}}}, "tensor tensor0 has buffer 3; there are 3 buffers",
    ),
    "wrapped buffer": ({"fields": {"Tensor": {"Buffer": (1 << 32) - 1}}}, "buffer 4294967295;"),
    "type": ({"fields": {"Tensor": {"Type": 99}}}, "tensor0 is type 99; supported: INT8"),
    "negative type": ({"fields": {"Tensor": {"Type": -1}}}, "tensor0 is type -1; supported: INT8"),
    "variable": ({"fields": {"Tensor": {"IsVariable": True}}}, "a streaming model, which keeps"),
    "quantization": (
        {"fields": {"QuantizationParameters": {"DetailsType": 1}}}, "or quantized by other",
    ),
    "unknown quantization": (
        {"fields": {"QuantizationParameters": {"DetailsType": 200}}}, "or quantized by other",
    ),
    "no zero points": (
        {"fields": {"QuantizationParameters": {"ZeroPoint": 0}}},
        "tensor tensor0 has 1 scales and 0 zero points; there must be as many",
    ),
    "no scales": (
        {"fields": {"QuantizationParameters": {"Scale": 0}}}, "tensor0 must have one scale and one",
    ),
    "negative axis": (
        {"fields": {"QuantizationParameters": {"QuantizedDimension": -1}}},
        "tensor0 is quantized along axis -1; it must be from 0 to 7",
    ),
    "zero points": ({"tensors": {0: {"zero": 1 << 32}}}, "one zero point, -128 to 127"),
    "bias zero": ({"tensors": {2: {"zero": 1}}}, "biases must have zero point 0"),
    "ranks": ({"tensors": {0: {"shape": (1,) * 9}}}, "tensor0 has more than 8 dimensions"),
    "no operand": ({"more": [("ADD", [], {})]}, "must be 2 to 2 inputs and 1 output, not 1 and 1"),
    "operands": ({"more": [("RESHAPE", [0, 0], {})]}, "1 to 2 inputs and 1 output, not 3 and 1"),
    "negative tensor": ({"more": [("ADD", [-1], {})]}, "there is no tensor -1"),
    "negative input": ({"inputs": [-2]}, "there is no tensor -2"),
    "size": ({"tensors": {3: {"shape": (1, 1 << 15, 1 << 15, 4)}}}, "from 1 to 67108864 elements"),
    "multiplier": ({"tensors": {3: {"scales": TINY}}}, "multiplier must be from 0"),
    "two outputs": ({"outputs": [3, 3]}, "one tensor is an output twice"),
    "no such tensor": ({"outputs": [9]}, "there is no tensor 9"),
    "not computed": ({"inputs": [4], "more": POOLED * 2}, "tensor0 is not computed before it"),
    "pool scale": (
        {"more": POOLED, "tensors": {3: {"scales": np.array([0.1], np.float32)}}},
        "same scale and zero point",
    ),
    "pool zero": ({"more": POOLED, "tensors": {3: {"zero": 99}}}, "same scale and zero point"),
    "reshape": ({"more": [("RESHAPE", [], {"NewShape": [5, -1]})]}, "cannot have the shape"),
    "reshape to half": (
        {"more": [("RESHAPE", [], {"NewShape": [6, 6, 2]})], "tensors": {4: {"shape": (6, 6, 2)}}},
        "144 elements cannot have the shape",
    ),
    "softmax": ({"more": [("SOFTMAX", [], {})]}, "scale 1/256 and zero point -128"),
    "no shape": ({"more": [("RESHAPE", [], {})]}, "operator 1 .RESHAPE.: no shape is given"),
    "axes": ({"more": [("MEAN", [2], {})]}, "axes must be from -4 to 3"),
    "no operator": ({"inputs": [3], "outputs": [3]}, "the output is the input"),
    "pool": ({"more": [("MAX_POOL_2D", [], POOL | {"FilterWidth": 0})]}, "at least 1 x 1"),
    "window": (
        {"more": [("MAX_POOL_2D", [], POOL | {"FilterWidth": 1 << 24})]},
        "more than 67108864 elements under",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name, tmp_path):
    """What is not supported is refused in one line that says where and why."""
    changes, text = REFUSED[name]
    with pytest.raises(tflite.ModelError, match=text) as caught:
        load(small(**dict(changes)), tmp_path)
    assert "\n" not in str(caught.value)


def test_small_is_legal(tmp_path):
    """The model that the refusals change is fine as it is."""
    assert load(small(), tmp_path).run(np.zeros((6, 6, 4), np.int8)).shape == (6, 6, 4)


LARGEST_VERSIONS = {kind: known.version for kind, known in KINDS.items()}


@pytest.mark.parametrize("kind", tflite.SUPPORTED)
def test_versions(kind, tmp_path):
    """The versions of an operator that are taken are those that LiteRT has a kernel for."""
    most = LARGEST_VERSIONS[kind]
    for version in (-1, 0, 1, most, most + 1, (1 << 31) - 1):
        content = single(kind, OperatorCode={"Version": version})
        if 1 <= version <= most:
            graph = load(content, tmp_path)
            reference(content, np.zeros(graph.inputs[0].shape, np.int8))
            continue
        text = (
            f"operator 0 .{kind}.: version {version} is not supported; it must be from 1 to {most}"
        )
        with pytest.raises(tflite.ModelError, match=text):
            load(content, tmp_path)
        with pytest.raises(ValueError):
            reference(content, np.zeros((1, 6, 5, 4), np.int8))


@pytest.mark.parametrize(
    "old, new, name",
    [
        (0, 41, "SUB"), (41, 0, "SUB"), (41, 41, "SUB"), (127, 41, "PLACEHOLDER"), (0, 0, "ADD"),
        (-1, 0, "ADD"), (0, -1, "ADD"), (-128, 41, "SUB"), (40, 41, "SUB"), (41, 40, "SUB"),
    ],
)  # fmt: skip
def test_operator_codes(old, new, name, tmp_path):
    """Of the two fields with an operator's code the greater one counts."""
    fields = {"DeprecatedBuiltinCode": old, "BuiltinCode": new}
    kind = "ADD" if name == "ADD" else "SUB"
    content = single(kind, OperatorCode=fields)
    x = np.random.default_rng(1).integers(-128, 127, (1, 6, 5, 4), np.int8, endpoint=True)
    if name in tflite.SUPPORTED:
        graph = load(content, tmp_path)
        assert graph.names == list(reference(content, x)) == [f"op00_{name}"]
        compare_micro(graph, content, x)
        return
    with pytest.raises(tflite.ModelError, match=f"not supported: 1 {name}"):
        load(content, tmp_path)
    if name == "SUB":
        assert list(reference(content, x)) == ["op00_SUB"]


def test_accessors():
    """What the importer knows of the accessors, beyond that they read the field of their name."""
    content = single("ADD", OperatorCode={"DeprecatedBuiltinCode": 0, "BuiltinCode": 41})
    code = schema.Model.GetRootAs(content, 0).OperatorCodes(0)
    assert code.BuiltinCode() == 0 and code._tab.Offset(4 + 2 * 3)  # not what is in its field
    model = schema.Model.GetRootAs(single("ADD", Model={"Buffers": 0, "Version": 0}), 0)
    assert model.Version() == 0 and model.BuffersLength() == 0 and model.Buffers(0) is None
    bare = {"Shape": 0, "Quantization": 0, "Name": 0, "Buffer": 0, "Type": 0}
    model = schema.Model.GetRootAs(single("ADD", Tensor=bare, Operator={"Inputs": 0}), 0)
    tensor, operator = model.Subgraphs(0).Tensors(0), model.Subgraphs(0).Operators(0)
    assert tensor.ShapeAsNumpy() == operator.InputsAsNumpy() == 0  # no vector
    assert tensor.Quantization() is tensor.Name() is tensor.Sparsity() is None
    assert tensor.Buffer() == tensor.Type() == 0 and not tensor.IsVariable()
    assert schema.TensorType.FLOAT32 == 0  # the type of a tensor that has none: refused
    buffer = model.Buffers(0)
    assert buffer.DataIsNone() and buffer.DataLength() == buffer.Offset() == buffer.Size() == 0
    # Indices are not compared with lengths: what lies behind the vector is taken for a table.
    with pytest.raises(struct.error):
        model.Buffers(1 << 20).Offset()
    bare = {"BuiltinOptions": 0, "BuiltinOptionsType": 0}
    operator = schema.Model.GetRootAs(single("ADD", Operator=bare), 0).Subgraphs(0).Operators(0)
    assert operator.BuiltinOptions() is None and operator.BuiltinOptionsType() == 0
    # A quantization without vectors is one without scales.
    bare = {"Scale": 0, "ZeroPoint": 0, "QuantizedDimension": 0}
    tensor = schema.Model.GetRootAs(single("ADD", QuantizationParameters=bare), 0).Subgraphs(0)
    quantization = tensor.Tensors(0).Quantization()
    assert quantization.ScaleLength() == quantization.ZeroPointAsNumpy() == 0
    assert quantization.QuantizedDimension() == quantization.DetailsType() == 0


def test_other_schema(tmp_path):
    """Of another schema's file nothing is read but that: its tables may be others."""
    for version, text in (
        (3, "damaged, or cut off: its tables do not fit the file"),
        (2, "of version 3, not 2"),
    ):
        content = single("ADD", Model={"Version": version})
        with pytest.raises(tflite.ModelError, match=text):
            load(content[: len(content) // 2], tmp_path)


def test_table_outside_the_file(tmp_path):
    """A table whose vtable lies before the file, or whose fields lie behind the table."""
    content = single("ADD")
    (root,) = struct.unpack_from("<I", content)
    (back,) = struct.unpack_from("<i", content, root)
    vtable = root - back
    (length,) = struct.unpack_from("<H", content, vtable)
    # A position before the file, were it taken as one before its end, would be a vtable's.
    content += bytes(200) + content[vtable : vtable + length]
    load(content, tmp_path)
    for where, kind, value in (
        (root, "<i", root + length),
        (vtable, "<H", 3),
        (vtable + 2, "<H", 60000),
        (vtable + 4, "<H", 500),
    ):
        damaged = bytearray(content)
        struct.pack_into(kind, damaged, where, value)
        with pytest.raises(tflite.ModelError, match="damaged, or cut off: its tables do not fit"):
            load(bytes(damaged), tmp_path)


def test_buffers(tmp_path):
    """Constants in the flatbuffer and behind it; where they must lie."""
    content = single("CONV_2D", behind=True)
    graph = load(content, tmp_path)
    x = np.random.default_rng(1).integers(-128, 127, graph.inputs[0].shape, np.int8, endpoint=True)
    inside = load(single("CONV_2D"), tmp_path)
    np.testing.assert_array_equal(graph.run(x), inside.run(x))
    size = graph.operators[0].weights[0].size
    for fields, text in (
        ({"Offset": len(content)}, f"buffer 1 has {size} bytes from byte {len(content)} on; the f"),
        ({"Offset": len(content) - size + 1}, f"the file has {len(content)} bytes"),
        ({"Offset": (1 << 64) - 1}, "from byte 18446744073709551615 on"),
        ({"Size": (1 << 64) - 1}, "buffer 1 has 18446744073709551615 bytes"),
        ({"Size": 5}, f"must have {size} bytes, not 5"),
        ({"Size": 0}, f"must have {size} bytes, not 0"),
        ({"Offset": 2}, "buffers lie behind its tables from byte 2 on, inside them"),
        ({"Offset": 8}, "buffers lie behind its tables from byte 8 on, inside them"),
        ({"Offset": 64}, "buffers lie behind its tables from byte 64 on, inside them"),
        ({"Offset": 1}, "tensor1 must be a constant"),
        ({"Offset": 0}, "tensor1 must be a constant"),
    ):
        with pytest.raises(tflite.ModelError, match=text):
            load(single("CONV_2D", behind=True, Buffer=fields), tmp_path)
    # The offset of data that lie in the flatbuffer is 0 or 1, whatever the size.
    for fields in ({"Offset": 1}, {"Offset": 1, "Size": 1}, {"Size": 1 << 63}):
        np.testing.assert_array_equal(
            load(single("CONV_2D", Buffer=fields), tmp_path).run(x), inside.run(x)
        )
    with pytest.raises(tflite.ModelError, match="buffer 1 has data both in the flatbuffer and"):
        load(single("CONV_2D", Buffer={"Offset": 5000, "Size": 1}) + bytes(5000), tmp_path)
    # A model without constants needs no buffers.
    assert load(single("SOFTMAX", Model={"Buffers": 0}), tmp_path).run(x).shape == (6, 5, 4)


def test_buffer_0_is_empty(tmp_path):
    """One with data would make constants of activations, or not: interpreters differ."""
    content = single("CONV_2D", behind=True)
    model = schema.Model.GetRootAs(content, 0)
    weights, empty = model.Buffers(1)._tab.Pos, model.Buffers(0)._tab.Pos
    vector = next(
        i for i in range(0, weights, 4) if i + struct.unpack_from("<I", content, i)[0] == empty
    )
    damaged = bytearray(content)
    struct.pack_into("<I", damaged, vector, weights - vector)
    with pytest.raises(tflite.ModelError, match="buffer 0 must be empty"):
        load(bytes(damaged), tmp_path)


@pytest.mark.parametrize(
    "field, value",
    [("externalBuffer", 1), ("sparsity", newer.SparsityParametersT()), ("isVariable", True)],
)
def test_not_plain(field, value, tmp_path):
    """Tensors whose data are not a buffer's as they are; the first field is a newer schema's."""
    model = newer.ModelT.InitFromObj(newer.Model.GetRootAs(single("CONV_2D"), 0))
    for index, damaged in enumerate(model.subgraphs[0].tensors):
        before = getattr(damaged, field)
        setattr(damaged, field, value)
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        text = f"tensor tensor{index} is sparse, variable, in"
        if field == "isVariable":
            text = "a streaming model, which keeps state"
        with pytest.raises(tflite.ModelError, match=text):
            load(bytes(builder.Output()), tmp_path)
        setattr(damaged, field, before)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    x = np.ones((1, 6, 5, 4), np.int8)
    found = load(bytes(builder.Output()), tmp_path).run(x)  # written by another writer
    np.testing.assert_array_equal(found, load(single("CONV_2D"), tmp_path).run(x))


def scaled(kind: str, per_channel: bool, index: int, scale: float) -> bytes:
    """Return a model of one layer, of whose tensor `index` the last scale is another one."""
    net = Net(3, (1, 6, 5, 4))
    if kind == "DEPTHWISE_CONV_2D":
        y = net.depthwise(net.input, (2, 2), per_channel=per_channel)
    elif kind == "CONV_2D":
        y = net.conv(net.input, (2, 2), 3, per_channel=per_channel)
    else:
        y = net.weighted(kind, net.input, (3, 120), (1, 3), per_channel=per_channel)
    assert y == 3
    net.writer.tensors[index][1][-1] = scale
    return net.done(y)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_scales(kind, per_channel, tmp_path):
    """Scales of weights may be 0, or too small to have an effect; those of activations may not.

    What is refused an interpreter may run: with a multiplier that C++ does not define (infinite
    or no numbers, a scale of 0 it divides by), or with all signs changed.
    """
    x = np.random.default_rng(1).integers(-128, 127, (1, 6, 5, 4), np.int8, endpoint=True)
    for scale in (0, 1e-45, 1e-42, 1e-38, 1e-12):
        for index in (0, 1, 2) if scale else (1, 2):
            content = scaled(kind, per_channel, index, scale)
            graph = load(content, tmp_path)
            compare(graph, content, x)
            compare_micro(graph, content, x)
            if index < 2:
                last = graph.run(x)[..., -1]
                assert (last == graph.outputs[0].zero_point).all()
    for index, scales, text in (
        (0, (0,), "the scale of tensor tensor0 must be above 0"),
        (3, (0,), "the scale of tensor tensor3 must be above 0"),
        (3, (1e-45, 1e-42), "a multiplier must be from 0 to below 2|of the biases must be"),
        *((i, (-1e-3, np.nan, np.inf), f"scales of tensor tensor{i} must be numbers of at least 0")
          for i in range(4)),
    ):  # fmt: skip
        for scale in scales:
            with pytest.raises(tflite.ModelError, match=text):
                load(scaled(kind, per_channel, index, scale), tmp_path)


@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pool_scales(kind, tmp_path):
    """Scales before and after a pool may differ by 1e-6; the output's gives the activation."""
    x = np.random.default_rng(1).integers(-128, 127, (1, 6, 5, 4), np.int8, endpoint=True)
    for difference in (0.9e-6, -0.9e-6, 1.1e-6, -1.1e-6):
        net = Net(3, (1, 6, 5, 4))
        y = net.pool(
            kind, net.input, (2, 2), StrideH=1, StrideW=1, FusedActivationFunction=ACT.RELU6
        )
        net.writer.tensors[y][1][0] += np.float32(difference)
        content = net.done(y)
        if abs(difference) < 1e-6:
            graph = load(content, tmp_path)
            compare(graph, content, x)
            compare_micro(graph, content, x)
            continue
        with pytest.raises(tflite.ModelError, match="the same scale and zero point"):
            load(content, tmp_path)
        with pytest.raises(RuntimeError):
            micro(content, x)


def test_bias_scale(tmp_path):
    """Biases in another unit than the products': refused where the kernels refuse them."""
    x = np.zeros((1, 6, 5, 4), np.int8)
    for scale in (0.9, 1.1):  # times 0.02 times the output's scale, more than the products' scale
        net = Net(3, (1, 6, 5, 4))
        y = net.weighted("FULLY_CONNECTED", net.input, (3, 120), (1, 3), per_channel=False)
        product = float(net.writer.tensors[2][1][0])
        net.writer.tensors[2][1][0] = product + scale * 0.02 * net.scales[y]
        content = net.done(y)
        if scale < 1:
            compare(load(content, tmp_path), content, x)
            continue
        with pytest.raises(tflite.ModelError, match=f"biases must be {product:g}, give or take"):
            load(content, tmp_path)
        with pytest.raises(RuntimeError, match="scale_diff / output_scale <= 0.02"):
            reference(content, x)
        with pytest.raises(RuntimeError):
            micro(content, x)


@contextlib.contextmanager
def at_most(seconds: float):
    """Raise if the body takes longer."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def attempt(content: bytes, folder: Path) -> bool:
    """Load a file; it must be refused in one line, or run. Return whether it ran."""
    with at_most(20):
        try:
            graph = load(content, folder)
        except tflite.ModelError as error:
            assert "\n" not in str(error) and str(error).isprintable()
            return False
        graph.run(*(np.zeros(tensor.shape, DTYPES[tensor.dtype]) for tensor in graph.inputs))
        return True


@pytest.mark.parametrize("behind", [False, True])
def test_truncated(behind, tmp_path):
    """A file cut off anywhere is refused."""
    content = everything(behind=behind)
    for length in [*range(0, 64), *range(64, len(content) - 1, 97)]:
        assert not attempt(content[:length], tmp_path), length


@pytest.mark.parametrize("seed", range(6))
def test_corrupted(seed, tmp_path):
    """A file with wrong bits, words or runs of bytes is refused, or is another model."""
    rng = np.random.default_rng(seed)
    content = modern() if seed in (2, 4) else everything(behind=seed % 2 == 1)
    tables = len(content)
    if seed % 2:  # only what lies before the constants
        model = schema.Model.GetRootAs(content, 0)
        tables = model.Buffers(1).Offset()
    ran = 0
    for count in range(600):
        damaged = bytearray(content)
        where = int(rng.integers(0, tables - 64))
        if count % 3 == 0:
            damaged[where] ^= 1 << int(rng.integers(8))
        elif count % 3 == 1:
            word = int(rng.choice([0, 1, 3, 255, 1 << 20, 1 << 31, (1 << 31) - 1, (1 << 32) - 1]))
            damaged[where & ~3 : (where & ~3) + 4] = word.to_bytes(4, "little")
        else:
            run = int(rng.integers(1, 64))
            damaged[where : where + run] = rng.bytes(run)
        ran += attempt(bytes(damaged), tmp_path)
    assert 0 < ran < 600


def test_not_a_model(tmp_path):
    """Files of another kind, and none at all."""
    for content in (b"", b"PK\x03\x04 and more", bytes(100)):
        with pytest.raises(tflite.ModelError, match="not a TensorFlow Lite model"):
            load(content, tmp_path)
    with pytest.raises(OSError):
        tflite.load(tmp_path / "absent.tflite")


def retyped(content: bytes, change: Any) -> bytes:
    """Return a model whose tensors of the first subgraph were changed."""
    model = newer.ModelT.InitFromObj(newer.Model.GetRootAs(content, 0))
    change(model)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def types(*found: int | None) -> Any:
    """Return a change of the types of the first tensors; None leaves one alone."""

    def change(model: Any) -> None:
        for tensor, kind in zip(model.subgraphs[0].tensors, found, strict=False):
            if kind is not None:
                tensor.type = kind

    return change


def custom(name: str) -> Any:
    """Return a change of the first operator to a custom one."""

    def change(model: Any) -> None:
        code = model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex]
        code.builtinCode = code.deprecatedBuiltinCode = newer.BuiltinOperator.CUSTOM
        code.customCode = name.encode()

    return change


def builtin(number: int, subgraphs: int = 1) -> Any:
    """Return a change of the first operator to another one, in so many subgraphs."""

    def change(model: Any) -> None:
        code = model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex]
        code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
        model.subgraphs = [model.subgraphs[0]] * subgraphs

    return change


def everything_float(model: Any) -> None:
    """Change a model to a sum of real numbers."""
    builtin(newer.BuiltinOperator.ADD)(model)
    for tensor in model.subgraphs[0].tensors:
        tensor.type = 0


KIND = newer.TensorType
DIAGNOSES = {
    "float": (types(0, 0, 0, 0), "^a float model: convert with full integer quantization: conv"),
    "hybrid": (types(0, None, 0, 0), "^a model with dynamic range quantization, int8 weights and"),
    "int16": (types(KIND.INT16, None, KIND.INT64, KIND.INT16), "^a model with int16 activations"),
    "edge tpu": (custom("edgetpu-custom-op"), "1 CUSTOM 'edgetpu-custom-op'; compiled for an Edge"),
    "vela": (custom("ethos-u"), "1 CUSTOM 'ethos-u'; compiled by Vela for an Ethos-U: give the"),
    "boxes": (custom("TFLite_Detection_PostProcess"), "; detection boxes are put together after"),
    "flex": (custom("FlexErf"), "1 CUSTOM 'FlexErf'; operators of TensorFlow itself"),
    "state": (builtin(newer.BuiltinOperator.VAR_HANDLE, 2), "1 VAR_HANDLE; a streaming model, "),
    "float, nothing with weights": (everything_float, "^a float model: convert with"),
    "recurrent": (
        builtin(newer.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM),
        "; recurrent layers",
    ),
    "float and flex": (
        lambda model: (types(0, 0, 0, 0)(model), custom("FlexErf")(model)),
        "1 CUSTOM 'FlexErf'; operators of TensorFlow itself.*",
    ),
    "subgraphs": (builtin(3, 2), "^there must be 1 subgraph, not 2$"),
}


@pytest.mark.parametrize("name", DIAGNOSES)
def test_diagnoses(name, tmp_path):
    """What cannot run is told in one line, with what to do."""
    change, text = DIAGNOSES[name]
    with pytest.raises(tflite.ModelError) as caught:
        load(retyped(single("CONV_2D"), change), tmp_path)
    assert re.search(text, str(caught.value).partition(".tflite: ")[2])
    assert "\n" not in str(caught.value)


def test_all_that_is_missing(tmp_path):
    """All kinds of missing operators are named, with counts; what is there is not."""
    net = Net(1, (1, 6, 6, 4))
    y = net.conv(net.input, (1, 1), 4)
    for kind in ("CUSTOM", "TRANSPOSE_CONV", "CUSTOM"):
        y = net.writer.add(kind, [y], net.like(y, net.shapes[y]))
    with pytest.raises(tflite.ModelError, match="3 of 4 operators are not supported: 2 CUSTOM 'W"):
        load(net.done(y), tmp_path)
    with pytest.raises(tflite.ModelError, match="'Warp', 1 TRANSPOSE_CONV$"):
        load(net.done(y), tmp_path)


def test_lfs_pointer(tmp_path):
    """What a clone without Git LFS has in place of a model."""
    text = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    with pytest.raises(tflite.ModelError, match="a Git LFS pointer, not the model itself"):
        load(text, tmp_path)


def test_terabytes(tmp_path):
    """What asks for more memory than there is is refused before it is asked for."""
    writer = Writer()
    source = writer.tensor((1, 1, 1, 1), 0.1, 3)
    target = writer.tensor((1, 1 << 20, 1 << 20, 1), 0.1, 3)
    size = writer.tensor((2,), data=[1 << 20, 1 << 20], dtype=np.int32)
    writer.add("RESIZE_BILINEAR", [source, size], target)
    with pytest.raises(tflite.ModelError, match="from 1 to 67108864 elements"):
        load(writer.content([source], [target]), tmp_path)
    writer = Writer()
    source = writer.tensor((1, 9, 9, 1), 0.1, 3)
    weights = writer.tensor((1, 3, 3, 1), 0.1, data=np.ones((1, 3, 3, 1)))
    target = writer.tensor((1, 9, 9, 1), 0.1, 3)
    writer.add("CONV_2D", [source, weights], target, DilationHFactor=1 << 30, DilationWFactor=9)
    with pytest.raises(tflite.ModelError, match="elements in a kernel dilated by"):
        load(writer.content([source], [target]), tmp_path)
