"""Operators that need no array: element by element, pools, shapes.

Activations are int8 arrays, batch 1 included, as in the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from report.errors import UserError

from ..arith import quant
from ..arith.quant import Int8Array
from ..arith.window import Window, window_text
from .tensor import Tensor, extent, image

__all__ = [
    "Add",
    "AveragePool2D",
    "MaxPool2D",
    "Mean",
    "Operator",
    "Pad",
    "Reshape",
    "Softmax",
    "Windowed",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class Operator:
    """One operator.

    Parameters
    ----------
    inputs : tuple of Tensor
        Activations; other operands are fields of their own.
    output : Tensor
    """

    kind: ClassVar[str]

    inputs: tuple[Tensor, ...]
    output: Tensor

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output for the values of the inputs."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output, from those of the inputs.

        Raises
        ------
        UserError
            If the inputs do not fit the operator.
        """
        return self.inputs[0].shape

    @property
    def detail(self) -> str:
        """What the kind does not say, such as the size of a window."""
        return ""

    def check(self) -> None:
        """Raise `UserError` unless shapes and quantization are what the operator takes."""
        if self.shape != self.output.shape:
            raise UserError(
                f"the output must be {extent(self.shape)}, not {extent(self.output.shape)}"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Windowed(Operator):
    """An operator with a sliding window.

    Parameters
    ----------
    stride : (int, int)
        Vertical and horizontal.
    padding : str
        ``"same"`` or ``"valid"``.
    """

    stride: tuple[int, int] = (1, 1)
    padding: str = "same"

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the window."""
        raise NotImplementedError

    @cached_property
    def window(self) -> Window:
        """The window, with every choice resolved."""
        return Window.of(image(self.inputs[0])[:2], self.kernel, self.stride, self.padding)

    @property
    def detail(self) -> str:
        """Kernel and stride."""
        return window_text(self.kernel, self.stride)


@dataclass(frozen=True, eq=False, kw_only=True)
class Add(Operator):
    """The sum of two tensors that broadcast against each other."""

    kind = "ADD"

    activation: str = "NONE"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return np.broadcast_shapes(self.inputs[0].shape, self.inputs[1].shape)

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output."""
        a, b, y = *self.inputs, self.output
        return quant.add(
            *values,
            scales=(a.scale, b.scale, y.scale),
            zero_points=(a.zero_point, b.zero_point, y.zero_point),
            limits=quant.activation_range(self.activation, y.scale, y.zero_point),
        )

    def check(self) -> None:
        """Raise `UserError` unless shapes and scales are what the operator takes."""
        super().check()
        self(*(np.zeros(1, np.int8) for _ in self.inputs))  # refuses scales that do not fit


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pool(Windowed):
    """A pool.

    Parameters
    ----------
    size : (int, int)
        Height and width of the window.
    activation : str
        One of `golden.quant.ACTIVATIONS`.
    """

    pool: ClassVar[Callable[..., Int8Array]]

    size: tuple[int, int]
    activation: str = "NONE"

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the window."""
        return self.size

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return (1, *self.window.output, self.inputs[0].shape[3])

    def check(self) -> None:
        """Raise `UserError` unless shapes and quantization are what the operator takes."""
        super().check()
        source, target = self.inputs[0], self.output
        near = abs(source.scale - target.scale) <= 1e-6  # the kernels' own limit
        if not near or source.zero_point != target.zero_point:
            raise UserError("input and output must have the same scale and zero point")

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output."""
        y = self.output
        limits = quant.activation_range(self.activation, y.scale, y.zero_point)
        return self.pool(values[0][0], self.window, limits)[None]


class AveragePool2D(_Pool):
    """The mean under a window."""

    kind = "AVERAGE_POOL_2D"
    pool = staticmethod(quant.average_pool)


class MaxPool2D(_Pool):
    """The greatest element under a window."""

    kind = "MAX_POOL_2D"
    pool = staticmethod(quant.max_pool)


@dataclass(frozen=True, eq=False, kw_only=True)
class Mean(Operator):
    """The mean over some axes.

    Parameters
    ----------
    axes : tuple of int
        Different ones, 0 (the batch) or more.
    keep_dims : bool
        Whether they stay, with one element.
    """

    kind = "MEAN"

    axes: tuple[int, ...]
    keep_dims: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        source, gone = self.inputs[0].shape, set(self.axes)
        if not gone or len(gone) < len(self.axes) or not gone <= set(range(len(source))):
            raise UserError(f"axes must be different ones of {len(source)}, not {self.axes}")
        if self.keep_dims:
            return tuple(1 if axis in gone else size for axis, size in enumerate(source))
        return tuple(size for axis, size in enumerate(source) if axis not in gone)

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output."""
        x, y = self.inputs[0], self.output
        return quant.mean(
            values[0],
            self.axes,
            scales=(x.scale, y.scale),
            zero_points=(x.zero_point, y.zero_point),
            keep_dims=self.keep_dims,
        )

    def check(self) -> None:
        """Raise `UserError` unless shapes and scales are what the operator takes."""
        super().check()
        quant.quantize_multiplier(self.inputs[0].scale / self.output.scale)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(Operator):
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

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output."""
        return np.pad(values[0], self.amounts, constant_values=self.output.zero_point)


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(Operator):
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
        if not self.target:
            raise UserError("no shape is given")
        count = math.prod(self.inputs[0].shape)
        known = math.prod(size for size in self.target if size != -1)
        free = self.target.count(-1)
        if free > 1 or known < 1 or (count % known if free else count != known):
            raise UserError(f"{count} elements cannot have the shape {self.target}")
        return tuple(count // known if size == -1 else size for size in self.target)

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output."""
        return values[0].reshape(self.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(Operator):
    """Exponentials over the last axis, divided by their sum."""

    kind = "SOFTMAX"

    beta: float = 1.0

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output."""
        return quant.softmax(values[0], self.inputs[0].scale, self.beta)

    def check(self) -> None:
        """Raise `UserError` unless shapes and quantization are what the operator takes."""
        super().check()
        if (self.output.scale, self.output.zero_point) != (1 / 256, -128):
            raise UserError("the output must have scale 1/256 and zero point -128")
        self(np.zeros((1, 1), np.int8))  # refuses a scale that does not fit
