"""Makes a graph of what a TensorFlow Lite file has."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from report.errors import UserError

from .diagnosis import diagnose
from .flatbuffer import RANK, SCHEMA, Buffer, File, RawOperator, RawTensor
from .graph import Graph
from .operators import Operator
from .shapes import Move
from .tensor import Tensor, signed

__all__ = ["LARGEST", "Builder", "Kind"]

#: The greatest number of elements of a tensor, and of all that a window sees.
LARGEST = 1 << 26

#: Types of constants: those beside INT8, UINT8 and FLOAT32 are of shapes, and folded away.
_DTYPES: dict[str, np.dtype[Any]] = {
    "INT8": np.dtype(np.int8),
    "UINT8": np.dtype(np.uint8),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FLOAT32": np.dtype("<f4"),
}
_QUANTIZED = ("INT8", "UINT8")
_SHAPES = 4096  # integers of a shape, or of what it is computed of


class Maker(Protocol):
    """Makes operators of a `Builder`, what the file has, their inputs and their outputs."""

    def __call__(
        self,
        build: Builder,
        one: RawOperator,
        inputs: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
        /,
    ) -> Operator | list[Operator]:
        """Return them, in the order in which they run."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A supported operator.

    Parameters
    ----------
    make : Maker
    version : int
        The greatest version. A version only widens what a file may say: types, dilation, groups,
        sparse or shuffled weights, a missing bias, kept dimensions, a bias's type with int16. All
        of that stands in the types and the options too, where it is read or refused, so versions up
        to this one mean the same here.
    table : str
        Its table of options, or "" if it has none.
    needed : bool
        Whether options must be there.
    inputs : (int, int)
        The least and the greatest number of operands.
    activations : tuple of int, optional
        Which operands are activations; all if left out.
    outputs : int, optional
        How many there are; any number if left out.
    """

    make: Maker
    version: int
    table: str = ""
    needed: bool = False
    inputs: tuple[int, int] = (1, 1)
    activations: tuple[int, ...] | None = (0,)
    outputs: int | None = 1


class Builder:
    """Makes operators of what the file has; errors say what is wrong with the one at hand."""

    def __init__(self, file: File, content: bytes, kinds: dict[str, Kind]) -> None:
        self.file = file
        self.whole = content
        self.kinds = kinds
        self.tensors: dict[int, Tensor] = {}
        self.folded = 0  # elements computed of constants

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
        """Raise `UserError` unless a buffer lies in the file."""
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
        """Return a tensor of the file, of a size that can be held."""
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
        """Return a tensor of one of some types, with sound scales and zero points."""
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
        """Return the data of a constant, or of what was computed of constants."""
        tensor = self.typed(index, *types)
        known = self.tensors.get(index)
        if known is not None and known.data is not None:
            return known.outside(known.data)
        dtype = _DTYPES[tensor.type]
        size = math.prod(tensor.shape) * dtype.itemsize
        content = self.content(tensor)
        if content is None:
            raise UserError(f"tensor {tensor.name} must be a constant")
        if len(content) != size:
            raise UserError(f"tensor {tensor.name} must have {size} bytes, not {len(content)}")
        aligned = content.tobytes()  # as data in the file need not be
        return np.frombuffer(aligned, dtype).reshape(tensor.shape)

    def integers(self, index: int) -> list[int]:
        """Return the elements of a constant of integers."""
        found: list[int] = self.constant(index, "INT32", "INT64").reshape(-1).tolist()
        return found

    def tensor(self, index: int) -> Tensor:
        """Return an activation, or a constant among them, the same object for the same index."""
        if index not in self.tensors:
            raw = self.typed(index, *_DTYPES)
            constant = self.content(raw) is not None
            made = Tensor(name=raw.name, shape=raw.shape, dtype=raw.type.lower())
            if raw.type in _QUANTIZED:
                made = self._quantized(raw, made)
            if constant:
                data = made.inside(self.constant(index, raw.type))
                made = replace(made, data=data)
            self.tensors[index] = made
        return self.tensors[index]

    def _quantized(self, raw: RawTensor, made: Tensor) -> Tensor:
        """Return a tensor with its quantization."""
        low, high = made.offset - 128, made.offset + 127
        if len(raw.scales) != 1 or not low <= raw.zero_points[0] <= high:
            raise UserError(
                f"tensor {raw.name} must have one scale and one zero point, {low} to {high}"
            )
        if not raw.scales[0]:
            raise UserError(f"the scale of tensor {raw.name} must be above 0")
        zero_point = int(raw.zero_points[0]) - made.offset
        return replace(made, scale=float(raw.scales[0]), zero_point=zero_point)

    def weights(self, index: int, axis: int, ndim: int) -> dict[str, Any]:
        """Return weights, their scales, per tensor or along `axis`, and their zero point."""
        tensor, data = self.typed(index, *_QUANTIZED), self.constant(index, *_QUANTIZED)
        if data.ndim != ndim:
            raise UserError(f"weights must have {ndim} dimensions, not {data.ndim}")
        if len(tensor.scales) not in (1, data.shape[axis]):
            raise UserError(
                f"weights must have 1 or {data.shape[axis]} scales, not {len(tensor.scales)}"
            )
        if len(tensor.scales) > 1 and tensor.axis != axis:
            raise UserError(f"weights must be quantized along axis {axis}, not {tensor.axis}")
        zero = 0
        if tensor.type == "UINT8":
            zero = int(tensor.zero_points[0])
            if (tensor.zero_points != zero).any() or not 0 <= zero <= 255:
                raise UserError("uint8 weights must have one zero point, 0 to 255")
            data, zero = signed(data), zero - 128
        elif tensor.zero_points.any():
            raise UserError("weights must have zero point 0")
        # Copies are aligned, as data in the file need not be.
        return {"weights": data, "weight_scales": tensor.scales.copy(), "weight_zero": zero}

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
        """Return the graph."""
        file = self.file
        if file.version != SCHEMA:
            raise UserError(f"the schema must be of version {SCHEMA}, not {file.version}")
        trouble = diagnose(file, frozenset(self.kinds))
        if trouble:
            raise UserError(trouble)
        for index, buffer in enumerate(file.buffers):
            self.check_buffer(index, buffer)
        for what, indices in (("input", file.inputs), ("output", file.outputs)):
            if not len(indices):
                raise UserError(f"there must be at least 1 {what}")
            if len(set(indices.tolist())) < len(indices):
                raise UserError(f"one tensor is an {what} twice")
        inputs = self._ends(file.inputs)
        for tensor in inputs:
            if tensor.data is not None:
                raise UserError("the input is a constant")
            if tensor.shape[:1] != (1,):
                raise UserError(f"the input must have batch 1, not the shape {tensor.shape}")
        operators: list[Operator] = []
        for index, one in enumerate(file.operators):
            kind, version = file.codes[one.code].name, file.codes[one.code].version
            try:
                if not 1 <= version <= self.kinds[kind].version:
                    raise UserError(
                        f"version {version} is not supported; it must be from 1 to "
                        f"{self.kinds[kind].version}"
                    )
                operators += self.operators(kind, one)
            except UserError as error:
                raise UserError(f"operator {index} ({kind}): {error}") from None
        graph = Graph(
            inputs=inputs, outputs=self._ends(file.outputs),
            operators=tuple(operators),
        )  # fmt: skip
        graph.check()
        return graph

    def _ends(self, indices: NDArray[np.int32]) -> tuple[Tensor, ...]:
        """Return inputs or outputs of the network."""
        found = tuple(self.tensor(int(index)) for index in indices)
        for tensor in found:
            if tensor.dtype not in ("int8", "uint8", "float32"):
                raise UserError(
                    f"tensor {tensor.name} is {tensor.dtype.upper()}; inputs and outputs may be "
                    "INT8, UINT8 or FLOAT32"
                )
        return found

    def operators(self, kind: str, one: RawOperator) -> list[Operator]:
        """Return the operators that one of the file becomes; none if it is folded away."""
        known = self.kinds[kind]
        least, most = known.inputs
        outputs = known.outputs or len(one.outputs)
        if not least <= len(one.inputs) <= most or len(one.outputs) != outputs or not outputs:
            raise UserError(
                f"there must be {least} to {most} inputs and {outputs} output"
                f"{'s' * (outputs != 1)}, not {len(one.inputs)} and {len(one.outputs)}"
            )
        if one.table not in ("NONE", known.table):
            raise UserError(f"its options are {one.table}; they must be {known.table or 'none'}")
        if known.needed and not one.options:
            raise UserError(f"it has no {known.table}")
        places = range(len(one.inputs)) if known.activations is None else known.activations
        made = known.make(
            self, one, tuple(self.tensor(int(one.inputs[place])) for place in places),
            tuple(self.tensor(int(index)) for index in one.outputs),
        )  # fmt: skip
        kept = []
        for index, each in enumerate(made if isinstance(made, list) else [made]):
            each.check()
            if isinstance(each, Move) and all(t.data is not None for t in each.inputs):
                self._check_folding(each.output)
                value = each(*(t.data for t in each.inputs if t.data is not None))
                self.fold(int(one.outputs[index]), np.array(value))
            else:
                kept.append(each)
        return kept

    def _check_folding(self, output: Tensor) -> None:
        """Raise `UserError` if there is too much to fold: a small file may ask for terabytes."""
        count = math.prod(output.shape)
        if output.dtype in ("int32", "int64") and count > _SHAPES:
            raise UserError(f"{count} integers are no shape; at most {_SHAPES} are folded")
        self.folded += count
        if self.folded > LARGEST:
            raise UserError(f"more than {LARGEST} elements are computed of constants")

    def fold(self, index: int, value: NDArray[Any]) -> None:
        """Take down the value of a tensor, which is a constant then."""
        if self.tensors[index].data is not None:
            raise UserError(f"output {self.tensors[index].name} has a value already")
        self.tensors[index] = replace(self.tensors[index], data=value)
