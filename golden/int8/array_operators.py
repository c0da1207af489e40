"""Operators whose multiply-accumulates run on the array.

They compute in two steps: sums on the array, `accumulate` (in NumPy) or the tiles of their `plan`,
and then `finish`, which takes the sums to int8. Weights are in the project's layout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

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
        In the layouts of `golden.arith.operators`.
    weight_zero : int
        Zero point of all weights; 0 but in a uint8 model, there 128 less than in the file, as are
        the weights.
    weight_scales : float32 array (c_out,) or (1,)
        Per output channel or for all; 0 where all that comes out is the zero point (pruned).
    bias : int32 array (c_out,)
        In units of ``input scale * weight scale``.
    activation : str
        One of `golden.arith.quant.ACTIVATIONS`.
    """

    weights: tuple[Int8Array, ...] = field(repr=False)
    weight_scales: NDArray[np.float32] = field(repr=False)
    bias: NDArray[np.int32] = field(repr=False)
    activation: str = "NONE"
    weight_zero: int = 0

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output for the value of the input."""
        return self.finish(self.accumulate(values[0]), values[0])

    @property
    def host_operations(self) -> int:
        """None but sums of the input, where weights have a zero point."""
        return self._summed if self.weight_zero else 0

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
    def weight_sums(self) -> IntArray:
        """Sum of the weights that lead to every output channel, ``(c_out,)``."""
        axes = [tuple(range(w.ndim - 1)) for w in self.weights]
        sums = [w.sum(axis, dtype=np.int64) for w, axis in zip(self.weights, axes, strict=True)]
        return np.concatenate(sums)

    @property
    def real_multipliers(self) -> NDArray[np.float64]:
        """What sums are multiplied by, ``(c_out,)`` or ``(1,)``.

        ``input scale * weight scale / output scale``, in double; LiteRT's kernels of uint8
        convolutions, which TFLM has not, round the product to float32.
        """
        product = self.inputs[0].scale * self.weight_scales.astype(np.float64)
        if self.inputs[0].dtype == "uint8":
            product = product.astype(np.float32).astype(np.float64)
        return product / self.output.scale

    @property
    def multipliers(self) -> tuple[IntArray, IntArray]:
        """Multiplier and shift of every output channel, each ``(c_out,)`` or ``(1,)``."""
        pairs = [quant.quantize_multiplier(real) for real in self.real_multipliers.tolist()]
        multiplier, shift = np.array(pairs, np.int64).T
        return multiplier, shift

    def finish(self, sums: IntArray, x: Int8Array) -> Int8Array:
        """Return the output for the sums of `accumulate`, and the value of the input.

        ``requantize(sums - zero_point * sum(weights) + bias)``: padding has the value of the zero
        point, so what is subtracted is the same everywhere. Where weights have a zero point, too,
        ``weight_zero * (sum(x) - taps * zero_point)`` less, x what the window sees.
        """
        source, target = self.inputs[0], self.output
        total = sums - source.zero_point * self.weight_sums + self.bias
        if self.weight_zero:
            taps = math.prod(self.weights[0].shape[:-1])
            total = total - self.weight_zero * (self._seen(x) - taps * source.zero_point)
        return self.requantize(wrap(total, 32)).reshape(target.shape)

    def requantize(self, total: IntArray) -> Int8Array:
        """Return int32 sums as int8."""
        limits = self.limits(self.activation)
        return quant.requantize(total, *self.multipliers, self.output.zero_point, limits)

    def _seen(self, x: Int8Array) -> IntArray:
        """Return the sum of what every output sees of the input; it broadcasts against `sums`."""
        raise NotImplementedError

    @property
    def _summed(self) -> int:
        """Elements that `_seen` adds."""
        raise NotImplementedError

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
    """A sliding window with multiply-accumulates.

    Parameters
    ----------
    dilation : (int, int)
        How far the taps of the file's kernel are apart; the kernel here has zeros between them.
    """

    dilation: tuple[int, int] = (1, 1)

    @property
    def detail(self) -> str:
        """Kernel and stride, and the dilation if there is any."""
        if self.dilation == (1, 1):
            return super().detail
        return f"{super().detail} dilated {window_text(self.dilation, (1, 1))}"

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

    def _seen(self, x: Int8Array) -> IntArray:
        c_in = self.weights[0].shape[2]
        total = x[0].sum(-1, keepdims=True, dtype=np.int64)
        return self.window.patches(total, c_in * self.inputs[0].zero_point).sum((2, 3))

    @property
    def _summed(self) -> int:
        return math.prod(self.inputs[0].shape) + math.prod((*self.kernel, *self.window.output))


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

    def _seen(self, x: Int8Array) -> IntArray:
        total = self.window.patches(x[0], self.inputs[0].zero_point).sum((2, 3))
        return np.repeat(total, self.multiplier, axis=-1)

    @property
    def _summed(self) -> int:
        c_in = image(self.inputs[0])[2]
        return math.prod((*self.kernel, *self.window.output, c_in))


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
    def weight_sums(self) -> IntArray:
        """Sum of the weights that lead to every output channel, ``(c_out,)``."""
        return np.tile(super().weight_sums, self.groups)


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
        if math.prod(source) % c_in or (self.keep_dims and source[-1:] != (c_in,)):
            raise UserError(f"the input ({extent(source)}) is not rows of {c_in}")
        return (*source[:-1], c_out) if self.keep_dims else (self.rows, c_out)

    @cached_property
    def workload(self) -> Workload:
        """What it asks of the array."""
        return Workload.of("linear", (self.rows, 1), *self.weights[0].shape)

    def operands(self, x: Int8Array) -> Operands:
        """Return its workload with the value of the input."""
        return super().operands(x.reshape(self.rows, 1, -1))

    def _seen(self, x: Int8Array) -> IntArray:
        return x.reshape(self.rows, 1, -1).sum(-1, keepdims=True, dtype=np.int64)

    @property
    def real_multipliers(self) -> NDArray[np.float64]:
        """What sums are multiplied by, ``(1,)`` or ``(c_out,)``, in double for uint8, too."""
        scales = self.weight_scales.astype(np.float64)
        return self.inputs[0].scale * scales / self.output.scale

    def requantize(self, total: IntArray) -> Int8Array:
        """Return int32 sums as int8; uint8 ones, which TFLM has not, as LiteRT: rounded once."""
        if self.inputs[0].dtype == "int8":
            return super().requantize(total)
        return quant.round_once(
            total, self.real_multipliers, self.output.zero_point, self.limits(self.activation)
        )

    @property
    def _summed(self) -> int:
        return math.prod(self.inputs[0].shape)
