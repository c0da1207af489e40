"""The int8 arithmetic of TensorFlow Lite's reference kernels, bit for bit.

A quantized value q stands for the real number ``scale * (q - zero_point)``. Source of the formulas:
TensorFlow Lite, ``lite/kernels/internal`` (``common.h``, ``quantization_util.cc``,
``reference/integer_ops/{conv,pooling,add}.h``, ``reference/{reduce,softmax}.h``), and gemmlowp's
``fixedpoint.h``. Optimised kernels may differ from the reference kernels by one unit.

Versions: the results are those of TensorFlow Lite for Microcontrollers (TFLM, package tflite-micro
0.dev20261023182759), and of LiteRT 2.3.0 but for one operator. Since TensorFlow 2.20 the kernel of
FULLY_CONNECTED multiplies by a float and rounds once there. Here and in TFLM it is requantized in
integers, like CONV_2D, which rounds twice: one output of ``2**(1 - shift)`` differs by one unit,
`shift` that of the multiplier, so one of 1,024 at -9 and one of 8 at -2, fewer where a fused
activation clips. From layer to layer it adds up. For a FULLY_CONNECTED with one scale for all
weights, TensorFlow Lite 2.14 rounds the product of that and the input's scale to float32, where
both of these take it as it is; that shows in about one output of 40,000. MEAN is as in both;
versions before 2023 had a float in it.

Arithmetic is in int64, and every step that is int32 there stays in its range or is wrapped. `/` is
division that rounds toward zero, as in C, and ``round`` rounds halves away from zero.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from report.errors import UserError

from .window import Window
from .wrap import IntArray, wrap

__all__ = [
    "ACTIVATIONS",
    "activation_range",
    "add",
    "average_pool",
    "high_mul",
    "max_pool",
    "mean",
    "multiply",
    "quantize_multiplier",
    "requantize",
    "rounding_shift",
    "softmax",
]

ACTIVATIONS = ("NONE", "RELU", "RELU6")

INT8 = (-128, 127)
_INT32 = (-(1 << 31), (1 << 31) - 1)

Int8Array = NDArray[np.int8]


def _round(value: float) -> int:
    """Return the nearest integer, halves away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def _divide(a: IntArray, b: Any) -> IntArray:
    """Return a / b, rounded toward zero, for b > 0."""
    return np.where(a >= 0, a // b, -(-a // b))


def _fixed_point(real: float) -> tuple[int, int]:
    """Return the nearest ``multiplier * 2**(shift - 31)``, multiplier from 2**30 to 2**31 - 1."""
    mantissa, shift = math.frexp(real)
    multiplier = _round(mantissa * (1 << 31))
    return (multiplier, shift) if multiplier < 1 << 31 else (multiplier // 2, shift + 1)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Return `real` as ``multiplier * 2**(shift - 31)``, multiplier 0 or from 2**30 to 2**31 - 1.

    ``multiplier = round(m * 2**31)`` where ``real = m * 2**shift``, ``0.5 <= m < 1``; below
    ``2**-32`` everything is 0. `QuantizeMultiplier`.

    Raises
    ------
    UserError
        If `real` is negative, not finite, or 2**30 or more.
    """
    if not 0 <= real < 1 << 30:
        raise UserError(f"a multiplier must be from 0 to below 2**30, not {real:g}")
    multiplier, shift = _fixed_point(real)
    return (multiplier, shift) if shift >= -31 else (0, 0)


def high_mul(a: Any, b: Any) -> IntArray:
    """Return ``round(a * b / 2**31)``, halves up, saturated to int32.

    ``(a * b + (2**30 if a * b >= 0 else 1 - 2**30)) / 2**31``:
    `SaturatingRoundingDoublingHighMul`.

    Parameters
    ----------
    a, b : integer arrays
        In the range of int32.
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    return np.minimum(_divide(nudged, 1 << 31), _INT32[1])


def rounding_shift(x: Any, exponent: Any) -> IntArray:
    """Return ``round(x / 2**exponent)``, halves away from zero; `RoundingDivideByPOT`.

    Parameters
    ----------
    x : integer array
        In the range of int32.
    exponent : integer array
        0 to 31.
    """
    x, exponent = np.asarray(x, np.int64), np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    return (x >> exponent) + ((x & mask) > threshold)


def multiply(x: Any, multiplier: Any, shift: Any) -> IntArray:
    """Return about ``x * multiplier * 2**(shift - 31)``; `MultiplyByQuantizedMultiplier`.

    ``rounding_shift(high_mul(x * 2**max(shift, 0), multiplier), max(-shift, 0))``: it rounds twice.

    Parameters
    ----------
    x : integer array
        In the range of int32.
    multiplier, shift : integer arrays
        From `quantize_multiplier`; they broadcast against x.
    """
    shift = np.asarray(shift, np.int64)
    left = wrap(np.asarray(x, np.int64) << np.maximum(shift, 0), 32)
    return rounding_shift(high_mul(left, multiplier), np.maximum(-shift, 0))


def activation_range(activation: str, scale: float, zero_point: int) -> tuple[int, int]:
    """Return the least and the greatest int8 that a fused activation lets through.

    RELU: from ``zero_point``; RELU6: from there to ``zero_point + round(6 / scale)`` in float32;
    NONE: -128 to 127. `CalculateActivationRangeQuantized`.
    """
    low, high = INT8
    if activation in ("RELU", "RELU6"):
        low = max(low, zero_point)
    if activation == "RELU6" and scale > 6 / 256:
        high = min(high, zero_point + _round(float(np.float32(6) / np.float32(scale))))
    return low, high


def requantize(
    acc: Any, multiplier: Any, shift: Any, zero_point: int, limits: tuple[int, int] = INT8
) -> Int8Array:
    """Return int32 sums as int8: ``clip(multiply(acc, multiplier, shift) + zero_point)``.

    Parameters
    ----------
    acc : integer array (..., c)
        Sums with bias, in the range of int32; their real value is ``input_scale * weight_scale``
        times them.
    multiplier, shift : integer arrays (c,) or ()
        ``quantize_multiplier(input_scale * weight_scale / output_scale)``, per channel.
    zero_point : int
        Of the result.
    limits : (int, int)
        Of the result; see `activation_range`.
    """
    return np.clip(multiply(acc, multiplier, shift) + zero_point, *limits).astype(np.int8)


def add(
    a: Any,
    b: Any,
    *,
    scales: tuple[float, float, float],
    zero_points: tuple[int, int, int],
    limits: tuple[int, int] = INT8,
) -> Int8Array:
    """Return the int8 sum of two int8 arrays that broadcast against each other.

    With ``top = 2 * max(scale_a, scale_b)``, ``M(x, r) = multiply(x, *quantize_multiplier(r))``::

        sum    = M((a - zero_a) * 2**20, scale_a / top) + M((b - zero_b) * 2**20, scale_b / top)
        result = clip(M(sum, top / (2**20 * scale_out)) + zero_out)

    Parameters
    ----------
    a, b : int8 arrays
    scales : (float, float, float)
        Of a, b and the result, float32.
    zero_points : (int, int, int)
        Of a, b and the result.
    limits : (int, int)
        Of the result; see `activation_range`.

    Raises
    ------
    UserError
        If the result's scale is 2**-19 of an operand's or less.
    """
    left = 20
    top = 2.0 * max(scales[0], scales[1])
    last = top / ((1 << left) * scales[2])
    if not last < 1:
        raise UserError(f"the scale of a sum must be above {top / (1 << left):g}, not {scales[2]}")
    total: Any = 0
    for operand, scale, zero in zip((a, b), scales, zero_points, strict=False):
        shifted = (np.asarray(operand, np.int64) - zero) << left
        total = total + multiply(shifted, *quantize_multiplier(scale / top))
    return requantize(total, *quantize_multiplier(last), zero_points[2], limits)


def average_pool(x: Any, window: Window, limits: tuple[int, int] = INT8) -> Int8Array:
    """Return the mean of what lies inside the image under every position of a window.

    ``(sum + n / 2) / n`` for a positive sum, ``(sum - n / 2) / n`` otherwise, n the number of
    elements inside. Input and result have the same quantization, so zero points do not matter.

    Parameters
    ----------
    x : int8 array (H, W, C)
    window : Window
    limits : (int, int)
        Of the result; see `activation_range`.

    Returns
    -------
    int8 array (H_out, W_out, C)
    """
    x = np.asarray(x, np.int64)
    total = window.patches(x, 0).sum((2, 3))
    count = window.patches(np.ones((*x.shape[:2], 1), np.int64), 0).sum((2, 3))
    rounded = _divide(total + np.where(total > 0, count // 2, -(count // 2)), count)
    return np.clip(rounded, *limits).astype(np.int8)


def max_pool(x: Any, window: Window, limits: tuple[int, int] = INT8) -> Int8Array:
    """Return the greatest element inside the image under every position of a window.

    Parameters
    ----------
    x : int8 array (H, W, C)
    window : Window
    limits : (int, int)
        Of the result; see `activation_range`.

    Returns
    -------
    int8 array (H_out, W_out, C)
    """
    found = window.patches(np.asarray(x, np.int64), INT8[0]).max((2, 3))
    return np.clip(found, *limits).astype(np.int8)


def mean(
    x: Any,
    axes: tuple[int, ...],
    *,
    scales: tuple[float, float],
    zero_points: tuple[int, int],
    keep_dims: bool = False,
) -> Int8Array:
    """Return the int8 mean over some axes of an int8 array.

    With n elements per mean, ``m, s = quantize_multiplier(scale_in / scale_out)`` and
    ``e = min(floor(log2(n)), 32, 31 + s)``::

        result = clip(multiply(sum - n * zero_in, m * 2**e / n, s - e) + zero_out)

    Parameters
    ----------
    x : int8 array
    axes : tuple of int
    scales : (float, float)
        Of x and of the result, float32.
    zero_points : (int, int)
        Of x and of the result.
    keep_dims : bool
        Whether the axes stay, with one element.
    """
    x = np.asarray(x, np.int64)
    count = math.prod(x.shape[axis] for axis in set(axes))
    multiplier, shift = quantize_multiplier(scales[0] / scales[1])
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    total = wrap(x.sum(axes, keepdims=keep_dims) - count * zero_points[0], 32)
    return requantize(total, (multiplier << extra) // count, shift - extra, zero_points[1])


def softmax(x: Any, scale: float, beta: float = 1.0) -> Int8Array:
    """Return ``exp(beta * scale * x) / sum(...)`` over the last axis, scale 1/256, zero point -128.

    All in fixed point (Qi.f: int32 with i integer bits, sign apart, and f = 31 - i fraction bits)::

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
    multiplier, shift = _fixed_point(real)
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
    return np.clip(x << exponent, *_INT32)


#: exp(-2**e) in Q0.31, for e from -2 to 4.
_EXPS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def _exp(x: IntArray) -> IntArray:
    """Return exp(x) in Q0.31 for x <= 0 in Q5.26; gemmlowp's `exp_on_negative_values`."""
    quarter = 1 << 24
    low = (x & (quarter - 1)) - quarter  # -1/4 to below 0
    # A Taylor series around -1/8, for x = low + 1/8 in Q0.31.
    t = (low << 5) + (1 << 28)
    t2 = high_mul(t, t)
    t3 = high_mul(t2, t)
    t4 = rounding_shift(high_mul(t2, t2), 2)
    series = rounding_shift(high_mul(t4 + t3, 715827883) + t2, 1)  # x**2/2 + x**3/6 + x**4/24
    result = 1895147668 + high_mul(1895147668, t + series)  # exp(-1/8) (1 + ...)
    rest = low - x
    for bit, constant in enumerate(_EXPS, 24):
        result = np.where(rest & (1 << bit), high_mul(result, constant), result)
    return np.where(x == 0, _INT32[1], result)


def _reciprocal(x: IntArray) -> IntArray:
    """Return 1 / (1 + x) in Q0.31 for x from 0 to 1; `one_over_one_plus_x_for_x_in_0_1`."""
    half = (x + _INT32[1] + 1) >> 1  # (1 + x) / 2
    guess = 1515870810 + high_mul(half, -1010580540)  # 48/17 - 32/17 half, in Q2.29
    for _ in range(3):
        rest = (1 << 29) - high_mul(half, guess)
        guess = guess + _shift_left(high_mul(guess, rest), 2)
    return _shift_left(guess, 1)
