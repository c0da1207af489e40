"""The operators that can be imported: how each is made of what the file has."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

from report.errors import UserError

from ..arith.quant import ACTIVATIONS
from . import elementwise, shapes
from .array_operators import Conv2D, Convolution, DepthwiseConv2D, FullyConnected
from .flatbuffer import RawOperator, names_of
from .flatbuffer import vector as as_vector
from .importer import LARGEST, Builder, Kind
from .operators import Operator
from .pools import AveragePool2D, MaxPool2D, Mean, Softmax
from .tensor import Tensor, image

__all__ = ["KINDS"]

_ACTIVATIONS = names_of(tflite.ActivationFunctionType)

Tensors = tuple[Tensor, ...]


def _activation(one: RawOperator) -> dict[str, Any]:
    """Return the fused activation."""
    number = one.options.get("FusedActivationFunction", 0)
    activation = _ACTIVATIONS.get(number, f"activation {number}")
    if activation not in ACTIVATIONS:
        raise UserError(f"{activation} is not supported; supported: {', '.join(ACTIVATIONS)}")
    return {"activation": activation}


def _window(one: RawOperator) -> dict[str, Any]:
    """Return stride and padding, and the fused activation."""
    options = one.options
    padding = {tflite.Padding.SAME: "same", tflite.Padding.VALID: "valid"}
    if options["Padding"] not in padding:
        raise UserError(f"padding must be SAME or VALID, not {options['Padding']}")
    stride = options["StrideH"], options["StrideW"]
    if min(stride) < 1:
        raise UserError(f"strides must be at least 1, not {stride}")
    return {"stride": stride, "padding": padding[options["Padding"]], **_activation(one)}


def _moderate(one: Any, kernel: tuple[int, int], channels: int) -> Any:
    """Return the operator if what its window sees can be held in memory."""
    if math.prod((*one.output.shape[:-1], *kernel, channels)) > LARGEST:
        raise UserError(f"more than {LARGEST} elements under a {kernel[0]} x {kernel[1]} window")
    return one


# --- On the array ------------------------------------------------------------------------------


def _same_unit(
    build: Builder, one: RawOperator, source: Tensor, target: Tensor, scales: NDArray[np.float32]
) -> None:
    """Raise `UserError` unless products and biases have nearly one unit, as the kernels ask for."""
    if len(one.inputs) < 3 or one.inputs[2] == -1:
        return
    given = build.typed(one.inputs[2], "INT32").scales[:1].sum(dtype=float)
    product = source.scale * float(scales[0])
    most = 0.02 * target.scale
    if not abs(product - given) <= most:
        raise UserError(
            f"the scale of the biases must be {product:g}, give or take {most:g}, not {given:g}"
        )


def _dilated(weights: NDArray[np.int8], one: RawOperator, zero: int) -> tuple[Any, tuple[int, int]]:
    """Return a kernel ``(kh, kw, ...)`` with zeros between its taps, and the dilation."""
    dilation = one.options["DilationHFactor"], one.options["DilationWFactor"]
    if min(dilation) < 1:
        raise UserError(f"dilation must be at least 1, not {dilation}")
    height, width = ((k - 1) * d + 1 for k, d in zip(weights.shape[:2], dilation, strict=True))
    if height * width * math.prod(weights.shape[2:]) > LARGEST:
        raise UserError(f"more than {LARGEST} elements in a kernel dilated by {dilation}")
    spread = np.full((height, width, *weights.shape[2:]), zero, np.int8)
    spread[:: dilation[0], :: dilation[1]] = weights
    return spread, dilation


def _weighted(
    build: Builder, one: RawOperator, source: Tensor, target: Tensor, axis: int, ndim: int
) -> dict[str, Any]:
    """Return weights and bias."""
    found = build.weights(one.inputs[1], axis, ndim)
    if source.dtype == "uint8":
        _same_unit(build, one, source, target, found["weight_scales"])
    weight_type = build.typed(one.inputs[1], "INT8", "UINT8").type.lower()
    if source.dtype != weight_type:
        raise UserError(f"weights are {weight_type}; with {source.dtype} activations they may not")
    return found | {"bias": build.bias(one, found["weights"].shape[axis])}


def _conv(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
    more = _weighted(build, one, inputs[0], outputs[0], 0, 4)
    weights = more["weights"].transpose(1, 2, 3, 0)
    more["weights"], dilation = _dilated(weights, one, more["weight_zero"])
    return _convolution(Conv2D, one, inputs, outputs, more, dilation)


def _depthwise(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
    more = _weighted(build, one, inputs[0], outputs[0], 3, 4)
    if len(more["weights"]) != 1:
        raise UserError(f"weights must be 1 x kh x kw x c, not {more['weights'].shape}")
    more["weights"], dilation = _dilated(more["weights"][0], one, more["weight_zero"])
    channels, wide = image(inputs[0])[2], more["weights"].shape[-1]
    multiplier = one.options["DepthMultiplier"]
    if multiplier and multiplier * channels != wide:
        raise UserError(f"{channels} channels times multiplier {multiplier} are not {wide}")
    return _convolution(DepthwiseConv2D, one, inputs, outputs, more, dilation)


def _convolution(
    kind: type[Convolution], one: RawOperator, inputs: Tensors, outputs: Tensors,
    more: dict[str, Any], dilation: tuple[int, int],
) -> Operator:  # fmt: skip
    weights = more.pop("weights")
    made = kind(
        inputs=inputs, output=outputs[0], weights=(np.ascontiguousarray(weights),),
        dilation=dilation, **more, **_window(one),
    )  # fmt: skip
    seen = weights.shape[2]
    result: Operator = _moderate(made, made.kernel, seen)
    return result


def _fully_connected(
    build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors
) -> Operator:
    more = _weighted(build, one, inputs[0], outputs[0], 0, 2)
    if one.options.get("WeightsFormat", 0):
        raise UserError("shuffled weights are not supported")
    if len(more["weight_scales"]) == 1:
        _same_unit(build, one, inputs[0], outputs[0], more["weight_scales"])
    more["weights"] = (np.ascontiguousarray(more["weights"].T),)
    return FullyConnected(
        inputs=inputs, output=outputs[0], keep_dims=bool(one.options.get("KeepNumDims", False)),
        **more, **_activation(one),
    )  # fmt: skip


# --- In golden ---------------------------------------------------------------------------------


def _fused(kind: Any) -> Any:
    """Return a maker of operators that have a fused activation."""

    def make(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
        made: Operator = kind(inputs=inputs, output=outputs[0], **_activation(one))
        return made

    return make


def _plain(kind: Any, **options: tuple[str, Callable[[Any], Any]]) -> Any:
    """Return a maker of operators whose fields are options as they are."""

    def make(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
        more = {name: read(one.options.get(field, 0)) for name, (field, read) in options.items()}
        made: Operator = kind(inputs=inputs, output=outputs[0], **more)
        return made

    return make


def _pool(kind: Any) -> Any:
    def make(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
        kernel = one.options["FilterHeight"], one.options["FilterWidth"]
        if min(kernel) < 1:
            raise UserError(f"the window must be at least 1 x 1, not {kernel[0]} x {kernel[1]}")
        made = kind(inputs=inputs, output=outputs[0], size=kernel, **_window(one))
        result: Operator = _moderate(made, kernel, image(inputs[0])[2])
        return result

    return make


def _axes(given: list[int], rank: int) -> tuple[int, ...]:
    """Return axes that may count from behind; twice is as good as once."""
    if given and not rank:
        raise UserError("the input has no axes")
    if not all(-rank <= axis < rank for axis in given):
        raise UserError(f"axes must be from {-rank} to {rank - 1}, not {given}")
    return tuple(sorted({axis % rank for axis in given}))


def _mean(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
    axes = _axes(build.integers(one.inputs[1]), len(inputs[0].shape))
    keep = bool(one.options.get("KeepDims", False))
    return Mean(inputs=inputs, output=outputs[0], axes=axes, keep_dims=keep)


# --- Moves -------------------------------------------------------------------------------------


def _pad(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
    amounts = build.constant(one.inputs[1], "INT32", "INT64")
    if amounts.ndim != 2 or amounts.shape[1] != 2:
        raise UserError(f"padding must be n x 2, not {amounts.shape}")
    pairs = tuple((before, after) for before, after in amounts.tolist())
    return shapes.Pad(inputs=inputs, output=outputs[0], amounts=pairs)


def _reshape(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
    if len(one.inputs) > 1 and one.inputs[1] != -1:
        target = build.constant(one.inputs[1], "INT32").reshape(-1).tolist()
    else:
        target = as_vector(one.options.get("NewShapeAsNumpy", 0)).tolist()
        if not target and outputs[0].shape:
            raise UserError("no shape is given")
    return shapes.Reshape(inputs=inputs, output=outputs[0], target=tuple(target))


def _expand_dims(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
    given, rank = build.integers(one.inputs[1]), len(inputs[0].shape)
    if len(given) != 1 or not -rank - 1 <= given[0] <= rank:
        raise UserError(f"the axis must be from {-rank - 1} to {rank}, not {given}")
    axis, source = given[0] % (rank + 1), inputs[0].shape
    target = (*source[:axis], 1, *source[axis:])
    return shapes.ExpandDims(inputs=inputs, output=outputs[0], target=target)


def _squeeze(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
    source = inputs[0].shape
    given = as_vector(one.options.get("SqueezeDimsAsNumpy", 0)).tolist()
    gone = _axes(given, len(source)) or [axis for axis, size in enumerate(source) if size == 1]
    if any(source[axis] != 1 for axis in gone):
        raise UserError(f"axes {given} of {source} are not all 1")
    target = tuple(size for axis, size in enumerate(source) if axis not in gone)
    return shapes.Squeeze(inputs=inputs, output=outputs[0], target=target)


def _transpose(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
    rank = len(inputs[0].shape)
    order = tuple(
        axis + rank if -rank <= axis < 0 else axis for axis in build.integers(one.inputs[1])
    )
    return shapes.Transpose(inputs=inputs, output=outputs[0], order=order)


def _strided_slice(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
    for field in ("EllipsisMask", "NewAxisMask", "Offset"):
        if one.options.get(field, 0):
            raise UserError(f"{field} is not supported; it must be 0")
    begin, end, strides = (build.integers(index) for index in one.inputs[1:])
    picks, dropped = shapes.strided(
        inputs[0].shape, begin, end, strides,
        begin_mask=one.options.get("BeginMask", 0), end_mask=one.options.get("EndMask", 0),
        drop_mask=one.options.get("ShrinkAxisMask", 0),
    )  # fmt: skip
    return shapes.StridedSlice(inputs=inputs, output=outputs[0], picks=picks, dropped=dropped)


def _slice(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
    begin, size = (build.integers(index) for index in one.inputs[1:])
    source = inputs[0].shape
    if not len(begin) == len(size) == len(source) or min(begin, default=0) < 0:
        raise UserError(f"there must be {len(source)} begins of at least 0, and as many sizes")
    picks = tuple(
        range(first, whole if count == -1 else first + count)
        for first, count, whole in zip(begin, size, source, strict=True)
    )
    return shapes.Slice(inputs=inputs, output=outputs[0], picks=picks)


def _parts(
    kind: type[shapes.Slice], inputs: Tensors, outputs: Tensors, axis: int, sizes: list[int]
) -> list[Operator]:
    """Return an operator for every part of a tensor that is split."""
    source = inputs[0].shape
    (axis,) = _axes([axis], len(source))
    if min(sizes) < 1 or sum(sizes) != source[axis]:
        raise UserError(f"{source[axis]} elements cannot be split in {sizes}")
    found: list[Operator] = []
    first = 0
    for output, size in zip(outputs, sizes, strict=True):
        picks = [range(whole) for whole in source]
        picks[axis] = range(first, first + size)
        dropped = (axis,) if kind is shapes.Unpack else ()
        found.append(kind(inputs=inputs, output=output, picks=tuple(picks), dropped=dropped))
        first += size
    return found


def _split(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> list[Operator]:
    given, source = build.integers(one.inputs[0]), inputs[0].shape
    if len(given) != 1:
        raise UserError(f"there must be one axis, not {given}")
    (axis,) = _axes(given, len(source))
    if source[axis] % len(outputs):
        raise UserError(f"{source[axis]} elements cannot be split in {len(outputs)} equal parts")
    sizes = [source[axis] // len(outputs)] * len(outputs)
    return _parts(shapes.Split, inputs, outputs, axis, sizes)


def _split_v(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> list[Operator]:
    sizes, given = build.integers(one.inputs[1]), build.integers(one.inputs[2])
    if len(given) != 1 or len(sizes) != len(outputs) or sizes.count(-1) > 1:
        raise UserError(f"sizes {sizes} along axis {given} do not fit {len(outputs)} outputs")
    (axis,) = _axes(given, len(inputs[0].shape))
    rest = inputs[0].shape[axis] - sum(size for size in sizes if size != -1)
    sizes = [rest if size == -1 else size for size in sizes]
    return _parts(shapes.Split, inputs, outputs, axis, sizes)


def _unpack(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> list[Operator]:
    axis = one.options.get("Axis", 0)
    return _parts(shapes.Unpack, inputs, outputs, axis, [1] * len(outputs))


def _concatenation(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
    if _activation(one)["activation"] != "NONE":
        raise UserError("an activation after it is not supported")
    axis = one.options.get("Axis", 0)
    return shapes.Concatenation(inputs=inputs, output=outputs[0], axis=axis)


def _shape(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> list[Operator]:
    """Take down the shape, which is known: nothing is left to do."""
    found = np.array(inputs[0].shape, outputs[0].dtype)
    if outputs[0].dtype not in ("int32", "int64") or outputs[0].shape != found.shape:
        raise UserError(f"the output must be {len(found)} integers")
    build.fold(int(one.outputs[0]), found)
    return []


def _resize(kind: Any) -> Any:
    def make(build: Builder, one: RawOperator, inputs: Tensors, outputs: Tensors) -> Operator:
        size = build.integers(one.inputs[1])
        if len(size) != 2:
            raise UserError(f"the size must be two integers, not {size}")
        made: Operator = kind(
            inputs=inputs, output=outputs[0], size=tuple(size),
            align_corners=bool(one.options.get("AlignCorners", False)),
            half_pixel=bool(one.options.get("HalfPixelCenters", False)),
        )  # fmt: skip
        return made

    return make


_TWO: dict[str, Any] = {"inputs": (2, 2), "activations": (0, 1)}
_ANY: dict[str, Any] = {"inputs": (1, 1024), "activations": None}
_EVERY: dict[str, Any] = {"outputs": None}
_CONV: dict[str, Any] = {"inputs": (2, 3), "needed": True}

KINDS: dict[str, Kind] = {
    "ADD": Kind(make=_fused(elementwise.Add), version=5, table="AddOptions", **_TWO),
    "AVERAGE_POOL_2D": Kind(
        make=_pool(AveragePool2D), version=3, table="Pool2DOptions", needed=True
    ),
    "CONCATENATION": Kind(make=_concatenation, version=7, table="ConcatenationOptions", **_ANY),
    "CONV_2D": Kind(make=_conv, version=8, table="Conv2DOptions", **_CONV),
    "DEPTHWISE_CONV_2D": Kind(
        make=_depthwise, version=6, table="DepthwiseConv2DOptions", **_CONV
    ),
    "DEQUANTIZE": Kind(
        make=_plain(elementwise.Dequantize), version=9, table="DequantizeOptions"
    ),
    "EXPAND_DIMS": Kind(make=_expand_dims, version=1, table="ExpandDimsOptions", inputs=(2, 2)),
    "FULLY_CONNECTED": Kind(
        make=_fully_connected, version=14, table="FullyConnectedOptions", inputs=(2, 3)
    ),
    "HARD_SWISH": Kind(make=_plain(elementwise.HardSwish), version=1, table="HardSwishOptions"),
    "LEAKY_RELU": Kind(
        make=_plain(elementwise.LeakyRelu, alpha=("Alpha", float)), version=2,
        table="LeakyReluOptions",
    ),
    "LOGISTIC": Kind(make=_plain(elementwise.Logistic), version=3),
    "MAXIMUM": Kind(
        make=_plain(elementwise.Maximum), version=4, table="MaximumMinimumOptions", **_TWO
    ),
    "MAX_POOL_2D": Kind(make=_pool(MaxPool2D), version=3, table="Pool2DOptions", needed=True),
    "MEAN": Kind(make=_mean, version=3, table="ReducerOptions", inputs=(2, 2)),
    "MINIMUM": Kind(
        make=_plain(elementwise.Minimum), version=4, table="MaximumMinimumOptions", **_TWO
    ),
    "MUL": Kind(make=_fused(elementwise.Mul), version=7, table="MulOptions", **_TWO),
    "PACK": Kind(
        make=_plain(shapes.Pack, axis=("Axis", int)), version=5, table="PackOptions", **_ANY
    ),
    "PAD": Kind(make=_pad, version=6, table="PadOptions", inputs=(2, 2)),
    "PRELU": Kind(make=_plain(elementwise.PRelu), version=1, **_TWO),
    "QUANTIZE": Kind(make=_plain(elementwise.Quantize), version=6, table="QuantizeOptions"),
    "RELU": Kind(make=_plain(elementwise.Relu), version=3),
    "RELU6": Kind(make=_plain(elementwise.Relu6), version=3),
    "RELU_0_TO_1": Kind(make=_plain(elementwise.Relu0To1), version=1),
    "RELU_N1_TO_1": Kind(make=_plain(elementwise.ReluN1To1), version=1),
    "RESHAPE": Kind(make=_reshape, version=1, table="ReshapeOptions", inputs=(1, 2)),
    "RESIZE_BILINEAR": Kind(
        make=_resize(shapes.ResizeBilinear), version=4, table="ResizeBilinearOptions",
        inputs=(2, 2),
    ),
    "RESIZE_NEAREST_NEIGHBOR": Kind(
        make=_resize(shapes.ResizeNearestNeighbor), version=4,
        table="ResizeNearestNeighborOptions", inputs=(2, 2),
    ),
    "SHAPE": Kind(make=_shape, version=1, table="ShapeOptions"),
    "SLICE": Kind(make=_slice, version=8, table="SliceOptions", inputs=(3, 3)),
    "SOFTMAX": Kind(
        make=_plain(Softmax, beta=("Beta", float)), version=3, table="SoftmaxOptions"
    ),
    "SPLIT": Kind(
        make=_split, version=5, table="SplitOptions", inputs=(2, 2), activations=(1,), **_EVERY
    ),
    "SPLIT_V": Kind(make=_split_v, version=3, table="SplitVOptions", inputs=(3, 3), **_EVERY),
    "SQUEEZE": Kind(make=_squeeze, version=1, table="SqueezeOptions"),
    "STRIDED_SLICE": Kind(
        make=_strided_slice, version=4, table="StridedSliceOptions", inputs=(4, 4)
    ),
    "SUB": Kind(make=_fused(elementwise.Sub), version=5, table="SubOptions", **_TWO),
    "TANH": Kind(make=_plain(elementwise.Tanh), version=3),
    "TRANSPOSE": Kind(make=_transpose, version=8, table="TransposeOptions", inputs=(2, 2)),
    "UNPACK": Kind(make=_unpack, version=6, table="UnpackOptions", **_EVERY),
}  # fmt: skip
