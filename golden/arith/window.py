"""A sliding window over an image: sizes, strides, padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from report.errors import UserError

from .wrap import IntArray

__all__ = ["Padding", "Stride", "Window", "fuse_windows", "gather", "window_text"]

Padding = Any
Stride = int | tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A sliding window over an image, with every choice resolved.

    Parameters
    ----------
    size : (int, int)
        Height and width of the image.
    kernel, stride : (int, int)
        Vertical and horizontal.
    padding : ((int, int), (int, int))
        (top, bottom), (left, right); negative amounts crop.
    """

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]

    @classmethod
    def of(
        cls, size: tuple[int, int], kernel: tuple[int, int], stride: Stride, padding: Padding
    ) -> Window:
        """Resolve `stride` and `padding` as operators take them."""
        pair = (stride, stride) if isinstance(stride, int) else tuple(stride)
        if len(pair) != 2 or min(pair) < 1:
            raise UserError(f"stride must be one or two integers of at least 1, not {stride}")
        if padding == "valid":
            padding = 0
        if padding == "same":
            totals = [
                max((-(-n // s) - 1) * s + k - n, 0)
                for n, k, s in zip(size, kernel, pair, strict=True)
            ]
            padding = tuple((total // 2, total - total // 2) for total in totals)
        elif isinstance(padding, str):
            raise UserError(f"padding must be 'same', 'valid' or amounts, not {padding!r}")
        amounts = np.asarray(padding)
        if amounts.dtype.kind not in "iu" or amounts.shape not in ((), (2,), (2, 2)):
            raise UserError(f"padding must be 'same', 'valid' or amounts, not {padding!r}")
        if amounts.ndim == 1:
            amounts = amounts[:, None]
        (top, bottom), (left, right) = np.broadcast_to(amounts, (2, 2)).tolist()
        window = cls(size, kernel, (pair[0], pair[1]), ((top, bottom), (left, right)))
        if min(window.output) < 1:
            raise UserError(f"a {kernel} window does not fit a {size} image, padding {padding}")
        return window

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the result."""
        h, w = (
            (n + sum(pad) - k) // s + 1
            for n, k, s, pad in zip(self.size, self.kernel, self.stride, self.padding, strict=True)
        )
        return h, w

    @property
    def transposed(self) -> Window:
        """The same window over the transposed image."""
        return Window(self.size[::-1], self.kernel[::-1], self.stride[::-1], self.padding[::-1])

    def patches(self, x: IntArray, pad_value: int) -> IntArray:
        """Return what the window sees at every position.

        Returns
        -------
        int64 array (H_out, W_out, kh, kw, C)
        """
        spans = [
            np.arange(out)[:, None] * s - pad[0] + np.arange(k)
            for out, s, k, pad in zip(
                self.output, self.stride, self.kernel, self.padding, strict=True
            )
        ]
        rows, columns = spans[0][:, None, :, None], spans[1][None, :, None, :]
        return gather(x, rows, columns, slice(None), pad_value)


def window_text(kernel: tuple[int, int], stride: tuple[int, int]) -> str:
    """Return kernel and stride for people, as in ``3x3/2``."""
    size = f"{kernel[0]}x{kernel[1]}"
    if stride == (1, 1):
        return size
    return f"{size}/{stride[0]}" if stride[0] == stride[1] else f"{size}/{stride[0]}x{stride[1]}"


def gather(x: IntArray, rows: IntArray, columns: IntArray, channels: Any, pad: int) -> IntArray:
    """Return ``x[rows, columns, channels]``, with `pad` for what lies outside the image."""
    inside = (rows >= 0) & (rows < x.shape[0]) & (columns >= 0) & (columns < x.shape[1])
    values = x[np.clip(rows, 0, x.shape[0] - 1), np.clip(columns, 0, x.shape[1] - 1), channels]
    if values.ndim > inside.ndim:
        inside = inside[..., None]
    return np.where(inside, values, pad)


def fuse_windows(square: Window) -> tuple[Window, Window]:
    """Return the windows of the row and the column filters that replace a k x k window.

    A 1-D filter sits in the middle row (column) of the window that it replaces, so that the
    branches agree in size whatever the padding.
    """
    k = square.kernel[0]
    (top, bottom), (left, right) = square.padding
    before, after = k // 2, k - 1 - k // 2
    vertical = ((top - before, bottom - after), (left, right))
    horizontal = ((top, bottom), (left - before, right - after))
    return (
        Window(square.size, (1, k), square.stride, vertical),
        Window(square.size, (k, 1), square.stride, horizontal),
    )
