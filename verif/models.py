"""Small int8 TensorFlow Lite models, written by the tests themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import tflite

TYPES = {
    np.dtype(np.int8): tflite.TensorType.INT8,
    np.dtype(np.int32): tflite.TensorType.INT32,
    np.dtype(np.float32): tflite.TensorType.FLOAT32,
}

#: The table of options of every operator.
OPTIONS = {
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
    "TRANSPOSE_CONV": "TransposeConvOptions",
}
WINDOW = {"StrideH": 1, "StrideW": 1, "Padding": tflite.Padding.SAME}
DEFAULTS: dict[str, dict[str, Any]] = {
    "CONV_2D": WINDOW,
    "DEPTHWISE_CONV_2D": WINDOW | {"DepthMultiplier": 1},
    "SOFTMAX": {"Beta": 1.0},
}


class Writer:
    """Collects tensors and operators; `content` is the file."""

    def __init__(self) -> None:
        self.tensors: list[tuple[Any, ...]] = []
        self.operators: list[tuple[str, list[int], int, dict[str, Any]]] = []

    def tensor(
        self,
        shape: Sequence[int],
        scale: float | Sequence[float] = (),
        zero: int = 0,
        *,
        data: Any = None,
        dtype: Any = np.int8,
        axis: int = 0,
    ) -> int:
        """Add a tensor; return its index."""
        scales = np.atleast_1d(np.asarray(scale, np.float32))
        data = None if data is None else np.ascontiguousarray(data, dtype)
        self.tensors.append((tuple(shape), scales, zero, data, np.dtype(dtype), axis))
        return len(self.tensors) - 1

    def add(self, kind: str, inputs: Sequence[int], output: int, **options: Any) -> int:
        """Add an operator; return its output."""
        self.operators.append((kind, list(inputs), output, DEFAULTS.get(kind, {}) | options))
        return output

    def content(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Return the file."""
        builder = flatbuffers.Builder(1024)

        def vector(values: Any, dtype: Any) -> int:
            return builder.CreateNumpyVector(np.asarray(values, dtype))

        def tables(items: list[int]) -> int:
            builder.StartVector(4, len(items), 4)
            for item in reversed(items):
                builder.PrependUOffsetTRelative(item)
            return builder.EndVector()

        empty = _table(builder, "Buffer")
        buffers, tensors = [empty], []
        for index, (shape, scales, zero, data, dtype, axis) in enumerate(self.tensors):
            if data is not None:
                content = vector(np.frombuffer(data.tobytes(), np.uint8), np.uint8)
                buffers.append(_table(builder, "Buffer", Data=content))
            quantization = 0
            if len(scales):
                quantization = _table(
                    builder, "QuantizationParameters", Scale=vector(scales, np.float32),
                    ZeroPoint=vector(np.full(len(scales), zero), np.int64), QuantizedDimension=axis,
                )  # fmt: skip
            tensors.append(
                _table(
                    builder,
                    "Tensor",
                    Shape=vector(shape, np.int32),
                    Type=TYPES[dtype],
                    Buffer=0 if data is None else len(buffers) - 1,
                    Name=builder.CreateString(f"tensor{index}"),
                    Quantization=quantization,
                )  # fmt: skip
            )
        kinds = sorted({kind for kind, *_ in self.operators})
        codes = []
        for kind in kinds:
            number = getattr(tflite.BuiltinOperator, kind)
            codes.append(
                _table(
                    builder,
                    "OperatorCode",
                    DeprecatedBuiltinCode=number,
                    BuiltinCode=number,
                    Version=1,
                )  # fmt: skip
            )
        operators = []
        for kind, read, written, options in self.operators:
            name = OPTIONS[kind]
            chosen = {
                key: vector(value, np.int32) if isinstance(value, list) else value
                for key, value in options.items()
            }
            operators.append(
                _table(
                    builder,
                    "Operator",
                    OpcodeIndex=kinds.index(kind),
                    Inputs=vector(read, np.int32),
                    Outputs=vector([written], np.int32),
                    BuiltinOptionsType=getattr(tflite.BuiltinOptions, name),
                    BuiltinOptions=_table(builder, name, **chosen),
                )  # fmt: skip
            )
        graph = _table(
            builder, "SubGraph", Tensors=tables(tensors), Inputs=vector(inputs, np.int32),
            Outputs=vector(outputs, np.int32), Operators=tables(operators),
        )  # fmt: skip
        model = _table(
            builder, "Model", Version=3, OperatorCodes=tables(codes), Subgraphs=tables([graph]),
            Buffers=tables(buffers),
        )  # fmt: skip
        builder.Finish(model, b"TFL3")
        return bytes(builder.Output())


def _table(builder: flatbuffers.Builder, name: str, **fields: Any) -> int:
    getattr(tflite, f"{name}Start")(builder)
    for key, value in fields.items():
        if value or key in ("Version",):
            getattr(tflite, f"{name}Add{key}")(builder, value)
    return getattr(tflite, f"{name}End")(builder)
