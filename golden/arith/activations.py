"""Exponentials and what is made of them on int8, as TensorFlow Lite's reference kernels do it.

Source of the formulas: TensorFlow Lite, ``lite/kernels/internal/reference`` (``softmax.h``,
``hard_swish.h``, ``integer_ops/{logistic,tanh}.h``), and gemmlowp's ``fixedpoint.h``. Fixed point
is written Qi.f: int32 with i integer bits, sign apart, and f = 31 - i fraction bits. What takes one
value at a time is a table of 256 (`table_of`), so arrays of any size cost a look-up per element.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from report.errors import UserError

from .quant import (
    INT8,
    INT32,
    Int8Array,
    divide,
    fixed_point,
    high_mul,
    multiply,
    quantize_multiplier,
    rounding_shift,
)
from .wrap import IntArray

__all__ = ["hard_swish", "logistic", "look_up", "softmax", "table_of", "tanh"]

#: All values of int8, the least first.
EVERY = np.arange(INT8[0], INT8[1] + 1)


def table_of(function: Callable[[IntArray], Any]) -> Int8Array:
    """Return what a function makes of -128 to 127, as int8 ``(256,)``."""
    return np.asarray(function(EVERY)).astype(np.int8)


def look_up(table: Int8Array, x: Any) -> Int8Array:
    """Return what a table of 256 says of int8 values."""
    return table[np.asarray(x, np.int16) - INT8[0]]


def softmax(x: Any, scale: float, beta: float = 1.0) -> Int8Array:
    """Return ``exp(beta * scale * x) / sum(...)`` over the last axis, scale 1/256, zero point -128.

    All in fixed point::

        difference = x - max(x)                                   0 to -255
        scaled     = high_mul(difference * 2**s, m)               Q5.26 of beta * scale * difference
        total      = sum(exp(scaled) / 2**12)                     Q12.19
        result     = rounding_shift(high_mul(1 / total, exp(scaled)), ...) - 128

    with ``m, s = quantize_multiplier(beta * scale * 2**26)``. exp is a polynomial below 1/4 and a
    product of constants above; the reciprocal takes three steps of Newton and Raphson. Differences
    below ``-floor(31 * 2**(26 - s))`` give -128.

    Parameters
    ----------
    x : int8 array (..., classes)
    scale : float
        Of x, float32.
    beta : float

    Raises
    ------
    UserError
        If ``beta * scale`` is 2**-26 or less, or a sum reaches 512, as with 512 equal classes: the
        reference kernel stops there.
    """
    real = min(beta * scale * (1 << 26), (1 << 31) - 1.0)
    if not real > 1:
        raise UserError(f"beta * scale must be above {2**-26:g}, not {beta * scale:g}")
    multiplier, shift = fixed_point(real)
    least = -math.floor(31 * (1 << 26) / (1 << shift))

    x = np.asarray(x, np.int64)
    difference = x - x.max(-1, keepdims=True)
    used = difference >= least
    scaled = high_mul(np.where(used, difference, 0) << shift, multiplier)
    exps = np.where(used, _exp(scaled), 0)
    total = rounding_shift(exps, 12).sum(-1, keepdims=True)
    if int(total.max()) >= 1 << 28:
        raise UserError("512 or more of the classes are nearly equal: no softmax in TFLite")
    headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)  # leading zeros
    inverse = _reciprocal((total << headroom) - (1 << 31))
    result = rounding_shift(high_mul(inverse, exps), 12 - headroom + 31 - 8) + INT8[0]
    return np.where(used, np.clip(result, *INT8), INT8[0]).astype(np.int8)


def _shift_left(x: IntArray, exponent: int) -> IntArray:
    """Return x * 2**exponent, saturated to int32."""
    return np.clip(x << exponent, *INT32)


#: exp(-2**e) in Q0.31, for e from -2 to 4.
_EXPS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def _exp(x: IntArray, integer_bits: int = 5) -> IntArray:
    """Return exp(x) in Q0.31 for x <= 0 in Qi.f; gemmlowp's `exp_on_negative_values`."""
    fraction = 31 - integer_bits
    quarter = 1 << (fraction - 2)
    low = (x & (quarter - 1)) - quarter  # -1/4 to below 0
    # A Taylor series around -1/8, for x = low + 1/8 in Q0.31.
    t = (low << integer_bits) + (1 << 28)
    t2 = high_mul(t, t)
    t3 = high_mul(t2, t)
    t4 = rounding_shift(high_mul(t2, t2), 2)
    series = rounding_shift(high_mul(t4 + t3, 715827883) + t2, 1)  # x**2/2 + x**3/6 + x**4/24
    result = 1895147668 + high_mul(1895147668, t + series)  # exp(-1/8) (1 + ...)
    rest = low - x
    for bit, constant in enumerate(_EXPS[: integer_bits + 2], fraction - 2):
        result = np.where(rest & (1 << bit), high_mul(result, constant), result)
    return np.where(x == 0, INT32[1], result)


def _newton(x: IntArray) -> IntArray:
    """Return 2 / (1 + x) in Q2.29 for x from 0 to 1 in Q0.31, by three steps."""
    half = (x + INT32[1] + 1) >> 1  # (1 + x) / 2
    guess = 1515870810 + high_mul(half, -1010580540)  # 48/17 - 32/17 half, in Q2.29
    for _ in range(3):
        rest = (1 << 29) - high_mul(half, guess)
        guess = guess + _shift_left(high_mul(guess, rest), 2)
    return guess


def _reciprocal(x: IntArray) -> IntArray:
    """Return 1 / (1 + x) in Q0.31 for x from 0 to 1; `one_over_one_plus_x_for_x_in_0_1`."""
    return _shift_left(_newton(x), 1)


def _bounded(
    x: IntArray, scale: float, zero_point: int, inside: Callable[[IntArray], IntArray]
) -> IntArray:
    """Return a function of int8 values that goes to -128 and 127 far away from 0.

    ``inside(multiply((x - zero_point), *fixed_point(scale * 2**27)))``, in Q4.27, where that is
    below 15, about; `CalculateInputRadius`.
    """
    multiplier, shift = fixed_point(scale * (1 << 27))
    radius = math.floor(15 * (1 << 27) / 2.0**shift)
    value = x - zero_point
    near = np.abs(value) < radius
    found = inside(multiply(np.where(near, value, 0), multiplier, shift))
    return np.where(near, np.clip(found, *INT8), np.where(value <= -radius, *INT8))


def logistic(x: Any, scale: float, zero_point: int) -> IntArray:
    """Return ``1 / (1 + exp(-x))`` of int8 values, scale 1/256, zero point -128.

    For a > 0 in Q4.27, ``y = 1 / (1 + exp(-a))`` in Q0.31, ``1 - y`` for -a;
    ``rounding_shift(y, 23) - 128``.
    """

    def inside(value: IntArray) -> IntArray:
        positive = _reciprocal(_exp(-np.abs(value), 4))
        whole = np.where(value > 0, positive, INT32[1] - positive)
        return rounding_shift(np.where(value == 0, 1 << 30, whole), 23) + INT8[0]

    return _bounded(np.asarray(x, np.int64), scale, zero_point, inside)


def tanh(x: Any, scale: float, zero_point: int) -> IntArray:
    """Return the hyperbolic tangent of int8 values, scale 1/128, zero point 0.

    For a > 0 in Q4.27, ``y = 2 / (1 + exp(-2 a)) - 1`` in Q0.31, -y for -a;
    ``rounding_shift(y, 24)``.
    """

    def inside(value: IntArray) -> IntArray:
        positive = _shift_left(_newton(_exp(-np.abs(value))) - (1 << 29), 2)
        return rounding_shift(np.where(value == 0, 0, np.sign(value) * positive), 24)

    return _bounded(np.asarray(x, np.int64), scale, zero_point, inside)


def hard_swish(x: Any, scales: tuple[float, float], zero_points: tuple[int, int]) -> IntArray:
    """Return ``x * clip(x + 3, 0, 6) / 6`` of int8 values.

    In int16, with ``hires = (x - zero_in) * 2**7`` and M(a, b) = round(a * b / 2**15)::

        part   = M(hires, output multiplier)                    on the output's scale, not shifted
        reluish = (clip(M(hires, reluish multiplier) * 2**e) + 2**15) / 2          (x + 3) / 6
        result = clip(rounding_shift(trunc(reluish * part / 2**15), shift) + zero_out)

    Parameters
    ----------
    x : int8 array
    scales, zero_points : pairs
        Of x and of the result.

    Raises
    ------
    UserError
        If the result's scale is less than 1/128 of that of x.
    """
    hires = np.float32(1 / 128) * np.float32(scales[0])
    with np.errstate(over="ignore"):  # what is infinite is refused
        last, shift = quantize_multiplier(float(hires / np.float32(scales[1])))
    if shift > 0:
        raise UserError(f"the output's scale must be at least 1/128 of {scales[0]:g}")
    near, exponent = quantize_multiplier(float(hires / (np.float32(3) / np.float32(32768))))
    value = (np.asarray(x, np.int64) - zero_points[0]) * (1 << 7)
    part = _high_mul16(value, _short(last))
    reluish = np.clip(value << max(exponent - 1, 0), *_INT16)
    reluish = _high_mul16(reluish, _short(near))
    if exponent > 0:
        reluish = np.clip(reluish << 1, *_INT16)
    reluish = (rounding_shift(reluish, max(-exponent, 0)) + (1 << 15)) >> 1
    product = divide(reluish * part, 1 << 15)
    return np.clip(rounding_shift(product, -shift) + zero_points[1], *INT8)


_INT16 = (-(1 << 15), (1 << 15) - 1)


def _short(multiplier: int) -> int:
    """Return a multiplier in 15 bits; `DownScaleInt32ToInt16Multiplier`."""
    return min((multiplier + (1 << 15)) >> 16, _INT16[1])


def _high_mul16(a: IntArray, b: int) -> IntArray:
    """Return ``round(a * b / 2**15)``, halves up."""
    product = a * b
    return divide(product + np.where(product >= 0, 1 << 14, 1 - (1 << 14)), 1 << 15)
