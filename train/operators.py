"""The array's operators as `torch.nn` modules: the golden operators, with gradients.

Images are ``(batch, channels, height, width)``. A module is made from a `golden.workload.Workload`,
and pads as its window says.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from golden.workload import Workload
from report.errors import UserError

__all__ = [
    "ADAPTERS",
    "ABConv2d",
    "Conv2d",
    "DepthwiseConv2d",
    "FuseConv2d",
    "Linear",
    "Operator",
    "ScaffoldedConv2d",
    "operator",
]

#: How the adapters of a scaffolded block can begin.
ADAPTERS = ("first", "middle", "mean")


class Operator(nn.Module):
    """An operator of the array.

    Parameters
    ----------
    work : Workload
        Its shapes.

    Attributes
    ----------
    bias : Parameter, optional
        One number for every channel of the kernel; none where a normalization follows.
    """

    bias: nn.Parameter | None

    def __init__(self, work: Workload) -> None:
        super().__init__()
        self.work = work
        self.register_parameter("bias", None)
        (top, bottom), (left, right) = work.window.padding
        self._even = (top, left) if (top, left) == (bottom, right) else None
        self._margin = (left, right, top, bottom)

    def kernel(self) -> torch.Tensor:
        """Return the weights of the convolution that it computes, ``(channels, ...)``."""
        return cast(torch.Tensor, self.weight)

    def compute(
        self, x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the result for another kernel and bias than its own."""
        return self._convolve(x, kernel, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the result for x ``(batch, c_in, h, w)``."""
        return self.compute(x, self.kernel(), self.bias)

    @torch.no_grad()
    def absorb(self, scale: torch.Tensor, bias: torch.Tensor) -> None:
        """Multiply the channels of the kernel by `scale`, and get a bias: what comes after it."""
        shape = (-1, *[1] * (self.kernel().ndim - 1))
        cast(nn.Parameter, self.weight).mul_(scale.reshape(shape))
        self.bias = nn.Parameter(bias.clone())

    def _convolve(
        self, x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None, groups: int = 1
    ) -> torch.Tensor:
        """Return a convolution with the window of the workload."""
        if self._even is None:
            x = functional.pad(x, self._margin)
        stride, padding = self.work.window.stride, self._even or 0
        return functional.conv2d(x, kernel, bias, stride, padding, groups=groups)


def _fresh(*shape: int, fan_out: int) -> nn.Parameter:
    """Return weights from a normal distribution of variance ``2 / fan_out`` (He et al., 2015)."""
    return nn.Parameter(torch.randn(shape) * math.sqrt(2 / fan_out))


class Conv2d(Operator):
    """A convolution; weight ``(c_out, c_in, kh, kw)``."""

    def __init__(self, work: Workload) -> None:
        super().__init__(work)
        if work.groups > 1:
            raise UserError(f"groups of a convolution must be 1, not {work.groups}")
        kh, kw = work.window.kernel
        self.weight = _fresh(work.c_out, work.c_in, kh, kw, fan_out=kh * kw * work.c_out)


class Linear(Operator):
    """A fully connected layer with bias; weight ``(c_out, c_in)``."""

    def __init__(self, work: Workload) -> None:
        super().__init__(work)
        self.weight = nn.Parameter(torch.randn(work.c_out, work.c_in) * 0.01)
        self.bias = nn.Parameter(torch.zeros(work.c_out))

    def compute(
        self, x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the product for x ``(batch, c_in)``."""
        return functional.linear(x, kernel, bias)


class DepthwiseConv2d(Operator):
    """A depthwise convolution; weight ``(c, 1, k, k)``."""

    def __init__(self, work: Workload) -> None:
        super().__init__(work)
        kh, kw = work.window.kernel
        self.weight = _fresh(work.c_out, 1, kh, kw, fan_out=kh * kw)

    def compute(
        self, x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the convolution."""
        return self._convolve(x, kernel, bias, self.work.c_in)


def _masked(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return row filters ``(a, k)`` and column filters ``(b, k)`` as kernels ``(a + b, 1, k, k)``.

    A row filter is the middle row, a column filter the middle column; all else is zero.
    """
    k = rows.shape[1]
    before, after = k // 2, k - 1 - k // 2
    return torch.cat(
        [
            functional.pad(rows[:, None, None, :], (0, 0, before, after)),
            functional.pad(columns[:, None, :, None], (before, after)),
        ]
    )


class FuseConv2d(Operator):
    """FuSeConv; rows and columns ``(c_out / 2, k)``.

    Half: row filters on the first half of the channels, column filters on the second. Full: both on
    all channels, rows first. It is one depthwise convolution, whose kernels are zero but for the
    middle row or column: that is faster than two 1-D convolutions.
    """

    def __init__(self, work: Workload) -> None:
        super().__init__(work)
        k = work.window.kernel[0]
        self.rows = _fresh(work.c_out // 2, k, fan_out=k)
        self.columns = _fresh(work.c_out // 2, k, fan_out=k)

    def kernel(self) -> torch.Tensor:
        """Return the kernel of the depthwise convolution that it is, ``(c_out, 1, k, k)``."""
        return _masked(self.rows, self.columns)

    def compute(
        self, x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the convolution."""
        channels = self.work.c_in
        if self.work.kind == "fuse_half":
            return self._convolve(x, kernel, bias, channels)
        biases = (None, None) if bias is None else bias.split(channels)
        parts = zip(kernel.split(channels), biases, strict=True)
        return torch.cat([self._convolve(x, *part, channels) for part in parts], 1)

    @torch.no_grad()
    def absorb(self, scale: torch.Tensor, bias: torch.Tensor) -> None:
        """Multiply the filters by `scale`, and get a bias."""
        for filters, part in zip((self.rows, self.columns), scale.chunk(2), strict=True):
            filters.mul_(part[:, None])
        self.bias = nn.Parameter(bias.clone())


class ScaffoldedConv2d(DepthwiseConv2d):
    """A depthwise convolution that can be FuSe half, by two adapters that all channels share.

    Source: NOS of "Design and Scaffolded Training of an Efficient DNN Operator for Computer Vision
    on the Edge" (arXiv 2108.11441). A row filter is ``row_adapter @ W[c]``, on the first half of
    the channels; a column filter is ``W[c] @ column_adapter``, on the second.

    Parameters
    ----------
    work : Workload
        That of the depthwise convolution.
    start : str
        What the adapters are at first, one of `ADAPTERS`: they pick the first row and column (as
        the authors' code does) or the middle ones, or take the mean.

    Attributes
    ----------
    fused : bool
        Whether it is FuSe half now.
    """

    def __init__(self, work: Workload, start: str = "middle") -> None:
        super().__init__(work)
        if start not in ADAPTERS:
            raise UserError(f"adapters must begin as {', '.join(ADAPTERS)}, not {start!r}")
        if work.c_out % 2:
            raise UserError(f"channels of fuse_half must be even, not {work.c_out}")
        k = work.window.kernel[0]
        adapter = torch.full((k,), 1 / k)
        if start != "mean":
            adapter = torch.eye(k)[0 if start == "first" else k // 2]
        self.row_adapter = nn.Parameter(adapter.clone())
        self.column_adapter = nn.Parameter(adapter.clone())
        self.fused = False

    def filters(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the row and the column filters, ``(c / 2, k)`` each."""
        rows, columns = self.weight[:, 0].chunk(2)
        return self.row_adapter @ rows, columns @ self.column_adapter

    def kernel(self) -> torch.Tensor:
        """Return the weight, or the kernel of FuSe half."""
        return _masked(*self.filters()) if self.fused else self.weight


class ABConv2d(Operator):
    """One convolution for all channel blocks; weight ``(c_out/g, c_in/g, kh, kw)``."""

    def __init__(self, work: Workload) -> None:
        super().__init__(work)
        kh, kw = work.window.kernel
        c_in, c_out = work.c_in // work.groups, work.c_out // work.groups
        self.weight = _fresh(c_out, c_in, kh, kw, fan_out=kh * kw * c_out)

    def compute(
        self, x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the convolution; its blocks are a batch."""
        n, c, h, w = x.shape
        g = self.work.groups
        y = self._convolve(x.reshape(n * g, c // g, h, w), kernel, bias)
        return y.reshape(n, self.work.c_out, *y.shape[2:])


_MODULES: dict[str, type[Operator]] = {
    "conv": Conv2d, "linear": Linear, "depthwise": DepthwiseConv2d, "fuse_half": FuseConv2d,
    "fuse_full": FuseConv2d, "abconv": ABConv2d,
}  # fmt: skip


def operator(work: Workload) -> Operator:
    """Return the module of a workload, with fresh weights."""
    return cast(Operator, _MODULES[work.kind](work))
