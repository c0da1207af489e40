"""Random int8 networks of whatever the accelerator has jobs for, in whatever order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.int8.graph import Graph
from verif.lib.models import ACT, SAME, VALID, Net

__all__ = ["NO_ROOM", "inputs", "wild"]

#: What the compiler says of a network that a machine has no room for.
NO_ROOM = r"does not fit --act-kib \d+ \(.* \d+ KiB\)|do not fit the ring"

Shape = tuple[int, ...]
_FUNCTIONS = ("HARD_SWISH", "LEAKY_RELU", "RELU", "RELU6", "QUANTIZE", "LOGISTIC", "TANH", "PRELU")


class _Wild(Net):
    """Adds random operators to random tensors, which are images (1, H, W, C).

    Weighted layers often give the quantization of the input, so that much can be joined.
    """

    def __init__(self, seed: int, most: int) -> None:
        rng = np.random.default_rng(seed)
        side = 9 if most < 1_000 else 24
        height, width = (int(n) for n in rng.integers(1, side, 2, endpoint=True))
        super().__init__(seed, (1, height, width, int(rng.integers(1, 11))))
        self.most, self.images = most, [self.input]
        self.others: list[int] = []

    def some(self, *values: int) -> int:
        """Return one of some numbers."""
        return int(self.rng.choice(values))

    def pick(self) -> int:
        """Return an image, most often a late one."""
        late = self.images[-3:] if self.rng.random() < 0.6 else self.images
        return int(self.rng.choice(late))

    def alike(self, x: int, shape: Shape | None = None, quantized: bool = False) -> int:
        """Return an image of a shape, with the quantization of x where that is needed."""
        shape = shape or self.shapes[x]
        found = [y for y in self.images if self.shapes[y] == shape]
        if quantized:
            found = [y for y in found if self.quantization(y) == self.quantization(x)]
        if found and self.rng.random() < 0.8:
            return int(self.rng.choice(found))
        y = x
        if self.shapes[y][1:3] != shape[1:3]:
            y = self.resize(y, shape[1:3])
        self.target = self.scales[x] if quantized else 0.05
        zero = self.zeros[x] if quantized else None
        y = self.weighted("CONV_2D", y, (shape[3], 1, 1, self.shapes[y][3]), shape, zero=zero)
        self.target = 0.05
        return y

    def quantization(self, x: int) -> tuple[float, int]:
        return self.scales[x], self.zeros[x]

    def zero(self) -> int | None:
        return self.zeros[self.input] if self.rng.random() < 0.7 else None

    def activation_function(self) -> int:
        return self.some(ACT.NONE, ACT.NONE, ACT.RELU, ACT.RELU6)

    def resize(self, x: int, size: Shape) -> int:
        y = self.like(x, (1, *size, self.shapes[x][3]))
        half = bool(self.some(0, 1))
        return self.writer.add(
            "RESIZE_NEAREST_NEIGHBOR", [x, self.list(size)], y, HalfPixelCenters=half
        )

    # Every way returns its output, or None where it does not apply.

    def windowed(self, x: int) -> dict[str, int]:
        return {
            "StrideH": self.some(1, 1, 2), "StrideW": self.some(1, 1, 2),
            "Padding": SAME if self.rng.random() < 0.7 else VALID,
        }  # fmt: skip

    def kernel(self, x: int, options: dict[str, int]) -> tuple[int, int]:
        high, wide = self.some(1, 1, 2, 3, 5), self.some(1, 1, 2, 3, 5)
        if options["Padding"] == VALID:
            high, wide = min(high, self.shapes[x][1]), min(wide, self.shapes[x][2])
        return high, wide

    def convolution(self, x: int) -> int:
        options = self.windowed(x)
        return self.conv(
            x, self.kernel(x, options), self.some(1, 2, 3, 5, 8, 11), zero=self.zero(),
            FusedActivationFunction=self.activation_function(), **options,
        )  # fmt: skip

    def each_channel(self, x: int) -> int:
        options = self.windowed(x)
        return self.depthwise(
            x, self.kernel(x, options), self.some(1, 1, 1, 2), zero=self.zero(),
            FusedActivationFunction=self.activation_function(), **options,
        )  # fmt: skip

    def pooled(self, x: int) -> int:
        options = self.windowed(x)
        kind = "MAX_POOL_2D" if self.some(0, 1) else "AVERAGE_POOL_2D"
        return self.pool(kind, x, self.kernel(x, options),
                         FusedActivationFunction=self.activation_function(), **options)  # fmt: skip

    def arithmetic(self, x: int) -> int:
        shape = self.shapes[x]
        other = self.some(0, 0, 0, 1, 2, 3)
        if other == 0:
            y = self.alike(x)
        elif other == 1:
            y = self.constant(tuple(n * self.some(0, 1) or 1 for n in shape), 0.03)
        elif other == 2:
            y = self.constant((), 0.02)
        else:
            y = self.alike(x, tuple(n * self.some(0, 1) or 1 for n in shape))
        kind = ("ADD", "SUB", "MUL")[self.some(0, 1, 2)]
        pair = [x, y] if self.some(0, 1) else [y, x]
        a, b = (self.scales[one] for one in pair)
        scale = 60 * a * b if kind == "MUL" else 1.2 * max(a, b)
        result, function = self.activation(shape, scale), self.activation_function()
        return self.writer.add(kind, pair, result, FusedActivationFunction=function)

    def extreme(self, x: int) -> int:
        kind = "MAXIMUM" if self.some(0, 1) else "MINIMUM"
        y = self.alike(x, quantized=True)
        return self.writer.add(kind, [x, y], self.like(x, self.shapes[x]))

    def function(self, x: int) -> int:
        kind = _FUNCTIONS[self.some(*range(len(_FUNCTIONS)))]
        shape = self.shapes[x]
        if kind == "LOGISTIC":
            return self.writer.add(kind, [x], self.activation(shape, 1 / 256, -128))
        if kind == "TANH":
            return self.writer.add(kind, [x], self.activation(shape, 1 / 128, 0))
        zero = self.zero() if kind == "QUANTIZE" else None
        y = self.activation(shape, 0.05 if kind == "QUANTIZE" else 0.9 * self.scales[x], zero)
        if kind == "PRELU":
            return self.writer.add(kind, [x, self.constant((1, 1, shape[3]), 0.01)], y)
        return self.writer.add(kind, [x], y, **({"Alpha": 0.3} if kind == "LEAKY_RELU" else {}))

    def padded(self, x: int) -> int:
        amounts = [[0, 0], *([self.some(0, 0, 1, 2), self.some(0, 0, 1)] for _ in range(2)), [0, 0]]
        if self.rng.random() < 0.3:
            amounts = [[0, 0], [0, 0], [0, 0], [0, self.some(1, 3)]]
        shape = tuple(n + sum(pair) for n, pair in zip(self.shapes[x], amounts, strict=True))
        return self.writer.add("PAD", [x, self.list(amounts)], self.like(x, shape))

    def joined(self, x: int) -> int:
        axis = self.some(1, 2, 3, 3, 3)
        shape = list(self.shapes[x])
        parts = [x]
        for _ in range(self.some(1, 1, 2)):
            sizes = {self.shapes[y][axis] for y in self.images
                     if [n for k, n in enumerate(self.shapes[y]) if k != axis]
                     == [n for k, n in enumerate(shape) if k != axis]}  # fmt: skip
            wanted = tuple(int(self.rng.choice(sorted(sizes))) if k == axis else n
                           for k, n in enumerate(shape))  # fmt: skip
            parts.append(self.alike(x, wanted, quantized=True))
        order = [int(n) for n in self.rng.permutation(len(parts))]
        total = sum(self.shapes[part][axis] for part in parts)
        result = tuple(total if k == axis else n for k, n in enumerate(shape))
        return self.writer.add(
            "CONCATENATION", [parts[n] for n in order], self.like(x, result), Axis=axis
        )

    def split(self, x: int) -> int | None:
        axis = self.some(1, 2, 3, 3)
        shape = self.shapes[x]
        counts = [n for n in (2, 3) if shape[axis] % n == 0]
        if not counts:
            return None
        count = self.some(*counts)
        part = tuple(n // count if k == axis else n for k, n in enumerate(shape))
        outputs = [self.like(x, part) for _ in range(count)]
        number = self.writer.tensor((), data=axis, dtype=np.int32)
        self.writer.add_all("SPLIT", [number, x], outputs, NumSplits=count)
        self.images += outputs
        return outputs[0]

    def sliced(self, x: int) -> int:
        begins, ends, steps, shape = [0], [1], [1], [1]
        for n in self.shapes[x][1:]:
            step = self.some(1, 1, 1, 2, -1)
            low = int(self.rng.integers(0, n))
            high = int(self.rng.integers(low + 1, n + 1))
            shape.append(-(-(high - low) // abs(step)))
            begins.append(low if step > 0 else high - 1)
            ends.append(high if step > 0 else low - 1 if low else -n - 1)
            steps.append(step)
        lists = [self.list(one) for one in (begins, ends, steps)]
        return self.writer.add("STRIDED_SLICE", [x, *lists], self.like(x, tuple(shape)))

    def transposed(self, x: int) -> int:
        order = [0, *(int(n) + 1 for n in self.rng.permutation(3))]
        shape = tuple(self.shapes[x][axis] for axis in order)
        return self.writer.add("TRANSPOSE", [x, self.list(order)], self.like(x, shape))

    def resized(self, x: int) -> int:
        return self.resize(x, tuple(n * self.some(1, 2) for n in self.shapes[x][1:3]))

    def interpolated(self, x: int) -> int:
        size = tuple(n * self.some(1, 2, 4) for n in self.shapes[x][1:3])
        y = self.like(x, (1, *size, self.shapes[x][3]))
        where = {"HalfPixelCenters": bool(self.some(0, 1))}
        return self.writer.add("RESIZE_BILINEAR", [x, self.list(size)], y, **where)

    def averaged(self, x: int) -> int:
        axes = [[1, 2], [1, 2], [1], [2], [3], [2, 3]][self.some(*range(6))]
        shape = tuple(1 if axis in axes else n for axis, n in enumerate(self.shapes[x]))
        y = self.activation(shape, self.scales[x] * float(self.rng.uniform(0.3, 1)))
        return self.writer.add("MEAN", [x, self.list(axes)], y, KeepDims=True)

    def averaged_as_planes(self, x: int) -> int:
        """Transpose to (1, C, H, W) and average it to a vector, an axis at a time."""
        _, h, w, c = self.shapes[x]
        planes = self.like(x, (1, c, h, w))
        y = self.writer.add("TRANSPOSE", [x, self.list([0, 3, 1, 2])], planes)
        for axis, shape in ((self.some(2, 3), (1, c, 0)), (2, (1, c))):
            shape = (1, c, w if axis == 2 else h) if shape[-1] == 0 else shape
            scale = self.scales[y] * float(self.rng.uniform(0.5, 1))
            y = self.writer.add("MEAN", [y, self.list([axis])], self.activation(shape, scale))
            self.others.append(y)
        self.others.append(planes)
        return self.writer.add("RESHAPE", [y, self.list((1, 1, 1, c))], self.like(y, (1, 1, 1, c)))

    def reshaped(self, x: int) -> int:
        _, h, w, c = self.shapes[x]
        shapes = [(1, w, h, c), (1, 1, h * w, c), (1, h, 1, w * c), (1, h, c, w)]
        wanted = [*shapes, (1, 1, 1, h * w * c)][self.some(*range(5))]
        return self.writer.add("RESHAPE", [x, self.list(wanted)], self.like(x, wanted))

    def linear(self, x: int) -> int:
        count = int(np.prod(self.shapes[x]))
        c = self.some(1, 4, 9, 10)
        flat = self.writer.add("RESHAPE", [x, self.list([1, count])], self.like(x, (1, count)))
        y = self.weighted("FULLY_CONNECTED", flat, (c, count), (1, c), zero=self.zero())
        return self.writer.add("RESHAPE", [y, self.list([1, 1, 1, c])], self.like(y, (1, 1, 1, c)))

    def packed(self, x: int) -> int:
        _, h, w, c = self.shapes[x]
        rows = self.writer.add_all("UNPACK", [x], [self.like(x, (1, w, c)) for _ in range(h)],
                                   Num=h, Axis=1)  # fmt: skip
        turned = [int(n) for n in self.rng.permutation(rows)]
        axis = self.some(1, 2, 3)
        shape = [1, w, c]
        shape.insert(axis, h)
        return self.writer.add("PACK", turned, self.like(x, tuple(shape)), Axis=axis, ValuesCount=h)

    def grow(self, ways: int) -> list[int]:
        """Add so many operators; return what nothing reads."""
        kinds: list[Callable[[int], int | None]] = [
            self.convolution, self.convolution, self.each_channel, self.pooled, self.arithmetic,
            self.extreme, self.function, self.padded, self.joined, self.joined, self.joined,
            self.split, self.sliced, self.transposed, self.resized, self.interpolated,
            self.averaged, self.averaged_as_planes, self.reshaped, self.linear, self.packed,
        ]  # fmt: skip
        while ways:
            made = kinds[int(self.rng.integers(len(kinds)))](self.pick())
            if made is not None and np.prod(self.shapes[made]) <= self.most:
                self.images.append(made)
                ways -= 1
        read = {t for one in self.writer.operators for t in one[1]}
        ends = [t for t in self.images if t not in read]
        extra = [t for t in (*self.images[1:], *self.others) if self.rng.random() < 0.1]
        return list(dict.fromkeys([*ends, *extra]))


def inputs(graph: Graph, seed: int = 1) -> list[NDArray[Any]]:
    """Return random inputs of a network."""
    rng = np.random.default_rng(seed)
    return [
        rng.uniform(-1, 1, one.shape).astype(np.float32) if one.real
        else rng.integers(0, 256, one.shape).astype(np.uint8).view(one.dtype)
        for one in graph.inputs
    ]  # fmt: skip


def wild(seed: int, most: int = 600) -> bytes:
    """Return a network of 4 to 12 random operators, with one output or more.

    Parameters
    ----------
    seed : int
    most : int
        Bytes of the output of an operator, at most.
    """
    net = _Wild(seed, most)
    ends = net.grow(4 + seed % 9)
    return net.writer.content([net.input], ends)
