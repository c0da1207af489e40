"""Operators whose multiply-accumulates run on the array.

They compute in two steps: sums on the array, `accumulate` (in NumPy) or the tiles of their `plan`,
and then `finish`, which takes the sums to int8. Weights are in the project's layout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hw.config import ArrayConfig
from report.errors import UserError

from ..arith import quant
from ..arith.quant import Int8Array
from ..arith.window import window_text
from ..arith.wrap import IntArray, sum_width, wrap
from ..mapping import Plan, map_workload
from ..workload import Operands, Workload
from .operators import Operator, Windowed
from .tensor import extent, image

__all__ = [
    "ABConv2D",
    "ArrayOperator",
    "Conv2D",
    "Convolution",
    "DepthwiseConv2D",
    "FullyConnected",
    "FuseConv2D",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayOperator(Operator):
    """An operator whose multiply-accumulates run on the array.

    Parameters
    ----------
    weights : tuple of int8 arrays
        In the layouts of `golden.arith.operators`; zero points are 0.
    weight_scales : float32 array (c_out,) or (1,)
        Per output channel or for all; 0 where all that comes out is the zero point (pruned).
    bias : int32 array (c_out,)
        In units of ``input scale * weight scale``.
    activation : str
        One of `golden.quant.ACTIVATIONS`.
    """

    weights: tuple[Int8Array, ...] = field(repr=False)
    weight_scales: NDArray[np.float32] = field(repr=False)
    bias: NDArray[np.int32] = field(repr=False)
    activation: str = "NONE"

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output for the value of the input."""
        return self.finish(self.accumulate(values[0]))

    @cached_property
    def workload(self) -> Workload:
        """What it asks of the array."""
        raise NotImplementedError

    def operands(self, x: Int8Array) -> Operands:
        """Return its workload with the value of the input."""
        return Operands(
            workload=self.workload, x=x, weights=self.weights, pad_value=self.inputs[0].zero_point
        )

    def accumulate(self, x: Int8Array) -> IntArray:
        """Return the sums of products of raw int8 values, int64 ``(H_out, W_out, c_out)``."""
        return self.operands(x).result()

    def plan(self, config: ArrayConfig, mapping: str = "best") -> Plan:
        """Return the mapping of the operator, and so its cycles, without data."""
        return map_workload(self.workload, config, mapping)

    @property
    def channels(self) -> int:
        """Channels of the output."""
        return self.output.shape[-1]

    @property
    def _weight_sums(self) -> IntArray:
        """Sum of the weights that lead to every output channel, ``(c_out,)``."""
        axes = [tuple(range(w.ndim - 1)) for w in self.weights]
        sums = [w.sum(axis, dtype=np.int64) for w, axis in zip(self.weights, axes, strict=True)]
        return np.concatenate(sums)

    @property
    def multipliers(self) -> tuple[IntArray, IntArray]:
        """Multiplier and shift of every output channel, each ``(c_out,)`` or ``(1,)``."""
        source, target = self.inputs[0].scale, self.output.scale
        pairs = [
            quant.quantize_multiplier(source * float(scale) / target)
            for scale in self.weight_scales
        ]
        multiplier, shift = np.array(pairs, np.int64).T
        return multiplier, shift

    def finish(self, sums: IntArray) -> Int8Array:
        """Return the output for the sums of `accumulate`.

        ``requantize(sums - zero_point * sum(weights) + bias)``: padding has the value of the zero
        point, so what is subtracted is the same everywhere.
        """
        source, target = self.inputs[0], self.output
        total = wrap(sums - source.zero_point * self._weight_sums + self.bias, 32)
        limits = quant.activation_range(self.activation, target.scale, target.zero_point)
        found = quant.requantize(total, *self.multipliers, target.zero_point, limits)
        return found.reshape(target.shape)

    @property
    def acc_width(self) -> int:
        """Bits that hold every sum of `accumulate`, whatever the input."""
        reach = max(
            int(np.abs(w.astype(np.int64)).sum(tuple(range(w.ndim - 1))).max())
            for w in self.weights
        )
        return sum_width(reach, 8)

    def check(self) -> None:
        """Raise `UserError` unless shapes and quantization are what the operator takes."""
        super().check()
        if self.activation not in quant.ACTIVATIONS:
            raise UserError(
                f"activation must be one of {', '.join(quant.ACTIVATIONS)}, not {self.activation}"
            )
        for what, values, sizes in (
            ("weight scales", self.weight_scales, {1, self.channels}),
            ("biases", self.bias, {self.channels}),
        ):
            if values.ndim != 1 or len(values) not in sizes:
                legal = " or ".join(map(str, sorted(sizes)))
                raise UserError(f"there must be {legal} {what}, not {values.size}")
        _ = self.multipliers
        if self.acc_width > 32:
            raise UserError(f"sums may need {self.acc_width} bits; they must fit 32")


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Windowed, ArrayOperator):
    """A sliding window with multiply-accumulates."""

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return self.weights[0].shape[0], self.weights[0].shape[1]

    @property
    def _workload_kind(self) -> str:
        """Kind of the workload."""
        raise NotImplementedError

    @property
    def _blocks(self) -> int:
        """Blocks of channels that share the kernel."""
        return 1

    @cached_property
    def workload(self) -> Workload:
        """What it asks of the array."""
        return Workload(
            kind=self._workload_kind, window=self.window, c_in=image(self.inputs[0])[2],
            c_out=self.shape[-1], groups=self._blocks,
        )  # fmt: skip

    def _check_channels(self, c_in: int) -> None:
        if image(self.inputs[0])[2] != c_in:
            raise UserError(
                f"the input must have {c_in} channels, not {image(self.inputs[0])[2]} "
                "(grouped convolutions are not supported)"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv2D(Convolution):
    """A convolution; weights ``(kh, kw, c_in, c_out)``."""

    kind = "CONV_2D"
    _workload_kind = "conv"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        self._check_channels(self.weights[0].shape[2])
        return (1, *self.window.output, self.weights[0].shape[3])


@dataclass(frozen=True, eq=False, kw_only=True)
class DepthwiseConv2D(Convolution):
    """A depthwise convolution; weights ``(kh, kw, c_out)``, c_out a multiple of c_in.

    Output channel c reads input channel ``c // (c_out / c_in)``.
    """

    kind = "DEPTHWISE_CONV_2D"
    _workload_kind = "depthwise"

    @property
    def multiplier(self) -> int:
        """Output channels per input channel."""
        return self.weights[0].shape[2] // image(self.inputs[0])[2]

    @property
    def detail(self) -> str:
        """Kernel and stride, and the multiplier if it is not 1."""
        more = f" x{self.multiplier}" if self.multiplier > 1 else ""
        return super().detail + more

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        channels, c_in = self.weights[0].shape[2], image(self.inputs[0])[2]
        if channels % c_in:
            raise UserError(f"{channels} output channels are no multiple of {c_in}")
        return (1, *self.window.output, channels)


@dataclass(frozen=True, eq=False, kw_only=True)
class FuseConv2D(Convolution):
    """Row filters and column filters; weights ``(1, k, c)`` and ``(k, 1, c)``.

    ``"half"``: the first half of the channels gets the row filters, the second half the column
    filters. ``"full"``: both on all channels, rows first. Input channels are repeated as in
    `DepthwiseConv2D`. Made by `golden.transform.fuse`; no TensorFlow Lite operator.

    Parameters
    ----------
    variant : str
        ``"half"`` or ``"full"``.
    """

    kind = "FUSE_CONV_2D"

    variant: str = "half"

    @property
    def _workload_kind(self) -> str:
        return f"fuse_{self.variant}"

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the square that the filters lie in."""
        taps = self.weights[0].shape[1]
        return taps, taps

    def operands(self, x: Int8Array) -> Operands:
        """Return its workload with the value of the input."""
        return Operands(
            workload=self.workload, x=x, weights=(self.weights[0][0], self.weights[1][:, 0]),
            pad_value=self.inputs[0].zero_point,
        )  # fmt: skip

    @property
    def detail(self) -> str:
        """Variant, filters and stride."""
        k = self.kernel[0]
        return f"{self.variant} 1x{k} + {window_text((k, 1), self.stride)}"

    @property
    def _wide(self) -> int:
        """Channels that the filters read."""
        rows, columns = (w.shape[2] for w in self.weights)
        return rows if self.variant == "full" else rows + columns

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        if self._wide % image(self.inputs[0])[2]:
            raise UserError(f"filters of {self._wide} channels do not fit the input")
        return (1, *self.window.output, sum(w.shape[2] for w in self.weights))


@dataclass(frozen=True, eq=False, kw_only=True)
class ABConv2D(Convolution):
    """One convolution for all channel blocks; weights ``(kh, kw, c_in/g, c_out/g)``.

    Made by `golden.transform.abconv`; no TensorFlow Lite operator.

    Parameters
    ----------
    groups : int
        Channel blocks g.
    """

    kind = "ABCONV_2D"
    _workload_kind = "abconv"

    groups: int = 1

    @property
    def _blocks(self) -> int:
        return self.groups

    @property
    def detail(self) -> str:
        """Kernel, stride and groups."""
        return f"{super().detail} g={self.groups}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        self._check_channels(self.groups * self.weights[0].shape[2])
        return (1, *self.window.output, self.groups * self.weights[0].shape[3])

    @property
    def _weight_sums(self) -> IntArray:
        return np.tile(super()._weight_sums, self.groups)


@dataclass(frozen=True, eq=False, kw_only=True)
class FullyConnected(ArrayOperator):
    """Weights ``(c_in, c_out)``; the input is read as rows of c_in elements.

    Parameters
    ----------
    keep_dims : bool
        Whether the output has the input's shape but for the last axis, or is ``(rows, c_out)``.
    """

    kind = "FULLY_CONNECTED"

    keep_dims: bool = False

    @property
    def rows(self) -> int:
        """Rows of the input."""
        return math.prod(self.inputs[0].shape) // len(self.weights[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        source, (c_in, c_out) = self.inputs[0].shape, self.weights[0].shape
        if math.prod(source) % c_in or (self.keep_dims and source[-1] != c_in):
            raise UserError(f"the input ({extent(source)}) is not rows of {c_in}")
        return (*source[:-1], c_out) if self.keep_dims else (self.rows, c_out)

    @cached_property
    def workload(self) -> Workload:
        """What it asks of the array."""
        return Workload.of("linear", (self.rows, 1), *self.weights[0].shape)

    def operands(self, x: Int8Array) -> Operands:
        """Return its workload with the value of the input."""
        return super().operands(x.reshape(self.rows, 1, -1))
