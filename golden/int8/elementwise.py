"""Operators that compute every element of the output from one of each input.

Those with one int8 input are tables of 256.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from report.errors import UserError

from ..arith import activations, quant
from ..arith.activations import look_up, table_of
from ..arith.quant import Int8Array
from ..arith.wrap import IntArray
from .operators import Operator

__all__ = [
    "Add",
    "Dequantize",
    "Function",
    "HardSwish",
    "LeakyRelu",
    "Logistic",
    "Maximum",
    "Minimum",
    "Mul",
    "PRelu",
    "Pair",
    "Quantize",
    "Relu",
    "Relu0To1",
    "Relu6",
    "ReluN1To1",
    "Sub",
    "Tanh",
]


def _ratio(one: Operator, *factors: float) -> float:
    """Return the product of some factors, float32 values, over the scale of the output.

    In double, as in TFLM; for uint8, of which TFLM has no kernel, in float32, as in LiteRT.
    """
    kind: Any = np.float32 if one.inputs[0].dtype == "uint8" else np.float64
    found = kind(factors[0])
    with np.errstate(over="ignore"):  # what is infinite is refused
        for factor in factors[1:]:
            found = found * kind(factor)
        return float(found / kind(one.output.scale))


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair(Operator):
    """An operator with two inputs that broadcast against each other."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        first, second = (tensor.shape for tensor in self.inputs)
        try:
            return np.broadcast_shapes(first, second)
        except ValueError:
            raise UserError(f"the inputs do not fit each other: {first} and {second}") from None

    @property
    def _quantization(self) -> dict[str, Any]:
        """Scales and zero points of the inputs and the output."""
        every = (*self.inputs, self.output)
        return {
            "scales": tuple(one.scale for one in every),
            "zero_points": tuple(one.zero_point for one in every),
        }

    def check(self) -> None:
        """Raise `UserError` unless shapes and scales are what the operator takes."""
        super().check()
        self(*(np.zeros(1, np.int8) for _ in self.inputs))  # refuses scales that do not fit


@dataclass(frozen=True, eq=False, kw_only=True)
class _Arithmetic(Pair):
    """An operator with a fused activation.

    Parameters
    ----------
    activation : str
        One of `golden.arith.quant.ACTIVATIONS`.
    """

    activation: str = "NONE"


class Add(_Arithmetic):
    """The sum of two tensors."""

    kind = "ADD"

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        return quant.add(*values, **self._quantization, limits=self.limits(self.activation))


class Sub(_Arithmetic):
    """The first tensor less the second."""

    kind = "SUB"

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        limits = self.limits(self.activation)
        return quant.add(*values, **self._quantization, limits=limits, subtract=True)


class Mul(_Arithmetic):
    """The product of two tensors."""

    kind = "MUL"

    @property
    def real(self) -> float:
        """What a product is multiplied by."""
        return _ratio(self, self.inputs[0].scale, self.inputs[1].scale)

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        return quant.product(
            *values, real=self.real, zero_points=self._quantization["zero_points"],
            limits=self.limits(self.activation),
        )  # fmt: skip


class _Extreme(Pair):
    """The greater or the less of two tensors; all have the same quantization."""

    def check(self) -> None:
        """Raise `UserError` unless types, shapes and quantization are what it takes."""
        super().check()
        if len({tensor.quantization for tensor in (*self.inputs, self.output)}) > 1:
            raise UserError("inputs and output must have the same scale and zero point")


class Maximum(_Extreme):
    """The greater of two tensors."""

    kind = "MAXIMUM"

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        return np.maximum(*values)


class Minimum(_Extreme):
    """The less of two tensors."""

    kind = "MINIMUM"

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        return np.minimum(*values)


class PRelu(Pair):
    """The first tensor, times the second where it is below 0."""

    kind = "PRELU"

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        x, alpha = self.inputs
        return quant.leaky(
            values[0],
            np.asarray(values[1], np.int64) - alpha.zero_point,
            positive=_ratio(self, x.scale),
            negative=_ratio(self, x.scale, alpha.scale),
            zero_points=(x.zero_point, self.output.zero_point),
        )


# --- One input ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Function(Operator):
    """An operator that is a function of one int8 value."""

    def function(self, x: IntArray) -> Any:
        """Return the output for values of the input."""
        raise NotImplementedError

    @cached_property
    def table(self) -> Int8Array:
        """The output for -128 to 127."""
        return table_of(self.function)

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        return look_up(self.table, values[0])

    def check(self) -> None:
        """Raise `UserError` unless types, shapes and quantization are what it takes."""
        super().check()
        _ = self.table  # refuses scales that do not fit

    @property
    def _scales(self) -> tuple[float, float]:
        return self.inputs[0].scale, self.output.scale

    @property
    def _zero_points(self) -> tuple[int, int]:
        return self.inputs[0].zero_point, self.output.zero_point


class _Relu(Function):
    """What lies in some range, and the ends of the range elsewhere.

    Where input and output have different quantizations TFLM's kernel of RELU6 does not rescale;
    LiteRT's does, and so does this.
    """

    bound: ClassVar[str]

    def function(self, x: IntArray) -> Any:
        """Return the output for values of the input."""
        real = _ratio(self, self.inputs[0].scale)
        return quant.rescale(x, real, self._zero_points, self.limits(self.bound))


class Relu(_Relu):
    """0 and more."""

    kind = bound = "RELU"


class Relu6(_Relu):
    """0 to 6."""

    kind = bound = "RELU6"


class ReluN1To1(_Relu):
    """-1 to 1."""

    kind = bound = "RELU_N1_TO_1"


class Relu0To1(_Relu):
    """0 to 1."""

    kind = bound = "RELU_0_TO_1"


@dataclass(frozen=True, eq=False, kw_only=True)
class LeakyRelu(Function):
    """The input, times `alpha` where it is below 0."""

    kind = "LEAKY_RELU"

    alpha: float

    def function(self, x: IntArray) -> Any:
        """Return the output for values of the input."""
        source = self.inputs[0].scale
        return quant.leaky(
            x, 1, positive=_ratio(self, source), negative=_ratio(self, source, self.alpha),
            zero_points=self._zero_points,
        )  # fmt: skip

    def check(self) -> None:
        """Raise `UserError` unless types, shapes and quantization are what it takes."""
        if not math.isfinite(self.alpha):
            raise UserError(f"alpha must be a number, not {self.alpha}")
        super().check()


class HardSwish(Function):
    """``x * clip(x + 3, 0, 6) / 6``."""

    kind = "HARD_SWISH"

    def function(self, x: IntArray) -> Any:
        """Return the output for values of the input."""
        return activations.hard_swish(x, self._scales, self._zero_points)


class _Sigmoid(Function):
    """A function with a fixed range, and so with a fixed quantization of the output.

    uint8 values go through a table that LiteRT fills in float32.
    """

    fixed: ClassVar[tuple[float, int]]

    def real(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the function of real numbers."""
        raise NotImplementedError

    def whole(self, x: IntArray) -> IntArray:
        """Return the function of int8 values."""
        raise NotImplementedError

    def function(self, x: IntArray) -> Any:
        """Return the output for values of the input."""
        if self.inputs[0].dtype == "int8":
            return self.whole(x)
        source, zero = np.float32(self.inputs[0].scale), self.inputs[0].zero_point
        found = self.real(source * (x - zero).astype(np.float32)) / np.float32(self.output.scale)
        return np.clip(np.floor(found + np.float32(0.5)) + self.output.zero_point, *quant.INT8)

    def check(self) -> None:
        """Raise `UserError` unless types, shapes and quantization are what it takes."""
        super().check()
        scale, zero_point = self.fixed
        if (self.output.scale, self.output.zero_point) != (scale, zero_point):
            raise UserError(
                f"the output must have scale 1/{1 / scale:g} and zero point "
                f"{zero_point + self.output.offset}"
            )


class Logistic(_Sigmoid):
    """``1 / (1 + exp(-x))``."""

    kind = "LOGISTIC"
    fixed = (1 / 256, -128)

    def real(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the function of real numbers."""
        # In double, and rounded: what a C library's exp of a float is.
        with np.errstate(over="ignore"):
            found = np.exp(-x.astype(np.float64)).astype(np.float32)
        return np.float32(1) / (np.float32(1) + found)

    def whole(self, x: IntArray) -> IntArray:
        """Return the function of int8 values."""
        return activations.logistic(x, self.inputs[0].scale, self.inputs[0].zero_point)


class Tanh(_Sigmoid):
    """The hyperbolic tangent."""

    kind = "TANH"
    fixed = (1 / 128, 0)

    def real(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the function of real numbers."""
        return np.tanh(x.astype(np.float64)).astype(np.float32)

    def whole(self, x: IntArray) -> IntArray:
        """Return the function of int8 values."""
        return activations.tanh(x, self.inputs[0].scale, self.inputs[0].zero_point)


# --- To and from real numbers ------------------------------------------------------------------


class Quantize(Function):
    """The input in another quantization, or real numbers in one."""

    kind = "QUANTIZE"

    def function(self, x: IntArray) -> Any:
        """Return the output for values of the input."""
        source, target = self._scales  # in double for uint8, too
        return quant.rescale(x, source / target, self._zero_points)

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        if self.inputs[0].real:
            return quant.quantize(values[0], self.output.scale, self.output.zero_point)
        return super().__call__(*values)

    def check_types(self) -> None:
        """Raise `UserError` unless the types of the activations are what the operator takes."""
        if self.output.real:
            raise UserError("the output must be int8 or uint8, not float32")

    def check(self) -> None:
        """Raise `UserError` unless types, shapes and quantization are what it takes."""
        if self.inputs[0].real:
            Operator.check(self)
        else:
            super().check()


class Dequantize(Operator):
    """The real numbers that the input stands for."""

    kind = "DEQUANTIZE"

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output."""
        return quant.dequantize(values[0], self.inputs[0].scale, self.inputs[0].zero_point)

    def check_types(self) -> None:
        """Raise `UserError` unless the types of the activations are what the operator takes."""
        if self.inputs[0].real or not self.output.real:
            raise UserError(
                "the input must be int8 or uint8 and the output float32, not "
                f"{self.inputs[0].dtype} and {self.output.dtype}"
            )
