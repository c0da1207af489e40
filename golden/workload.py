"""One description of a layer: what it asks of the array, in shapes (`Workload`) and in data.

Published networks and imported models both give `Workload`; `golden.mapping` lays it onto a
machine. `Operands` are a workload's data: what the golden operators compute of them is what the
tiles of every mapping have to give.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from report.errors import UserError

from .arith import operators
from .arith.window import Padding, Stride, Window, fuse_windows, window_text
from .arith.wrap import IntArray, integers

__all__ = ["KINDS", "Branch", "Image", "Operands", "Workload"]

#: ``conv`` (1 x 1 is pointwise), ``linear`` (every pixel a row of the input), ``depthwise``,
#: ``fuse_half``, ``fuse_full``, ``abconv``.
KINDS = ("conv", "linear", "depthwise", "fuse_half", "fuse_full", "abconv")


@dataclass(frozen=True)
class Branch:
    """One depthwise convolution: what its window sees, on how many channels."""

    window: Window
    channels: int


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The multiply-accumulates of one layer.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    window : Window
        What slides over the input; of FuSe layers the k x k window that they replace.
    c_in, c_out : int
        Channels of input and result. Output channel c of a depthwise layer reads input channel
        ``c // (c_out / c_in)``; so do the filters of a FuSe layer, half of which are rows.
    groups : int
        Blocks of channels: of ``abconv`` those that share one kernel; of ``conv`` those of a
        grouped convolution, which can be counted but not mapped.
    batch : int
        Images that share the weights.

    Raises
    ------
    UserError
        If the kind is unknown, or the channels do not fit it.
    """

    kind: str
    window: Window
    c_in: int
    c_out: int
    groups: int = 1
    batch: int = 1

    def __post_init__(self) -> None:
        """Refuse what no operator is."""
        if self.kind not in KINDS:
            raise UserError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        for name in ("c_in", "c_out", "groups", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.groups > 1 and self.kind not in ("conv", "abconv"):
            raise UserError(f"groups of {self.kind} must be 1, not {self.groups}")
        if self.kind == "fuse_half" and self.c_out % 2:
            raise UserError(f"channels of fuse_half must be even, not {self.c_out}")
        if self.spatial and self._wide % self.c_in:
            raise UserError(f"{self._wide} filters are no multiple of {self.c_in} channels")
        if self.c_in % self.groups or self.c_out % self.groups:
            raise UserError(f"{self.groups} groups do not divide {self.c_in} and {self.c_out}")

    @classmethod
    def of(
        cls,
        kind: str,
        size: tuple[int, int],
        c_in: int,
        c_out: int,
        *,
        kernel: int | tuple[int, int] = 1,
        stride: Stride = 1,
        padding: Padding = "same",
        groups: int = 1,
        batch: int = 1,
    ) -> Workload:
        """Return a workload, with `stride` and `padding` as the golden operators take them."""
        pair = (kernel, kernel) if isinstance(kernel, int) else kernel
        return cls(
            kind=kind, window=Window.of(size, pair, stride, padding), c_in=c_in, c_out=c_out,
            groups=groups, batch=batch,
        )  # fmt: skip

    @property
    def fused(self) -> bool:
        """Whether it is FuSeConv."""
        return self.kind in ("fuse_half", "fuse_full")

    @property
    def spatial(self) -> bool:
        """Whether every output channel reads one input channel."""
        return self.fused or self.kind == "depthwise"

    @property
    def _wide(self) -> int:
        """Channels that the filters of a spatial layer read, input channels repeated."""
        return self.c_out // 2 if self.kind == "fuse_full" else self.c_out

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the result."""
        return self.window.output

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result: ``(H_out, W_out, c_out)``, of a batch ``(batch, ...)``."""
        return (*((self.batch,) if self.batch > 1 else ()), *self.output, self.c_out)

    @property
    def depth(self) -> int:
        """Products in one sum."""
        kh, kw = self.window.kernel
        if self.spatial:
            return kh if self.fused else kh * kw
        return kh * kw * self.c_in // self.groups

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.depth * self.c_out // (self.groups if self.kind == "abconv" else 1)

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padding included."""
        return self.outputs * self.depth

    @property
    def inputs(self) -> int:
        """Number of input elements."""
        return self.batch * math.prod(self.window.size) * self.c_in

    @property
    def outputs(self) -> int:
        """Number of result elements."""
        return self.batch * math.prod(self.output) * self.c_out

    @property
    def gemm(self) -> tuple[int, int, int]:
        """M, K and N of the GEMM that it is, if it is not spatial; blocks count as pixels.

        Raises
        ------
        UserError
            If it is a grouped convolution.
        """
        if self.kind == "conv" and self.groups > 1:
            raise UserError("grouped convolutions have no mapping")
        pixels = self.batch * self.groups * math.prod(self.output)
        return pixels, self.depth, self.c_out // self.groups

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The depthwise convolutions that it is, if it is spatial."""
        if self.fused:
            each = self.batch * self.c_out // 2
            return tuple(Branch(window, each) for window in fuse_windows(self.window))
        return (Branch(self.window, self.batch * self.c_out),)

    def __str__(self) -> str:
        """Return the operator in a few words, as in ``depthwise 3x3/2``."""
        if self.kind == "linear":
            return "linear"
        (kh, kw), stride = self.window.kernel, self.window.stride
        size = window_text((kh, kw), stride)
        if self.fused:
            size = f"1x{kw} + {window_text((kh, 1), stride)}"
        name = "" if self.kind == "conv" else self.kind.replace("_", " ")
        groups = f"g={self.groups}" if self.kind == "abconv" else ""
        return " ".join(word for word in (name, size, groups) if word)


@dataclass(frozen=True, kw_only=True)
class Image:
    """A depthwise convolution with its data; result element (i, j, c) goes to place[i, j, c].

    x ``(H, W, c)``, w ``(kh, kw, c)``, place ``(H_out, W_out, c)``.
    """

    x: IntArray
    w: IntArray
    window: Window
    place: IntArray

    def turned(self) -> Image:
        """Return the same convolution of the transposed image."""
        x, w, place = (array.transpose(1, 0, 2) for array in (self.x, self.w, self.place))
        return Image(x=x, w=w, window=self.window.transposed, place=place)


#: Dimensions of the weights of every kind.
_RANKS = {
    "conv": (4,), "linear": (2,), "depthwise": (3,), "fuse_half": (2, 2), "fuse_full": (2, 2),
    "abconv": (4,),
}  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Operands:
    """A workload with its data.

    Parameters
    ----------
    workload : Workload
    x : integer array
        The input: ``(batch, H, W, c_in)``, or without the batch if that is 1.
    weights : tuple of integer arrays
        As `golden.arith.operators` takes them: conv ``(kh, kw, c_in, c_out)``, linear ``(c_in,
        c_out)``, depthwise ``(kh, kw, c)``, FuSe rows and columns ``(k, c)`` each, abconv ``(kh,
        kw, c_in/g, c_out/g)``; conv and abconv of 1 x 1 without their first two dimensions, too.
    pad_value : int
        What lies outside the image.

    Raises
    ------
    TypeError
        If an array does not hold integers.
    UserError
        If shapes do not fit the workload.
    """

    workload: Workload
    x: NDArray[Any]
    weights: tuple[NDArray[Any], ...]
    pad_value: int = 0

    def __post_init__(self) -> None:
        """Check kinds and shapes."""
        work = self.workload
        x = np.asarray(self.x)
        x = integers("x", x if x.ndim == 4 else x[None], 4)
        want = (work.batch, *work.window.size, work.c_in)
        if x.shape != want:
            raise UserError(f"x must be {want}, not {x.shape}")
        object.__setattr__(self, "x", x)
        ranks = _RANKS[work.kind]
        if len(self.weights) != len(ranks):
            raise UserError(f"{work.kind} takes {len(ranks)} weights, not {len(self.weights)}")
        weights = []
        for w, rank in zip(self.weights, ranks, strict=True):
            w = np.asarray(w)
            weights.append(integers("w", w[None, None] if (w.ndim, rank) == (2, 4) else w, rank))
        object.__setattr__(self, "weights", tuple(weights))
        if [w.shape for w in weights] != self._weight_shapes:
            raise UserError(
                f"weights must be {self._weight_shapes}, not {[w.shape for w in weights]}"
            )

    @property
    def _weight_shapes(self) -> list[tuple[int, ...]]:
        work = self.workload
        if work.fused:
            return [(work.window.kernel[0], work.c_out // 2)] * 2
        if work.kind == "linear":
            return [(work.c_in, work.c_out)]
        if work.kind == "depthwise":
            return [(*work.window.kernel, work.c_out)]
        return [(*work.window.kernel, work.c_in // work.groups, work.c_out // work.groups)]

    @classmethod
    def of(
        cls,
        kind: str,
        x: Any,
        *weights: Any,
        stride: Stride = 1,
        padding: Padding = "same",
        pad_value: int = 0,
        groups: int = 1,
    ) -> Operands:
        """Return a workload of one image with its data; its shapes are those of the data.

        Parameters are those of the golden operators: x ``(H, W, c_in)``, of ``linear`` also
        ``(c_in,)``.
        """
        arrays = [np.asarray(w) for w in weights]
        x = np.asarray(x)
        x = x[None, None] if x.ndim == 1 else x
        channels, kernel = arrays[0].shape[-1], arrays[0].shape[:2]
        if kind in ("linear", "conv", "abconv"):
            channels *= groups
            if arrays[0].ndim == 2:
                kernel = (1, 1)
        elif kind in ("fuse_half", "fuse_full"):
            channels, kernel = 2 * channels, (len(arrays[0]),) * 2
        workload = Workload.of(
            kind, x.shape[:2], x.shape[2], channels, kernel=kernel, stride=stride, padding=padding,
            groups=groups,
        )  # fmt: skip
        return cls(workload=workload, x=x, weights=tuple(arrays), pad_value=pad_value)

    def result(self, acc_width: int = 32) -> IntArray:
        """Return what the golden operator computes: sums of `acc_width` bits, `Workload.shape`."""
        work, window = self.workload, self.workload.window
        options: dict[str, Any] = {
            "stride": window.stride, "padding": window.padding, "pad_value": self.pad_value,
            "acc_width": acc_width,
        }  # fmt: skip

        def one(x: IntArray) -> IntArray:
            if work.kind == "linear":
                return operators.pointwise_conv2d(x, *self.weights, acc_width=acc_width)
            if work.kind == "abconv":
                return operators.abconv2d(x, self.weights[0], work.groups, **options)
            if work.kind == "conv":
                return operators.conv2d(x, *self.weights, **options)
            if work.kind == "depthwise":
                return operators.depthwise_conv2d(x, *self.weights, **options)
            variant = work.kind.removeprefix("fuse_")
            return operators.fuse_conv2d(x, *self.weights, variant=variant, **options)

        return np.stack([one(x) for x in self._filtered]).reshape(work.shape)

    @cached_property
    def _filtered(self) -> IntArray:
        """The input, its channels repeated for several filters on each."""
        work = self.workload
        return np.repeat(self.x, work._wide // work.c_in, axis=3) if work.spatial else self.x

    @property
    def _places(self) -> IntArray:
        """Flat index of every result element, ``(batch, H_out, W_out, c_out)``."""
        work = self.workload
        return np.arange(work.outputs).reshape(work.batch, *work.output, work.c_out)

    @cached_property
    def matrices(self) -> tuple[IntArray, IntArray, IntArray]:
        """A ``(M, K)``, B ``(K, N)``, and where every element of their product goes ``(M, N)``."""
        work = self.workload
        pixels, depth, channels = work.gemm
        patches = np.stack([work.window.patches(image, self.pad_value) for image in self.x])
        blocks = patches.reshape(*patches.shape[:5], work.groups, -1)
        a = np.moveaxis(blocks, 5, 3).reshape(pixels, depth)
        return a, self.weights[0].reshape(depth, channels), self._places.reshape(pixels, channels)

    @cached_property
    def images(self) -> tuple[Image, ...]:
        """The depthwise convolutions of a spatial workload; images of a batch as channels."""
        work = self.workload

        def wide(array: IntArray) -> IntArray:
            return np.moveaxis(array, 0, 2).reshape(*array.shape[1:3], -1)

        weights, x, places = list(self.weights), [self._filtered], [self._places]
        if work.fused:
            row, column = self.weights
            weights = [row[None], column[:, None]]
            half = work.kind == "fuse_half"
            x = np.split(self._filtered, 2, axis=3) if half else 2 * x
            places = np.split(self._places, 2, axis=3)
        return tuple(
            Image(
                x=wide(part), w=np.tile(w, (1, 1, work.batch)), window=branch.window,
                place=wide(place),
            )
            for part, w, branch, place in zip(x, weights, work.branches, places, strict=True)
        )  # fmt: skip
