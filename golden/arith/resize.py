"""Images in another size, as TensorFlow Lite's reference kernels make them.

Source of the formulas: TensorFlow Lite, ``lite/kernels/internal/reference``
(``resize_nearest_neighbor.h``, ``resize_bilinear.h``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .quant import Int8Array, divide
from .wrap import IntArray

__all__ = ["between", "bilinear", "bilinear_float", "nearest"]


def nearest(count: int, size: int, *, align_corners: bool, half_pixel: bool) -> IntArray:
    """Return which of `size` elements each of `count` is, when an axis is resized.

    ``floor((i + offset) * scale)``, or ``round(...)`` with `align_corners`, in float32, at most
    ``size - 1``; ``scale = size / count``, or ``(size - 1) / (count - 1)`` with `align_corners`;
    ``offset`` 1/2 with `half_pixel`, else 0. `GetNearestNeighbor`.
    """
    spread = align_corners and count > 1
    scale = np.float32(size - spread) / np.float32(count - spread)
    place = (np.arange(count, dtype=np.float32) + np.float32(0.5 * half_pixel)) * scale
    if align_corners:
        place = place + np.float32(0.5)  # rounds what is not negative
    return np.clip(np.floor(place).astype(np.int64), 0, size - 1)


def between(
    count: int, size: int, *, align_corners: bool, half_pixel: bool
) -> tuple[IntArray, IntArray, IntArray]:
    """Return two neighbours each of `count` elements lies between, and 1,024ths of the way."""
    spread = align_corners and count > 1
    parts = count - spread
    scale = ((size - spread) * 1024 + parts // 2) // parts
    place = np.arange(count) * scale + (scale // 2 - 512 if half_pixel else 0)
    low = np.maximum(divide(place, 1024), 0)
    high = np.minimum(divide(place + 1023, 1024), size - 1)
    return low, high, place - 1024 * low


def bilinear(
    x: Any, size: tuple[int, int], *, align_corners: bool = False, half_pixel: bool = False
) -> Int8Array:
    """Return an int8 image in another size, interpolated in integers.

    Element i of an axis lies at ``i * scale``, or ``i * scale + scale / 2 - 512`` with
    `half_pixel`, 1,024ths of an element, with ``scale = round(1024 * size_in / size_out)``. The
    four neighbours count as much as they are near, which gives 2**20 times the result; halves away
    from zero. `ResizeBilinearInteger`.

    Parameters
    ----------
    x : int8 array (N, H, W, C)
    size : (int, int)
        Height and width of the result.
    align_corners, half_pixel : bool
    """
    x = np.asarray(x, np.int64)
    options = {"align_corners": align_corners, "half_pixel": half_pixel}
    top, bottom, down = between(size[0], x.shape[1], **options)
    left, right, along = between(size[1], x.shape[2], **options)
    along = along[:, None]
    upper, lower = (
        x[:, rows][:, :, left] * (1024 - along) + x[:, rows][:, :, right] * along
        for rows in (top, bottom)
    )
    down = down[:, None, None]
    total = upper * (1024 - down) + lower * down
    rounded = divide(total + np.where(total > 0, 1 << 19, -(1 << 19)), 1 << 20)
    return rounded.astype(np.int8)  # wraps, as where half pixels lie outside


def bilinear_float(
    x: Any, size: tuple[int, int], *, align_corners: bool = False, half_pixel: bool = False
) -> Int8Array:
    """Return an image of uint8 values less 128 in another size, interpolated in float32.

    What LiteRT does with uint8 (`ResizeBilinear`). Parameters as those of `bilinear`.
    """
    value = np.asarray(x, np.float32) + np.float32(128)

    def between(count: int, source: int) -> tuple[IntArray, IntArray, NDArray[np.float32]]:
        spread = align_corners and count > 1
        scale = np.float32(source - spread) / np.float32(count - spread)
        half = np.float32(0.5 * half_pixel)
        place = (np.arange(count, dtype=np.float32) + half) * scale - half
        low = np.maximum(np.floor(place).astype(np.int64), 0)
        high = np.minimum(np.ceil(place).astype(np.int64), source - 1)
        return low, high, place - low.astype(np.float32)

    top, bottom, down = between(size[0], value.shape[1])
    left, right, along = between(size[1], value.shape[2])
    along, down = along[:, None], down[:, None, None]
    one = np.float32(1)
    found = value[:, top][:, :, left] * (one - down) * (one - along)
    found = found + value[:, bottom][:, :, left] * down * (one - along)
    found = found + value[:, top][:, :, right] * (one - down) * along
    found = found + value[:, bottom][:, :, right] * down * along
    return (np.trunc(found + np.float32(0.5)).astype(np.int64) - 128).astype(np.int8)
