"""Import of int8 TensorFlow Lite models: ``load(path)`` returns a `golden.graph.Graph`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

from .graph import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    MaxPool2D,
    Mean,
    Operator,
    Pad,
    Reshape,
    Softmax,
    Tensor,
    image,
)
from .quant import ACTIVATIONS

__all__ = ["SUPPORTED", "ModelError", "load"]

#: The greatest number of elements of a tensor, and of all that a window sees.
LARGEST = 1 << 27
#: The greatest number of dimensions; TensorFlow Lite's.
RANK = 8


class ModelError(ValueError):
    """A model that is damaged, or not supported; the text is one line.

    Parameters
    ----------
    path : path
    text : str
        What is wrong; cut off if it is long, as in a damaged file nearly anything can be.
    """

    def __init__(self, path: object, text: str) -> None:
        super().__init__(f"{path}: {text if len(text) <= 300 else text[:297] + '...'}")


def _names(enumeration: type) -> dict[int, str]:
    return {
        value: name
        for name, value in vars(enumeration).items()
        if not name.startswith("_") and isinstance(value, int)
    }


_TYPES = _names(tflite.TensorType)
_ACTIVATIONS = _names(tflite.ActivationFunctionType)
_OPERATORS = _names(tflite.BuiltinOperator)
_TABLES = _names(tflite.BuiltinOptions)
_DTYPES: dict[str, np.dtype[Any]] = {
    "INT8": np.dtype(np.int8),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
}
#: The only version of the schema; of the operators' versions see `_KINDS`.
_SCHEMA = 3


@dataclass(frozen=True, kw_only=True)
class _Buffer:
    """A buffer as the file has it: data, or where they lie behind the flatbuffer."""

    data: NDArray[np.uint8] | None
    offset: int
    size: int

    @property
    def behind(self) -> bool:
        """Whether the data lie behind the flatbuffer; the offset is 0 or 1 where they do not."""
        return self.offset > 1


@dataclass(frozen=True, kw_only=True)
class _Tensor:
    """A tensor as the file has it."""

    name: str
    shape: tuple[int, ...]
    type: str
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int
    buffer: int
    plain: bool  # neither sparse, variable, in another file, nor quantized by other parameters


@dataclass(frozen=True, kw_only=True)
class _Code:
    """An operator code as the file has it; the name says what is known of it."""

    name: str
    version: int


@dataclass(frozen=True, kw_only=True)
class _Operator:
    """An operator as the file has it; `table` is the name of its options' table."""

    code: int
    inputs: NDArray[np.int32]
    outputs: NDArray[np.int32]
    table: str
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _File:
    """What the file has; of another schema's file, or one of several subgraphs, only that."""

    version: int
    subgraphs: int
    buffers: list[_Buffer] = field(default_factory=list)
    codes: list[_Code] = field(default_factory=list)
    tensors: list[_Tensor] = field(default_factory=list)
    operators: list[_Operator] = field(default_factory=list)
    inputs: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    outputs: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))


#: What is read from the tables of options.
_WINDOW = ("Padding", "StrideH", "StrideW", "FusedActivationFunction")
_DILATED = (*_WINDOW, "DilationHFactor", "DilationWFactor")
_FIELDS: dict[str, tuple[str, ...]] = {
    "Conv2DOptions": _DILATED,
    "DepthwiseConv2DOptions": (*_DILATED, "DepthMultiplier"),
    "FullyConnectedOptions": ("FusedActivationFunction", "WeightsFormat", "KeepNumDims"),
    "AddOptions": ("FusedActivationFunction",),
    "Pool2DOptions": (*_WINDOW, "FilterHeight", "FilterWidth"),
    "ReducerOptions": ("KeepDims",),
    "PadOptions": (),
    "ReshapeOptions": ("NewShapeAsNumpy",),
    "SoftmaxOptions": ("Beta",),
}


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
    """

    table: str
    version: int
    inputs: tuple[int, int]


_KINDS = {
    "ADD": _Kind(table="AddOptions", version=5, inputs=(2, 2)),
    "AVERAGE_POOL_2D": _Kind(table="Pool2DOptions", version=3, inputs=(1, 1)),
    "CONV_2D": _Kind(table="Conv2DOptions", version=8, inputs=(2, 3)),
    "DEPTHWISE_CONV_2D": _Kind(table="DepthwiseConv2DOptions", version=6, inputs=(2, 3)),
    "FULLY_CONNECTED": _Kind(table="FullyConnectedOptions", version=14, inputs=(2, 3)),
    "MAX_POOL_2D": _Kind(table="Pool2DOptions", version=3, inputs=(1, 1)),
    "MEAN": _Kind(table="ReducerOptions", version=3, inputs=(2, 2)),
    "PAD": _Kind(table="PadOptions", version=6, inputs=(2, 2)),
    "RESHAPE": _Kind(table="ReshapeOptions", version=1, inputs=(1, 2)),
    "SOFTMAX": _Kind(table="SoftmaxOptions", version=3, inputs=(1, 1)),
}

#: Kinds of operators that `load` takes.
SUPPORTED = tuple(sorted(_KINDS))


def _sound(table: Any) -> Any:
    """Return a table if its fields lie in it and it in the file.

    The accessors take for a field whatever lies where the table's vtable says.
    """
    raw = table._tab
    at, number = raw.Pos, flatbuffers.number_types
    vtable = at - raw.Get(number.SOffsetTFlags, at)  # Get refuses negative positions
    length, size = (raw.Get(number.VOffsetTFlags, vtable + step) for step in (0, 2))
    fields = np.frombuffer(raw.Bytes, "<u2", max(length - 4, 0) // 2, vtable + 4)
    if length < 4 or length % 2 or at + size > len(raw.Bytes) or (fields >= size).any():
        raise ValueError("a table's fields lie outside it")
    return table


def _field(table: Any, slot: int, flags: Any) -> int:
    """Return a number of a table by its place there, 0 if it is absent."""
    raw = table._tab
    offset = raw.Offset(4 + 2 * slot)
    return int(raw.Get(flags, raw.Pos + offset)) if offset else 0


def _vector(values: Any) -> NDArray[Any]:
    """Return a vector of numbers, which lies in the file; of an absent one the accessors give 0."""
    return np.zeros(0, np.int64) if isinstance(values, int) else values


def _text(content: bytes | None) -> str:
    text = (content or b"")[:1000].decode(errors="replace")
    return text if text.isprintable() else ascii(text)


def _read(content: bytes) -> _File:
    """Read the file's tables into plain values.

    The accessors trust every offset in the file, so a damaged one can raise nearly anything.
    """
    model = _sound(tflite.Model.GetRootAs(content, 0))
    version, subgraphs = model.Version(), model.SubgraphsLength()
    if version != _SCHEMA or subgraphs != 1:
        return _File(version=version, subgraphs=subgraphs)
    graph = _sound(model.Subgraphs(0))
    return _File(
        version=version,
        subgraphs=subgraphs,
        buffers=[_buffer(_sound(model.Buffers(i))) for i in range(model.BuffersLength())],
        codes=[_code(_sound(model.OperatorCodes(i))) for i in range(model.OperatorCodesLength())],
        tensors=[_tensor(_sound(graph.Tensors(i))) for i in range(graph.TensorsLength())],
        operators=[_operator(_sound(graph.Operators(i))) for i in range(graph.OperatorsLength())],
        inputs=_vector(graph.InputsAsNumpy()),
        outputs=_vector(graph.OutputsAsNumpy()),
    )


def _buffer(buffer: Any) -> _Buffer:
    return _Buffer(
        data=None if buffer.DataIsNone() else buffer.DataAsNumpy(),
        offset=buffer.Offset(),
        size=buffer.Size(),
    )


def _code(code: Any) -> _Code:
    # The greater of two fields counts: the old one is too narrow for codes above 127, and current
    # writers may leave it out. The accessor takes the old one for every code below 127.
    new = _field(code, 3, flatbuffers.number_types.Int32Flags)
    number = max(new, code.DeprecatedBuiltinCode())
    name = _OPERATORS.get(number, f"operator code {number}")
    if name == "CUSTOM":
        name = f"CUSTOM '{_text(code.CustomCode())}'"
    return _Code(name=name, version=code.Version())


def _tensor(tensor: Any) -> _Tensor:
    quantization, details, axis = tensor.Quantization(), 0, 0
    scales, zero_points = np.zeros(0, np.float32), np.zeros(0, np.int64)
    if quantization is not None:
        _sound(quantization)
        details, axis = quantization.DetailsType(), quantization.QuantizedDimension()
        if quantization.ScaleLength():
            scales = quantization.ScaleAsNumpy()
            zero_points = _vector(quantization.ZeroPointAsNumpy())
    other_file = _field(tensor, 10, flatbuffers.number_types.Uint32Flags)  # newer than the package
    return _Tensor(
        name=_text(tensor.Name()),
        shape=tuple(_vector(tensor.ShapeAsNumpy())[: RANK + 1].tolist()),
        type=_TYPES.get(tensor.Type(), f"type {tensor.Type()}"),
        scales=scales,
        zero_points=zero_points,
        axis=axis,
        buffer=tensor.Buffer(),
        plain=tensor.Sparsity() is None
        and not (tensor.IsVariable() or other_file)
        and details == tflite.QuantizationDetails.NONE,
    )


def _operator(one: Any) -> _Operator:
    number, found = one.BuiltinOptionsType(), one.BuiltinOptions()
    table, options = _TABLES.get(number, f"table {number}"), {}
    if one.BuiltinOptions2Type():
        table = f"table {one.BuiltinOptions2Type()} of the second kind"
    elif found is not None and table in _FIELDS:
        raw = getattr(tflite, table)()
        raw.Init(found.Bytes, found.Pos)
        _sound(raw)
        for name in _FIELDS[table]:
            value = getattr(raw, name)()
            options[name] = _vector(value) if name.endswith("AsNumpy") else value
    elif found is not None and table == "NONE":
        table = "without a type"
    return _Operator(
        code=one.OpcodeIndex(),
        inputs=_vector(one.InputsAsNumpy()),
        outputs=_vector(one.OutputsAsNumpy()),
        table=table,
        options=options,
    )


class _Builder:
    """Makes operators of what the file has; errors say what is wrong with the one at hand."""

    def __init__(self, file: _File, content: bytes) -> None:
        self.file = file
        self.whole = content
        self.activations: dict[int, Tensor] = {}

    def content(self, tensor: _Tensor) -> NDArray[np.uint8] | None:
        """Return the bytes of a constant; None for a tensor without data."""
        if tensor.buffer == 0:  # the one of all tensors without data
            return None
        if tensor.buffer >= len(self.file.buffers):
            raise ValueError(
                f"tensor {tensor.name} has buffer {tensor.buffer}; there are "
                f"{len(self.file.buffers)} buffers"
            )
        buffer = self.file.buffers[tensor.buffer]
        if buffer.behind:
            return np.frombuffer(self.whole, np.uint8)[buffer.offset : buffer.offset + buffer.size]
        return buffer.data if buffer.data is not None and len(buffer.data) else None

    def check_buffer(self, index: int, buffer: _Buffer) -> None:
        if buffer.behind and buffer.offset + buffer.size > len(self.whole):
            raise ValueError(
                f"buffer {index} has {buffer.size} bytes from byte {buffer.offset} on; the file "
                f"has {len(self.whole)} bytes"
            )
        if buffer.behind and buffer.data is not None:
            raise ValueError(f"buffer {index} has data both in the flatbuffer and behind it")
        if index == 0 and (buffer.behind or (buffer.data is not None and len(buffer.data))):
            raise ValueError("buffer 0 must be empty; it is the one of all tensors without data")

    def raw(self, index: int) -> _Tensor:
        if not 0 <= index < len(self.file.tensors):
            raise ValueError(f"there is no tensor {index}")
        tensor = self.file.tensors[index]
        if not tensor.plain:
            raise ValueError(
                f"tensor {tensor.name} is sparse, variable, in another file, or quantized by other "
                "parameters than scales and zero points"
            )
        if len(tensor.shape) > RANK:
            raise ValueError(f"tensor {tensor.name} has more than {RANK} dimensions")
        if min(tensor.shape, default=1) < 1 or math.prod(tensor.shape) > LARGEST:
            raise ValueError(
                f"tensor {tensor.name} must have from 1 to {LARGEST} elements, not the shape "
                f"{tensor.shape}"
            )
        return tensor

    def typed(self, index: int, *types: str) -> _Tensor:
        tensor = self.raw(index)
        if tensor.type not in types:
            raise ValueError(
                f"tensor {tensor.name} is {tensor.type}; supported: {' or '.join(types)}"
            )
        if len(tensor.scales) != len(tensor.zero_points):
            raise ValueError(
                f"tensor {tensor.name} has {len(tensor.scales)} scales and "
                f"{len(tensor.zero_points)} zero points; there must be as many"
            )
        if not 0 <= tensor.axis < RANK:
            raise ValueError(
                f"tensor {tensor.name} is quantized along axis {tensor.axis}; it must be from 0 to "
                f"{RANK - 1}"
            )
        if not (np.isfinite(tensor.scales).all() and (tensor.scales >= 0).all()):
            raise ValueError(f"the scales of tensor {tensor.name} must be numbers of at least 0")
        return tensor

    def constant(self, index: int, *types: str) -> NDArray[Any]:
        """Return the data of a constant."""
        tensor = self.typed(index, *types)
        dtype = _DTYPES[tensor.type]
        size = math.prod(tensor.shape) * dtype.itemsize
        content = self.content(tensor)
        if content is None:
            raise ValueError(f"tensor {tensor.name} must be a constant")
        if len(content) != size:
            raise ValueError(f"tensor {tensor.name} must have {size} bytes, not {len(content)}")
        aligned = content.tobytes()  # as data in the file need not be
        return np.frombuffer(aligned, dtype).reshape(tensor.shape)

    def activation(self, index: int) -> Tensor:
        """Return an activation, the same object for the same index."""
        if index not in self.activations:
            tensor = self.typed(index, "INT8")
            constant = self.content(tensor) is not None
            if not tensor.shape and not constant:
                raise ValueError(f"tensor {tensor.name} has no dimensions")
            if len(tensor.scales) != 1 or not -128 <= tensor.zero_points[0] <= 127:
                raise ValueError(
                    f"tensor {tensor.name} must have one scale and one zero point, -128 to 127"
                )
            if not tensor.scales[0]:
                raise ValueError(f"the scale of tensor {tensor.name} must be above 0")
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
            raise ValueError(f"weights must have {ndim} dimensions, not {data.ndim}")
        if len(tensor.scales) not in (1, data.shape[axis]):
            raise ValueError(
                f"weights must have 1 or {data.shape[axis]} scales, not {len(tensor.scales)}"
            )
        if len(tensor.scales) > 1 and tensor.axis != axis:
            raise ValueError(f"weights must be quantized along axis {axis}, not {tensor.axis}")
        if tensor.zero_points.any():
            raise ValueError("weights must have zero point 0")
        return data, tensor.scales.copy()  # aligned, as data in the file need not be

    def bias(self, one: _Operator, channels: int) -> NDArray[np.int32]:
        """Return the third operand, or zeros."""
        if len(one.inputs) < 3 or one.inputs[2] == -1:
            return np.zeros(channels, np.int32)
        tensor = self.typed(one.inputs[2], "INT32")
        if tensor.zero_points.any():
            raise ValueError("biases must have zero point 0")
        if len(tensor.scales) not in (0, 1, channels):
            raise ValueError(
                f"biases must have 1 or {channels} scales, or none, not {len(tensor.scales)}"
            )
        return self.constant(one.inputs[2], "INT32").reshape(-1)

    def build(self) -> Graph:
        file = self.file
        if file.version != _SCHEMA:
            raise ValueError(f"the schema must be of version {_SCHEMA}, not {file.version}")
        if file.subgraphs != 1:
            raise ValueError(f"there must be 1 subgraph, not {file.subgraphs}")
        for index, buffer in enumerate(file.buffers):
            self.check_buffer(index, buffer)
        for what, indices in (("input", file.inputs), ("output", file.outputs)):
            if len(indices) != 1:
                raise ValueError(f"there must be 1 {what}, not {len(indices)}")
        operators = []
        for index, one in enumerate(file.operators):
            if one.code >= len(file.codes):
                raise ValueError(
                    f"operator {index} has operator code {one.code}; there are {len(file.codes)} "
                    "operator codes"
                )
            kind, version = file.codes[one.code].name, file.codes[one.code].version
            if kind not in _KINDS:
                raise ValueError(f"operator {index} is {kind}; supported: {', '.join(SUPPORTED)}")
            try:
                if not 1 <= version <= _KINDS[kind].version:
                    raise ValueError(
                        f"version {version} is not supported; it must be from 1 to "
                        f"{_KINDS[kind].version}"
                    )
                operators.append(self.operator(kind, one))
            except ValueError as error:
                raise ValueError(f"operator {index} ({kind}): {error}") from None
        graph = Graph(
            input=self.activation(file.inputs[0]),
            output=self.activation(file.outputs[0]),
            operators=tuple(operators),
        )
        if graph.input.data is not None:
            raise ValueError("the input is a constant")
        if graph.input.shape[:1] != (1,):
            raise ValueError(f"the input must have batch 1, not the shape {graph.input.shape}")
        graph.check()
        return graph

    def operator(self, kind: str, one: _Operator) -> Operator:
        known, options = _KINDS[kind], one.options
        least, most = known.inputs
        if not least <= len(one.inputs) <= most or len(one.outputs) != 1:
            raise ValueError(
                f"there must be {least} to {most} inputs and 1 output, not {len(one.inputs)} and "
                f"{len(one.outputs)}"
            )
        if one.table not in ("NONE", known.table):
            raise ValueError(f"its options are {one.table}; they must be {known.table}")
        if "Padding" in _FIELDS[known.table] and not options:
            raise ValueError(f"it has no {known.table}")
        common = {
            "inputs": tuple(self.activation(i) for i in one.inputs[: 2 if kind == "ADD" else 1]),
            "output": self.activation(one.outputs[0]),
        }
        if options.get("DilationHFactor", 1) != 1 or options.get("DilationWFactor", 1) != 1:
            raise ValueError("dilation is not supported; it must be 1")
        number = options.get("FusedActivationFunction", 0)
        activation = _ACTIVATIONS.get(number, f"activation {number}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"{activation} is not supported; supported: {', '.join(ACTIVATIONS)}")
        if "Padding" in options:
            common |= self.window(options)
        if "FusedActivationFunction" in options:
            common["activation"] = activation
        return _MAKERS[kind](self, one, common)

    def window(self, options: dict[str, Any]) -> dict[str, Any]:
        padding = {tflite.Padding.SAME: "same", tflite.Padding.VALID: "valid"}
        if options["Padding"] not in padding:
            raise ValueError(f"padding must be SAME or VALID, not {options['Padding']}")
        stride = options["StrideH"], options["StrideW"]
        if min(stride) < 1:
            raise ValueError(f"strides must be at least 1, not {stride}")
        return {"stride": stride, "padding": padding[options["Padding"]]}

    def conv(self, one: _Operator, common: dict[str, Any]) -> Operator:
        data, scales = self.weights(one.inputs[1], 0, 4)
        bias = self.bias(one, len(data))
        weights = (np.ascontiguousarray(data.transpose(1, 2, 3, 0)),)
        made = Conv2D(weights=weights, weight_scales=scales, bias=bias, **common)
        return _moderate(made, made.kernel, data.shape[3])

    def depthwise(self, one: _Operator, common: dict[str, Any]) -> Operator:
        data, scales = self.weights(one.inputs[1], 3, 4)
        bias = self.bias(one, data.shape[3])
        if len(data) != 1:
            raise ValueError(f"weights must be 1 x kh x kw x c, not {data.shape}")
        made = DepthwiseConv2D(weights=(data[0],), weight_scales=scales, bias=bias, **common)
        channels = image(made.inputs[0])[2]
        multiplier = one.options["DepthMultiplier"]
        if multiplier and multiplier * channels != data.shape[3]:
            raise ValueError(
                f"{channels} channels times multiplier {multiplier} are not {data.shape[3]}"
            )
        return _moderate(made, made.kernel, data.shape[3])

    def fully_connected(self, one: _Operator, common: dict[str, Any]) -> Operator:
        data, scales = self.weights(one.inputs[1], 0, 2)
        bias = self.bias(one, len(data))
        if one.options.get("WeightsFormat", 0):
            raise ValueError("shuffled weights are not supported")
        if len(scales) == 1 and len(one.inputs) > 2 and one.inputs[2] != -1:
            # What the kernels ask for: that products and bias have nearly the same unit.
            given = self.typed(one.inputs[2], "INT32").scales[:1].sum(dtype=float)
            product = common["inputs"][0].scale * float(scales[0])
            most = 0.02 * common["output"].scale
            if not abs(product - given) <= most:
                raise ValueError(
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

    def add(self, one: _Operator, common: dict[str, Any]) -> Operator:
        return Add(**common)

    def average_pool(self, one: _Operator, common: dict[str, Any]) -> Operator:
        return self.pool(AveragePool2D, one, common)

    def max_pool(self, one: _Operator, common: dict[str, Any]) -> Operator:
        return self.pool(MaxPool2D, one, common)

    def pool(self, made: Any, one: _Operator, common: dict[str, Any]) -> Operator:
        kernel = one.options["FilterHeight"], one.options["FilterWidth"]
        if min(kernel) < 1:
            raise ValueError(f"the window must be at least 1 x 1, not {kernel[0]} x {kernel[1]}")
        pool = made(size=kernel, **common)
        return _moderate(pool, kernel, image(pool.inputs[0])[2])

    def mean(self, one: _Operator, common: dict[str, Any]) -> Operator:
        rank = len(common["inputs"][0].shape)
        given = self.constant(one.inputs[1], "INT32").reshape(-1).tolist()
        if not all(-rank <= axis < rank for axis in given):
            raise ValueError(f"axes must be from {-rank} to {rank - 1}, not {given}")
        axes = tuple(sorted({axis % rank for axis in given}))  # twice is as good as once
        return Mean(axes=axes, keep_dims=bool(one.options.get("KeepDims", False)), **common)

    def pad(self, one: _Operator, common: dict[str, Any]) -> Operator:
        amounts = self.constant(one.inputs[1], "INT32", "INT64")
        if amounts.ndim != 2 or amounts.shape[1] != 2:
            raise ValueError(f"padding must be n x 2, not {amounts.shape}")
        return Pad(amounts=tuple((before, after) for before, after in amounts.tolist()), **common)

    def reshape(self, one: _Operator, common: dict[str, Any]) -> Operator:
        if len(one.inputs) > 1 and one.inputs[1] != -1:
            target = self.constant(one.inputs[1], "INT32").reshape(-1).tolist()
        else:
            target = _vector(one.options.get("NewShapeAsNumpy", 0)).tolist()
        return Reshape(target=tuple(target), **common)

    def softmax(self, one: _Operator, common: dict[str, Any]) -> Operator:
        return Softmax(beta=float(one.options.get("Beta", 0.0)), **common)


def _moderate(one: Operator, kernel: tuple[int, int], channels: int) -> Operator:
    """Return the operator if what its window sees can be held in memory."""
    if math.prod((*one.output.shape[:-1], *kernel, channels)) > LARGEST:
        raise ValueError(f"more than {LARGEST} elements under a {kernel[0]} x {kernel[1]} window")
    return one


_MAKERS: dict[str, Callable[[_Builder, _Operator, dict[str, Any]], Operator]] = {
    "CONV_2D": _Builder.conv,
    "DEPTHWISE_CONV_2D": _Builder.depthwise,
    "FULLY_CONNECTED": _Builder.fully_connected,
    "ADD": _Builder.add,
    "AVERAGE_POOL_2D": _Builder.average_pool,
    "MAX_POOL_2D": _Builder.max_pool,
    "MEAN": _Builder.mean,
    "PAD": _Builder.pad,
    "RESHAPE": _Builder.reshape,
    "SOFTMAX": _Builder.softmax,
}


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
        file = _read(content)
    except Exception as error:  # see there
        raise ModelError(path, "damaged: its tables do not fit the file") from error
    behind = min((one.offset for one in file.buffers if one.behind), default=len(content))
    if behind < len(content):
        try:
            file = _read(content[:behind])
        except Exception as error:
            text = f"damaged: buffers lie behind its tables from byte {behind} on, inside them"
            raise ModelError(path, text) from error
    try:
        return _Builder(file, content).build()
    except ValueError as error:
        raise ModelError(path, str(error)) from None
