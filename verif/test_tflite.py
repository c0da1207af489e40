"""Import and golden execution of int8 models: against reference results and another interpreter."""

from __future__ import annotations

import contextlib
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from models import (
    ACT,
    MODELS,
    SAME,
    VALID,
    VARIANTS,
    Net,
    Writer,
    everything,
    load,
    needs_models,
    variant,
)  # fmt: skip

from golden import quant, tflite
from golden.graph import FullyConnected, Graph
from golden.operators import Window


def reference(content: bytes, *inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Return the output of every operator by TensorFlow Lite's reference kernels."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(
        model_content=content,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return {
        f"op{one['index']:02d}_{one['op_name']}": interpreter.get_tensor(one["outputs"][0])
        for one in interpreter._get_ops_details()
    }


def compare(graph: Graph, content: bytes, x: np.ndarray) -> None:
    """Compare every operator with the reference kernels, on the inputs that it has there."""
    wanted = reference(content, x)
    assert graph.names == list(wanted)
    values = {graph.input: x}
    for name, one in zip(graph.names, graph.operators, strict=True):
        found = one(*(values[t] if t.data is None else t.data for t in one.inputs))
        assert found.dtype == np.int8
        value = values[one.output] = wanted[name].reshape(one.output.shape)
        if isinstance(one, FullyConnected):
            np.testing.assert_array_equal(rounded_once(one, values[one.inputs[0]]), value, name)
            assert np.abs(found.astype(int) - value).max() <= 1
        else:
            np.testing.assert_array_equal(found, value, err_msg=name)


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


@needs_models
@pytest.mark.parametrize(
    "model, result",
    [
        ("vww_96_int8", "vww_astronaut"),
        ("vww_96_int8", "vww_coffee"),
        ("pretrainedResnet_quant", "resnet8_chelsea"),
        ("kws_ref_model", "kws_random7"),
    ],
)
def test_reference_results(model, result):
    """Every operator's output is the reference interpreter's, bit for bit."""
    path = MODELS / f"{model}.tflite"
    graph, wanted = tflite.load(path), np.load(MODELS / f"{result}.npz")
    found = graph.run(wanted["input"], return_all=True)
    names = [name for name in wanted.files if name[:2] == "op" and name[2].isdigit()]
    assert not names or list(found) == names
    overwritten = OVERWRITTEN.get(result, {})
    for name in names:
        source = overwritten.get(name, name)
        np.testing.assert_array_equal(wanted[name], found[source], err_msg=name)
    np.testing.assert_array_equal(graph.run(wanted["input"]), wanted["output"])
    compare(graph, path.read_bytes(), wanted["input"][None])


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(name, tmp_path):
    """What converters write, but `everything` has not."""
    content = variant(name)
    graph = load(content, tmp_path)
    x = np.random.default_rng(1).integers(-128, 127, graph.input.shape, np.int8, endpoint=True)
    if name != "reshape, absent operand":  # on which LiteRT crashes
        compare(graph, content, x)
    found = graph.run(x)
    assert found.size == np.prod(graph.output.shape) and len(np.unique(found)) > 2
    if name == "output inside":
        np.testing.assert_array_equal(found, graph.run(x, return_all=True)["op01_CONV_2D"])


@pytest.mark.parametrize("seed", range(40))
def test_all_operators(seed, tmp_path):
    """A model with every operator, of many sizes, is what the reference kernels say."""
    content = everything(seed, 7 + seed % 13, 20 - seed % 11)
    graph = load(content, tmp_path)
    assert {one.kind for one in graph.operators} == set(tflite.SUPPORTED)
    rng = np.random.default_rng(seed)
    for x in (rng.integers(-128, 127, graph.input.shape, np.int8, endpoint=True), *extremes(graph)):
        compare(graph, content, x)


def extremes(graph: Graph) -> list[np.ndarray]:
    return [np.full(graph.input.shape, value, np.int8) for value in (-128, 127)]


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
    (value,) = reference(content, *inputs).values()
    return value


def softmax(x: np.ndarray, scale: float, beta: float = 1.0) -> None:
    """Compare with the reference kernel."""
    writer = Writer()
    source, target = writer.tensor(x.shape, scale, 3), writer.tensor(x.shape, 1 / 256, -128)
    writer.add("SOFTMAX", [source], target, Beta=beta)
    wanted = only(writer.content([source], [target]), x)
    np.testing.assert_array_equal(quant.softmax(x, scale, beta), wanted)


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
        quant.softmax(np.full((2, 512), 5, np.int8), 0.1)
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
    compare(graph, content, bits(rng, (1, 9, 9, 8)))


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


def test_fully_connected_multiplier(tmp_path):
    """With a single scale the product of the two input scales is rounded to float32, as in C."""
    net = Net(1, (1, 4))
    graph = load(net.done(net.weighted("FULLY_CONNECTED", net.input, (3, 4), (1, 3))), tmp_path)
    one = graph.operators[0]
    assert isinstance(one, FullyConnected)
    scales = np.float32([0.3, 0.3, 0.3])
    source = replace(one.inputs[0], scale=float(np.float32(0.1)))
    one = replace(one, inputs=(source,), output=replace(one.output, scale=1.0))
    # float32(0.1) * float32(0.3) is 0.0300000016391277...; the nearest float32 is another number.
    exact = float(np.float32(0.1)) * float(np.float32(0.3))
    (multiplier,), (shift,) = replace(one, weight_scales=scales[:1]).multipliers
    several, shifts = replace(one, weight_scales=scales).multipliers
    rounded = multiplier * 2.0 ** (shift - 31)
    assert rounded == np.float32(rounded) and 1e-10 < abs(rounded - exact) < 2e-9
    assert abs(several[0] * 2.0 ** (shifts[0] - 31) - exact) < 1e-11


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
    for index, change in changes.pop("tensors", {}).items():
        shape, scales, zero, data, dtype, axis = writer.tensors[index]
        fields = {"shape": shape, "scales": scales, "zero": zero, "data": data, "dtype": dtype}
        fields |= {"axis": axis} | change
        writer.tensors[index] = tuple(fields.values())
    for kind, inputs, options in changes.pop("more", []):
        y = writer.add(kind, [y, *inputs], net.like(y, net.shapes[y]), **options)
    content = writer.content(changes.pop("inputs", [0]), changes.pop("outputs", [y]))
    assert not changes
    return content


FLOAT = {"dtype": np.dtype(np.float32)}
POOL = {"FilterHeight": 2, "FilterWidth": 2, "StrideH": 1, "StrideW": 1, "Padding": SAME}
POOLED = [("MAX_POOL_2D", [], POOL)]
REFUSED = {
    "operator": (
        {"more": [("TRANSPOSE_CONV", [0], {})]},
        "operator 1 is TRANSPOSE_CONV; supported: ADD, AVERAGE_POOL_2D, CONV_2D",
    ),
    "custom": ({"more": [("CUSTOM", [0], {})]}, "operator 1 is CUSTOM 'Warp'; supported: ADD"),
    "float": ({"tensors": {3: FLOAT}}, "operator 0 .CONV_2D.: tensor tensor3 is FLOAT32"),
    "float weights": ({"tensors": {1: FLOAT}}, "tensor1 is FLOAT32; supported: INT8"),
    "dilation": ({"options": {"DilationWFactor": 2}}, r"operator 0 \(CONV_2D\): dilation"),
    "activation": ({"options": {"FusedActivationFunction": ACT.TANH}}, "TANH is not supported"),
    "batch": ({"shape": (2, 6, 6, 4)}, "must have batch 1, not the shape"),
    "batch inside": ({"tensors": {3: {"shape": (2, 6, 6, 4)}}}, "6x6x4, not 2x6x6x4"),
    "padding": ({"options": {"Padding": 2}}, "padding must be SAME or VALID, not 2"),
    "stride": ({"options": {"StrideW": 0}}, r"strides must be at least 1, not \(1, 0\)"),
    "output": ({"options": {"StrideW": 2}, "tensors": {3: {"shape": (1, 6, 6, 4)}}}, "6x3x4, not"),
    "weight zero": ({"tensors": {1: {"zero": 1}}}, "weights must have zero point 0"),
    "zero": ({"tensors": {3: {"zero": 128}}}, "one zero point, -128 to 127"),
    "scale": ({"tensors": {3: {"scales": np.float32([0])}}}, "must be positive numbers"),
    "nan": ({"tensors": {1: {"scales": np.float32([np.nan])}}}, "must be positive numbers"),
    "scales": ({"tensors": {1: {"scales": np.float32([1, 2])}}}, "1 or 4 scales, not 2"),
    "axis": ({"tensors": {1: {"axis": 3}}}, "along axis 0, not 3"),
    "more bytes": ({"tensors": {1: {"data": np.zeros(999, np.int8)}}}, "144 bytes, not 999"),
    "bytes": ({"tensors": {1: {"data": np.zeros(7, np.int8)}}}, "must have 144 bytes, not 7"),
    "no data": ({"tensors": {1: {"data": None}}}, "tensor1 must be a constant"),
    "biases": ({"tensors": {2: {"shape": (2,), "data": np.zeros(2, np.int32)}}}, "4 biases, not 2"),
    "groups": (
        {"tensors": {1: {"shape": (4, 3, 3, 2), "data": np.zeros((4, 3, 3, 2), np.int8)}}},
        "must have 2 channels, not 4",
    ),
    "size": ({"tensors": {3: {"shape": (1, 1 << 15, 1 << 15, 4)}}}, "from 1 to 134217728 elements"),
    "multiplier": ({"tensors": {3: {"scales": np.float32([1e-20])}}}, "multiplier must be from 0"),
    "two outputs": ({"outputs": [3, 3]}, "there must be 1 output, not 2"),
    "no such tensor": ({"outputs": [9]}, "there is no tensor 9"),
    "not computed": ({"inputs": [4], "more": POOLED * 2}, "tensor0 is not computed before it"),
    "pool scale": (
        {"more": POOLED, "tensors": {3: {"scales": np.float32([0.1])}}},
        "same scale and zero point",
    ),
    "pool zero": ({"more": POOLED, "tensors": {3: {"zero": 99}}}, "same scale and zero point"),
    "reshape": ({"more": [("RESHAPE", [], {"NewShape": [5, -1]})]}, "cannot have the shape"),
    "softmax": ({"more": [("SOFTMAX", [], {})]}, "scale 1/256 and zero point -128"),
    "no shape": ({"more": [("RESHAPE", [], {})]}, "operator 1 .RESHAPE.: no shape is given"),
    "axes": ({"more": [("MEAN", [2], {})]}, "axes must be from -4 to 3"),
    "no operator": ({"inputs": [3], "outputs": [3]}, "the output is the input"),
    "pool": ({"more": [("MAX_POOL_2D", [], POOL | {"FilterWidth": 0})]}, "at least 1 x 1"),
    "window": (
        {"more": [("MAX_POOL_2D", [], POOL | {"FilterWidth": 1 << 24})]},
        "more than 134217728 elements under",
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
        graph.run(np.zeros(graph.input.shape, np.int8))
        return True


def test_truncated(tmp_path):
    """A file cut off anywhere is refused."""
    content = everything()
    for length in [*range(0, 64), *range(64, len(content) - 1, 97)]:
        assert not attempt(content[:length], tmp_path), length


@pytest.mark.parametrize("seed", range(4))
def test_corrupted(seed, tmp_path):
    """A file with wrong bits, words or runs of bytes is refused, or is another model."""
    rng, content = np.random.default_rng(seed), everything()
    ran = 0
    for count in range(600):
        damaged = bytearray(content)
        where = int(rng.integers(0, len(content) - 64))
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
