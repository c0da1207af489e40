"""Int8 TensorFlow Lite models: real ones if they are there, small ones written by the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import tflite

import golden.int8.tflite
from golden.int8 import writer as golden_writer
from golden.int8.graph import Graph
from verif.lib.fetch import SOURCES, find, needs

needs_models = needs(*(one.name for one in SOURCES if one.name.startswith("models/")))


def reference_input(graph: Graph, result: str) -> np.ndarray:
    """Return the input of a reference result if it is there, and random values if not."""
    path = find(f"models/{result}.npz")
    if path.exists():
        values: np.ndarray = np.load(path)["input"]
        return values
    rng = np.random.default_rng(1)
    return rng.integers(-128, 127, graph.inputs[0].shape, np.int8, endpoint=True)


def load(content: bytes, folder: Path) -> Graph:
    """Write a model to a file, and load it."""
    path = folder / "model.tflite"
    path.write_bytes(content)
    return golden.int8.tflite.load(path)


class Writer(golden_writer.Writer):
    """Writes what no converter would, too.

    Attributes
    ----------
    fields : dict of str to dict
        What to write in place of what belongs there, by table and field, in all such tables.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, dict[str, Any]] = {}

    def table(self, builder: flatbuffers.Builder, name: str, **fields: Any) -> int:
        """Write a table; a custom operator is a warp."""
        if fields.get("BuiltinCode") == tflite.BuiltinOperator.CUSTOM:
            fields["CustomCode"] = builder.CreateString("Warp")
        changed = self.fields.get(name, {}) if fields else {}  # buffer 0 stays empty
        return super().table(builder, name, **fields | changed)


class Net:
    """Writes a network layer after layer, with random weights and scales that use all of int8.

    Parameters
    ----------
    seed : int
    shape : tuple of int
        Of the input, batch included.
    """

    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng(seed)
        self.writer = Writer()
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.scales: dict[int, float] = {}
        self.zeros: dict[int, int] = {}
        self.target = 0.05  # scale of the next outputs
        self.input = self.activation(shape, 0.05)

    def activation(self, shape: Sequence[int], scale: float, zero: int | None = None) -> int:
        """Add an activation; without `zero`, its zero point is random."""
        if zero is None:
            zero = int(self.rng.integers(-60, 60))
        index = self.writer.tensor(shape, scale, zero)
        self.shapes[index], self.zeros[index] = tuple(shape), zero
        self.scales[index] = float(np.float32(scale))
        return index

    def like(self, x: int, shape: Sequence[int]) -> int:
        """Return an activation quantized as `x`."""
        return self.activation(shape, self.scales[x], self.zeros[x])

    def weighted(
        self, kind: str, x: int, weights: tuple[int, ...], shape: tuple[int, ...], *,
        axis: int = 0, per_channel: bool = True, bias: bool = True, pruned: Sequence[int] = (),
        zero: int | None = None, **options: Any,
    ) -> int:  # fmt: skip
        """Add a convolution or a fully connected layer; `pruned` scales are 0.

        `zero` is the zero point of the output.
        """
        rng, channels = self.rng, weights[axis]
        data = rng.integers(-127, 127, weights, endpoint=True)
        data.flat[0], data.flat[-1] = -127, 127
        taps = int(np.prod(weights)) // channels
        spread = 74 * 74 * taps**0.5  # of a sum of products
        scales = 50 * self.target / spread / self.scales[x]
        scales = scales * rng.uniform(0.5, 2, channels if per_channel else 1)
        scales[list(pruned)] = 0
        inputs = [x, self.writer.tensor(weights, scales, data=data, axis=axis)]
        if bias:
            values = rng.normal(0, spread / 3, channels)
            product = self.scales[x] * scales
            inputs.append(self.writer.tensor((channels,), product, data=values, dtype=np.int32))
        y = self.activation(shape, self.target, zero)
        return self.writer.add(kind, inputs, y, **options)

    def window(self, x: int, kernel: tuple[int, int], options: dict[str, Any]) -> tuple[int, ...]:
        """Return height and width of what a window gives."""
        stride = options.get("StrideH", 1), options.get("StrideW", 1)
        valid = options.get("Padding", tflite.Padding.SAME) == tflite.Padding.VALID
        return tuple(
            -(-(n - (k - 1) * valid) // max(s, 1))
            for n, k, s in zip(self.shapes[x][1:3], kernel, stride, strict=True)
        )

    def conv(self, x: int, kernel: tuple[int, int], channels: int, **options: Any) -> int:
        """Add a convolution."""
        size = self.window(x, kernel, options)
        weights = (channels, *kernel, self.shapes[x][3])
        return self.weighted("CONV_2D", x, weights, (1, *size, channels), **options)

    def depthwise(self, x: int, kernel: tuple[int, int], more: int = 1, **options: Any) -> int:
        """Add a depthwise convolution, `more` output channels per input channel."""
        channels = self.shapes[x][3] * more
        size = self.window(x, kernel, options)
        return self.weighted(
            "DEPTHWISE_CONV_2D", x, (1, *kernel, channels), (1, *size, channels), axis=3,
            DepthMultiplier=more, **options,
        )  # fmt: skip

    def pool(self, kind: str, x: int, kernel: tuple[int, int], **options: Any) -> int:
        """Add a pool."""
        size = self.window(x, kernel, options)
        y = self.like(x, (1, *size, self.shapes[x][3]))
        return self.writer.add(
            kind, [x], y, FilterHeight=kernel[0], FilterWidth=kernel[1], **options
        )

    def sum(self, a: int, b: int, activation: int = 0) -> int:
        """Add a sum."""
        shape = np.broadcast_shapes(self.shapes[a], self.shapes[b])
        y = self.activation(shape, 1.2 * max(self.scales[a], self.scales[b]))
        return self.writer.add("ADD", [a, b], y, FusedActivationFunction=activation)

    def constant(self, shape: tuple[int, ...], scale: float) -> int:
        """Add a constant to be summed."""
        data = self.rng.integers(-128, 127, shape, endpoint=True)
        index = self.writer.tensor(shape, scale, 17, data=data)
        self.shapes[index], self.scales[index], self.zeros[index] = shape, scale, 17
        return index

    def list(self, values: Any, dtype: Any = np.int32) -> int:
        """Add a constant of integers."""
        return self.writer.tensor(np.shape(values), data=values, dtype=dtype)

    def done(self, y: int) -> bytes:
        """Return the file; y is the network's output."""
        return self.writer.content([self.input], [y])


ACT = tflite.ActivationFunctionType
SAME, VALID = tflite.Padding.SAME, tflite.Padding.VALID


#: Kinds of operators in `everything`.
EVERYTHING = {
    "ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D",
    "MEAN", "PAD", "RESHAPE", "SOFTMAX",
}  # fmt: skip


def everything(seed: int = 1, height: int = 13, width: int = 9, behind: bool = False) -> bytes:
    """Return a model with all of `EVERYTHING`: odd shapes, both paddings, per-channel scales.

    Its depthwise layers are square, have even channels, and are read by convolutions. Constants
    may lie `behind` the flatbuffer.
    """
    net = Net(seed, (1, height, width, 3))
    net.writer.behind = behind
    x = net.conv(net.input, (3, 3), 8, StrideH=2, StrideW=2, FusedActivationFunction=ACT.RELU6)
    x = net.depthwise(x, (3, 3), FusedActivationFunction=ACT.RELU)
    left = net.conv(x, (1, 1), 12)
    y = net.depthwise(left, (3, 3), 2, StrideH=2, StrideW=1, FusedActivationFunction=ACT.RELU6)
    y = net.conv(y, (1, 1), 12, per_channel=False)
    x = net.pool("MAX_POOL_2D", left, (3, 2), StrideH=2, StrideW=1, Padding=SAME)
    x = net.sum(x, y, ACT.RELU)
    x = net.sum(x, net.constant((1, 1, 1, 12), 0.01))
    _, h, w, c = net.shapes[x]
    pads = [[0, 0], [1, 0], [0, 2], [0, 0]]
    padded = net.like(x, (1, h + 1, w + 2, c))
    x = net.writer.add("PAD", [x, net.list(pads)], padded)
    x = net.conv(x, (3, 2), 10, StrideH=1, StrideW=2, Padding=VALID)
    x = net.pool("AVERAGE_POOL_2D", x, (2, 2), StrideH=1, StrideW=1, Padding=SAME)
    x = net.depthwise(x, (3, 3), Padding=VALID) if min(net.shapes[x][1:3]) >= 3 else x
    x = net.conv(x, (1, 1), 20, FusedActivationFunction=ACT.RELU)
    _, h, w, c = net.shapes[x]
    mean = net.activation((1, c), 0.7 * net.scales[x])
    branch = net.writer.add("MEAN", [x, net.list([1, 2])], mean)
    branch = net.weighted("FULLY_CONNECTED", branch, (7, c), (1, 7), FusedActivationFunction=1)
    flat = net.writer.add("RESHAPE", [x, net.list([-1, h * w * c])], net.like(x, (1, h * w * c)))
    x = net.weighted("FULLY_CONNECTED", flat, (7, h * w * c), (1, 7), per_channel=False, bias=False)
    x = net.sum(x, branch)
    x = net.writer.add("SOFTMAX", [x], net.activation((1, 7), 1 / 256, -128))
    return net.done(x)


def variant(name: str) -> bytes:
    """Return a model with something that converters write, but `everything` has not."""
    net = Net(11, (1, 6, 5, 4))
    writer, x = net.writer, net.input
    if name == "fully connected, 4 dimensions":
        y = net.weighted("FULLY_CONNECTED", x, (3, 4), (30, 3))
    elif name == "fully connected, dimensions kept":
        y = net.weighted("FULLY_CONNECTED", x, (3, 4), (1, 6, 5, 3), KeepNumDims=True)
    elif name == "fully connected, no bias":
        y = net.weighted("FULLY_CONNECTED", x, (3, 120), (1, 3), bias=False)
        writer.operators[-1][1].append(-1)
    elif name.startswith("mean"):
        axes, keep = {
            "mean, dimensions kept": ([1, 2], True),
            "mean, negative axes": ([-3, -2], False),
            "mean, axes twice": ([1, -3, 1], True),
            "mean, last axis": ([3], False),
        }[name]
        shape = np.zeros((1, 6, 5, 4)).mean(tuple({axis % 4 for axis in axes}), keepdims=keep).shape
        y = writer.add("MEAN", [x, net.list(axes)], net.activation(shape, 0.03), KeepDims=keep)
    elif name == "constant scalar":
        y = net.sum(net.constant((), 0.02), x)
    elif name == "constant plane":
        y = net.sum(x, net.constant((5, 1), 0.02))
    elif name == "reshape by options":
        y = writer.add("RESHAPE", [x], net.like(x, (5, 24)), NewShape=[5, -1])
    elif name == "reshape, absent operand":
        y = writer.add("RESHAPE", [x, -1], net.like(x, (5, 24)), NewShape=[5, 24])
    elif name == "pad, int64":
        amounts = net.list([[0, 0], [0, 3], [2, 0], [1, 1]], np.int64)
        y = writer.add("PAD", [x, amounts], net.like(x, (1, 9, 7, 6)))
    elif name == "old operator codes":
        writer.fields["OperatorCode"] = {"BuiltinCode": 0}  # as of files before there were 128
        y = net.depthwise(net.conv(x, (2, 2), 4), (2, 4), StrideH=3, StrideW=3)
    elif name == "new operator codes":
        writer.fields["OperatorCode"] = {"DeprecatedBuiltinCode": 0}
        y = net.depthwise(net.conv(x, (2, 2), 4), (2, 4), StrideH=3, StrideW=3)
    elif name == "buffers behind the flatbuffer":
        writer.behind = True
        y = net.sum(net.conv(x, (2, 2), 4), net.constant((4,), 0.02))
    elif name == "pruned channels":
        y = net.depthwise(net.conv(x, (2, 2), 4, pruned=[1]), (3, 3), 2, pruned=[0, 5])
        y = net.weighted("FULLY_CONNECTED", y, (5, 8), (30, 5), pruned=[2])
    elif name == "pruned layers":
        y = net.sum(net.conv(x, (1, 1), 4, per_channel=False, pruned=[0]), x)
        y = net.sum(net.depthwise(y, (1, 1), per_channel=False, pruned=[0]), y)
        z = net.weighted("FULLY_CONNECTED", y, (1, 4), (30, 1), per_channel=False, pruned=[0])
        y = net.sum(z, net.writer.add("RESHAPE", [y, net.list([30, 4])], net.like(y, (30, 4))))
    elif name == "output inside":
        y = net.conv(net.conv(x, (1, 1), 3), (3, 3), 7)
        net.conv(y, (1, 1), 2)
    return net.done(y)


VARIANTS = [
    "fully connected, 4 dimensions", "fully connected, dimensions kept",
    "fully connected, no bias", "mean, dimensions kept", "mean, negative axes",
    "mean, axes twice", "mean, last axis", "constant scalar", "constant plane",
    "reshape by options", "reshape, absent operand", "pad, int64", "old operator codes",
    "new operator codes", "buffers behind the flatbuffer", "pruned channels", "pruned layers",
    "output inside",
]  # fmt: skip


def modern(seed: int = 1) -> bytes:
    """Return a model as users have them: real numbers go in and come out, at three ends.

    Between are operators that `everything` has not.
    """
    net = Net(seed, (1, 11, 9, 3))
    writer = net.writer
    real = writer.tensor((1, 11, 9, 3), dtype=np.float32)
    writer.add("QUANTIZE", [real], net.input)
    x = net.conv(net.input, (3, 3), 12, StrideH=2, StrideW=2)
    x = writer.add("HARD_SWISH", [x], net.activation(net.shapes[x], net.scales[x]))
    parts = writer.add_all(
        "SPLIT", [writer.tensor((), data=3, dtype=np.int32), x],
        [net.like(x, (*net.shapes[x][:3], 6)) for _ in range(2)], NumSplits=2,
    )  # fmt: skip
    gate = net.conv(parts[0], (1, 1), 6)
    gate = writer.add("LOGISTIC", [gate], net.activation(net.shapes[gate], 1 / 256, -128))
    left = net.depthwise(parts[1], (3, 3), DilationHFactor=2, DilationWFactor=1)
    left = writer.add("LEAKY_RELU", [left], net.activation(net.shapes[left], 0.04), Alpha=0.1)
    both = net.activation(net.shapes[left], 0.02)
    x = writer.add("MUL", [left, gate], both, FusedActivationFunction=ACT.RELU6)
    x = writer.add("SUB", [x, net.constant((6,), 0.01)], net.activation(net.shapes[x], 0.03))
    other = writer.add("QUANTIZE", [parts[0]], net.like(x, net.shapes[parts[0]]))
    x = writer.add("CONCATENATION", [x, other], net.like(x, (*net.shapes[x][:3], 12)), Axis=-1)
    high, wide = net.shapes[x][1:3]
    large = net.like(x, (1, 2 * high, 2 * wide, 12))
    y = writer.add(
        "RESIZE_NEAREST_NEIGHBOR", [x, net.list([2 * high, 2 * wide])], large,
        HalfPixelCenters=True,
    )  # fmt: skip
    y = net.conv(y, (3, 3), 5, StrideH=2, StrideW=2)
    y = writer.add("TANH", [y], net.activation(net.shapes[y], 1 / 128, 0))
    small = writer.add(
        "RESIZE_BILINEAR", [x, net.list([3, 4])], net.like(x, (1, 3, 4, 12)), AlignCorners=True
    )
    turned = writer.add("TRANSPOSE", [small, net.list([0, 3, 1, 2])], net.like(x, (1, 12, 3, 4)))
    picks = [net.list(one) for one in ([0, 1, 0, 3], [1, 12, 3, -5], [1, 2, 1, -1])]
    some = net.like(x, (1, 6, 3, 4))
    writer.add("STRIDED_SLICE", [turned, *picks], some, EndMask=8)
    z = net.weighted("FULLY_CONNECTED", some, (7, 72), (1, 7))
    reals = [writer.tensor(net.shapes[one], dtype=np.float32) for one in (y, z)]
    for source, target in zip((y, z), reals, strict=True):
        writer.add("DEQUANTIZE", [source], target)
    return writer.content([real], [*reals, x])


#: Kinds of operators with one input whose output is like it, and options.
_FUNCTIONS = {
    "HARD_SWISH": {}, "LEAKY_RELU": {"Alpha": 0.1}, "QUANTIZE": {}, "RELU": {}, "RELU6": {},
    "RELU_0_TO_1": {}, "RELU_N1_TO_1": {},
}  # fmt: skip
#: Kinds of operators that move elements: operands beside the first, shapes after, and options.
_MOVES: dict[str, tuple[list[Any], tuple[int, ...], dict[str, Any]]] = {
    "CONCATENATION": ([], (1, 6, 5, 4), {"Axis": 3}),
    "EXPAND_DIMS": ([[1]], (1, 1, 6, 5, 4), {}),
    "PACK": ([], (1, 1, 6, 5, 4), {"Axis": 1, "ValuesCount": 1}),
    "PAD": ([[[0, 0], [1, 0], [0, 2], [0, 0]]], (1, 7, 7, 4), {}),
    "RESHAPE": ([[5, 24]], (5, 24), {}),
    "RESIZE_BILINEAR": ([[7, 9]], (1, 7, 9, 4), {}),
    "RESIZE_NEAREST_NEIGHBOR": ([[7, 9]], (1, 7, 9, 4), {}),
    "SLICE": ([[0, 1, 0, 0], [1, 3, 5, 4]], (1, 3, 5, 4), {}),
    "SPLIT_V": ([[5], [2]], (1, 6, 5, 4), {"NumSplits": 1}),
    "SQUEEZE": ([], (6, 5, 4), {}),
    "STRIDED_SLICE": ([[0, 1, 0, 0], [1, 4, 5, 4], [1, 1, 1, 1]], (1, 3, 5, 4), {}),
    "TRANSPOSE": ([[0, 3, 1, 2]], (1, 4, 6, 5), {}),
    "UNPACK": ([], (6, 5, 4), {"Num": 1}),
}


def single(kind: str, behind: bool = False, **fields: dict[str, Any]) -> bytes:
    """Return a model of one operator; `fields` replace what belongs in its tables."""
    net = Net(11, (1, 6, 5, 4))
    writer, x = net.writer, net.input
    writer.fields, writer.behind = fields, behind
    if kind == "CONV_2D":
        y = net.conv(x, (2, 2), 3)
    elif kind == "DEPTHWISE_CONV_2D":
        y = net.depthwise(x, (2, 2))
    elif kind == "FULLY_CONNECTED":
        y = net.weighted(kind, x, (3, 4), (30, 3))
    elif kind in ("ADD", "SUB", "MUL"):
        y = writer.add(kind, [x, net.constant((5, 1), 0.02)], net.activation((1, 6, 5, 4), 0.1))
    elif kind in ("MAXIMUM", "MINIMUM", "PRELU"):
        other = net.constant((5, 1), 0.05)
        shape, scales, _, *rest = writer.tensors[other]
        writer.tensors[other] = (shape, scales, net.zeros[x], *rest)
        y = writer.add(kind, [x, other], net.like(x, (1, 6, 5, 4)))
    elif kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        y = net.pool(kind, x, (2, 2), StrideH=1, StrideW=1)
    elif kind == "MEAN":
        y = writer.add(kind, [x, net.list([1, 2])], net.activation((1, 4), 0.03))
    elif kind in _MOVES:
        operands, shape, options = _MOVES[kind]
        lists = [net.list(one) for one in operands]
        y = writer.add(kind, [x, *lists], net.like(x, shape), **options)
    elif kind == "SPLIT":
        axis = writer.tensor((), data=1, dtype=np.int32)
        y = writer.add(kind, [axis, x], net.like(x, (1, 6, 5, 4)), NumSplits=1)
    elif kind == "SHAPE":
        found = writer.add(kind, [x], writer.tensor((4,), dtype=np.int32), OutType=2)
        y = writer.add("RESHAPE", [x, found], net.like(x, (1, 6, 5, 4)))
    elif kind == "DEQUANTIZE":
        y = writer.add(kind, [x], writer.tensor((1, 6, 5, 4), dtype=np.float32))
    elif kind == "TANH":
        y = writer.add(kind, [x], net.activation((1, 6, 5, 4), 1 / 128, 0))
    elif kind in _FUNCTIONS:
        y = writer.add(kind, [x], net.like(x, (1, 6, 5, 4)), **_FUNCTIONS[kind])
    else:
        assert kind in ("LOGISTIC", "SOFTMAX")
        y = writer.add(kind, [x], net.activation((1, 6, 5, 4), 1 / 256, -128))
    return net.done(y)
