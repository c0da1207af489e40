"""Import of int8 TensorFlow Lite models: ``load(path)`` returns a `golden.graph.Graph`."""

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
_KINDS = _names(tflite.BuiltinOperator)
_DTYPES: dict[str, np.dtype[Any]] = {
    "INT8": np.dtype(np.int8),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
}


@dataclass(frozen=True, kw_only=True)
class _Tensor:
    """A tensor as the file has it."""

    name: str
    shape: tuple[int, ...]
    type: str
    scales: NDArray[np.float32]
    zero_points: list[int]
    axis: int
    content: bytes | None
    plain: bool  # neither sparse, variable, nor stored outside


@dataclass(frozen=True, kw_only=True)
class _Operator:
    """An operator as the file has it."""

    kind: str
    inputs: list[int]
    outputs: list[int]
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _File:
    """What the file has."""

    subgraphs: int
    tensors: list[_Tensor]
    operators: list[_Operator]
    inputs: list[int]
    outputs: list[int]


#: Tables of options, and what is read from each.
_WINDOW = ("Padding", "StrideH", "StrideW")
_OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": (
        "Conv2DOptions",
        (*_WINDOW, "DilationHFactor", "DilationWFactor", "FusedActivationFunction"),
    ),
    "DEPTHWISE_CONV_2D": (
        "DepthwiseConv2DOptions",
        (
            *_WINDOW, "DilationHFactor", "DilationWFactor", "FusedActivationFunction",
            "DepthMultiplier",
        ),
    ),
    "FULLY_CONNECTED": (
        "FullyConnectedOptions",
        ("FusedActivationFunction", "WeightsFormat", "KeepNumDims"),
    ),
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "AVERAGE_POOL_2D": (
        "Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth", "FusedActivationFunction"),
    ),
    "MAX_POOL_2D": (
        "Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth", "FusedActivationFunction"),
    ),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "PAD": ("PadOptions", ()),
    "RESHAPE": ("ReshapeOptions", ("NewShapeAsNumpy",)),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",)),
}  # fmt: skip

#: Kinds of operators that `load` takes.
SUPPORTED = tuple(sorted(_OPTIONS))


def _read(content: bytes) -> _File:
    """Read the file's tables into plain values.

    The accessors trust every offset in the file, so a damaged one can raise nearly anything.
    """
    model = tflite.Model.GetRootAs(content, 0)

    def integers(values: Any) -> list[int]:
        return [] if isinstance(values, int) else [int(value) for value in values]

    codes = []
    for index in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(index)
        number = code.BuiltinCode()
        name = _KINDS.get(number, f"operator code {number}")
        if name == "CUSTOM":
            name = f"CUSTOM {(code.CustomCode() or b'').decode(errors='replace')!r}"
        codes.append(name)
    graph = model.Subgraphs(0)
    tensors = []
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        quantization = tensor.Quantization()
        scales, zero_points = np.zeros(0, np.float32), []
        if quantization is not None and quantization.ScaleLength():
            scales = np.array(quantization.ScaleAsNumpy(), np.float32)
            zero_points = integers(quantization.ZeroPointAsNumpy())
        buffer = model.Buffers(tensor.Buffer())
        data = buffer.DataAsNumpy() if buffer is not None and buffer.DataLength() else None
        name = (tensor.Name() or b"").decode(errors="replace")
        tensors.append(
            _Tensor(
                name=name if name.isprintable() else ascii(name),
                shape=tuple(integers(tensor.ShapeAsNumpy())),
                type=_TYPES.get(tensor.Type(), f"type {tensor.Type()}"),
                scales=scales,
                zero_points=zero_points,
                axis=quantization.QuantizedDimension() if quantization is not None else 0,
                content=None if data is None else data.tobytes(),
                plain=tensor.Sparsity() is None
                and not tensor.IsVariable()
                and (buffer is None or buffer.Offset() <= 1),
            )
        )
    operators = []
    for index in range(graph.OperatorsLength()):
        one = graph.Operators(index)
        kind = codes[one.OpcodeIndex()]
        options: dict[str, Any] = {}
        if kind in _OPTIONS:
            table, fields = _OPTIONS[kind]
            raw, found = getattr(tflite, table)(), one.BuiltinOptions()
            if found is not None:
                if one.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, table):
                    fields = ()  # as if there were none
                raw.Init(found.Bytes, found.Pos)
                for field in fields:
                    value = getattr(raw, field)()
                    options[field] = integers(value) if field.endswith("AsNumpy") else value
        operators.append(
            _Operator(
                kind=kind,
                inputs=integers(one.InputsAsNumpy()),
                outputs=integers(one.OutputsAsNumpy()),
                options=options,
            )
        )
    return _File(
        subgraphs=model.SubgraphsLength(),
        tensors=tensors,
        operators=operators,
        inputs=integers(graph.InputsAsNumpy()),
        outputs=integers(graph.OutputsAsNumpy()),
    )


class _Builder:
    """Makes operators of what the file has; errors say what is wrong with the one at hand."""

    def __init__(self, file: _File) -> None:
        self.file = file
        self.activations: dict[int, Tensor] = {}

    def raw(self, index: int) -> _Tensor:
        if not 0 <= index < len(self.file.tensors):
            raise ValueError(f"there is no tensor {index}")
        tensor = self.file.tensors[index]
        if not tensor.plain:
            raise ValueError(f"tensor {tensor.name} is sparse, variable or stored outside the file")
        if len(tensor.shape) > RANK:
            raise ValueError(
                f"tensor {tensor.name} has {len(tensor.shape)} dimensions; {RANK} at most"
            )
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
        if not (np.isfinite(tensor.scales).all() and (tensor.scales > 0).all()):
            raise ValueError(f"the scales of tensor {tensor.name} must be positive numbers")
        return tensor

    def constant(self, index: int, *types: str) -> NDArray[Any]:
        """Return the data of a constant."""
        tensor = self.typed(index, *types)
        dtype = _DTYPES[tensor.type]
        size = math.prod(tensor.shape) * dtype.itemsize
        if tensor.content is None:
            raise ValueError(f"tensor {tensor.name} must be a constant")
        if len(tensor.content) != size:
            raise ValueError(
                f"tensor {tensor.name} must have {size} bytes, not {len(tensor.content)}"
            )
        return np.frombuffer(tensor.content, dtype).reshape(tensor.shape)

    def activation(self, index: int) -> Tensor:
        """Return an activation, the same object for the same index."""
        if index not in self.activations:
            tensor = self.typed(index, "INT8")
            zero_point = tensor.zero_points[0] if len(tensor.zero_points) == 1 else None
            if not tensor.shape and tensor.content is None:
                raise ValueError(f"tensor {tensor.name} has no dimensions")
            if len(tensor.scales) != 1 or zero_point is None or not -128 <= zero_point <= 127:
                raise ValueError(
                    f"tensor {tensor.name} must have one scale and one zero point, -128 to 127"
                )
            self.activations[index] = Tensor(
                name=tensor.name,
                shape=tensor.shape,
                scale=float(tensor.scales[0]),
                zero_point=zero_point,
                data=None if tensor.content is None else self.constant(index, "INT8"),
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
        if any(tensor.zero_points):
            raise ValueError("weights must have zero point 0")
        return data, tensor.scales

    def bias(self, indices: list[int], channels: int) -> NDArray[np.int32]:
        """Return the third operand, or zeros."""
        if len(indices) < 3 or indices[2] == -1:
            return np.zeros(channels, np.int32)
        return self.constant(indices[2], "INT32").reshape(-1)

    def build(self) -> Graph:
        file = self.file
        if file.subgraphs != 1:
            raise ValueError(f"there must be 1 subgraph, not {file.subgraphs}")
        for what, indices in (("input", file.inputs), ("output", file.outputs)):
            if len(indices) != 1:
                raise ValueError(f"there must be 1 {what}, not {len(indices)}")
        operators = []
        for index, one in enumerate(file.operators):
            if one.kind not in _OPTIONS:
                raise ValueError(
                    f"operator {index} is {one.kind}; supported: {', '.join(SUPPORTED)}"
                )
            try:
                operators.append(self.operator(one))
            except ValueError as error:
                raise ValueError(f"operator {index} ({one.kind}): {error}") from None
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

    def operator(self, one: _Operator) -> Operator:
        alone = ("AVERAGE_POOL_2D", "MAX_POOL_2D", "RESHAPE", "SOFTMAX")
        least = 1 if one.kind in alone else 2
        if len(one.inputs) < least or len(one.outputs) != 1:
            raise ValueError(
                f"there must be {least} or more inputs and 1 output, not {len(one.inputs)} and "
                f"{len(one.outputs)}"
            )
        activations = 2 if one.kind == "ADD" else 1
        common = {
            "inputs": tuple(self.activation(index) for index in one.inputs[:activations]),
            "output": self.activation(one.outputs[0]),
        }
        options = one.options
        table, fields = _OPTIONS[one.kind]
        if "Padding" in fields and not options:
            raise ValueError(f"it has no {table}")
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
        return _MAKERS[one.kind](self, one, common)

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
        bias = self.bias(one.inputs, len(data))
        weights = (np.ascontiguousarray(data.transpose(1, 2, 3, 0)),)
        made = Conv2D(weights=weights, weight_scales=scales, bias=bias, **common)
        return _moderate(made, made.kernel, data.shape[3])

    def depthwise(self, one: _Operator, common: dict[str, Any]) -> Operator:
        data, scales = self.weights(one.inputs[1], 3, 4)
        bias = self.bias(one.inputs, data.shape[3])
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
        if one.options.get("WeightsFormat", 0):
            raise ValueError("shuffled weights are not supported")
        return FullyConnected(
            weights=(np.ascontiguousarray(data.T),),
            weight_scales=scales,
            bias=self.bias(one.inputs, len(data)),
            keep_dims=bool(one.options.get("KeepNumDims", False)),
            **common,
        )

    def add(self, one: _Operator, common: dict[str, Any]) -> Operator:
        return Add(**common)

    def pool(self, one: _Operator, common: dict[str, Any]) -> Operator:
        made = AveragePool2D if one.kind == "AVERAGE_POOL_2D" else MaxPool2D
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
            target = one.options.get("NewShapeAsNumpy", [])
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
    "AVERAGE_POOL_2D": _Builder.pool,
    "MAX_POOL_2D": _Builder.pool,
    "MEAN": _Builder.mean,
    "PAD": _Builder.pad,
    "RESHAPE": _Builder.reshape,
    "SOFTMAX": _Builder.softmax,
}


def load(path: str | os.PathLike[str]) -> Graph:
    """Load an int8 TensorFlow Lite model.

    One subgraph with one input and one output, batch 1, full-integer int8 quantization, operators
    of `SUPPORTED`; activations NONE, RELU, RELU6; no dilation.

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
    try:
        return _Builder(file).build()
    except ValueError as error:
        raise ModelError(path, str(error)) from None
