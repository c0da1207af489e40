"""Import of int8 TensorFlow Lite models: ``load(path)`` returns a `golden.int8.graph.Graph`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

from report.errors import UserError

from ..arith.quant import ACTIVATIONS
from .array_operators import Conv2D, DepthwiseConv2D, FullyConnected
from .flatbuffer import FIELDS, RANK, SCHEMA, Buffer, File, RawOperator, RawTensor, names_of, read
from .flatbuffer import vector as as_vector
from .graph import Graph
from .operators import (
    Add,
    AveragePool2D,
    MaxPool2D,
    Mean,
    Operator,
    Pad,
    Reshape,
    Softmax,
)
from .tensor import Tensor, image

__all__ = ["SUPPORTED", "ModelError", "load"]

#: The greatest number of elements of a tensor, and of all that a window sees.
LARGEST = 1 << 27

_ACTIVATIONS = names_of(tflite.ActivationFunctionType)
_DTYPES: dict[str, np.dtype[Any]] = {
    "INT8": np.dtype(np.int8),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
}


class ModelError(UserError):
    """A model that is damaged, or not supported; the text is one line.

    Parameters
    ----------
    path : path
    text : str
        What is wrong; cut off if it is long, as in a damaged file nearly anything can be.
    """

    def __init__(self, path: object, text: str) -> None:
        super().__init__(f"{path}: {text if len(text) <= 300 else text[:297] + '...'}")


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A supported operator.

    Parameters
    ----------
    table : str
        Its table of options.
    version : int
        The greatest version. A version only widens what a file may say: types other than int8
        (float, int4, int16, int64, bool), dilation, groups, sparse or shuffled weights, a missing
        bias, kept dimensions, a bias's type with int16. All of that stands in the types and the
        options too, where it is read or refused, so versions up to this one mean the same here.
    inputs : (int, int)
        The least and the greatest number of operands.
    make : callable
        Makes the operator of a `_Builder`, what the file has, and the common fields.
    activations : int
        How many of the operands are activations; they come first.
    """

    table: str
    version: int
    inputs: tuple[int, int]
    make: Callable[[Any, RawOperator, dict[str, Any]], Operator]
    activations: int = 1


class _Builder:
    """Makes operators of what the file has; errors say what is wrong with the one at hand."""

    def __init__(self, file: File, content: bytes) -> None:
        self.file = file
        self.whole = content
        self.activations: dict[int, Tensor] = {}

    def content(self, tensor: RawTensor) -> NDArray[np.uint8] | None:
        """Return the bytes of a constant; None for a tensor without data."""
        if tensor.buffer == 0:  # the one of all tensors without data
            return None
        if tensor.buffer >= len(self.file.buffers):
            raise UserError(
                f"tensor {tensor.name} has buffer {tensor.buffer}; there are "
                f"{len(self.file.buffers)} buffers"
            )
        buffer = self.file.buffers[tensor.buffer]
        if buffer.behind:
            return np.frombuffer(self.whole, np.uint8)[buffer.offset : buffer.offset + buffer.size]
        return buffer.data if buffer.data is not None and len(buffer.data) else None

    def check_buffer(self, index: int, buffer: Buffer) -> None:
        if buffer.behind and buffer.offset + buffer.size > len(self.whole):
            raise UserError(
                f"buffer {index} has {buffer.size} bytes from byte {buffer.offset} on; the file "
                f"has {len(self.whole)} bytes"
            )
        if buffer.behind and buffer.data is not None:
            raise UserError(f"buffer {index} has data both in the flatbuffer and behind it")
        if index == 0 and (buffer.behind or (buffer.data is not None and len(buffer.data))):
            raise UserError("buffer 0 must be empty; it is the one of all tensors without data")

    def raw(self, index: int) -> RawTensor:
        if not 0 <= index < len(self.file.tensors):
            raise UserError(f"there is no tensor {index}")
        tensor = self.file.tensors[index]
        if not tensor.plain:
            raise UserError(
                f"tensor {tensor.name} is sparse, variable, in another file, or quantized by other "
                "parameters than scales and zero points"
            )
        if len(tensor.shape) > RANK:
            raise UserError(f"tensor {tensor.name} has more than {RANK} dimensions")
        if min(tensor.shape, default=1) < 1 or math.prod(tensor.shape) > LARGEST:
            raise UserError(
                f"tensor {tensor.name} must have from 1 to {LARGEST} elements, not the shape "
                f"{tensor.shape}"
            )
        return tensor

    def typed(self, index: int, *types: str) -> RawTensor:
        tensor = self.raw(index)
        if tensor.type not in types:
            raise UserError(
                f"tensor {tensor.name} is {tensor.type}; supported: {' or '.join(types)}"
            )
        if len(tensor.scales) != len(tensor.zero_points):
            raise UserError(
                f"tensor {tensor.name} has {len(tensor.scales)} scales and "
                f"{len(tensor.zero_points)} zero points; there must be as many"
            )
        if not 0 <= tensor.axis < RANK:
            raise UserError(
                f"tensor {tensor.name} is quantized along axis {tensor.axis}; it must be from 0 to "
                f"{RANK - 1}"
            )
        if not (np.isfinite(tensor.scales).all() and (tensor.scales >= 0).all()):
            raise UserError(f"the scales of tensor {tensor.name} must be numbers of at least 0")
        return tensor

    def constant(self, index: int, *types: str) -> NDArray[Any]:
        """Return the data of a constant."""
        tensor = self.typed(index, *types)
        dtype = _DTYPES[tensor.type]
        size = math.prod(tensor.shape) * dtype.itemsize
        content = self.content(tensor)
        if content is None:
            raise UserError(f"tensor {tensor.name} must be a constant")
        if len(content) != size:
            raise UserError(f"tensor {tensor.name} must have {size} bytes, not {len(content)}")
        aligned = content.tobytes()  # as data in the file need not be
        return np.frombuffer(aligned, dtype).reshape(tensor.shape)

    def activation(self, index: int) -> Tensor:
        """Return an activation, the same object for the same index."""
        if index not in self.activations:
            tensor = self.typed(index, "INT8")
            constant = self.content(tensor) is not None
            if not tensor.shape and not constant:
                raise UserError(f"tensor {tensor.name} has no dimensions")
            if len(tensor.scales) != 1 or not -128 <= tensor.zero_points[0] <= 127:
                raise UserError(
                    f"tensor {tensor.name} must have one scale and one zero point, -128 to 127"
                )
            if not tensor.scales[0]:
                raise UserError(f"the scale of tensor {tensor.name} must be above 0")
            self.activations[index] = Tensor(
                name=tensor.name,
                shape=tensor.shape,
                scale=float(tensor.scales[0]),
                zero_point=int(tensor.zero_points[0]),
                data=self.constant(index, "INT8") if constant else None,
            )
        return self.activations[index]

    def weights(self, index: int, axis: int, ndim: int) -> tuple[NDArray[np.int8], Any]:
        """Return weights and their scales, per tensor or along `axis`."""
        tensor, data = self.typed(index, "INT8"), self.constant(index, "INT8")
        if data.ndim != ndim:
            raise UserError(f"weights must have {ndim} dimensions, not {data.ndim}")
        if len(tensor.scales) not in (1, data.shape[axis]):
            raise UserError(
                f"weights must have 1 or {data.shape[axis]} scales, not {len(tensor.scales)}"
            )
        if len(tensor.scales) > 1 and tensor.axis != axis:
            raise UserError(f"weights must be quantized along axis {axis}, not {tensor.axis}")
        if tensor.zero_points.any():
            raise UserError("weights must have zero point 0")
        return data, tensor.scales.copy()  # aligned, as data in the file need not be

    def bias(self, one: RawOperator, channels: int) -> NDArray[np.int32]:
        """Return the third operand, or zeros."""
        if len(one.inputs) < 3 or one.inputs[2] == -1:
            return np.zeros(channels, np.int32)
        tensor = self.typed(one.inputs[2], "INT32")
        if tensor.zero_points.any():
            raise UserError("biases must have zero point 0")
        if len(tensor.scales) not in (0, 1, channels):
            raise UserError(
                f"biases must have 1 or {channels} scales, or none, not {len(tensor.scales)}"
            )
        return self.constant(one.inputs[2], "INT32").reshape(-1)

    def build(self) -> Graph:
        file = self.file
        if file.version != SCHEMA:
            raise UserError(f"the schema must be of version {SCHEMA}, not {file.version}")
        if file.subgraphs != 1:
            raise UserError(f"there must be 1 subgraph, not {file.subgraphs}")
        for index, buffer in enumerate(file.buffers):
            self.check_buffer(index, buffer)
        for what, indices in (("input", file.inputs), ("output", file.outputs)):
            if len(indices) != 1:
                raise UserError(f"there must be 1 {what}, not {len(indices)}")
        operators = []
        for index, one in enumerate(file.operators):
            if one.code >= len(file.codes):
                raise UserError(
                    f"operator {index} has operator code {one.code}; there are {len(file.codes)} "
                    "operator codes"
                )
            kind, version = file.codes[one.code].name, file.codes[one.code].version
            if kind not in _KINDS:
                raise UserError(f"operator {index} is {kind}; supported: {', '.join(SUPPORTED)}")
            try:
                if not 1 <= version <= _KINDS[kind].version:
                    raise UserError(
                        f"version {version} is not supported; it must be from 1 to "
                        f"{_KINDS[kind].version}"
                    )
                operators.append(self.operator(kind, one))
            except UserError as error:
                raise UserError(f"operator {index} ({kind}): {error}") from None
        graph = Graph(
            input=self.activation(file.inputs[0]),
            output=self.activation(file.outputs[0]),
            operators=tuple(operators),
        )
        if graph.input.data is not None:
            raise UserError("the input is a constant")
        if graph.input.shape[:1] != (1,):
            raise UserError(f"the input must have batch 1, not the shape {graph.input.shape}")
        graph.check()
        return graph

    def operator(self, kind: str, one: RawOperator) -> Operator:
        known, options = _KINDS[kind], one.options
        least, most = known.inputs
        if not least <= len(one.inputs) <= most or len(one.outputs) != 1:
            raise UserError(
                f"there must be {least} to {most} inputs and 1 output, not {len(one.inputs)} and "
                f"{len(one.outputs)}"
            )
        if one.table not in ("NONE", known.table):
            raise UserError(f"its options are {one.table}; they must be {known.table}")
        if "Padding" in FIELDS[known.table] and not options:
            raise UserError(f"it has no {known.table}")
        common = {
            "inputs": tuple(self.activation(i) for i in one.inputs[: known.activations]),
            "output": self.activation(one.outputs[0]),
        }
        if options.get("DilationHFactor", 1) != 1 or options.get("DilationWFactor", 1) != 1:
            raise UserError("dilation is not supported; it must be 1")
        number = options.get("FusedActivationFunction", 0)
        activation = _ACTIVATIONS.get(number, f"activation {number}")
        if activation not in ACTIVATIONS:
            raise UserError(f"{activation} is not supported; supported: {', '.join(ACTIVATIONS)}")
        if "Padding" in options:
            common |= self.window(options)
        if "FusedActivationFunction" in options:
            common["activation"] = activation
        return known.make(self, one, common)

    def window(self, options: dict[str, Any]) -> dict[str, Any]:
        padding = {tflite.Padding.SAME: "same", tflite.Padding.VALID: "valid"}
        if options["Padding"] not in padding:
            raise UserError(f"padding must be SAME or VALID, not {options['Padding']}")
        stride = options["StrideH"], options["StrideW"]
        if min(stride) < 1:
            raise UserError(f"strides must be at least 1, not {stride}")
        return {"stride": stride, "padding": padding[options["Padding"]]}

    def conv(self, one: RawOperator, common: dict[str, Any]) -> Operator:
        data, scales = self.weights(one.inputs[1], 0, 4)
        bias = self.bias(one, len(data))
        weights = (np.ascontiguousarray(data.transpose(1, 2, 3, 0)),)
        made = Conv2D(weights=weights, weight_scales=scales, bias=bias, **common)
        return _moderate(made, made.kernel, data.shape[3])

    def depthwise(self, one: RawOperator, common: dict[str, Any]) -> Operator:
        data, scales = self.weights(one.inputs[1], 3, 4)
        bias = self.bias(one, data.shape[3])
        if len(data) != 1:
            raise UserError(f"weights must be 1 x kh x kw x c, not {data.shape}")
        made = DepthwiseConv2D(weights=(data[0],), weight_scales=scales, bias=bias, **common)
        channels = image(made.inputs[0])[2]
        multiplier = one.options["DepthMultiplier"]
        if multiplier and multiplier * channels != data.shape[3]:
            raise UserError(
                f"{channels} channels times multiplier {multiplier} are not {data.shape[3]}"
            )
        return _moderate(made, made.kernel, data.shape[3])

    def fully_connected(self, one: RawOperator, common: dict[str, Any]) -> Operator:
        data, scales = self.weights(one.inputs[1], 0, 2)
        bias = self.bias(one, len(data))
        if one.options.get("WeightsFormat", 0):
            raise UserError("shuffled weights are not supported")
        if len(scales) == 1 and len(one.inputs) > 2 and one.inputs[2] != -1:
            # What the kernels ask for: that products and bias have nearly the same unit.
            given = self.typed(one.inputs[2], "INT32").scales[:1].sum(dtype=float)
            product = common["inputs"][0].scale * float(scales[0])
            most = 0.02 * common["output"].scale
            if not abs(product - given) <= most:
                raise UserError(
                    f"the scale of the biases must be {product:g}, give or take {most:g}, not "
                    f"{given:g}"
                )
        return FullyConnected(
            weights=(np.ascontiguousarray(data.T),),
            weight_scales=scales,
            bias=bias,
            keep_dims=bool(one.options.get("KeepNumDims", False)),
            **common,
        )

    def add(self, one: RawOperator, common: dict[str, Any]) -> Operator:
        return Add(**common)

    def average_pool(self, one: RawOperator, common: dict[str, Any]) -> Operator:
        return self.pool(AveragePool2D, one, common)

    def max_pool(self, one: RawOperator, common: dict[str, Any]) -> Operator:
        return self.pool(MaxPool2D, one, common)

    def pool(self, made: Any, one: RawOperator, common: dict[str, Any]) -> Operator:
        kernel = one.options["FilterHeight"], one.options["FilterWidth"]
        if min(kernel) < 1:
            raise UserError(f"the window must be at least 1 x 1, not {kernel[0]} x {kernel[1]}")
        pool = made(size=kernel, **common)
        return _moderate(pool, kernel, image(pool.inputs[0])[2])

    def mean(self, one: RawOperator, common: dict[str, Any]) -> Operator:
        rank = len(common["inputs"][0].shape)
        given = self.constant(one.inputs[1], "INT32").reshape(-1).tolist()
        if not all(-rank <= axis < rank for axis in given):
            raise UserError(f"axes must be from {-rank} to {rank - 1}, not {given}")
        axes = tuple(sorted({axis % rank for axis in given}))  # twice is as good as once
        return Mean(axes=axes, keep_dims=bool(one.options.get("KeepDims", False)), **common)

    def pad(self, one: RawOperator, common: dict[str, Any]) -> Operator:
        amounts = self.constant(one.inputs[1], "INT32", "INT64")
        if amounts.ndim != 2 or amounts.shape[1] != 2:
            raise UserError(f"padding must be n x 2, not {amounts.shape}")
        return Pad(amounts=tuple((before, after) for before, after in amounts.tolist()), **common)

    def reshape(self, one: RawOperator, common: dict[str, Any]) -> Operator:
        if len(one.inputs) > 1 and one.inputs[1] != -1:
            target = self.constant(one.inputs[1], "INT32").reshape(-1).tolist()
        else:
            target = as_vector(one.options.get("NewShapeAsNumpy", 0)).tolist()
        return Reshape(target=tuple(target), **common)

    def softmax(self, one: RawOperator, common: dict[str, Any]) -> Operator:
        return Softmax(beta=float(one.options.get("Beta", 0.0)), **common)


def _moderate(one: Operator, kernel: tuple[int, int], channels: int) -> Operator:
    """Return the operator if what its window sees can be held in memory."""
    if math.prod((*one.output.shape[:-1], *kernel, channels)) > LARGEST:
        raise UserError(f"more than {LARGEST} elements under a {kernel[0]} x {kernel[1]} window")
    return one


_KINDS = {
    "ADD": _Kind(table="AddOptions", version=5, inputs=(2, 2), make=_Builder.add, activations=2),
    "AVERAGE_POOL_2D": _Kind(
        table="Pool2DOptions", version=3, inputs=(1, 1), make=_Builder.average_pool
    ),
    "CONV_2D": _Kind(table="Conv2DOptions", version=8, inputs=(2, 3), make=_Builder.conv),
    "DEPTHWISE_CONV_2D": _Kind(
        table="DepthwiseConv2DOptions", version=6, inputs=(2, 3), make=_Builder.depthwise
    ),
    "FULLY_CONNECTED": _Kind(
        table="FullyConnectedOptions", version=14, inputs=(2, 3), make=_Builder.fully_connected
    ),
    "MAX_POOL_2D": _Kind(table="Pool2DOptions", version=3, inputs=(1, 1), make=_Builder.max_pool),
    "MEAN": _Kind(table="ReducerOptions", version=3, inputs=(2, 2), make=_Builder.mean),
    "PAD": _Kind(table="PadOptions", version=6, inputs=(2, 2), make=_Builder.pad),
    "RESHAPE": _Kind(table="ReshapeOptions", version=1, inputs=(1, 2), make=_Builder.reshape),
    "SOFTMAX": _Kind(table="SoftmaxOptions", version=3, inputs=(1, 1), make=_Builder.softmax),
}

#: Kinds of operators that `load` takes.
SUPPORTED = tuple(sorted(_KINDS))


def load(path: str | os.PathLike[str]) -> Graph:
    """Load an int8 TensorFlow Lite model.

    One subgraph with one input and one output, batch 1, full-integer int8 quantization, operators
    of `SUPPORTED`; activations NONE, RELU, RELU6; no dilation. Operators' versions are those that
    LiteRT 2.3 has kernels for. Constants lie in the flatbuffer or behind it. Scales of weights may
    be 0, as of pruned channels; scales of activations are above 0.

    Parameters
    ----------
    path : path
        A ``.tflite`` file.

    Raises
    ------
    OSError
        If the file cannot be read.
    ModelError
        If the file is damaged, or has what is not supported; one line that names the operator,
        its index, and what is supported.
    """
    content = Path(path).read_bytes()
    if content[4:8] != b"TFL3":
        raise ModelError(path, "not a TensorFlow Lite model (no TFL3 in bytes 4 to 7)")
    try:
        file = read(content)
    except Exception as error:  # see there
        raise ModelError(path, "damaged: its tables do not fit the file") from error
    behind = min((one.offset for one in file.buffers if one.behind), default=len(content))
    if behind < len(content):
        try:
            file = read(content[:behind])
        except Exception as error:
            text = f"damaged: buffers lie behind its tables from byte {behind} on, inside them"
            raise ModelError(path, text) from error
    try:
        return _Builder(file, content).build()
    except UserError as error:
        raise ModelError(path, str(error)) from None
