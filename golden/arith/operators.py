"""The integer operators, as values.

Arrays are NHWC with batch 1 left out: activations ``(H, W, C)``, conv weights
``(kh, kw, c_in, c_out)``, depthwise weights ``(kh, kw, c)``, 1-D depthwise weights ``(k, c)``,
pointwise and linear weights ``(c_in, c_out)``. Operands are integer arrays; results are int64
accumulators, wrapped to `acc_width` bits like the hardware's.

`padding` is ``"same"`` or ``"valid"`` (as in TensorFlow Lite), one integer, ``(vertical,
horizontal)``, or ``((top, bottom), (left, right))``; a negative amount crops. `stride` is one
integer or ``(vertical, horizontal)``. Every function raises `TypeError` for arrays that are not
integers and `UserError` for shapes that do not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from report.errors import UserError

from .window import Padding, Stride, Window, fuse_windows
from .wrap import IntArray, integers, wrap

__all__ = [
    "abconv2d",
    "abconv_exp2d",
    "conv2d",
    "depthwise_conv2d",
    "fuse_conv2d",
    "linear",
    "pointwise_conv2d",
]


def _agree(name: str, got: int, want: int, what: str) -> None:
    if got != want:
        raise UserError(f"{name} must have {want} {what}, not {got}")


def linear(x: Any, w: Any, *, acc_width: int = 32) -> IntArray:
    """Return ``y[n] = sum_k x[k] * w[k, n]`` for x ``(c_in,)``, w ``(c_in, c_out)``."""
    x, w = integers("x", x, 1), integers("w", w, 2)
    _agree("w", w.shape[0], x.shape[0], "input channels")
    return wrap(x @ w, acc_width)


def pointwise_conv2d(x: Any, w: Any, *, acc_width: int = 32) -> IntArray:
    """Return ``y[h, w, n] = sum_k x[h, w, k] * w[k, n]``; shape ``(H, W, c_out)``."""
    x, w = integers("x", x, 3), integers("w", w, 2)
    _agree("w", w.shape[0], x.shape[2], "input channels")
    return wrap(x @ w, acc_width)


def conv2d(
    x: Any,
    w: Any,
    *,
    stride: Stride = 1,
    padding: Padding = "same",
    pad_value: int = 0,
    acc_width: int = 32,
) -> IntArray:
    """Return the convolution of x ``(H, W, c_in)`` with w ``(kh, kw, c_in, c_out)``.

    ``y[i, j, n] = sum_{u, v, c} x[i*s - top + u, j*s - left + v, c] * w[u, v, c, n]``
    """
    x, w = integers("x", x, 3), integers("w", w, 4)
    _agree("w", w.shape[2], x.shape[2], "input channels")
    window = Window.of(x.shape[:2], w.shape[:2], stride, padding)
    patches = window.patches(x, pad_value).reshape(*window.output, -1)
    return wrap(patches @ w.reshape(-1, w.shape[3]), acc_width)


def depthwise_conv2d(
    x: Any,
    w: Any,
    *,
    stride: Stride = 1,
    padding: Padding = "same",
    pad_value: int = 0,
    acc_width: int = 32,
) -> IntArray:
    """Return the convolution of every channel of x ``(H, W, c)`` with its own w ``(kh, kw, c)``.

    ``y[i, j, c] = sum_{u, v} x[i*s - top + u, j*s - left + v, c] * w[u, v, c]``
    """
    x, w = integers("x", x, 3), integers("w", w, 3)
    _agree("w", w.shape[2], x.shape[2], "channels")
    window = Window.of(x.shape[:2], w.shape[:2], stride, padding)
    return wrap((window.patches(x, pad_value) * w).sum((2, 3)), acc_width)


def _fuse_branches(
    x: Any, w_row: Any, w_col: Any, variant: str, stride: Stride, padding: Padding
) -> list[tuple[IntArray, IntArray, Window]]:
    """Return FuSeConv as depthwise convolutions: image, weights and window of both branches."""
    x = integers("x", x, 3)
    w_row, w_col = integers("w_row", w_row, 2), integers("w_col", w_col, 2)
    channels = x.shape[2]
    if variant not in ("half", "full"):
        raise UserError(f"variant must be 'half' or 'full', not {variant!r}")
    if variant == "half" and channels % 2:
        raise UserError(f"x must have an even number of channels for 'half', not {channels}")
    each = channels // 2 if variant == "half" else channels
    _agree("w_row", w_row.shape[1], each, "channels")
    _agree("w_col", w_col.shape[1], each, "channels")
    k = len(w_row)
    _agree("w_col", len(w_col), k, "taps")
    row, col = fuse_windows(Window.of(x.shape[:2], (k, k), stride, padding))
    return [(x[..., :each], w_row[None], row), (x[..., -each:], w_col[:, None], col)]


def fuse_conv2d(
    x: Any,
    w_row: Any,
    w_col: Any,
    *,
    variant: str = "half",
    stride: Stride = 1,
    padding: Padding = "same",
    pad_value: int = 0,
    acc_width: int = 32,
) -> IntArray:
    """Return FuSeConv: row filters 1 x k and column filters k x 1, concatenated [row, column].

    ``"half"``: the first half of the channels gets the row filters, the second half the column
    filters, w_row and w_col ``(k, c/2)``, result ``(H_out, W_out, c)``. ``"full"``: both on all
    channels, w_row and w_col ``(k, c)``, result ``(H_out, W_out, 2*c)``. `padding` is that of the
    k x k depthwise convolution that is replaced. Source: FuSeConv, DATE 2021.
    """
    parts = []
    for image, w, window in _fuse_branches(x, w_row, w_col, variant, stride, padding):
        parts.append((window.patches(image, pad_value) * w).sum((2, 3)))
    return wrap(np.concatenate(parts, axis=2), acc_width)


def check_groups(x: IntArray, w: IntArray, groups: int) -> None:
    """Raise `UserError` unless x has `groups` blocks of as many channels as w takes."""
    if groups < 1 or x.shape[2] % groups:
        raise UserError(f"groups must divide the {x.shape[2]} channels of x, not {groups}")
    _agree("w", w.shape[2], x.shape[2] // groups, "input channels (those of x over groups)")


def abconv2d(
    x: Any,
    w: Any,
    groups: int,
    *,
    stride: Stride = 1,
    padding: Padding = "same",
    pad_value: int = 0,
    acc_width: int = 32,
) -> IntArray:
    """Return ABConv: one convolution, shared by all `groups` channel blocks of x.

    x ``(H, W, c_in)``, w ``(kh, kw, c_in/g, c_out/g)`` (or ``(c_in/g, c_out/g)`` for 1 x 1); output
    block j comes from input block j, so for k = 1 it is ``y = x @ kron(I_g, w)``. Source: ABConv,
    MLSys 2023 on-device intelligence workshop.
    """
    x, w = integers("x", x, 3), integers("w", w, 2 if np.ndim(w) == 2 else 4)
    w = w.reshape(1, 1, *w.shape) if w.ndim == 2 else w
    check_groups(x, w, groups)
    blocks = [
        conv2d(block, w, stride=stride, padding=padding, pad_value=pad_value, acc_width=acc_width)
        for block in np.split(x, groups, axis=2)
    ]
    return np.concatenate(blocks, axis=2)


def abconv_exp2d(
    x: Any,
    w_expand: Any,
    w: Any,
    groups: int,
    *,
    activation: Callable[[IntArray], IntArray],
    stride: Stride = 1,
    padding: Padding = "same",
    pad_value: int = 0,
    acc_width: int = 32,
) -> IntArray:
    """Return ABConv-exp: a shared 1 x 1 expansion of every block, then a shared convolution.

    w_expand ``(c_in/g, c_mid)``, w ``(kh, kw, c_mid, c_out/g)``. `activation` turns the
    accumulators of the expansion into operands for the convolution.
    """
    middle = activation(abconv2d(x, w_expand, groups, acc_width=acc_width))
    return abconv2d(
        middle,
        w,
        groups,
        stride=stride,
        padding=padding,
        pad_value=pad_value,
        acc_width=acc_width,
    )
