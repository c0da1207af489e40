"""Each operator alone, against both interpreters: all values, odd shapes, any scales."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from golden.int8 import tflite
from verif.lib.interpreters import litert, micro
from verif.lib.models import ACT, SAME, VALID, Writer, load, single

INT8, UINT8, FLOAT = np.int8, np.uint8, np.float32
TYPES = st.sampled_from([INT8, UINT8])
SCALE = st.floats(-4, 1).map(lambda x: float(np.float32(10**x)))
VALUES = st.integers(0, 2**32 - 1).map(np.random.default_rng)
ACTIVATION = st.sampled_from(["NONE", "RELU", "RELU_N1_TO_1", "RELU6"])


def every(dtype: Any) -> np.ndarray:
    """Return all values of a type."""
    return np.arange(256).astype(np.uint8).view(dtype)[None]


def values(rng: np.random.Generator, shape: Sequence[int], dtype: Any) -> np.ndarray:
    return rng.integers(0, 256, tuple(shape)).astype(np.uint8).view(dtype)


def zero(rng: np.random.Generator, dtype: Any) -> int:
    return int(rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, endpoint=True))


def same(
    writer: Writer, inputs: Sequence[int], outputs: Sequence[int], *given: np.ndarray,
    by: str = "both",
) -> list[np.ndarray]:  # fmt: skip
    """Compare a model with the interpreters; return its outputs.

    `by`: "both", "litert" (TFLM has no uint8), or "micro" (where LiteRT is known to differ).
    """
    content = writer.content(inputs, outputs)
    with tempfile.TemporaryDirectory() as folder:
        graph = load(content, Path(folder))
    found = graph.run(*given)
    found = list(found) if isinstance(found, tuple) else [found]
    assert by in ("both", "litert", "micro")
    for name, run in (("litert", litert), ("micro", micro)):
        if by in (name, "both"):
            for index, (mine, wanted) in enumerate(zip(found, run(content, *given), strict=True)):
                assert mine.dtype == wanted.dtype, name
                np.testing.assert_array_equal(mine.ravel(), wanted.ravel(), f"{name} {index}")
    return found


def judge(dtype: Any) -> str:
    """Return who judges: of uint8 TFLM has hardly a kernel."""
    return "both" if dtype == INT8 else "litert"


# --- One input ---------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(VALUES, TYPES, SCALE)
@example(np.random.default_rng(1), INT8, 0.1)
def test_quantize(rng, dtype, scale):
    """Real numbers: at random, half way between two steps, and far outside."""
    half = (np.arange(-200, 200) + 0.5) * FLOAT(scale)
    x = np.concatenate([rng.normal(0, 100 * scale, 500), half, [3e5 * scale, -3e5 * scale, 0]])
    x, writer = x.astype(FLOAT)[None], Writer()
    source = writer.tensor(x.shape, dtype=FLOAT)
    target = writer.tensor(x.shape, scale, zero(rng, dtype), dtype=dtype)
    writer.add("QUANTIZE", [source], target)
    same(writer, [source], [target], x, by=judge(dtype))


def test_quantize_far(tmp_path):
    """What C leaves undefined is clipped; what is no number is refused."""
    writer = Writer()
    source, target = writer.tensor((1, 4), dtype=FLOAT), writer.tensor((1, 4), 0.1, 3)
    writer.add("QUANTIZE", [source], target)
    graph = load(writer.content([source], [target]), tmp_path)
    assert graph.run(FLOAT([1e30, -1e30, np.inf, -np.inf])).tolist() == [127, -128, 127, -128]
    with pytest.raises(ValueError, match="op00_QUANTIZE: .*NaN"):
        graph.run(FLOAT([0, 0, np.nan, 0]))


@settings(max_examples=80, deadline=None)
@given(VALUES, TYPES, TYPES, SCALE, SCALE, st.booleans())
def test_requantize(rng, source_type, target_type, source_scale, target_scale, alike):
    """From one quantization to another; alike but for the type, as at the ends of a model."""
    first, second = zero(rng, source_type), zero(rng, target_type)
    if alike:
        target_scale, first = source_scale, 0 if source_type == UINT8 else -128
        second = 0 if target_type == UINT8 else -128
    writer = Writer()
    source = writer.tensor((1, 256), source_scale, first, dtype=source_type)
    target = writer.tensor((1, 256), target_scale, second, dtype=target_type)
    writer.add("QUANTIZE", [source], target)
    by = "litert" if source_type == target_type == UINT8 else "both"
    same(writer, [source], [target], every(source_type), by=by)


@settings(max_examples=30, deadline=None)
@given(VALUES, TYPES, SCALE)
def test_dequantize(rng, dtype, scale):
    writer = Writer()
    source = writer.tensor((1, 256), scale, zero(rng, dtype), dtype=dtype)
    target = writer.tensor((1, 256), dtype=FLOAT)
    writer.add("DEQUANTIZE", [source], target)
    same(writer, [source], [target], every(dtype))


FUNCTIONS = [
    "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "TANH",
]  # fmt: skip


@pytest.mark.parametrize("kind", FUNCTIONS)
@settings(max_examples=80, deadline=None)
@given(VALUES, TYPES, SCALE, st.floats(-2, 1.5), st.booleans(), st.floats(-0.5, 1.5))
def test_functions(kind, rng, dtype, scale, ratio, alike, alpha):
    """All 256 values, scales from those that only see 0 to those that only see the ends."""
    unsigned, first, options = dtype == UINT8, zero(rng, dtype), {}
    target_scale, second = float(FLOAT(scale * 10**ratio)), zero(rng, dtype)
    by = judge(dtype)
    if kind == "LOGISTIC":
        target_scale, second = 1 / 256, 0 if unsigned else -128
    elif kind == "TANH":
        target_scale, second = 1 / 128, 128 if unsigned else 0
    elif kind == "LEAKY_RELU":
        options = {"Alpha": float(FLOAT(alpha))}
    elif kind == "HARD_SWISH":
        target_scale = max(target_scale, float(FLOAT(scale / 100)))
    elif alike:
        target_scale, second = scale, first
    if kind.startswith("RELU_") or (kind == "RELU6" and (target_scale, second) != (scale, first)):
        by = "litert"  # TFLM has no kernel, or one that does not rescale
    if kind in ("LOGISTIC", "TANH", "LEAKY_RELU") and dtype == INT8:
        by = "micro"  # LiteRT has a table, filled in float32; or a multiplier in float32
    writer = Writer()
    source = writer.tensor((1, 256), scale, first, dtype=dtype)
    target = writer.tensor((1, 256), target_scale, second, dtype=dtype)
    writer.add(kind, [source], target, **options)
    (found,) = same(writer, [source], [target], every(dtype), by=by)
    if by == "micro" and scale <= 4:
        (wanted,) = litert(writer.content([source], [target]), every(dtype))
        assert np.abs(found.astype(int) - wanted[0]).max() <= 1


# --- Two inputs --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL"])
@settings(max_examples=40, deadline=None)
@given(VALUES, TYPES, SCALE, SCALE, st.floats(-2, 2), ACTIVATION)
def test_arithmetic(kind, rng, dtype, first, second, ratio, activation):
    """All pairs of operands."""
    whole = first * second * 127 if kind == "MUL" else max(first, second)
    a, b = (x[None] for x in np.meshgrid(every(dtype), every(dtype)))
    writer = Writer()
    inputs = [writer.tensor(a.shape, s, zero(rng, dtype), dtype=dtype) for s in (first, second)]
    target = writer.tensor(a.shape, whole * 10**ratio, zero(rng, dtype), dtype=dtype)
    writer.add(kind, inputs, target, FusedActivationFunction=getattr(ACT, activation))
    # LiteRT's MUL computes its multiplier in float32: one unit, in a few of 65,536 pairs.
    near = kind == "MUL" and dtype == INT8
    (found,) = same(writer, inputs, [target], a, b, by="micro" if near else judge(dtype))
    if near:
        (wanted,) = litert(writer.content(inputs, [target]), a, b)
        assert np.abs(found.astype(int) - wanted[0]).max() <= 1


@pytest.mark.parametrize("kind", ["MAXIMUM", "MINIMUM"])
@settings(max_examples=10, deadline=None)
@given(VALUES, TYPES, SCALE)
def test_extremes(kind, rng, dtype, scale):
    a, b = (x[None] for x in np.meshgrid(every(dtype), every(dtype)))
    writer, zero_point = Writer(), zero(rng, dtype)
    tensors = [writer.tensor(a.shape, scale, zero_point, dtype=dtype) for _ in range(3)]
    writer.add(kind, tensors[:2], tensors[2])
    same(writer, tensors[:2], tensors[2:], a, b, by=judge(dtype))


SHAPES = [
    ((1, 5, 3, 4), (1, 5, 3, 4)), ((1, 5, 3, 4), (4,)), ((1, 5, 3, 4), ()), ((1, 5, 1, 4), (3, 1)),
    ((1, 1, 1, 4), (1, 5, 3, 1)), ((1, 7), (1, 1)), ((1, 5, 3, 4), (1, 5, 1, 1)),
]  # fmt: skip


#: An activation has dimensions; the output of PRELU has the shape of its input.
PAIRS = [
    (kind, shapes, constant)
    for kind in ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "PRELU")
    for shapes in SHAPES
    for constant in (True, False)
    if (constant or shapes[1]) and (kind != "PRELU" or np.broadcast_shapes(*shapes) == shapes[0])
]


@pytest.mark.parametrize(("kind", "shapes", "constant"), PAIRS, ids=str)
@pytest.mark.parametrize("dtype", [INT8, UINT8])
def test_broadcast(kind, shapes, dtype, constant):
    """Operands of other shapes, constants among them."""
    rng = np.random.default_rng(len(kind) + len(shapes[1]))
    writer, (a, b) = Writer(), (values(rng, shape, dtype) for shape in shapes)
    alike = kind.startswith("M") and kind != "MUL"
    scales = (0.05, 0.05, 0.05) if alike else (0.05, 0.02, 0.07 if kind != "PRELU" else 0.15)
    zeros = [zero(rng, dtype)] * 3 if alike else [zero(rng, dtype) for _ in range(3)]
    first = writer.tensor(a.shape, scales[0], zeros[0], dtype=dtype)
    second = writer.tensor(b.shape, scales[1], zeros[1], dtype=dtype, data=b if constant else None)
    shape = np.broadcast_shapes(*shapes)
    target = writer.tensor(shape, scales[2], zeros[2], dtype=dtype)
    writer.add(kind, [first, second], target)
    inputs, given = ([first], [a]) if constant else ([first, second], [a, b])
    if not constant and shapes[1][:1] != (1,):
        second_shape = (1, *shapes[1])
        writer.tensors[second] = (second_shape, *writer.tensors[second][1:])
        given[1] = b[None]
        shape = np.broadcast_shapes(shapes[0], second_shape)
        writer.tensors[target] = (shape, *writer.tensors[target][1:])
    same(writer, inputs, [target], *given, by=judge(dtype))


@settings(max_examples=60, deadline=None)
@given(VALUES, TYPES, SCALE, SCALE, SCALE)
def test_prelu(rng, dtype, scale, slope, target_scale):
    x = np.repeat(every(dtype).reshape(1, 16, 16, 1), 5, axis=3)
    writer, alpha = Writer(), values(rng, (1, 1, 5), dtype)
    source = writer.tensor(x.shape, scale, zero(rng, dtype), dtype=dtype)
    slopes = writer.tensor(alpha.shape, slope, zero(rng, dtype), data=alpha, dtype=dtype)
    target = writer.tensor(x.shape, target_scale, zero(rng, dtype), dtype=dtype)
    writer.add("PRELU", [source, slopes], target)
    same(writer, [source], [target], x, by=judge(dtype))


# --- Moves -------------------------------------------------------------------------------------


class Moving(Writer):
    """A writer of operators that move elements; all tensors share a quantization."""

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        self.dtype = dtype

    def one(self, shape: Sequence[int]) -> int:
        """Add an activation."""
        if self.dtype == FLOAT:
            return self.tensor(shape, dtype=FLOAT)
        return self.tensor(shape, 0.1, 3, dtype=self.dtype)

    def list(self, *values: int) -> int:
        """Add a constant of integers."""
        return self.tensor((len(values),), data=values, dtype=np.int32)


MOVED = st.sampled_from([INT8, FLOAT])
PICK = st.tuples(st.integers(-8, 8), st.integers(-8, 8), st.sampled_from([1, 1, 2, 3, -1, -2]))
SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def numbers(rng: np.random.Generator, shape: Sequence[int], dtype: Any) -> np.ndarray:
    return values(rng, shape, INT8).astype(dtype)


@settings(max_examples=60, deadline=None)
@given(VALUES, MOVED, st.permutations(range(4)), st.tuples(*[st.integers(1, 6)] * 3))
def test_transpose(rng, dtype, order, size):
    x, writer = numbers(rng, (1, *size), dtype), Moving(dtype)
    source, target = writer.one(x.shape), writer.one(x.transpose(order).shape)
    writer.add("TRANSPOSE", [source, writer.list(*order)], target)
    same(writer, [source], [target], x)


@settings(max_examples=60, deadline=None)
@given(VALUES, MOVED, st.integers(-3, 3), st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_concatenation(rng, dtype, axis, parts):
    writer, shapes = Moving(dtype), []
    axis = axis or 3
    for size in parts:
        shape = [1, 3, 4, 2]
        shape[axis] = size
        shapes.append(shape)
    given_values = [numbers(rng, shape, dtype) for shape in shapes]
    inputs = [writer.one(shape) for shape in shapes]
    target = writer.one(np.concatenate(given_values, axis).shape)
    writer.add("CONCATENATION", inputs, target, Axis=axis)
    same(writer, inputs, [target], *given_values)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.lists(SCALE, min_size=2, max_size=5), st.integers(1, 3))
def test_concatenation_of_uint8(rng, scales, axis):
    """Of other quantizations: rescaled, in float32."""
    writer = Writer()
    inputs = [writer.tensor((1, 7, 9, 3), s, zero(rng, UINT8), dtype=UINT8) for s in scales[1:]]
    shape = [1, 7, 9, 3]
    shape[axis] *= len(inputs)
    target = writer.tensor(shape, scales[0], zero(rng, UINT8), dtype=UINT8)
    writer.add("CONCATENATION", inputs, target, Axis=axis)
    some = [values(rng, (1, 7, 9, 3), UINT8) for _ in inputs]
    same(writer, inputs, [target], *some, by="litert")


@settings(max_examples=150, deadline=None)
@given(
    VALUES, MOVED, st.tuples(*[st.integers(1, 6)] * 3),
    st.lists(PICK, min_size=1, max_size=4), *[st.integers(0, 15)] * 3,
)  # fmt: skip
def test_strided_slice(rng, dtype, size, picks, begin_mask, end_mask, drop):
    """Begins and ends inside and outside, strides of both signs, all masks."""
    x, writer = numbers(rng, (1, *size), dtype), Moving(dtype)
    begin, end, strides = ([int(v) for v in column] for column in zip(*picks, strict=True))
    index: list[Any] = []
    for axis, (first, last, step) in enumerate(picks):
        if drop >> axis & 1:
            begin[axis] = first % x.shape[axis]
            # The mask of begins comes first. The end is as TFLM asks for.
            first = 0 if begin_mask >> axis & 1 else begin[axis]
            end[axis], strides[axis] = first + 1, 1
            index.append(first)
        else:
            free = begin_mask >> axis & 1, end_mask >> axis & 1
            index.append(slice(None if free[0] else first, None if free[1] else last, step))
    wanted = x[tuple(index)]
    assume(wanted.size and wanted.ndim)  # interpreters have no scalar activations
    source, target = writer.one(x.shape), writer.one(wanted.shape)
    operands = [source, writer.list(*begin), writer.list(*end), writer.list(*strides)]
    writer.add(
        "STRIDED_SLICE", operands, target, BeginMask=begin_mask, EndMask=end_mask,
        ShrinkAxisMask=drop & ((1 << len(picks)) - 1),
    )  # fmt: skip
    by = "both" if len(picks) == 4 else "litert"  # TFLM takes fewer for those of the last axes
    (found,) = same(writer, [source], [target], x, by=by)
    np.testing.assert_array_equal(found.ravel(), wanted.ravel())


@settings(max_examples=40, deadline=None)
@given(VALUES, MOVED, st.tuples(*[st.tuples(st.integers(0, 4), st.integers(-1, 4))] * 3))
def test_slice(rng, dtype, picks):
    x, writer = numbers(rng, (1, 8, 8, 8), dtype), Moving(dtype)
    begin, size = [0], [1]
    for first, count in picks:
        begin.append(first)
        size.append(count or 1)
    index = tuple(slice(b, None if s == -1 else b + s) for b, s in zip(begin, size, strict=True))
    source, target = writer.one(x.shape), writer.one(x[index].shape)
    writer.add("SLICE", [source, writer.list(*begin), writer.list(*size)], target)
    same(writer, [source], [target], x)


@settings(max_examples=40, deadline=None)
@given(VALUES, TYPES, st.integers(1, 3), st.integers(1, 4), st.booleans())
def test_split(rng, dtype, axis, parts, negative):
    """In equal parts."""
    shape = [1, 3, 4, 2]
    shape[axis] = 3 * parts
    x, writer = values(rng, shape, dtype), Moving(dtype)
    source = writer.one(shape)
    place = writer.tensor((), data=axis - 4 * negative, dtype=np.int32)
    targets = [writer.one(part.shape) for part in np.split(x, parts, axis)]
    writer.add_all("SPLIT", [place, source], targets, NumSplits=parts)
    same(writer, [source], targets, x, by=judge(dtype))


@settings(max_examples=40, deadline=None)
@given(
    VALUES, st.integers(1, 3), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.booleans()
)
def test_split_v(rng, axis, sizes, rest):
    """In parts of some sizes, one of which may be the rest."""
    shape = [1, 3, 4, 2]
    shape[axis] = sum(sizes)
    x, writer = values(rng, shape, INT8), Moving(INT8)
    source = writer.one(shape)
    ends = np.cumsum(sizes)[:-1]
    targets = [writer.one(part.shape) for part in np.split(x, ends, axis)]
    written = [*sizes[:-1], -1] if rest else sizes
    place = writer.tensor((), data=axis, dtype=np.int32)
    writer.add_all("SPLIT_V", [source, writer.list(*written), place], targets, NumSplits=len(sizes))
    same(writer, [source], targets, x)


@settings(max_examples=30, deadline=None)
@given(VALUES, st.integers(-4, 3), st.integers(2, 4))
def test_pack_and_unpack(rng, axis, count):
    """Along a new axis, and back."""
    writer, shape = Moving(INT8), (1, 3, 2)
    some = [values(rng, shape, INT8) for _ in range(count)]
    inputs = [writer.one(shape) for _ in some]
    packed = writer.one(np.stack(some, axis).shape)
    writer.add("PACK", inputs, packed, Axis=axis, ValuesCount=count)
    targets = [writer.one(shape) for _ in some]
    writer.add_all("UNPACK", [packed], targets, Axis=axis, Num=count)
    same(writer, inputs, [packed, *targets], *some)


@pytest.mark.parametrize("axis", [1, 2, -1, -2])
def test_expand_and_squeeze(axis):
    """An axis of 1 comes and goes; without a list all of them go."""
    writer = Moving(INT8)
    x = values(np.random.default_rng(1), (1, 3, 4), INT8)
    source, wide = writer.one(x.shape), writer.one(np.expand_dims(x, axis).shape)
    writer.add("EXPAND_DIMS", [source, writer.list(axis)], wide)
    thin, bare = writer.one(x.shape), writer.one((3, 4))
    writer.add("SQUEEZE", [wide], thin, SqueezeDims=[axis])
    writer.add("SQUEEZE", [wide], bare)
    same(writer, [source], [wide, thin, bare], x)


@pytest.mark.parametrize("kind", ["RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"])
@settings(max_examples=80, deadline=None)
@given(
    VALUES, TYPES, st.tuples(*[st.integers(1, 9)] * 2), st.tuples(*[st.integers(1, 20)] * 2),
    st.sampled_from([(False, False), (True, False), (False, True)]),
)  # fmt: skip
def test_resize(kind, rng, dtype, source_size, size, where):
    writer, x = Moving(dtype), values(rng, (1, *source_size, 3), dtype)
    source, target = writer.one(x.shape), writer.one((1, *size, 3))
    writer.add(
        kind, [source, writer.list(*size)], target, AlignCorners=where[0],
        HalfPixelCenters=where[1],
    )  # fmt: skip
    same(writer, [source], [target], x, by=judge(dtype))


# --- Shapes that are known ---------------------------------------------------------------------


def test_shape_arithmetic():
    """What converters compute of shapes alone is gone when the model is loaded."""
    writer = Moving(INT8)
    x = values(np.random.default_rng(1), (1, 6, 4, 5), INT8)
    source = writer.one(x.shape)
    shape = writer.tensor((4,), dtype=np.int32)
    writer.add("SHAPE", [source], shape, OutType=2)
    batch, last = writer.tensor((), dtype=np.int32), writer.tensor((1,), dtype=np.int32)
    writer.add(
        "STRIDED_SLICE", [shape, writer.list(0), writer.list(1), writer.list(1)], batch,
        ShrinkAxisMask=1,
    )  # fmt: skip
    writer.add("SLICE", [shape, writer.list(3), writer.list(1)], last)
    wide, thin = writer.tensor((1, 1), dtype=np.int32), writer.tensor((), dtype=np.int32)
    writer.add("EXPAND_DIMS", [last, writer.list(0)], wide)
    writer.add("SQUEEZE", [wide], thin)
    packed, both = writer.tensor((2,), dtype=np.int32), writer.tensor((3,), dtype=np.int32)
    writer.add("PACK", [batch, thin], packed, ValuesCount=2)
    writer.add("CONCATENATION", [packed, writer.list(24)], both, Axis=0)
    target = writer.one((1, 5, 24))
    writer.add("RESHAPE", [source, both], target)
    content = writer.content([source], [target])
    with tempfile.TemporaryDirectory() as folder:
        graph = load(content, Path(folder))
    assert graph.names == ["op00_RESHAPE"]
    same(writer, [source], [target], x, by="litert")  # not all of it is in TFLM


# --- uint8 with zero points of weights ---------------------------------------------------------


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
@settings(max_examples=60, deadline=None)
@given(
    VALUES, st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 3)] * 4), SCALE, SCALE,
    st.floats(-1, 0.7), st.sampled_from(["NONE", "RELU", "RELU6"]), st.booleans(),
    st.sampled_from([0, 1, 128, 200, 255]),
)  # fmt: skip
def test_uint8_weights(kind, rng, size, sizes, scale, weight_scale, ratio, activation, pad, other):
    """Asymmetric weights: their zero point never enters the array."""
    height, width, c_in = size
    kh, kw, stride, more = sizes
    if not pad:
        kh, kw = min(kh, height), min(kw, width)
    x = values(rng, (1, *size), UINT8)
    window = [-(-(n - (0 if pad else k - 1)) // stride) for n, k in ((height, kh), (width, kw))]
    options: dict[str, Any] = {
        "StrideH": stride, "StrideW": stride, "Padding": SAME if pad else VALID,
    }  # fmt: skip
    if kind == "CONV_2D":
        shape, output = (7 * more, kh, kw, c_in), (1, *window, 7 * more)
    elif kind == "DEPTHWISE_CONV_2D":
        shape, output = (1, kh, kw, c_in * more), (1, *window, c_in * more)
        options["DepthMultiplier"] = more
    else:
        shape, output, options = (9 * more, x.size), (1, 9 * more), {}
    channels = output[-1]
    spread = 74 * 74 * (int(np.prod(shape)) / channels) ** 0.5
    unit = float(FLOAT(FLOAT(scale) * FLOAT(weight_scale)))
    writer = Writer()
    source = writer.tensor(x.shape, scale, zero(rng, UINT8), dtype=UINT8)
    weights = writer.tensor(shape, weight_scale, other, data=values(rng, shape, UINT8), dtype=UINT8)
    biases = writer.tensor(
        (channels,), unit, data=rng.normal(0, spread / 3, channels), dtype=np.int32
    )
    target_scale = unit * spread / 50 * 10**ratio
    target = writer.tensor(output, target_scale, zero(rng, UINT8), dtype=UINT8)
    number = getattr(ACT, activation)
    writer.add(kind, [source, weights, biases], target, FusedActivationFunction=number, **options)
    same(writer, [source], [target], x, by="litert")


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_uint8_multipliers(kind):
    """Where a product of scales in float32 shows, and one rounding instead of two."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        scale, weight_scale = (float(FLOAT(x)) for x in rng.uniform(0.001, 0.1, 2))
        target_scale = scale * weight_scale * rng.uniform(256, 1024)
        sums = rng.integers(-120000, 120000, 30000)
        count, flat = len(sums), kind == "FULLY_CONNECTED"
        shape = {"CONV_2D": (count, 1, 1, 1), "FULLY_CONNECTED": (count, 1)}
        options = {"DepthMultiplier": count} if kind.startswith("DEPTHWISE") else {}
        writer = Writer()
        x = np.zeros((1, 1) if flat else (1, 1, 1, 1), UINT8)
        source = writer.tensor(x.shape, scale, 0, dtype=UINT8)
        whole = shape.get(kind, (1, 1, 1, count))
        weights = writer.tensor(whole, weight_scale, 9, data=np.full(whole, 9), dtype=UINT8)
        unit = FLOAT(FLOAT(scale) * FLOAT(weight_scale))
        biases = writer.tensor((count,), unit, data=sums, dtype=np.int32)
        output = (1, count) if flat else (1, 1, 1, count)
        target = writer.tensor(output, target_scale, 128, dtype=UINT8)
        writer.add(kind, [source, weights, biases], target, **options)
        same(writer, [source], [target], x, by="litert")


@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "SOFTMAX", "PAD"])
@settings(max_examples=40, deadline=None)
@given(VALUES, SCALE, SCALE, st.tuples(*[st.integers(1, 6)] * 2), st.booleans())
def test_uint8_sums(kind, rng, scale, other, kernel, alike):
    """Halves go where those of the unsigned values go."""
    writer, first, second = Writer(), zero(rng, UINT8), zero(rng, UINT8)
    x = values(rng, (1, 7, 8, 3), UINT8)
    source = writer.tensor(x.shape, scale, first, dtype=UINT8)
    options: dict[str, Any] = {}
    operands, shape, quantized = [source], x.shape, (scale, first)
    if kind.endswith("POOL_2D"):
        options = {
            "FilterHeight": kernel[0], "FilterWidth": kernel[1], "StrideH": 1, "StrideW": 1,
            "Padding": SAME, "FusedActivationFunction": ACT.RELU6,
        }  # fmt: skip
    elif kind == "MEAN":
        operands.append(writer.tensor((2,), data=[1, 2], dtype=np.int32))
        shape = (1, 3)
        quantized = (scale, first) if alike else (other, second)
    elif kind == "SOFTMAX":
        quantized = (1 / 256, 0)
    else:
        amounts = [[0, 0], list(kernel), [1, 0], [0, 2]]
        operands.append(writer.tensor((4, 2), data=amounts, dtype=np.int32))
        shape = tuple(n + sum(pad) for n, pad in zip(x.shape, amounts, strict=True))
    target = writer.tensor(shape, *quantized, dtype=UINT8)
    writer.add(kind, operands, target, **options)
    same(writer, [source], [target], x, by="litert")


# --- Dilation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@settings(max_examples=40, deadline=None)
@given(
    VALUES, st.tuples(*[st.integers(5, 11)] * 2), st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[st.integers(1, 3)] * 2), st.booleans(),
)  # fmt: skip
def test_dilation(kind, rng, size, kernel, dilation, pad):
    """Taps further apart are a larger kernel with zeros."""
    spread = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if not pad and (spread[0] > size[0] or spread[1] > size[1]):
        pad = True
    window = size if pad else [n - k + 1 for n, k in zip(size, spread, strict=True)]
    writer, x = Writer(), values(rng, (1, *size, 4), INT8)
    source = writer.tensor(x.shape, 0.05, zero(rng, INT8))
    deep = kind != "CONV_2D"
    shape = (1, *kernel, 4) if deep else (6, *kernel, 4)
    channels = 4 if deep else 6
    scales = rng.uniform(0.001, 0.01, channels).astype(FLOAT)
    data = rng.integers(-127, 127, shape, endpoint=True)
    weights = writer.tensor(shape, scales, data=data, axis=3 if deep else 0)
    biases = writer.tensor(
        (channels,), FLOAT(0.05) * scales, data=rng.integers(-999, 999, channels), dtype=np.int32
    )
    target = writer.tensor((1, *window, channels), 0.1, zero(rng, INT8))
    writer.add(
        kind, [source, weights, biases], target, Padding=SAME if pad else VALID,
        DilationHFactor=dilation[0], DilationWFactor=dilation[1],
    )  # fmt: skip
    same(writer, [source], [target], x)


@pytest.mark.parametrize("kind", ["RELU", "PRELU", "LEAKY_RELU", "QUANTIZE"])
@pytest.mark.parametrize("dtype", [INT8, UINT8])
def test_multipliers_near_halves(kind, dtype):
    """Scales whose ratio is 3/2 but for a rounding: float32 and double differ at halves.

    TFLM's multipliers are in double, LiteRT's in float32 but for QUANTIZE.
    """
    rng, unsigned = np.random.default_rng(1), dtype == UINT8
    middle = 128 if unsigned else 0
    for _ in range(20):
        target_scale = float(FLOAT(10 ** rng.uniform(-3, 0)))
        scale = float(FLOAT(1.5 * target_scale))
        writer, x = Writer(), every(dtype).reshape(1, 16, 16, 1)
        source = writer.tensor(x.shape, scale, middle, dtype=dtype)
        target = writer.tensor(x.shape, target_scale, middle, dtype=dtype)
        operands, options = [source], {"Alpha": 0.5} if kind == "LEAKY_RELU" else {}
        if kind == "PRELU":
            one = np.full((1, 1, 1), middle + 1, dtype)
            operands.append(writer.tensor((1, 1, 1), 0.3, middle, data=one, dtype=dtype))
        writer.add(kind, operands, target, **options)
        same(writer, [source], [target], x, by="litert" if unsigned else "micro")


@pytest.mark.parametrize("kind", tflite.SUPPORTED)
def test_single(kind):
    """Every operator that is supported, so that none is forgotten here."""
    content = single(kind)
    x = values(np.random.default_rng(1), (1, 6, 5, 4), INT8)
    with tempfile.TemporaryDirectory() as folder:
        found = load(content, Path(folder)).run(x)
    for name, run in (("litert", litert), ("micro", micro)):
        if (name, kind) in {("micro", "RELU_0_TO_1"), ("micro", "RELU_N1_TO_1")}:
            continue
        (wanted,) = run(content, x)
        differ = (found.ravel() != wanted.ravel()).sum()
        # LiteRT rounds these once.
        assert differ <= (2 if kind == "FULLY_CONNECTED" and name == "litert" else 0), name


def test_scalars(tmp_path):
    """A number alone goes through what takes one, and is refused elsewhere, in one line."""
    writer = Writer()
    x = values(np.random.default_rng(1), (1, 3, 4), INT8)
    source = writer.tensor(x.shape, 0.1, 3)
    axes = writer.tensor((3,), data=[0, 1, 2], dtype=np.int32)
    whole = writer.add("MEAN", [source, axes], writer.tensor((), 0.1, 3))
    two = writer.add("ADD", [whole, whole], writer.tensor((), 0.2, -4))
    same(writer, [source], [two], x)
    weights = writer.tensor((2, 1), 0.1, data=np.ones((2, 1)))
    for kind, operands, shape, options in (
        ("UNPACK", [whole], (1,), {"Num": 1}),
        ("CONCATENATION", [whole, whole], (2,), {"Axis": 0}),
        ("FULLY_CONNECTED", [whole, weights], (2,), {"KeepNumDims": True}),
    ):
        del writer.operators[1:]
        target = writer.tensor(shape, 0.1, 3)
        content = (
            writer.add(kind, operands, target, **options),
            writer.content([source], [target]),
        )
        with pytest.raises(tflite.ModelError, match=f"operator 1 .{kind}.: the input"):
            load(content[1], tmp_path)


def test_weights_behind_a_move():
    """Weights that are turned before they are read are constants, too."""
    rng, writer = np.random.default_rng(1), Writer()
    x = values(rng, (1, 4), INT8)
    source = writer.tensor(x.shape, 0.1, 3)
    weights = writer.tensor((4, 3), 0.1, data=rng.integers(-9, 9, (4, 3)))
    order = writer.tensor((2,), data=[1, 0], dtype=np.int32)
    turned = writer.add("TRANSPOSE", [weights, order], writer.tensor((3, 4), 0.1))
    target = writer.add("FULLY_CONNECTED", [source, turned], writer.tensor((1, 3), 0.1, 5))
    same(writer, [source], [target], x, by="micro")


def test_too_much_to_fold(tmp_path):
    """A small file that asks for much memory when it is loaded."""
    writer = Writer()
    source = writer.tensor((1, 4), 0.1, 3)
    one = writer.tensor((1,), data=[1], dtype=np.int64)
    pads = writer.tensor((1, 2), data=[[0, 1 << 20]], dtype=np.int32)
    writer.add("PAD", [one, pads], writer.tensor(((1 << 20) + 1,), dtype=np.int64))
    with pytest.raises(tflite.ModelError, match="1048577 integers are no shape; at most 4096"):
        load(writer.content([source], [source]), tmp_path)
    writer = Writer()
    source = writer.tensor((1, 4), 0.1, 3)
    byte = writer.tensor((1,), 0.1, 3, data=[1])
    pads = writer.tensor((1, 2), data=[[0, 1 << 25]], dtype=np.int32)
    for _ in range(3):
        writer.add("PAD", [byte, pads], writer.tensor(((1 << 25) + 1,), 0.1, 3))
    with pytest.raises(tflite.ModelError, match="elements are computed of constants"):
        load(writer.content([source], [source]), tmp_path)
