"""The tables of a TensorFlow Lite file as plain values; any of them may be damaged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

__all__ = [
    "FIELDS",
    "RANK",
    "SCHEMA",
    "Buffer",
    "Code",
    "File",
    "RawOperator",
    "RawTensor",
    "names_of",
    "read",
    "vector",
]

#: The greatest number of dimensions; TensorFlow Lite's.
RANK = 8


def names_of(enumeration: type) -> dict[int, str]:
    """Return the names of an enumeration of the schema by number."""
    return {
        value: name
        for name, value in vars(enumeration).items()
        if not name.startswith("_") and isinstance(value, int)
    }


_TYPES = names_of(tflite.TensorType)
_OPERATORS = names_of(tflite.BuiltinOperator)
_TABLES = names_of(tflite.BuiltinOptions)
#: The only version of the schema; of the operators' versions see `_KINDS`.
SCHEMA = 3


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """A buffer as the file has it: data, or where they lie behind the flatbuffer."""

    data: NDArray[np.uint8] | None
    offset: int
    size: int

    @property
    def behind(self) -> bool:
        """Whether the data lie behind the flatbuffer; the offset is 0 or 1 where they do not."""
        return self.offset > 1


@dataclass(frozen=True, kw_only=True)
class RawTensor:
    """A tensor as the file has it."""

    name: str
    shape: tuple[int, ...]
    type: str
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int
    buffer: int
    plain: bool  # neither sparse, variable, in another file, nor quantized by other parameters
    variable: bool = False


@dataclass(frozen=True, kw_only=True)
class Code:
    """An operator code as the file has it; the name says what is known of it."""

    name: str
    version: int


@dataclass(frozen=True, kw_only=True)
class RawOperator:
    """An operator as the file has it; `table` is the name of its options' table."""

    code: int
    inputs: NDArray[np.int32]
    outputs: NDArray[np.int32]
    table: str
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class File:
    """What the file has; of another schema's file only that, of several subgraphs the first."""

    version: int
    subgraphs: int
    buffers: list[Buffer] = field(default_factory=list)
    codes: list[Code] = field(default_factory=list)
    tensors: list[RawTensor] = field(default_factory=list)
    operators: list[RawOperator] = field(default_factory=list)
    inputs: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    outputs: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))


#: What is read from the tables of options.
_WINDOW = ("Padding", "StrideH", "StrideW", "FusedActivationFunction")
_RESIZE = ("AlignCorners", "HalfPixelCenters")
_DILATED = (*_WINDOW, "DilationHFactor", "DilationWFactor")
FIELDS: dict[str, tuple[str, ...]] = {
    "Conv2DOptions": _DILATED,
    "DepthwiseConv2DOptions": (*_DILATED, "DepthMultiplier"),
    "FullyConnectedOptions": ("FusedActivationFunction", "WeightsFormat", "KeepNumDims"),
    "AddOptions": ("FusedActivationFunction",),
    "Pool2DOptions": (*_WINDOW, "FilterHeight", "FilterWidth"),
    "ReducerOptions": ("KeepDims",),
    "PadOptions": (),
    "ReshapeOptions": ("NewShapeAsNumpy",),
    "SoftmaxOptions": ("Beta",),
    "ConcatenationOptions": ("Axis", "FusedActivationFunction"),
    "LeakyReluOptions": ("Alpha",),
    "MulOptions": ("FusedActivationFunction",),
    "PackOptions": ("Axis",),
    "ResizeBilinearOptions": _RESIZE,
    "ResizeNearestNeighborOptions": _RESIZE,
    "SqueezeOptions": ("SqueezeDimsAsNumpy",),
    "StridedSliceOptions": (
        "BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset",
    ),
    "SubOptions": ("FusedActivationFunction",),
    "UnpackOptions": ("Axis",),
}  # fmt: skip


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


def vector(values: Any) -> NDArray[Any]:
    """Return a vector of numbers, which lies in the file; of an absent one the accessors give 0."""
    return np.zeros(0, np.int64) if isinstance(values, int) else values


def _text(content: bytes | None) -> str:
    text = (content or b"")[:1000].decode(errors="replace")
    return text if text.isprintable() else ascii(text)


def read(content: bytes) -> File:
    """Read the file's tables into plain values.

    The accessors trust every offset in the file, so a damaged one can raise nearly anything.
    """
    model = _sound(tflite.Model.GetRootAs(content, 0))
    version, subgraphs = model.Version(), model.SubgraphsLength()
    if version != SCHEMA or not subgraphs:
        return File(version=version, subgraphs=subgraphs)
    graph = _sound(model.Subgraphs(0))
    return File(
        version=version,
        subgraphs=subgraphs,
        buffers=[_buffer(_sound(model.Buffers(i))) for i in range(model.BuffersLength())],
        codes=[_code(_sound(model.OperatorCodes(i))) for i in range(model.OperatorCodesLength())],
        tensors=[_tensor(_sound(graph.Tensors(i))) for i in range(graph.TensorsLength())],
        operators=[_operator(_sound(graph.Operators(i))) for i in range(graph.OperatorsLength())],
        inputs=vector(graph.InputsAsNumpy()),
        outputs=vector(graph.OutputsAsNumpy()),
    )


def _buffer(buffer: Any) -> Buffer:
    return Buffer(
        data=None if buffer.DataIsNone() else buffer.DataAsNumpy(),
        offset=buffer.Offset(),
        size=buffer.Size(),
    )


def _code(code: Any) -> Code:
    # The greater of two fields counts: the old one is too narrow for codes above 127, and current
    # writers may leave it out. The accessor takes the old one for every code below 127.
    new = _field(code, 3, flatbuffers.number_types.Int32Flags)
    number = max(new, code.DeprecatedBuiltinCode())
    name = _OPERATORS.get(number, f"operator code {number}")
    if name == "CUSTOM":
        name = f"CUSTOM '{_text(code.CustomCode())}'"
    return Code(name=name, version=code.Version())


def _tensor(tensor: Any) -> RawTensor:
    quantization, details, axis = tensor.Quantization(), 0, 0
    scales, zero_points = np.zeros(0, np.float32), np.zeros(0, np.int64)
    if quantization is not None:
        _sound(quantization)
        details, axis = quantization.DetailsType(), quantization.QuantizedDimension()
        if quantization.ScaleLength():
            scales = quantization.ScaleAsNumpy()
            zero_points = vector(quantization.ZeroPointAsNumpy())
    other_file = _field(tensor, 10, flatbuffers.number_types.Uint32Flags)  # newer than the package
    return RawTensor(
        name=_text(tensor.Name()),
        shape=tuple(vector(tensor.ShapeAsNumpy())[: RANK + 1].tolist()),
        type=_TYPES.get(tensor.Type(), f"type {tensor.Type()}"),
        scales=scales,
        zero_points=zero_points,
        axis=axis,
        buffer=tensor.Buffer(),
        variable=bool(tensor.IsVariable()),
        plain=tensor.Sparsity() is None
        and not (tensor.IsVariable() or other_file)
        and details == tflite.QuantizationDetails.NONE,
    )


def _operator(one: Any) -> RawOperator:
    number, found = one.BuiltinOptionsType(), one.BuiltinOptions()
    table, options = _TABLES.get(number, f"table {number}"), {}
    if one.BuiltinOptions2Type():
        table = f"table {one.BuiltinOptions2Type()} of the second kind"
    elif found is not None and table in FIELDS:
        raw = getattr(tflite, table)()
        raw.Init(found.Bytes, found.Pos)
        _sound(raw)
        for name in FIELDS[table]:
            value = getattr(raw, name)()
            options[name] = vector(value) if name.endswith("AsNumpy") else value
    elif found is not None and table == "NONE":
        table = "without a type"
    return RawOperator(
        code=one.OpcodeIndex(),
        inputs=vector(one.InputsAsNumpy()),
        outputs=vector(one.OutputsAsNumpy()),
        table=table,
        options=options,
    )
