"""A quantized network as a graph of operators, run bit for bit as TensorFlow Lite runs it.

Activations are int8 arrays, batch 1 included, as in the file; weights are in the project's layout.
An operator with multiply-accumulates (`ArrayOperator`) computes in two steps: sums on the array,
`accumulate` (in NumPy) or `lower` (to tiles), and then `finish`, which takes them to int8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hw.config import ArrayConfig

from . import quant
from .lower import (
    Lowering,
    lower_abconv2d,
    lower_conv2d,
    lower_depthwise_conv2d,
    lower_fuse_conv2d,
    lower_pointwise_conv2d,
)
from .mapping import Branch, Plan, map_depthwise, map_gemm
from .operators import (
    Window,
    abconv2d,
    conv2d,
    depthwise_conv2d,
    fuse_conv2d,
    fuse_windows,
    pointwise_conv2d,
)
from .quant import Int8Array
from .tile import IntArray, sum_width, wrap

__all__ = [
    "ABConv2D",
    "Add",
    "ArrayOperator",
    "AveragePool2D",
    "Conv2D",
    "Convolution",
    "DepthwiseConv2D",
    "FullyConnected",
    "FuseConv2D",
    "Graph",
    "MaxPool2D",
    "Mean",
    "Operator",
    "Pad",
    "Reshape",
    "Softmax",
    "Step",
    "Tensor",
    "Windowed",
    "extent",
    "image",
]


def extent(shape: tuple[int, ...]) -> str:
    """Return a shape for people, batch left out, as in ``48x48x8``."""
    return "x".join(map(str, shape[1:] if len(shape) > 1 and shape[0] == 1 else shape)) or "1"


@dataclass(frozen=True, eq=False, kw_only=True)
class Tensor:
    """An int8 activation, quantized per tensor.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Batch 1 included, as in ``(1, H, W, C)``.
    scale : float
        A float32 value; real numbers are ``scale * (q - zero_point)``.
    zero_point : int
        -128 to 127.
    data : int8 array, optional
        Of a constant.
    """

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    data: Int8Array | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class Operator:
    """One operator.

    Parameters
    ----------
    inputs : tuple of Tensor
        Activations; other operands are fields of their own.
    output : Tensor
    """

    kind: ClassVar[str]

    inputs: tuple[Tensor, ...]
    output: Tensor

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output for the values of the inputs."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output, from those of the inputs.

        Raises
        ------
        ValueError
            If the inputs do not fit the operator.
        """
        return self.inputs[0].shape

    @property
    def detail(self) -> str:
        """What the kind does not say, such as the size of a window."""
        return ""

    def check(self) -> None:
        """Raise `ValueError` unless shapes and quantization are what the operator takes."""
        if self.shape != self.output.shape:
            raise ValueError(
                f"the output must be {extent(self.shape)}, not {extent(self.output.shape)}"
            )


def image(tensor: Tensor) -> tuple[int, int, int]:
    """Return height, width and channels of an image."""
    if len(tensor.shape) != 4 or tensor.shape[0] != 1:
        raise ValueError(f"the input must be 1 x H x W x C, not {tensor.shape}")
    return tensor.shape[1], tensor.shape[2], tensor.shape[3]


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayOperator(Operator):
    """An operator whose multiply-accumulates run on the array.

    Parameters
    ----------
    weights : tuple of int8 arrays
        In the layouts of `golden.operators`; zero points are 0.
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

    def accumulate(self, x: Int8Array) -> IntArray:
        """Return the sums of products of raw int8 values, int32 ``(H_out, W_out, c_out)``."""
        raise NotImplementedError

    def lower(self, x: Int8Array, config: ArrayConfig, mapping: str = "best") -> Lowering:
        """Return the tiles that give what `accumulate` gives."""
        raise NotImplementedError

    def plan(self, config: ArrayConfig, mapping: str = "best") -> Plan:
        """Return the mapping of the operator, and so its cycles, without data."""
        raise NotImplementedError

    @property
    def channels(self) -> int:
        """Channels of the output."""
        return self.output.shape[-1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates; padding counts."""
        raise NotImplementedError

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
        """Raise `ValueError` unless shapes and quantization are what the operator takes."""
        super().check()
        if self.activation not in quant.ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(quant.ACTIVATIONS)}, not {self.activation}"
            )
        for what, values, sizes in (
            ("weight scales", self.weight_scales, {1, self.channels}),
            ("biases", self.bias, {self.channels}),
        ):
            if values.ndim != 1 or len(values) not in sizes:
                legal = " or ".join(map(str, sorted(sizes)))
                raise ValueError(f"there must be {legal} {what}, not {values.size}")
        _ = self.multipliers
        if self.acc_width > 32:
            raise ValueError(f"sums may need {self.acc_width} bits; they must fit 32")


@dataclass(frozen=True, eq=False, kw_only=True)
class Windowed(Operator):
    """An operator with a sliding window.

    Parameters
    ----------
    stride : (int, int)
        Vertical and horizontal.
    padding : str
        ``"same"`` or ``"valid"``.
    """

    stride: tuple[int, int] = (1, 1)
    padding: str = "same"

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the window."""
        raise NotImplementedError

    @cached_property
    def window(self) -> Window:
        """The window, with every choice resolved."""
        return Window.of(image(self.inputs[0])[:2], self.kernel, self.stride, self.padding)

    @property
    def detail(self) -> str:
        """Kernel and stride."""
        return _window_detail(self.kernel, self.stride)


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Windowed, ArrayOperator):
    """A sliding window with multiply-accumulates."""

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return self.weights[0].shape[0], self.weights[0].shape[1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates; padding counts."""
        return math.prod(self.window.output) * self._taps * self.channels

    @property
    def _taps(self) -> int:
        """Weights that lead to one output channel."""
        return math.prod(self.weights[0].shape[:-1])

    def _check_channels(self, c_in: int) -> None:
        if image(self.inputs[0])[2] != c_in:
            raise ValueError(
                f"the input must have {c_in} channels, not {image(self.inputs[0])[2]} "
                "(grouped convolutions are not supported)"
            )

    @property
    def _window_options(self) -> dict[str, Any]:
        zero = self.inputs[0].zero_point
        return {"stride": self.stride, "padding": self.padding, "pad_value": zero}


def _window_detail(kernel: tuple[int, int], stride: tuple[int, int]) -> str:
    size = f"{kernel[0]}x{kernel[1]}"
    if stride == (1, 1):
        return size
    return f"{size}/{stride[0]}" if stride[0] == stride[1] else f"{size}/{stride[0]}x{stride[1]}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv2D(Convolution):
    """A convolution; weights ``(kh, kw, c_in, c_out)``."""

    kind = "CONV_2D"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        self._check_channels(self.weights[0].shape[2])
        return (1, *self.window.output, self.weights[0].shape[3])

    def accumulate(self, x: Int8Array) -> IntArray:
        """Return the sums ``(H_out, W_out, c_out)``."""
        return conv2d(x[0], self.weights[0], **self._window_options)

    def lower(self, x: Int8Array, config: ArrayConfig, mapping: str = "best") -> Lowering:
        """Return the tiles."""
        options = self._window_options
        return lower_conv2d(x[0], self.weights[0], config, **options, mapping=mapping)

    def plan(self, config: ArrayConfig, mapping: str = "best") -> Plan:
        """Return the mapping."""
        pixels = math.prod(self.window.output)
        return Plan((map_gemm(pixels, self._taps, self.channels, config, mapping),), config)


@dataclass(frozen=True, eq=False, kw_only=True)
class DepthwiseConv2D(Convolution):
    """A depthwise convolution; weights ``(kh, kw, c_out)``, c_out a multiple of c_in.

    Output channel c reads input channel ``c // (c_out / c_in)``.
    """

    kind = "DEPTHWISE_CONV_2D"

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
            raise ValueError(f"{channels} output channels are no multiple of {c_in}")
        return (1, *self.window.output, channels)

    def _repeated(self, x: Int8Array) -> Int8Array:
        return np.repeat(x[0], self.multiplier, axis=2)

    def accumulate(self, x: Int8Array) -> IntArray:
        """Return the sums ``(H_out, W_out, c_out)``."""
        return depthwise_conv2d(self._repeated(x), self.weights[0], **self._window_options)

    def lower(self, x: Int8Array, config: ArrayConfig, mapping: str = "best") -> Lowering:
        """Return the tiles."""
        return lower_depthwise_conv2d(
            self._repeated(x), self.weights[0], config, **self._window_options, mapping=mapping
        )

    def plan(self, config: ArrayConfig, mapping: str = "best") -> Plan:
        """Return the mapping."""
        return map_depthwise((Branch(self.window, self.channels),), config, mapping)


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
    def kernel(self) -> tuple[int, int]:
        """Height and width of the square that the filters lie in."""
        taps = self.weights[0].shape[1]
        return taps, taps

    @property
    def _taps(self) -> int:
        return self.kernel[0]

    @property
    def detail(self) -> str:
        """Variant, filters and stride."""
        k = self.kernel[0]
        return f"{self.variant} 1x{k} + {_window_detail((k, 1), self.stride)}"

    @property
    def _wide(self) -> int:
        """Channels that the filters read."""
        rows, columns = (w.shape[2] for w in self.weights)
        return rows if self.variant == "full" else rows + columns

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        if self._wide % image(self.inputs[0])[2]:
            raise ValueError(f"filters of {self._wide} channels do not fit the input")
        return (1, *self.window.output, sum(w.shape[2] for w in self.weights))

    def _operands(self, x: Int8Array) -> tuple[Int8Array, Int8Array, Int8Array]:
        wide = np.repeat(x[0], self._wide // x.shape[3], axis=2)
        return wide, self.weights[0][0], self.weights[1][:, 0]

    def accumulate(self, x: Int8Array) -> IntArray:
        """Return the sums ``(H_out, W_out, c_out)``."""
        return fuse_conv2d(*self._operands(x), variant=self.variant, **self._window_options)

    def lower(self, x: Int8Array, config: ArrayConfig, mapping: str = "best") -> Lowering:
        """Return the tiles."""
        return lower_fuse_conv2d(
            *self._operands(x), config, variant=self.variant, **self._window_options,
            mapping=mapping,
        )  # fmt: skip

    def plan(self, config: ArrayConfig, mapping: str = "best") -> Plan:
        """Return the mapping."""
        branches = zip(fuse_windows(self.window), self.weights, strict=True)
        parts = tuple(Branch(window, w.shape[2]) for window, w in branches)
        return map_depthwise(parts, config, mapping)


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

    groups: int = 1

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

    def accumulate(self, x: Int8Array) -> IntArray:
        """Return the sums ``(H_out, W_out, c_out)``."""
        return abconv2d(x[0], self.weights[0], self.groups, **self._window_options)

    def lower(self, x: Int8Array, config: ArrayConfig, mapping: str = "best") -> Lowering:
        """Return the tiles."""
        return lower_abconv2d(
            x[0], self.weights[0], self.groups, config, **self._window_options, mapping=mapping
        )

    def plan(self, config: ArrayConfig, mapping: str = "best") -> Plan:
        """Return the mapping."""
        pixels = self.groups * math.prod(self.window.output)
        columns = self.weights[0].shape[3]
        return Plan((map_gemm(pixels, self._taps, columns, config, mapping),), config)


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
            raise ValueError(f"the input ({extent(source)}) is not rows of {c_in}")
        return (*source[:-1], c_out) if self.keep_dims else (self.rows, c_out)

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.rows * self.weights[0].size

    def _rows(self, x: Int8Array) -> Int8Array:
        return x.reshape(self.rows, 1, -1)

    def accumulate(self, x: Int8Array) -> IntArray:
        """Return the sums ``(rows, 1, c_out)``."""
        return pointwise_conv2d(self._rows(x), self.weights[0])

    def lower(self, x: Int8Array, config: ArrayConfig, mapping: str = "best") -> Lowering:
        """Return the tiles."""
        return lower_pointwise_conv2d(self._rows(x), self.weights[0], config, mapping=mapping)

    def plan(self, config: ArrayConfig, mapping: str = "best") -> Plan:
        """Return the mapping."""
        return Plan((map_gemm(self.rows, *self.weights[0].shape, config, mapping),), config)


@dataclass(frozen=True, eq=False, kw_only=True)
class Add(Operator):
    """The sum of two tensors that broadcast against each other."""

    kind = "ADD"

    activation: str = "NONE"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return np.broadcast_shapes(self.inputs[0].shape, self.inputs[1].shape)

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output."""
        a, b, y = *self.inputs, self.output
        return quant.add(
            *values,
            scales=(a.scale, b.scale, y.scale),
            zero_points=(a.zero_point, b.zero_point, y.zero_point),
            limits=quant.activation_range(self.activation, y.scale, y.zero_point),
        )

    def check(self) -> None:
        """Raise `ValueError` unless shapes and scales are what the operator takes."""
        super().check()
        self(*(np.zeros(1, np.int8) for _ in self.inputs))  # refuses scales that do not fit


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pool(Windowed):
    """A pool.

    Parameters
    ----------
    size : (int, int)
        Height and width of the window.
    activation : str
        One of `golden.quant.ACTIVATIONS`.
    """

    pool: ClassVar[Callable[..., Int8Array]]

    size: tuple[int, int]
    activation: str = "NONE"

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the window."""
        return self.size

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return (1, *self.window.output, self.inputs[0].shape[3])

    def check(self) -> None:
        """Raise `ValueError` unless shapes and quantization are what the operator takes."""
        super().check()
        source, target = self.inputs[0], self.output
        near = abs(source.scale - target.scale) <= 1e-6  # the kernels' own limit
        if not near or source.zero_point != target.zero_point:
            raise ValueError("input and output must have the same scale and zero point")

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output."""
        y = self.output
        limits = quant.activation_range(self.activation, y.scale, y.zero_point)
        return self.pool(values[0][0], self.window, limits)[None]


class AveragePool2D(_Pool):
    """The mean under a window."""

    kind = "AVERAGE_POOL_2D"
    pool = staticmethod(quant.average_pool)


class MaxPool2D(_Pool):
    """The greatest element under a window."""

    kind = "MAX_POOL_2D"
    pool = staticmethod(quant.max_pool)


@dataclass(frozen=True, eq=False, kw_only=True)
class Mean(Operator):
    """The mean over some axes.

    Parameters
    ----------
    axes : tuple of int
        Different ones, 0 (the batch) or more.
    keep_dims : bool
        Whether they stay, with one element.
    """

    kind = "MEAN"

    axes: tuple[int, ...]
    keep_dims: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        source, gone = self.inputs[0].shape, set(self.axes)
        if not gone or len(gone) < len(self.axes) or not gone <= set(range(len(source))):
            raise ValueError(f"axes must be different ones of {len(source)}, not {self.axes}")
        if self.keep_dims:
            return tuple(1 if axis in gone else size for axis, size in enumerate(source))
        return tuple(size for axis, size in enumerate(source) if axis not in gone)

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output."""
        x, y = self.inputs[0], self.output
        return quant.mean(
            values[0],
            self.axes,
            scales=(x.scale, y.scale),
            zero_points=(x.zero_point, y.zero_point),
            keep_dims=self.keep_dims,
        )

    def check(self) -> None:
        """Raise `ValueError` unless shapes and scales are what the operator takes."""
        super().check()
        quant.quantize_multiplier(self.inputs[0].scale / self.output.scale)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(Operator):
    """Padding with the zero point.

    Parameters
    ----------
    amounts : tuple of (int, int)
        Before and after, per axis.
    """

    kind = "PAD"

    amounts: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        source = self.inputs[0].shape
        if len(self.amounts) != len(source) or min(map(min, self.amounts), default=0) < 0:
            raise ValueError(f"padding must be {len(source)} pairs of at least 0")
        return tuple(n + sum(pad) for n, pad in zip(source, self.amounts, strict=True))

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output."""
        return np.pad(values[0], self.amounts, constant_values=self.output.zero_point)


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(Operator):
    """The same elements in another shape.

    Parameters
    ----------
    target : tuple of int
        The shape; -1 for what is left over.
    """

    kind = "RESHAPE"

    target: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        if not self.target:
            raise ValueError("no shape is given")
        count = math.prod(self.inputs[0].shape)
        known = math.prod(size for size in self.target if size != -1)
        free = self.target.count(-1)
        if free > 1 or known < 1 or (count % known if free else count != known):
            raise ValueError(f"{count} elements cannot have the shape {self.target}")
        return tuple(count // known if size == -1 else size for size in self.target)

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output."""
        return values[0].reshape(self.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(Operator):
    """Exponentials over the last axis, divided by their sum."""

    kind = "SOFTMAX"

    beta: float = 1.0

    def __call__(self, *values: Int8Array) -> Int8Array:
        """Return the output."""
        return quant.softmax(values[0], self.inputs[0].scale, self.beta)

    def check(self) -> None:
        """Raise `ValueError` unless shapes and quantization are what the operator takes."""
        super().check()
        if (self.output.scale, self.output.zero_point) != (1 / 256, -128):
            raise ValueError("the output must have scale 1/256 and zero point -128")
        self(np.zeros((1, 1), np.int8))  # refuses a scale that does not fit


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operator of a run.

    Parameters
    ----------
    name : str
        As in ``op03_ADD``.
    operator : Operator
    inputs : tuple of int8 arrays
    sums : int64 array, optional
        Of an operator with multiply-accumulates: what `accumulate` returned.
    output : int8 array
    """

    name: str
    operator: Operator
    inputs: tuple[Int8Array, ...]
    sums: IntArray | None
    output: Int8Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """A network: operators in the order in which they run.

    Parameters
    ----------
    input, output : Tensor
    operators : tuple of Operator
    """

    input: Tensor
    output: Tensor
    operators: tuple[Operator, ...]

    @property
    def names(self) -> list[str]:
        """Names of the operators, as in ``op03_ADD``."""
        return [f"op{index:02d}_{one.kind}" for index, one in enumerate(self.operators)]

    def check(self) -> None:
        """Raise `ValueError` unless every operator gets what it takes, from one before it."""
        if self.output is self.input:
            raise ValueError("the output is the input")
        known = {self.input}
        for index, one in enumerate(self.operators):
            try:
                for source in one.inputs:
                    if source not in known and source.data is None:
                        raise ValueError(f"input {source.name} is not computed before it")
                one.check()
                if one.output in known or one.output.data is not None:
                    raise ValueError(f"output {one.output.name} has a value already")
            except ValueError as error:
                raise ValueError(f"operator {index} ({one.kind}): {error}") from None
            known.add(one.output)
        if self.output not in known:
            raise ValueError(f"output {self.output.name} is not computed")

    def steps(self, x: Any) -> Iterator[Step]:
        """Run the network operator by operator.

        Parameters
        ----------
        x : int8 array
            Of the input's shape; batch may be left out.

        Raises
        ------
        TypeError, ValueError
            If x is not int8, or has another shape, or the reference kernel of an operator cannot
            take its values either (see `golden.quant.softmax`).
        """
        value = np.asarray(x)
        if value.dtype != np.int8:
            raise TypeError(f"the input must be int8, not {value.dtype}")
        if value.shape not in (self.input.shape, self.input.shape[1:]):
            raise ValueError(
                f"the input must be {extent(self.input.shape)}, not {extent((1, *value.shape))}"
            )
        values = {self.input: value.reshape(self.input.shape)}
        for name, one in zip(self.names, self.operators, strict=True):
            inputs = tuple(values[t] if t.data is None else t.data for t in one.inputs)
            sums = None
            try:
                if isinstance(one, ArrayOperator):
                    sums = one.accumulate(inputs[0])
                    output = one.finish(sums)
                else:
                    output = one(*inputs)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            values[one.output] = output
            yield Step(name=name, operator=one, inputs=inputs, sums=sums, output=output)

    def run(self, x: Any, return_all: bool = False) -> Any:
        """Return the network's output, batch left out.

        Parameters
        ----------
        x : int8 array
            Of the input's shape; batch may be left out.
        return_all : bool
            Return the outputs of all operators.

        Returns
        -------
        int8 array, or dict of str to int8 array
            With `return_all`, every operator's output by its name (`names`), in order. Batch is
            left out, but not of a RESHAPE, which says its result's shape itself.

        Raises
        ------
        TypeError, ValueError
            As `steps`.
        """
        steps = list(self.steps(x))
        if return_all:
            return {
                one.name: one.output if isinstance(one.operator, Reshape) else _bare(one.output)
                for one in steps
            }
        return _bare(next(one.output for one in steps if one.operator.output is self.output))

    def __str__(self) -> str:
        """Return one line per operator."""

        def line(name: str, detail: str, tensor: Tensor) -> str:
            values = f"scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
            return f"{name:23} {detail:18} {extent(tensor.shape):12} {values}"

        lines = [line("input", "", self.input)]
        for name, one in zip(self.names, self.operators, strict=True):
            lines.append(line(name, one.detail, one.output))
        return "\n".join(lines)


def _bare(value: Int8Array) -> Int8Array:
    """Return a value with batch 1 left out."""
    return value[0] if value.ndim > 1 and value.shape[0] == 1 else value
