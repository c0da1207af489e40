"""TensorFlow Lite files: `Writer` writes any tables, `to_tflite` a `Graph`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

from report.errors import UserError

from .array_operators import (
    ABConv2D,
    ArrayOperator,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    FuseConv2D,
)
from .elementwise import Add, HardSwish, Mul, Sub
from .graph import Graph
from .operators import Operator
from .pools import AveragePool2D, MaxPool2D, Mean, Softmax
from .shapes import Reshape
from .tensor import Tensor

__all__ = ["Writer", "masked", "to_tflite"]

_TYPES = {
    np.dtype(np.int8): tflite.TensorType.INT8,
    np.dtype(np.uint8): tflite.TensorType.UINT8,
    np.dtype(np.int32): tflite.TensorType.INT32,
    np.dtype(np.int64): tflite.TensorType.INT64,
    np.dtype(np.float32): tflite.TensorType.FLOAT32,
}

#: The table of options of every operator that has one.
_OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "PAD": "PadOptions",
    "RESHAPE": "ReshapeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "CONCATENATION": "ConcatenationOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "EXPAND_DIMS": "ExpandDimsOptions",
    "HARD_SWISH": "HardSwishOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions",
    "PACK": "PackOptions",
    "QUANTIZE": "QuantizeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SHAPE": "ShapeOptions",
    "SLICE": "SliceOptions",
    "SPLIT": "SplitOptions",
    "SPLIT_V": "SplitVOptions",
    "SQUEEZE": "SqueezeOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "TRANSPOSE": "TransposeOptions",
    "UNPACK": "UnpackOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
}
_WINDOW = {"StrideH": 1, "StrideW": 1, "Padding": tflite.Padding.SAME}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "CONV_2D": _WINDOW,
    "DEPTHWISE_CONV_2D": _WINDOW | {"DepthMultiplier": 1},
    "SOFTMAX": {"Beta": 1.0},
}


class Writer:
    """Collects tensors and operators; `content` is the file.

    Attributes
    ----------
    behind : bool
        Whether constants lie behind the flatbuffer, as current converters write them.
    """

    def __init__(self) -> None:
        self.behind = False
        self.tensors: list[tuple[Any, ...]] = []
        self.operators: list[tuple[str, list[int], list[int], dict[str, Any]]] = []

    def tensor(
        self,
        shape: Sequence[int],
        scale: float | Sequence[float] | NDArray[Any] = (),
        zero: int = 0,
        *,
        data: Any = None,
        dtype: Any = np.int8,
        axis: int = 0,
        name: str = "",
    ) -> int:
        """Add a tensor; return its index.

        Parameters
        ----------
        shape : sequence of int
        scale : float or sequence of float
            One, or one for every element along `axis`.
        zero : int
            Zero point.
        data : array, optional
            Of a constant.
        dtype : NumPy type
        axis : int
        name : str
            ``tensor0`` and so on if left out.
        """
        scales = np.atleast_1d(np.asarray(scale, np.float32))
        data = None if data is None else np.ascontiguousarray(data, dtype)
        index = len(self.tensors)
        name = name or f"tensor{index}"
        self.tensors.append((tuple(shape), scales, zero, data, np.dtype(dtype), axis, name))
        return index

    def add(self, kind: str, inputs: Sequence[int], output: int, **options: Any) -> int:
        """Add an operator; return its output."""
        return self.add_all(kind, inputs, [output], **options)[0]

    def add_all(
        self, kind: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any
    ) -> list[int]:
        """Add an operator; return its outputs."""
        chosen = _DEFAULTS.get(kind, {}) | options
        self.operators.append((kind, list(inputs), list(outputs), chosen))
        return list(outputs)

    def content(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Return the file."""
        if not self.behind:
            return self._flatbuffer(inputs, outputs, 0)
        length = len(self._flatbuffer(inputs, outputs, 1 << 32))  # wherever the constants lie
        file = bytearray(self._flatbuffer(inputs, outputs, _aligned(length)))
        for *_, data, _, _, _ in self.tensors:
            if data is not None:
                file += bytes(_aligned(len(file)) - len(file)) + data.tobytes()
        return bytes(file)

    def table(self, builder: flatbuffers.Builder, name: str, **fields: Any) -> int:
        """Write a table with some fields, those that are 0 left out; return where it is."""
        getattr(tflite, f"{name}Start")(builder)
        for key, value in fields.items():
            if value or key in ("Version",):
                getattr(tflite, f"{name}Add{key}")(builder, value)
        return int(getattr(tflite, f"{name}End")(builder))

    def _flatbuffer(self, inputs: Sequence[int], outputs: Sequence[int], behind: int) -> bytes:
        """Return the flatbuffer; with constants from byte `behind` on, or 0 for in it."""
        builder = flatbuffers.Builder(1024)

        def table(name: str, **fields: Any) -> int:
            return self.table(builder, name, **fields)

        def vector(values: Any, dtype: Any) -> int:
            return builder.CreateNumpyVector(np.asarray(values, dtype))

        def tables(items: list[int]) -> int:
            builder.StartVector(4, len(items), 4)
            for item in reversed(items):
                builder.PrependUOffsetTRelative(item)
            return builder.EndVector()

        empty = table("Buffer")
        buffers, tensors = [empty], []
        for shape, scales, zero, data, dtype, axis, name in self.tensors:
            if data is not None and behind:
                buffers.append(table("Buffer", Offset=behind, Size=data.nbytes))
                behind = _aligned(behind + data.nbytes)
            elif data is not None:
                content = vector(np.frombuffer(data.tobytes(), np.uint8), np.uint8)
                buffers.append(table("Buffer", Data=content))
            quantization = 0
            if len(scales):
                quantization = table(
                    "QuantizationParameters", Scale=vector(scales, np.float32),
                    ZeroPoint=vector(np.full(len(scales), zero), np.int64), QuantizedDimension=axis,
                )  # fmt: skip
            tensors.append(
                table(
                    "Tensor",
                    Shape=vector(shape, np.int32),
                    Type=_TYPES[dtype],
                    Buffer=0 if data is None else len(buffers) - 1,
                    Name=builder.CreateString(name),
                    Quantization=quantization,
                )  # fmt: skip
            )
        kinds = sorted({kind for kind, *_ in self.operators})
        codes = []
        for kind in kinds:
            number = getattr(tflite.BuiltinOperator, kind)
            codes.append(
                table(
                    "OperatorCode",
                    DeprecatedBuiltinCode=min(number, 127),
                    BuiltinCode=number,
                    Version=1,
                )  # fmt: skip
            )
        operators = []
        for kind, read, written, options in self.operators:
            name = _OPTIONS.get(kind)
            chosen = {
                key: vector(value, np.int32) if isinstance(value, list) else value
                for key, value in options.items()
            }
            more = {}
            if name:
                more["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, name)
                more["BuiltinOptions"] = table(name, **chosen)
            operators.append(
                table(
                    "Operator",
                    OpcodeIndex=kinds.index(kind),
                    Inputs=vector(read, np.int32),
                    Outputs=vector(written, np.int32),
                    **more,
                )  # fmt: skip
            )
        graph = table(
            "SubGraph", Tensors=tables(tensors), Inputs=vector(inputs, np.int32),
            Outputs=vector(outputs, np.int32), Operators=tables(operators),
        )  # fmt: skip
        model = table(
            "Model", Version=3, OperatorCodes=tables(codes), Subgraphs=tables([graph]),
            Buffers=tables(buffers),
        )  # fmt: skip
        builder.Finish(model, b"TFL3")
        return bytes(builder.Output())


def _aligned(size: int) -> int:
    return -(-size // 16) * 16


def masked(one: FuseConv2D) -> tuple[NDArray[np.int8], ...]:
    """Return the kernels of the depthwise convolutions that a FuSe layer is, ``(k, k, c)`` each.

    One for half; for full one with the row filters, and one with the column filters. They are zero
    but for the middle row or column.
    """
    rows, columns = one.weights
    k = rows.shape[1]
    middle = k // 2
    kernels = [np.zeros((k, k, part.shape[2]), np.int8) for part in (rows, columns)]
    kernels[0][middle], kernels[1][:, middle] = rows[0], columns[:, 0]
    return (np.concatenate(kernels, axis=2),) if one.variant == "half" else tuple(kernels)


def to_tflite(graph: Graph) -> bytes:
    """Return a network as the content of a ``.tflite`` file.

    What is no TensorFlow Lite operator is written as some that compute the same, bit for bit, and
    that `golden.int8.transform.recognize` finds again: FuSe half as a DEPTHWISE_CONV_2D whose
    kernels are zero but for the middle row or column, FuSe full as two of them and a CONCATENATION,
    and a 1 x 1 ABConv as RESHAPE, CONV_2D, RESHAPE.

    Parameters
    ----------
    graph : Graph
        Of int8 convolutions (FuSe and ABConv among them), FULLY_CONNECTED, ADD, SUB, MUL, MEAN,
        pools, RESHAPE, HARD_SWISH and SOFTMAX.

    Raises
    ------
    UserError
        If an operator is none of these, or ABConv with a larger kernel, or with scales or biases
        that its blocks do not share.
    """
    return _File(graph).content


class _File:
    def __init__(self, graph: Graph) -> None:
        self.writer = Writer()
        self.indices: dict[Tensor, int] = {}
        inputs = [self.tensor(one) for one in graph.inputs]
        for name, one in zip(graph.names, graph.operators, strict=True):
            try:
                self.add(one)
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
        outputs = [self.tensor(one) for one in graph.outputs]
        self.content = self.writer.content(inputs, outputs)

    def tensor(self, one: Tensor) -> int:
        """Return the index of an activation, which is added when it is first asked for."""
        if one.dtype != "int8":
            raise UserError(f"activations must be int8, not {one.dtype}")
        if one not in self.indices:
            self.indices[one] = self.writer.tensor(
                one.shape, one.scale, one.zero_point, data=one.data, name=one.name
            )
        return self.indices[one]

    def between(self, source: Tensor, shape: Sequence[int], what: str) -> int:
        """Add an activation that the graph does not have, quantized as one that it has."""
        return self.writer.tensor(
            shape, source.scale, source.zero_point, name=f"{source.name}/{what}"
        )

    def add(self, one: Operator) -> None:
        """Add an operator, or those that compute the same."""
        sources = [self.tensor(tensor) for tensor in one.inputs]
        if isinstance(one, FuseConv2D) and one.variant == "full":
            shape = (*one.output.shape[:-1], one.channels // 2)
            halves = [self.between(one.output, shape, what) for what in ("rows", "columns")]
            scales, biases = np.split(one.weight_scales, 2), np.split(one.bias, 2)
            for y, kernel, scale, bias in zip(halves, masked(one), scales, biases, strict=True):
                self.convolution(one, "DEPTHWISE_CONV_2D", sources[0], kernel[None], scale, bias, y)
            self.writer.add("CONCATENATION", halves, self.tensor(one.output), Axis=3)
        elif isinstance(one, ABConv2D):
            self.abconv(one, sources[0])
        elif isinstance(one, FuseConv2D | DepthwiseConv2D | Conv2D):
            kind = "CONV_2D" if isinstance(one, Conv2D) else "DEPTHWISE_CONV_2D"
            weights = one.weights[0].transpose(3, 0, 1, 2) if kind == "CONV_2D" else None
            if weights is None:
                kernel = masked(one)[0] if isinstance(one, FuseConv2D) else one.weights[0]
                weights = kernel[None]
            y = self.tensor(one.output)
            self.convolution(one, kind, sources[0], weights, one.weight_scales, one.bias, y)
        elif isinstance(one, FullyConnected):
            weights = one.weights[0].T
            y = self.tensor(one.output)
            self.weighted(
                one, sources[0], weights, one.weight_scales, one.bias, y, KeepNumDims=one.keep_dims,
                FusedActivationFunction=_activation(one.activation),
            )  # fmt: skip
        elif isinstance(one, Reshape):
            self.reshape(sources[0], one.output.shape, self.tensor(one.output))
        else:
            self.plain(one, sources)

    def plain(self, one: Operator, sources: list[int]) -> None:
        """Add an operator that is one of TensorFlow Lite's."""
        options: dict[str, Any] = {}
        if isinstance(one, Add | Sub | Mul):
            options["FusedActivationFunction"] = _activation(one.activation)
        elif isinstance(one, Mean):
            axes = np.array(one.axes)
            sources = [*sources, self.writer.tensor(axes.shape, data=axes, dtype=np.int32)]
            options["KeepDims"] = one.keep_dims
        elif isinstance(one, Softmax):
            options["Beta"] = one.beta
        elif isinstance(one, AveragePool2D | MaxPool2D):
            options = {
                "FilterHeight": one.kernel[0], "FilterWidth": one.kernel[1], **_window(one),
            }  # fmt: skip
        elif not isinstance(one, HardSwish):
            raise UserError(f"{one.kind} cannot be written")
        self.writer.add(one.kind, sources, self.tensor(one.output), **options)

    def reshape(self, x: int, shape: Sequence[int], y: int) -> None:
        """Add a RESHAPE."""
        target = self.writer.tensor((len(shape),), data=np.array(shape), dtype=np.int32)
        self.writer.add("RESHAPE", [x, target], y, NewShape=list(shape))

    def convolution(
        self, one: ArrayOperator, kind: str, x: int, weights: NDArray[np.int8],
        scales: NDArray[np.float32], bias: NDArray[np.int32], y: int,
    ) -> None:  # fmt: skip
        """Add a convolution with weights as the file has them."""
        options = _window(one)
        if kind == "DEPTHWISE_CONV_2D":
            options["DepthMultiplier"] = weights.shape[3] // one.inputs[0].shape[3]
        self.weighted(one, x, weights, scales, bias, y, kind, **options)

    def weighted(
        self, one: ArrayOperator, x: int, weights: NDArray[np.int8], scales: NDArray[np.float32],
        bias: NDArray[np.int32], y: int, kind: str = "FULLY_CONNECTED", **options: Any,
    ) -> None:  # fmt: skip
        """Add an operator with weights and bias."""
        axis = 3 if kind == "DEPTHWISE_CONV_2D" else 0
        name = one.output.name
        inputs = [
            x,
            self.writer.tensor(
                weights.shape, scales, data=weights, axis=axis, name=f"{name}/weights"
            ),
            self.writer.tensor(
                bias.shape, one.inputs[0].scale * scales.astype(np.float64), data=bias,
                dtype=np.int32, name=f"{name}/bias",
            ),
        ]  # fmt: skip
        self.writer.add(kind, inputs, y, **options)

    def abconv(self, one: ABConv2D, x: int) -> None:
        """Add a 1 x 1 ABConv: its blocks are pixels of one convolution."""
        if one.kernel != (1, 1) or one.stride != (1, 1):
            raise UserError("ABConv can be written if its kernel is 1 x 1 and its stride 1")
        g, source, target = one.groups, one.inputs[0], one.output
        scales: NDArray[np.float32] = np.resize(one.weight_scales, one.channels)
        bias = one.bias
        for what, values in (("scales", scales), ("biases", bias)):
            if (values.reshape(g, -1) != values[: one.channels // g]).any():
                raise UserError(f"ABConv can be written if all blocks have the same {what}")
        _, h, w, _ = source.shape
        folded = self.between(source, (1, h, w * g, source.shape[3] // g), "blocks")
        result = self.between(target, (1, h, w * g, one.channels // g), "blocks")
        self.reshape(x, (1, h, w * g, source.shape[3] // g), folded)
        weights = one.weights[0].transpose(3, 0, 1, 2)
        each = one.channels // g
        self.convolution(one, "CONV_2D", folded, weights, scales[:each], bias[:each], result)
        self.reshape(result, target.shape, self.tensor(target))


def _activation(name: str) -> int:
    return int(getattr(tflite.ActivationFunctionType, name))


def _window(one: Any) -> dict[str, Any]:
    """Return stride, padding and activation of an operator as a file has them."""
    return {
        "StrideH": one.stride[0], "StrideW": one.stride[1],
        "Padding": getattr(tflite.Padding, one.padding.upper()),
        "FusedActivationFunction": _activation(one.activation),
    }  # fmt: skip
