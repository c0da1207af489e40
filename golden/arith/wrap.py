"""Two's complement: wrapping, widths, and the check of what is given as integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from report.errors import UserError

__all__ = ["IntArray", "check_operand", "check_range", "integers", "sum_width", "wrap"]

IntArray = NDArray[np.int64]


def wrap(values: IntArray, width: int) -> IntArray:
    """Reduce values modulo ``2**width`` to signed integers of `width` bits.

    Parameters
    ----------
    values : int64 array, any shape
    width : int
        1 to 64.
    """
    shift = 64 - width
    return (values << shift) >> shift


def sum_width(reach: int, act_width: int) -> int:
    """Return the bits that hold ``sum_k act[k] * weight[k]``, whatever the activations are.

    Parameters
    ----------
    reach : int
        ``sum_k abs(weight[k])``; of weights that are not known, ``K * 2**(weight_width - 1)``.
    act_width : int
        Bits of an activation, signed: the worst one is ``-2**(act_width - 1)``.
    """
    return (reach << act_width - 1).bit_length() + 1


def integers(name: str, values: Any, ndim: int) -> IntArray:
    """Return `values` as int64 after checking kind and number of dimensions."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be an array of integers, not of {array.dtype}")
    if array.ndim != ndim or 0 in array.shape:
        raise UserError(f"{name} must have {ndim} dimensions, none empty, not {array.shape}")
    if array.dtype == np.uint64 and int(array.max()) >= 1 << 63:
        raise UserError(f"{name} must be below 2**63, not {array.max()}")
    return array.astype(np.int64)


def check_operand(name: str, values: Any, ndim: int, width: int) -> IntArray:
    """Return `values` as int64 after checking kind, dimensions and range.

    Raises
    ------
    TypeError
        If it is not an array of integers.
    ValueError
        If it has another number of dimensions, or a value does not fit `width` signed bits.
    """
    array = integers(name, values, ndim)
    check_range(name, array, width)
    return array


def check_range(name: str, array: IntArray, width: int) -> None:
    """Raise `ValueError` unless all values fit `width` signed bits."""
    low, high = -(1 << width - 1), (1 << width - 1) - 1
    least, greatest = int(array.min()), int(array.max())
    if not low <= least <= greatest <= high:
        worst = least if least < low else greatest
        raise ValueError(f"{name} must be from {low} to {high} ({width} bits), not {worst}")
