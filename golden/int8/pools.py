"""Operators that sum up, or compare, many elements: pools, means, softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from report.errors import UserError

from ..arith import activations, quant
from ..arith.quant import Int8Array
from .operators import Operator, Windowed

__all__ = ["AveragePool2D", "MaxPool2D", "Mean", "Softmax"]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pool(Windowed):
    """A pool.

    Parameters
    ----------
    size : (int, int)
        Height and width of the window.
    activation : str
        One of `golden.arith.quant.ACTIVATIONS`.
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

    @property
    def host_operations(self) -> int:
        """All that the windows see."""
        return math.prod(self.output.shape) * math.prod(self.size)

    def check(self) -> None:
        """Raise `UserError` unless shapes and quantization are what the operator takes."""
        super().check()
        source, target = self.inputs[0], self.output
        near = abs(source.scale - target.scale) <= 1e-6  # the kernels' own limit
        if not near or source.zero_point != target.zero_point:
            raise UserError("input and output must have the same scale and zero point")

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        offset = self.inputs[0].offset
        return self.pool(values[0][0], self.window, self.limits(self.activation), offset)[None]


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

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        x, y = self.inputs[0], self.output
        return quant.mean(
            values[0],
            self.axes,
            scales=(x.scale, y.scale),
            zero_points=(x.zero_point, y.zero_point),
            keep_dims=self.keep_dims,
        )

    @property
    def host_operations(self) -> int:
        """Every element of the input is added."""
        return math.prod(self.inputs[0].shape)

    def check(self) -> None:
        """Raise `UserError` unless shapes and scales are what the operator takes."""
        super().check()
        quant.quantize_multiplier(self.inputs[0].scale / self.output.scale)


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(Operator):
    """Exponentials over the last axis, divided by their sum."""

    kind = "SOFTMAX"

    beta: float = 1.0

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        return activations.softmax(values[0], self.inputs[0].scale, self.beta)

    def check(self) -> None:
        """Raise `UserError` unless shapes and quantization are what the operator takes."""
        super().check()
        if (self.output.scale, self.output.zero_point) != (1 / 256, -128):
            raise UserError(
                f"the output must have scale 1/256 and zero point {self.output.offset - 128}"
            )
        self(np.zeros((1, 1), np.int8))  # refuses a scale that does not fit
