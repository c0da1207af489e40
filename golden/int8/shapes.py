"""Operators that move elements, and compute none: also on constants, when a model is loaded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from report.errors import UserError

from ..arith import quant, resize
from ..arith.wrap import IntArray
from .operators import Operator
from .tensor import Tensor, extent, image

__all__ = [
    "Concatenation",
    "ExpandDims",
    "Move",
    "Pack",
    "Pad",
    "Reshape",
    "Resize",
    "ResizeBilinear",
    "ResizeNearestNeighbor",
    "Slice",
    "Split",
    "Squeeze",
    "StridedSlice",
    "Transpose",
    "Unpack",
    "strided",
]


class Move(Operator):
    """An operator that moves elements, of whatever type."""

    def check_types(self) -> None:
        """Raise `UserError` unless all activations have one type."""
        types = [tensor.dtype for tensor in (*self.inputs, self.output)]
        if len(set(types)) > 1:
            raise UserError(f"types must all be the same, not {', '.join(dict.fromkeys(types))}")


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(Move):
    """The same elements in another shape.

    Parameters
    ----------
    target : tuple of int
        The shape; -1 for what is left over.
    """

    kind = "RESHAPE"

    target: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        count = math.prod(self.inputs[0].shape)
        known = math.prod(size for size in self.target if size != -1)
        free = self.target.count(-1)
        if free > 1 or known < 1 or (count % known if free else count != known):
            raise UserError(f"{count} elements cannot have the shape {self.target}")
        return tuple(count // known if size == -1 else size for size in self.target)

    @property
    def host_operations(self) -> int:
        """None: the elements stay where they are."""
        return 0

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        return values[0].reshape(self.shape)


class ExpandDims(Reshape):
    """The same elements with one more axis."""

    kind = "EXPAND_DIMS"


class Squeeze(Reshape):
    """The same elements without some axes of 1."""

    kind = "SQUEEZE"


@dataclass(frozen=True, eq=False, kw_only=True)
class Transpose(Move):
    """The axes in another order.

    Parameters
    ----------
    order : tuple of int
        Axis of the input for every axis of the output.
    """

    kind = "TRANSPOSE"

    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        source = self.inputs[0].shape
        if sorted(self.order) != list(range(len(source))):
            raise UserError(f"axes must be all of {len(source)}, not {self.order}")
        return tuple(source[axis] for axis in self.order)

    @property
    def detail(self) -> str:
        """The order of the axes."""
        return " ".join(map(str, self.order))

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        return values[0].transpose(self.order)


@dataclass(frozen=True, eq=False, kw_only=True)
class Slice(Move):
    """Some elements along every axis.

    Parameters
    ----------
    picks : tuple of range
        The indices, per axis.
    dropped : tuple of int
        Axes, with one index each, that the output has not.
    """

    kind = "SLICE"

    picks: tuple[range, ...]
    dropped: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        source = self.inputs[0].shape
        if len(self.picks) != len(source):
            raise UserError(f"there must be a range for each of {len(source)} axes")
        for axis, (pick, size) in enumerate(zip(self.picks, source, strict=True)):
            if not pick:
                raise UserError(f"nothing is left of axis {axis}")
            if min(pick[0], pick[-1]) < 0 or max(pick[0], pick[-1]) >= size:
                raise UserError(
                    f"axis {axis} has {size} elements: {pick[0]} to {pick[-1]} are not there"
                )
        return tuple(len(pick) for axis, pick in enumerate(self.picks) if axis not in self.dropped)

    @property
    def detail(self) -> str:
        """The ranges, where they are not everything."""
        return ",".join(
            ":" if pick == range(size) else _text(pick)
            for pick, size in zip(self.picks[1:], self.inputs[0].shape[1:], strict=True)
        )

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        found = values[0][tuple(map(_slice, self.picks))]
        return found.reshape(self.shape)


def _text(pick: range) -> str:
    if len(pick) == 1:
        return str(pick[0])
    ends = f"{pick[0]}:{pick[-1] + 1}" if pick.step > 0 else f"{pick[0]}:{pick[-1]}:{pick.step}"
    return f"{ends}:{pick.step}" if pick.step > 1 else ends


def _slice(pick: range) -> slice:
    """Return a slice that picks the same."""
    return slice(pick.start, None if pick.stop < 0 else pick.stop, pick.step)


class StridedSlice(Slice):
    """Some elements along every axis, with a stride."""

    kind = "STRIDED_SLICE"


class Split(Slice):
    """One part of a tensor that is split in equal parts, or in some (SPLIT_V)."""

    kind = "SPLIT"


class Unpack(Slice):
    """One element of an axis, without it."""

    kind = "UNPACK"


def strided(
    shape: tuple[int, ...],
    begin: list[int],
    end: list[int],
    strides: list[int],
    *,
    begin_mask: int,
    end_mask: int,
    drop_mask: int,
) -> tuple[tuple[range, ...], tuple[int, ...]]:
    """Return `picks` and `dropped` of a `StridedSlice`.

    Parameters
    ----------
    shape : tuple of int
        Of the input.
    begin, end, strides : list of int
        Of the first axes; negative ones count from behind, what lies outside is cut off.
    begin_mask, end_mask, drop_mask : int
        Bits of axes where `begin` counts for nothing, where `end` does, and of which one element is
        taken, the first, and the axis dropped.

    Raises
    ------
    UserError
        If there are more or fewer of one than of the other, or than axes, or if a stride is 0.
    """
    if not len(begin) == len(end) == len(strides) <= len(shape):
        raise UserError(
            f"there are {len(begin)} begins, {len(end)} ends and {len(strides)} strides for "
            f"{len(shape)} axes"
        )
    if 0 in strides:
        raise UserError(f"strides must not be 0, not {strides}")
    picks, dropped = [], []
    for axis, size in enumerate(shape):
        if axis >= len(begin):
            picks.append(range(size))
            continue
        first = None if begin_mask >> axis & 1 else begin[axis]
        if drop_mask >> axis & 1:
            place = first
            if place is None:
                place = 0 if strides[axis] > 0 else size - 1
            if not -size <= place < size:
                raise UserError(f"axis {axis} has {size} elements: {place} is not there")
            picks.append(range(place % size, place % size + 1))
            dropped.append(axis)
            continue
        last = None if end_mask >> axis & 1 else end[axis]
        picks.append(range(size)[slice(first, last, strides[axis])])
    return tuple(picks), tuple(dropped)


def _axis(axis: int, rank: int) -> int:
    """Return an axis that may count from behind."""
    if not rank:
        raise UserError("the input has no axes")
    if not -rank <= axis < rank:
        raise UserError(f"the axis must be from {-rank} to {rank - 1}, not {axis}")
    return axis % rank


@dataclass(frozen=True, eq=False, kw_only=True)
class Concatenation(Move):
    """Tensors end to end.

    int8 tensors must have one quantization: LiteRT refuses others, and TFLM takes them as they are.
    uint8 tensors are rescaled as LiteRT does it, in float32.

    Parameters
    ----------
    axis : int
        May count from behind.
    """

    kind = "CONCATENATION"

    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        shapes = [tensor.shape for tensor in self.inputs]
        axis = _axis(self.axis, len(shapes[0]))
        rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
        if len(rest) > 1 or len({len(shape) for shape in shapes}) > 1:
            raise UserError(f"{', '.join(map(extent, shapes))} do not fit along axis {axis}")
        total = sum(shape[axis] for shape in shapes)
        return (*shapes[0][:axis], total, *shapes[0][axis + 1 :])

    @property
    def detail(self) -> str:
        """The axis."""
        return f"axis {self.axis}"

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        found = [self.rescaled(*pair) for pair in zip(self.inputs, values, strict=True)]
        return np.concatenate(found, self.axis)

    def rescaled(self, source: Tensor, value: NDArray[Any]) -> NDArray[Any]:
        """Return values of an input in the output's quantization."""
        target = self.output
        if source.quantization == target.quantization:
            return value
        # In the kernel's own order, on the values in the file.
        scale = np.float32(source.scale) * (np.float32(1) / np.float32(target.scale))
        bias = np.float32(-(source.zero_point + 128)) * scale
        steps = (value.astype(np.float32) + np.float32(128)) * scale + bias
        return np.clip(quant.round_half_away(steps) + target.zero_point, *quant.INT8).astype(
            np.int8
        )

    def check(self) -> None:
        """Raise `UserError` unless types, shapes and quantization are what it takes."""
        super().check()
        every = {tensor.quantization for tensor in (*self.inputs, self.output)}
        if len(every) > 1 and self.output.dtype == "int8":
            raise UserError("inputs and output must have the same scale and zero point")


@dataclass(frozen=True, eq=False, kw_only=True)
class Pack(Move):
    """Tensors along a new axis.

    Parameters
    ----------
    axis : int
        Of the output; may count from behind.
    """

    kind = "PACK"

    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        shapes = [tensor.shape for tensor in self.inputs]
        axis = _axis(self.axis, len(shapes[0]) + 1)
        if len(set(shapes)) > 1:
            raise UserError(f"all inputs must have one shape, not {', '.join(map(str, shapes))}")
        return (*shapes[0][:axis], len(shapes), *shapes[0][axis:])

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        return np.stack(values, self.axis)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(Move):
    """Padding with the zero point.

    Parameters
    ----------
    amounts : tuple of (int, int)
        Before and after, per axis.
    """

    kind = "PAD"

    amounts: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        source = self.inputs[0].shape
        if len(self.amounts) != len(source) or min(map(min, self.amounts), default=0) < 0:
            raise UserError(f"padding must be {len(source)} pairs of at least 0")
        return tuple(n + sum(pad) for n, pad in zip(source, self.amounts, strict=True))

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        return np.pad(values[0], self.amounts, constant_values=self.output.zero_point)


@dataclass(frozen=True, eq=False, kw_only=True)
class Resize(Operator):
    """An image in another size.

    Parameters
    ----------
    size : (int, int)
        Height and width.
    align_corners, half_pixel : bool
        Where the pixels are.
    """

    size: tuple[int, int]
    align_corners: bool = False
    half_pixel: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return (1, *self.size, image(self.inputs[0])[2])

    @property
    def detail(self) -> str:
        """Where the pixels are."""
        return "corners" * self.align_corners + "half pixel" * self.half_pixel

    @property
    def _where(self) -> dict[str, bool]:
        return {"align_corners": self.align_corners, "half_pixel": self.half_pixel}

    def check(self) -> None:
        """Raise `UserError` unless types, shapes and quantization are what it takes."""
        if min(self.size) < 1:
            raise UserError(f"the size must be at least 1 x 1, not {self.size}")
        if self.align_corners and self.half_pixel:
            raise UserError("align_corners and half_pixel_centers exclude each other")
        super().check()
        if self.inputs[0].quantization != self.output.quantization:
            raise UserError("input and output must have the same scale and zero point")


class ResizeNearestNeighbor(Resize):
    """An image in another size, every element one of the input."""

    kind = "RESIZE_NEAREST_NEIGHBOR"

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        height, width, _ = image(self.inputs[0])
        down: IntArray = resize.nearest(self.size[0], height, **self._where)
        along: IntArray = resize.nearest(self.size[1], width, **self._where)
        return values[0][:, down][:, :, along]


class ResizeBilinear(Resize):
    """An image in another size, interpolated."""

    kind = "RESIZE_BILINEAR"

    @property
    def _kernel(self) -> Callable[..., NDArray[np.int8]]:
        return resize.bilinear_float if self.inputs[0].dtype == "uint8" else resize.bilinear

    def neighbours(self, axis: int) -> tuple[IntArray, IntArray, IntArray]:
        """Return the two neighbours of every row (axis 0) or column, and 1,024ths of the way.

        Of int8; uint8 is interpolated in float32.
        """
        size = image(self.inputs[0])[axis]
        return resize.between(self.size[axis], size, **self._where)

    @property
    def host_operations(self) -> int:
        """Four neighbours for every element."""
        return 4 * super().host_operations

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        return self._kernel(values[0], self.size, **self._where)
