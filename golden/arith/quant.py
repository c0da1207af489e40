"""The int8 arithmetic of TensorFlow Lite's reference kernels, bit for bit.

A quantized value q stands for the real number ``scale * (q - zero_point)``. Source of the formulas:
TensorFlow Lite, ``lite/kernels/internal`` (``common.h``, ``quantization_util.cc``,
``reference/integer_ops/{conv,pooling,add,mul}.h``, ``reference/{dequantize,leaky_relu,prelu,
quantize,reduce,requantize,sub}.h``), and gemmlowp's
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
    "dequantize",
    "fixed_point",
    "high_mul",
    "leaky",
    "max_pool",
    "mean",
    "multiply",
    "product",
    "quantize",
    "quantize_multiplier",
    "requantize",
    "rescale",
    "round_half_away",
    "round_once",
    "rounding_shift",
]

#: What activations let through, as real numbers.
BOUNDS = {
    "NONE": (-math.inf, math.inf),
    "RELU": (0.0, math.inf),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU6": (0.0, 6.0),
    "RELU_0_TO_1": (0.0, 1.0),
}
#: Those that can be fused.
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")

INT8 = (-128, 127)
INT32 = (-(1 << 31), (1 << 31) - 1)

Int8Array = NDArray[np.int8]


def _round(value: float) -> int:
    """Return the nearest integer, halves away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def round_half_away(values: NDArray[Any]) -> NDArray[Any]:
    """Return the nearest integers, halves away from zero, as floats of the same kind."""
    half = values.dtype.type(0.5)
    found: NDArray[Any] = np.trunc(values + np.copysign(half, values))
    return found


def divide(a: IntArray, b: Any) -> IntArray:
    """Return a / b, rounded toward zero, for b > 0."""
    return np.where(a >= 0, a // b, -(-a // b))


def fixed_point(real: float) -> tuple[int, int]:
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
    multiplier, shift = fixed_point(real)
    return (multiplier, shift) if shift >= -31 else (0, 0)


def high_mul(a: Any, b: Any) -> IntArray:
    """Return ``round(a * b / 2**31)``, halves up, saturated to int32.

    `SaturatingRoundingDoublingHighMul`, whose ``(a * b + (2**30 if a * b >= 0 else 1 - 2**30)) /
    2**31`` is ``(a * b + 2**30) >> 31`` for both signs.

    Parameters
    ----------
    a, b : integer arrays
        In the range of int32.
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.minimum((product + (1 << 30)) >> 31, INT32[1])


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
    """Return the least and the greatest int8 that an activation lets through.

    The `BOUNDS` as int8, ``zero_point + round(bound / scale)`` in float32, where that is in -128
    to 127. `CalculateActivationRangeQuantized`.
    """
    low, high = BOUNDS[activation]
    return _bound(low, scale, zero_point), _bound(high, scale, zero_point)


def _bound(real: float, scale: float, zero_point: int) -> int:
    far = real / scale
    if abs(far) > 512:
        return INT8[real > 0]
    steps = _round(float(np.float32(real) / np.float32(scale)))
    return min(max(zero_point + steps, INT8[0]), INT8[1])


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


def round_once(acc: Any, real: Any, zero_point: int, limits: tuple[int, int] = INT8) -> Int8Array:
    """Return int32 sums as int8: ``clip(round(acc * real) + zero_point)``, in double.

    What LiteRT's FULLY_CONNECTED does since TensorFlow 2.20. Parameters as those of `requantize`,
    with real multipliers.
    """
    value = np.asarray(acc, np.float64) * real
    return np.clip(round_half_away(value) + zero_point, *limits).astype(np.int8)


def add(
    a: Any,
    b: Any,
    *,
    scales: tuple[float, float, float],
    zero_points: tuple[int, int, int],
    limits: tuple[int, int] = INT8,
    subtract: bool = False,
) -> Int8Array:
    """Return the int8 sum, or difference, of two int8 arrays that broadcast against each other.

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
    subtract : bool
        Whether the second of the two summands is subtracted.

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
    first, second = (
        multiply((np.asarray(operand, np.int64) - zero) << left, *quantize_multiplier(scale / top))
        for operand, scale, zero in zip((a, b), scales, zero_points, strict=False)
    )
    total = first - second if subtract else first + second
    return requantize(total, *quantize_multiplier(last), zero_points[2], limits)


def product(
    a: Any,
    b: Any,
    *,
    real: float,
    zero_points: tuple[int, int, int],
    limits: tuple[int, int] = INT8,
) -> Int8Array:
    """Return the int8 product of two int8 arrays that broadcast against each other.

    ``clip(M((a - zero_a) * (b - zero_b), real) + zero_out)``, M as in `add`. Parameters as there,
    and `real`, ``scale_a * scale_b / scale_out``.
    """
    total = (np.asarray(a, np.int64) - zero_points[0]) * (np.asarray(b, np.int64) - zero_points[1])
    return requantize(total, *quantize_multiplier(real), zero_points[2], limits)


def rescale(
    x: Any, real: float, zero_points: tuple[int, int], limits: tuple[int, int] = INT8
) -> Int8Array:
    """Return int8 values with another scale and zero point.

    ``clip(M(x - zero_in, real) + zero_out)``, M as in `add`, `real` being ``scale_in /
    scale_out``; `Requantize`, and the kernels of RELU.
    """
    total = np.asarray(x, np.int64) - zero_points[0]
    return requantize(total, *quantize_multiplier(real), zero_points[1], limits)


def leaky(
    x: Any, slope: Any, *, positive: float, negative: float, zero_points: tuple[int, int]
) -> Int8Array:
    """Return int8 values times one number above 0, and times another below.

    ``clip(M(x - zero_in, positive) + zero_out)`` where ``x >= zero_in``, and
    ``clip(M((x - zero_in) * slope, negative) + zero_out)`` elsewhere, M as in `add`.

    Parameters
    ----------
    x : int8 array
    slope : int or integer array
        Broadcasts against x.
    positive, negative : float
        Real multipliers; the second may be negative.
    zero_points : (int, int)
        Of x and of the result.
    """
    value = np.asarray(x, np.int64) - zero_points[0]
    below = multiply(value * slope, *quantize_multiplier(abs(negative)))
    if negative < 0:
        below = -below  # so the sign comes after the rounding, in the kernels, too
    above = multiply(value, *quantize_multiplier(positive))
    return np.clip(np.where(value >= 0, above, below) + zero_points[1], *INT8).astype(np.int8)


def quantize(x: Any, scale: float, zero_point: int) -> Int8Array:
    """Return float32 values as int8: ``clip(round(x / scale) + zero_point)``, in float32.

    What lies outside int32, and there undefined in C, is clipped, too; NaN is refused.

    Raises
    ------
    UserError
        If a value is not a number.
    """
    steps = np.asarray(x, np.float32) / np.float32(scale)
    if np.isnan(steps).any():
        raise UserError("a value that is to be quantized is NaN")
    steps = np.clip(steps, -512, 512)
    return np.clip(round_half_away(steps) + zero_point, *INT8).astype(np.int8)


def dequantize(x: Any, scale: float, zero_point: int) -> NDArray[np.float32]:
    """Return int8 values as real numbers: ``float32(scale * (x - zero_point))``, in double."""
    return (scale * (np.asarray(x, np.float64) - zero_point)).astype(np.float32)


def average_pool(
    x: Any, window: Window, limits: tuple[int, int] = INT8, offset: int = 0
) -> Int8Array:
    """Return the mean of what lies inside the image under every position of a window.

    ``(sum + n / 2) / n`` for a positive sum, ``(sum - n / 2) / n`` otherwise, n the number of
    elements inside. Input and result have the same quantization, so zero points do not matter,
    but where halves go does: they are those of ``x + offset``.

    Parameters
    ----------
    x : int8 array (H, W, C)
    window : Window
    limits : (int, int)
        Of the result; see `activation_range`.
    offset : int
        What the values in the file are more: 128 for uint8.

    Returns
    -------
    int8 array (H_out, W_out, C)
    """
    x = np.asarray(x, np.int64) + offset
    total = window.patches(x, 0).sum((2, 3))
    count = window.patches(np.ones((*x.shape[:2], 1), np.int64), 0).sum((2, 3))
    rounded = divide(total + np.where(total > 0, count // 2, -(count // 2)), count)
    return np.clip(rounded - offset, *limits).astype(np.int8)


def max_pool(x: Any, window: Window, limits: tuple[int, int] = INT8, offset: int = 0) -> Int8Array:
    """Return the greatest element inside the image under every position of a window.

    Parameters
    ----------
    x : int8 array (H, W, C)
    window : Window
    limits : (int, int)
        Of the result; see `activation_range`.
    offset : int
        As of `average_pool`; it makes no difference here.

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
