"""Operators as jobs: which way each is mapped, and what is left to the host."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from golden.arith import quant
from golden.arith.window import Window
from golden.int8.array_operators import (
    ABConv2D,
    ArrayOperator,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    FuseConv2D,
)
from golden.int8.elementwise import (
    Add,
    Function,
    Maximum,
    Minimum,
    Mul,
    Pair,
    PRelu,
    Quantize,
    Sub,
)
from golden.int8.operators import Operator
from golden.int8.pools import AveragePool2D, MaxPool2D, Mean
from golden.int8.shapes import (
    Concatenation,
    Pack,
    Pad,
    ResizeBilinear,
    ResizeNearestNeighbor,
    Slice,
    Transpose,
)
from golden.int8.tensor import Tensor
from hw.accelerator.combiner import ENTRIES, LEFT, Mode
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.jobs import Kind
from report.errors import UserError

from . import jobs
from .jobs import Job, Place, Requantization, image_shape
from .moves import ALONE, LONGEST, moves

__all__ = ["Unsupported", "join", "lower"]


Places = Sequence[Place]


class Scratch(Protocol):
    """Returns where so many bytes are free until the operator is done.

    If they are to `spare`, nothing else has to go for them; there may be none then.
    """

    def __call__(self, count: int, spare: bool = False) -> int:
        """Return the address of the first one."""


Int8 = NDArray[np.int8]


class Unsupported(Exception):
    """The machine has no way to do an operator."""


def steps(job: Job, config: AcceleratorConfig) -> int:
    """Return about how many cycles a job's operands take."""
    cols, every = config.array.cols, config.rows_per_lane
    if job.kind == Kind.COMBINE:
        read = job.own["read"]
        words = read["tiles"] * read["pixels"] * read["rows"] * read["words"]
        mode = job.own["combine"]["mode"]
        if mode == Mode.MOST:
            return int(words + words // job.own["combine"]["depth"] * (every - 1)) + ALONE
        return (
            int(words if mode == Mode.HOLD else words * every * (1 + (mode == Mode.HELD))) + ALONE
        )
    read = job.own["read"]
    if job.kind == Kind.STREAM:
        fill = read["depth"] + cols - 1
        one = read["folds"] * cols * every + read["depth"] - 1
        fold = max(read["passes"] * fill, every * cols)
        signal = one if read["passes"] == 1 else read["folds"] * fold
        return int(signal * read["bands"] * job.fields["rounds"])
    sizes = [read["pixels"] + 1] * read["large"] + [read["pixels"]] * (
        read["tiles"] - read["large"]
    )
    lengths = [read["length"] + 1] * read["long"] + [read["length"]] * (
        read["words"] - read["long"]
    )
    tile = sum(max(length, sizes[0]) for length in lengths) * read["rows"]
    tile = max(tile, every * sizes[0])
    return tile * read["tiles"] * read["rounds"] + cols + config.array.rows


def cheapest(choices: Sequence[Callable[[], list[Job]]], config: AcceleratorConfig) -> list[Job]:
    """Return the jobs of the fastest way that the machine has.

    Raises
    ------
    Unsupported
        If there is none.
    """
    found: list[tuple[int, list[Job]]] = []
    why = ""
    for choice in choices:
        try:
            ways = choice()
        except (UserError, Unsupported) as error:
            why = why or str(error)
            continue
        found.append((sum(steps(job, config) for job in ways), ways))
    if not found:
        raise Unsupported(why)
    return min(found, key=lambda one: one[0])[1]


def depthwise(
    config: AcceleratorConfig, window: Window, source: Place, target: Place, weights: Int8,
    given: Requantization, pad: int,
) -> list[Job]:  # fmt: skip
    """Return a depthwise convolution, by ST-OS or as a GEMM, whatever is faster."""
    channels = weights.shape[3]
    choices: list[Callable[[], list[Job]]] = [
        lambda: [jobs.gemm(config, window, source, target, weights, given, pad, diagonal=True)]
    ]
    if config.array.st_os:
        for way in jobs.streams(window, channels, config):
            choices.append(
                lambda way=way: [  # type: ignore[misc]
                    jobs.stream(config, way, source, target, weights, given, pad)
                ]
            )
    return cheapest(choices, config)


def convolution(
    config: AcceleratorConfig, window: Window, source: Place, target: Place, weights: Int8,
    given: Requantization, pad: int, scratch: Scratch | None = None,
) -> list[Job]:  # fmt: skip
    """Return a convolution, with as many pixels on the rows as is fastest.

    Or after a copy of the image that has the rows of a window end to end.
    """
    _, kh, kw, c_in, c_out = weights.shape
    dense = source.pixel == source.channels and target.pixel == c_out
    counts = [
        n for n in range(1, config.array.rows // c_out + 1)
        if n == 1 or (dense and window.output[1] % n == 0)
    ] or [1]  # fmt: skip
    choices: list[Callable[[], list[Job]]] = [
        lambda n=n: [  # type: ignore[misc]
            jobs.gemm(config, window, source, target, weights, given, pad, pixels=n)
        ]
        for n in counts
    ]
    if scratch and kh > 1 and kw * c_in <= config.array.rows and source.pixel == c_in:
        choices.append(
            lambda: _end_to_end(config, window, source, target, weights, given, pad, scratch)
        )
    return cheapest(choices, config)


def _end_to_end(
    config: AcceleratorConfig, window: Window, source: Place, target: Place, weights: Int8,
    given: Requantization, pad: int, scratch: Scratch,
) -> list[Job]:  # fmt: skip
    """Return a convolution of a copy: of every column of windows, the rows one after the other."""
    turns, kh, kw, c_in, c_out = weights.shape
    run = kw * c_in
    (top, _), (left, _) = window.padding
    (out_h, out_w), (stride_y, stride_x) = window.output, window.stride
    height = (out_h - 1) * stride_y + kh
    begin = scratch(out_w * height * run, spare=True)
    made = []
    for column in range(out_w):
        read = jobs.pixel_reads(
            base=source.address - top * source.row, x=(column * stride_x - left) * c_in,
            jump=source.row, width=window.size[1] * c_in, top=-top, stride=1,
            height=window.size[0], length=run, tiles=height,
        )  # fmt: skip
        write = jobs.pixel_writes(begin + column * height * run, run, height, run)
        made.append(_copy(config, read, write, pad))
    place = Place(
        address=begin, size=(out_h, out_w), channels=kh * run, pixel=height * run,
        row=stride_y * run,
    )  # fmt: skip
    whole = Window((out_h, out_w), (1, 1), (1, 1), ((0, 0), (0, 0)))
    flat = weights.reshape(turns, 1, 1, kh * run, c_out)
    return [*made, jobs.gemm(config, whole, place, target, flat, given, pad)]


def turned(weights: Int8, zero: int) -> Int8:
    """Return weights less their zero point as a sum of int8 arrays, along a new first axis."""
    whole = weights.astype(np.int64) - zero
    parts = [np.clip(whole, *quant.INT8)]
    while np.any(rest := whole - sum(parts)):
        parts.append(np.clip(rest, *quant.INT8))
    return np.stack(parts).astype(np.int8)


def requantization(one: ArrayOperator) -> Requantization:
    """Return what the lanes do with the sums of an operator.

    Raises
    ------
    Unsupported
        If a multiplier needs sums that a shift to the left may wrap.
    """
    if isinstance(one, FullyConnected) and one.inputs[0].dtype != "int8":
        raise Unsupported("a uint8 FULLY_CONNECTED")
    taps = math.prod(one.weights[0].shape[:-1])
    sums = one.weight_sums - one.weight_zero * taps
    bias = one.bias - one.inputs[0].zero_point * sums
    multiplier, shift = (np.broadcast_to(values, (one.channels,)) for values in one.multipliers)
    reach = np.concatenate(
        [
            128 * np.abs(w.astype(np.int64) - one.weight_zero).sum(tuple(range(w.ndim - 1)))
            for w in one.weights
        ]
    )
    reach = np.tile(reach, one.channels // len(reach)) + np.abs(bias)
    if np.any((shift > 0) & (reach << np.maximum(shift, 0) >= 1 << 31)):
        raise Unsupported("a multiplier above 1 whose sums may wrap")
    return Requantization(
        bias=bias.astype(np.int64), multiplier=multiplier, shift=shift,
        zero=one.output.zero_point, limits=one.limits(one.activation),
    )  # fmt: skip


def _conv(
    one: Conv2D, config: AcceleratorConfig, source: Places, target: Place, scratch: Scratch
) -> list[Job]:
    given, pad = requantization(one), one.inputs[0].zero_point
    weights = turned(one.weights[0], one.weight_zero)
    return convolution(config, one.window, source[0], target, weights, given, pad, scratch)


def _depthwise(
    one: DepthwiseConv2D, config: AcceleratorConfig, source: Places, target: Place
) -> list[Job]:
    given, pad = requantization(one), one.inputs[0].zero_point
    weights = turned(one.weights[0], one.weight_zero)
    if one.multiplier == 1:
        return depthwise(config, one.window, source[0], target, weights, given, pad)
    # Several filters for a channel: a convolution whose other weights are 0.
    turns, kh, kw, c_out = weights.shape
    full = np.zeros((turns, kh, kw, source[0].channels, c_out), np.int8)
    lane = np.arange(c_out)
    full[..., lane // one.multiplier, lane] = weights
    return convolution(config, one.window, source[0], target, full, given, pad)


def _fuse(one: FuseConv2D, config: AcceleratorConfig, source: Places, target: Place) -> list[Job]:
    given, pad = requantization(one), one.inputs[0].zero_point
    filters = [one.weights[0], one.weights[1]]
    wide = one.workload
    if wide.c_in != (wide.c_out // 2 if one.variant == "full" else wide.c_out):
        raise Unsupported("FuSe with repeated channels")
    found: list[Job] = []
    first = 0
    for branch, weights in zip(wide.branches, filters, strict=True):
        count = weights.shape[2]
        reads = 0 if one.variant == "full" else first
        found += depthwise(
            config, branch.window, source[0].part(reads, count), target.part(first, count),
            weights[None], given.part(range(first, first + count)), pad,
        )  # fmt: skip
        first += count
    return found


def _abconv(one: ABConv2D, config: AcceleratorConfig, source: Places, target: Place) -> list[Job]:
    given, pad = requantization(one), one.inputs[0].zero_point
    weights, groups = one.weights[0][None], one.groups
    c_in, c_out = weights.shape[3:]
    window = one.window
    same = given.part(range(c_out))
    alike = all(
        np.array_equal(np.tile(getattr(same, name), groups), getattr(given, name))
        for name in ("bias", "multiplier", "shift")
    )
    if window.kernel == (1, 1) and window.stride == (1, 1) and alike:
        # The blocks of a pixel are pixels: RESHAPE, CONV_2D, RESHAPE.
        (height, width), place = window.size, source[0]
        size = (height, width * groups)
        split = Window(size, (1, 1), (1, 1), ((0, 0), (0, 0)))
        return convolution(
            config, split, Place.dense(place.address, (*size, c_in)),
            Place.dense(target.address, (*size, c_out)), weights, same, pad,
        )  # fmt: skip
    found: list[Job] = []
    for n in range(groups):
        found += convolution(
            config, window, source[0].part(n * c_in, c_in), target.part(n * c_out, c_out), weights,
            given.part(range(n * c_out, (n + 1) * c_out)), pad,
        )  # fmt: skip
    return found


def _linear(
    one: FullyConnected, config: AcceleratorConfig, source: Places, target: Place
) -> list[Job]:
    given, (c_in, c_out) = requantization(one), one.weights[0].shape
    window = Window((one.rows, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))
    weights = one.weights[0].reshape(1, 1, 1, c_in, c_out)
    return convolution(
        config, window, Place.dense(source[0].address, (one.rows, 1, c_in)),
        Place.dense(target.address, (one.rows, 1, c_out)), weights, given, 0,
    )  # fmt: skip


def _mean_of(
    config: AcceleratorConfig, source: Place, target: Place, given: Requantization
) -> list[Job]:
    """Return sums of all pixels, as a window over the image in whatever shape is fastest.

    Pixels lie end to end, so that a row may have any length; what the last row has too much is
    multiplied by 0.
    """
    count = math.prod(source.size)
    choices: list[Callable[[], list[Job]]] = []
    for wide in range(1, count + 1):
        if config.array.cols < wide < count:
            continue
        size = (-(-count // wide), wide)
        ones = np.zeros((math.prod(size), source.channels), np.int8)
        ones[:count] = 1
        window = Window(size, size, (1, 1), ((0, 0), (0, 0)))
        place = Place.dense(source.address, (*size, source.channels))
        choices.append(
            lambda window=window, place=place, ones=ones: depthwise(  # type: ignore[misc]
                config, window, place, target, ones.reshape(1, *window.size, -1), given, 0
            )
        )
    return cheapest(choices, config)


def _average_multiplier(count: int, low: int, high: int) -> tuple[int, int]:
    """Return multiplier and shift that give every mean exactly, halves away from zero.

    The multiplier is a little more than one over the count, so that halves, which the lanes round
    up, are beyond themselves. It is tried for every sum from ``count * low`` to ``count * high``.
    """
    total = np.arange(count * low, count * high + 1, dtype=np.int64)
    wanted = quant.divide(total + np.where(total > 0, count // 2, -(count // 2)), count)
    for bits in range(16, 31):
        multiplier = (1 << bits) // count + 1
        found = (total * multiplier + (1 << (bits - 1))) >> bits
        if np.array_equal(found, wanted):
            return multiplier, 31 - bits
    raise Unsupported(f"means of {count}")


def _average(
    one: AveragePool2D, config: AcceleratorConfig, source: Places, target: Place
) -> list[Job]:
    window, channels, offset = one.window, source[0].channels, one.inputs[0].offset
    full = np.full(channels, 1, np.int64)
    found: list[Job] = []
    # Windows that see equally many pixels, a part of the image at a time.
    down, along = (_alike(window, axis) for axis in (0, 1))
    for (y, rows, top, high), (x, columns, left, wide) in itertools.product(down, along):
        count = high * wide
        multiplier, shift = _average_multiplier(count, -128 + offset, 127 + offset)
        given = Requantization(
            bias=full * (offset * count), multiplier=full * multiplier, shift=full * shift,
            zero=-offset, limits=one.limits(one.activation),
        )  # fmt: skip
        size = (rows - 1) * window.stride[0] + high, (columns - 1) * window.stride[1] + wide
        image = source[0].window(top, left, size)
        out = target.window(y, x, (rows, columns))
        if image.size == source[0].size == (high, wide):
            found += _mean_of(config, image, out, given)
            continue
        ones = np.ones((1, high, wide, channels), np.int8)
        found += _region(config, (high, wide), window.stride, image, out, ones, given)
    return found


def _region(
    config: AcceleratorConfig, kernel: tuple[int, int], stride: tuple[int, int], image: Place,
    out: Place, weights: Int8, given: Requantization,
) -> list[Job]:  # fmt: skip
    """Return windows of some rows and columns, depthwise, that lie within the image.

    All of them at once, or, where the machine has no job for that, a row at a time.
    """
    rows, columns = out.size
    window = Window(image.size, kernel, stride, ((0, 0), (0, 0)))
    try:
        return depthwise(config, window, image, out, weights, given, 0)
    except Unsupported:
        if rows == 1 and stride[0] == 1:
            raise
    size = kernel[0], image.size[1]
    line = Window(size, kernel, (1, stride[1]), ((0, 0), (0, 0)))
    return [
        job
        for n in range(rows)
        for job in depthwise(
            config, line, image.window(n * stride[0], 0, size),
            out.window(n, 0, (1, columns)), weights, given, 0,
        )
    ]  # fmt: skip


def _alike(window: Window, axis: int) -> list[tuple[int, int, int, int]]:
    """Return windows, along an axis, that see equally many pixels, one after the other.

    Of each group the first window, how many there are, the first pixel, and how many each sees.
    """
    stride, before = window.stride[axis], window.padding[axis][0]
    found: list[tuple[int, int, int, int]] = []
    for n in range(window.output[axis]):
        low = n * stride - before
        first, last = max(low, 0), min(low + window.kernel[axis], window.size[axis])
        if found:
            begin, count, at, size = found[-1]
            if size == last - first and at + count * stride == first:
                found[-1] = begin, count + 1, at, size
                continue
        found.append((n, 1, first, last - first))
    return found


@dataclass(frozen=True)
class _Blend:
    """Elements of an axis that are made alike: `count` of them, from `begin` on, `step` apart.

    Each is the sum of neighbours times `weights`, the first ones from `first` on, those of the
    next element `stride` further. The weights are 1,024ths.
    """

    begin: int
    first: int
    weights: tuple[int, ...]
    count: int = 1
    step: int = 1
    stride: int = 1


def _blends(one: ResizeBilinear, axis: int) -> list[_Blend]:
    """Return how an axis is made, in as few groups of elements as it takes."""
    alike: dict[tuple[int, ...], list[_Blend]] = {}
    for n, (low, high, part) in enumerate(zip(*one.neighbours(axis), strict=True)):
        near, far = 1024 - int(part), int(part)
        weights = (1024,) if low == high or not far else (near, far)
        groups = alike.setdefault(weights, [])
        if groups:
            last = groups[-1]
            more = last.count - 1
            step, stride = n - last.begin - more * last.step, int(low) - last.first
            stride -= more * last.stride
            if stride > 0 and (not more or (step, stride) == (last.step, last.stride)):
                groups[-1] = replace(last, count=last.count + 1, step=step, stride=stride)
                continue
        groups.append(_Blend(n, int(low), weights))
    return [blend for groups in alike.values() for blend in groups]


def _interpolate(
    one: ResizeBilinear, config: AcceleratorConfig, source: Places, target: Place
) -> list[Job]:
    """Return sums of up to four neighbours, for all elements with the same weights at once."""
    if one.inputs[0].dtype != "int8":
        raise Unsupported("a uint8 RESIZE_BILINEAR")
    channels = target.channels
    full = np.full(channels, 1, np.int64)
    found: list[Job] = []
    for down, along in itertools.product(_blends(one, 0), _blends(one, 1)):
        whole = np.outer(down.weights, along.weights)
        common = int(np.gcd.reduce(whole.ravel()))  # a power of two: they add up to one
        if whole.max() // common > 3 * 127:
            raise Unsupported("neighbours that are not a multiple of 1/16 away")
        bits = 20 - common.bit_length() + 1
        # Halves are rounded away from zero: the multiplier is a little more than what it says.
        multiplier = full * ((1 << 30 - bits) + 1)
        given = Requantization(bias=0 * full, multiplier=multiplier, shift=full, zero=0)
        weights = turned(np.repeat(whole[..., None] // common, channels, axis=2), 0)
        kernel = len(down.weights), len(along.weights)
        size = (
            (down.count - 1) * down.stride + kernel[0],
            (along.count - 1) * along.stride + kernel[1],
        )
        out = target.window(down.begin, along.begin, (down.count, along.count))
        found += _region(
            config, kernel, (down.stride, along.stride),
            source[0].window(down.first, along.first, size),
            replace(out, pixel=out.pixel * along.step, row=out.row * down.step), weights, given,
        )  # fmt: skip
    return found


def _mean(
    one: Mean, config: AcceleratorConfig, source: Places, target: Place, scratch: Scratch
) -> list[Job]:
    """Return means over rows, over columns, over both, or over whatever a copy makes rows of."""
    x, y = one.inputs[0], one.output
    image = source[0]
    axes = tuple(axis - len(x.shape) for axis in sorted(one.axes))
    kernels = {(-3, -2): image.size, (-3,): (image.size[0], 1), (-2,): (1, image.size[1])}
    if len(x.shape) == 3:  # (1, H, C): a column of pixels
        kernels = {(-2,): (image.size[0], 1)}
    if x.shape[0] != 1 or len(x.shape) not in (3, 4):
        kernels = {}
    count = math.prod(x.shape[axis] for axis in one.axes)
    made: list[Job] = []
    if axes not in kernels:  # a copy in which they are rows
        rest = [axis for axis in range(len(x.shape)) if axis not in one.axes]
        numbers = np.arange(image.addresses.size).reshape(x.shape)
        wanted = image.addresses[numbers.transpose(*one.axes, *rest).ravel()]
        begin = scratch(len(wanted))
        made = moves(config, wanted, begin + np.arange(len(wanted)))
        image = Place.dense(begin, (count, 1, len(wanted) // count))
        target = Place.dense(target.address, (1, 1, image.channels))
    kernel = kernels.get(axes, image.size)
    multiplier, shift = quant.quantize_multiplier(x.scale / y.scale)
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    full = np.full(image.channels, 1, np.int64)
    given = Requantization(
        bias=full * (-count * x.zero_point), multiplier=full * ((multiplier << extra) // count),
        shift=full * (shift - extra), zero=y.zero_point,
    )  # fmt: skip
    if kernel == image.size:
        return [*made, *_mean_of(config, image, target, given)]
    window = Window(image.size, kernel, (1, 1), ((0, 0), (0, 0)))
    height, width = window.output
    place = Place.dense(target.address, (height, width, image.channels))
    ones = np.ones((1, *kernel, image.channels), np.int8)
    return depthwise(config, window, image, place, ones, given, 0)


def _channel_blocks(
    config: AcceleratorConfig, source: Place, target: Place, taps: dict[str, int],
    make: Callable[[dict[str, int], dict[str, int]], Job],
) -> list[Job]:  # fmt: skip
    """Return a job for every block of channels that reads pixel by pixel.

    Parameters
    ----------
    taps : dict
        Fields of the reads, but for addresses and lengths of words.
    make : function
        Of reads and writes.
    """
    rows = config.array.rows
    found = []
    for first in range(0, target.channels, rows):
        count = min(rows, target.channels - first)
        read = jobs.pixel_reads(**{"pitch": source.row, "length": rows, **taps})
        read["base"] += first
        write = jobs.pixel_writes(target.address + first, target.pixel, taps["tiles"], count)
        found.append(make(read, write))
    return found


def _max_pool(
    one: MaxPool2D, config: AcceleratorConfig, source: Places, target: Place
) -> list[Job]:
    window, place = one.window, source[0]
    (kh, kw), (out_h, out_w) = window.kernel, window.output
    (top, _), (left, _) = window.padding
    length = min(place.pixel, config.array.rows)
    taps = {
        "base": place.address - top * place.row, "x": -left * place.pixel,
        "step": window.stride[1] * place.pixel, "line": out_w,
        "jump": window.stride[0] * place.row, "width": window.size[1] * place.pixel,
        "length": length, "skip": place.pixel - length, "top": -top, "stride": window.stride[0],
        "height": window.size[0], "rows": kh, "words": kw, "tiles": out_h * out_w,
    }  # fmt: skip
    limits = one.limits(one.activation)
    return _channel_blocks(
        config, place, target, taps,
        lambda read, write: jobs.combine(
            config, Mode.MOST, read=read, write=write, limits=limits, pad=-128, depth=kh * kw,
            text=f"pool {kh} x {kw}",
        ),
    )  # fmt: skip


def _chunks(config: AcceleratorConfig, count: int) -> Iterator[tuple[int, int]]:
    """Return what is in front of every run of words, and its length: of `count` bytes in all."""
    longest = LONGEST * config.array.rows
    for first in range(0, count, longest):
        yield first, min(longest, count - first)


def _word_by_word(
    config: AcceleratorConfig, mode: Mode, source: int, target: int, total: int, text: str = "",
    **given: Any,
) -> list[Job]:  # fmt: skip
    """Return jobs that make a word of every word of one tensor.

    Parameters
    ----------
    config : AcceleratorConfig
    mode : Mode
    source, target : int
        Addresses.
    total : int
        Bytes.
    text : str
        What is done with words.
    **given
        More for `jobs.combine`.
    """
    found = []
    for offset, count in _chunks(config, total):
        read, write = jobs.words(
            source + offset, 0, target + offset, count, config.array.rows, pair=False
        )
        found.append(
            jobs.combine(
                config, mode, read=read, write=write, text=f"{read['tiles']:,} words{text}", **given
            )
        )
    return found


def _pair(
    one: Add | Mul | Sub, config: AcceleratorConfig, source: Places, target: Place,
    scratch: Scratch,
) -> list[Job]:  # fmt: skip
    """Return a sum, a difference or a product."""
    a, b = one.inputs
    y = one.output
    swap, fields = False, {}
    if isinstance(one, Mul):
        second = quant.quantize_multiplier(one.real)
        first, fields = jobs.HALF, {"multiply": 1}
        swap = math.prod(a.shape) < math.prod(b.shape)  # the smaller one can stay
    else:
        top = 2.0 * max(a.scale, b.scale)
        swap = a.scale > b.scale
        first = quant.quantize_multiplier(min(a.scale, b.scale) / top)
        second = quant.quantize_multiplier(top / ((1 << LEFT) * y.scale))
        if isinstance(one, Sub):
            fields = {"negate_first": int(swap), "negate_second": int(not swap)}
    if second[1] > 0:
        raise Unsupported("a multiplier above 1")
    lesser, greater = (1, 0) if swap else (0, 1)
    common: dict[str, Any] = {
        "second": second, "limits": one.limits(one.activation), **fields,
        "zeros": (one.inputs[lesser].zero_point, one.inputs[greater].zero_point, y.zero_point),
    }  # fmt: skip
    constants = [n for n, tensor in enumerate(one.inputs) if tensor.data is not None]
    if len(constants) > 1:
        raise Unsupported("two constants")
    total, shape = math.prod(y.shape), one.inputs[greater].shape
    for n in constants:
        data = one.inputs[n].data
        assert data is not None
        if data.size == 1:
            common["pad"] = int(data.reshape(-1)[0])
            return _pairs(config, source, target, total, lesser, n, first, common)
    # A vector can stay, as a second operand.
    stays = shape[-1:] == (math.prod(shape),) == y.shape[-1:]
    stays &= math.prod(one.inputs[lesser].shape) == total != math.prod(shape)
    made: list[Job] = []
    places = []
    for n, (tensor, place) in enumerate(zip(one.inputs, source, strict=True)):
        wanted = shape if stays and n == greater else y.shape
        copies, found = _broadcast(config, tensor, place, wanted, scratch)
        made += copies
        places.append(found)
    if stays:
        return made + _vector(config, places[lesser], places[greater], target, first, common)
    return made + _pairs(config, places, target, total, lesser, None, first, common)


def _broadcast(
    config: AcceleratorConfig, tensor: Tensor, place: Place, shape: tuple[int, ...],
    scratch: Scratch,
) -> tuple[list[Job], Place]:  # fmt: skip
    """Return jobs that give a tensor another shape, a constant, too, and where it lies then."""
    if tensor.data is not None:
        raw = np.ascontiguousarray(np.broadcast_to(tensor.data, shape)).tobytes()
        job = jobs.constant(raw, scratch(len(raw)))
        return [job], Place.dense(job.own["local"], image_shape(shape))
    if math.prod(tensor.shape) == math.prod(shape):
        return [], place
    chosen = np.broadcast_to(place.addresses.reshape(tensor.shape), shape).ravel()
    copy = _room(scratch, image_shape(shape))
    return moves(config, chosen, copy.addresses), copy


def _room(scratch: Scratch, shape: tuple[int, int, int]) -> Place:
    """Return room for an image."""
    return Place.dense(scratch(math.prod(shape)), shape)


def _whole(config: AcceleratorConfig, place: Place, scratch: Scratch) -> tuple[list[Job], Place]:
    """Return jobs that copy what has gaps, and where it lies without."""
    if place.gapless:
        return [], place
    copy = _room(scratch, (*place.size, place.channels))
    return moves(config, place.addresses, copy.addresses), copy


def _pairs(
    config: AcceleratorConfig, places: Places, target: Place, total: int, lesser: int,
    scalar: int | None, first: tuple[int, int], common: dict[str, Any],
) -> list[Job]:  # fmt: skip
    """Return the combination of two tensors, or of one and a number, word by word."""
    found = []
    for offset, count in _chunks(config, total):
        at = [place.address + offset for place in places]
        kept = at[1 - scalar] if scalar is not None else at[1 - lesser]
        apart = at[lesser] - at[1 - lesser] if scalar is None else 0
        read, write = jobs.words(kept, apart, target.address + offset, count, config.array.rows)
        if scalar is not None:  # the row that is none of the tensor's is all padding
            read |= {"height": 1, "top": 0 if scalar == lesser else -1}
        found.append(
            jobs.combine(
                config, Mode.PAIR, read=read, write=write, first=first,
                text=f"{read['tiles']:,} pairs of words", **common,
            )
        )  # fmt: skip
    return found


def _vector(
    config: AcceleratorConfig, image: Place, vector: Place, target: Place,
    first: tuple[int, int], common: dict[str, Any],
) -> list[Job]:  # fmt: skip
    """Return the combination of every pixel with a vector, block of channels by block."""
    pixels = math.prod(image.size)
    taps = {"base": image.address, "step": image.pixel, "line": pixels, "tiles": pixels}
    found: list[Job] = []

    def make(read: dict[str, int], write: dict[str, int]) -> Job:
        held = {
            **read, "base": vector.address + read["base"] - image.address, "line": 1, "tiles": 1,
        }  # fmt: skip
        found.append(jobs.combine(config, Mode.HOLD, read=held, text="a vector", **common))
        found.append(
            jobs.combine(
                config, Mode.HELD, read=read, write=write, first=first,
                text=f"{pixels:,} words with a vector", **common,
            )
        )  # fmt: skip
        return found[-1]

    _channel_blocks(config, image, target, taps, make)
    return found


def _extreme(
    one: Pair, config: AcceleratorConfig, source: Places, target: Place, scratch: Scratch
) -> list[Job]:
    """Return the greater, or the less, of two tensors."""
    made: list[Job] = []
    at = []
    for tensor, place in zip(one.inputs, source, strict=True):
        copies, found = _broadcast(config, tensor, place, one.output.shape, scratch)
        made += copies
        at.append(found.address)
    for offset, count in _chunks(config, math.prod(one.output.shape)):
        read, write = jobs.words(
            at[0] + offset, at[1] - at[0], target.address + offset, count, config.array.rows
        )
        made.append(
            jobs.combine(
                config, Mode.MOST, read=read, write=write, depth=2,
                least=int(isinstance(one, Minimum)), text=f"{read['tiles']:,} pairs of words",
            )
        )  # fmt: skip
    return made


def _prelu(one: PRelu, config: AcceleratorConfig, source: Places, target: Place) -> list[Job]:
    """Return a table for every channel, whose slope is its own."""
    image = source[0]
    alpha, channels = one.inputs[1].data, target.channels
    if alpha is None or alpha.size not in (1, channels) or alpha.shape[-1:] != (alpha.size,):
        raise Unsupported("slopes that are not one per channel")
    if one.inputs[0].shape != one.output.shape:
        raise Unsupported("an input that broadcasts")
    table = one(np.arange(-128, 128, dtype=np.int8)[:, None], alpha.reshape(1, -1))
    table = np.broadcast_to(table, (ENTRIES, channels))
    pixels = math.prod(image.size)
    taps = {"base": image.address, "step": image.pixel, "line": pixels, "tiles": pixels}

    def make(read: dict[str, int], write: dict[str, int]) -> Job:
        first = read["base"] - image.address
        return jobs.combine(
            config, Mode.TABLE, read=read, write=write,
            table=table[:, first : first + config.array.rows], text=f"{pixels:,} words by table",
        )  # fmt: skip

    return _channel_blocks(config, image, target, taps, make)


def _function(one: Function, config: AcceleratorConfig, source: Places, target: Place) -> list[Job]:
    """Return a table and the words that go through it."""
    return _word_by_word(
        config, Mode.TABLE, source[0].address, target.address, math.prod(one.output.shape),
        " by table", table=one.table[:, None],
    )  # fmt: skip


def _quantize(one: Quantize, config: AcceleratorConfig, source: Places, target: Place) -> list[Job]:
    x, y = one.inputs[0], one.output
    if x.real or y.real:
        raise Unsupported("real numbers")
    first = quant.quantize_multiplier(x.scale / y.scale)
    if first[1] > 20:
        return _function(one, config, source, target)
    return _word_by_word(
        config, Mode.ONE, source[0].address, target.address, math.prod(y.shape), first=first,
        zeros=(x.zero_point, 0, y.zero_point),
    )  # fmt: skip


def _copy(config: AcceleratorConfig, read: dict[str, int], write: dict[str, int], pad: int) -> Job:
    return jobs.combine(
        config, Mode.ONE, read=read, write=write, pad=pad, text=f"{read['tiles']:,} words"
    )


def _pad(one: Pad, config: AcceleratorConfig, source: Places, target: Place) -> list[Job]:
    place, pad = source[0], one.output.zero_point
    amounts = one.amounts
    if len(amounts) != 4 or amounts[0] != (0, 0) or one.inputs[0].shape[0] != 1:
        raise Unsupported("padding of what is no image, or of a batch")
    (top, _), (left, _), (before, after) = amounts[1:]
    rows = config.array.rows
    height, width = target.size
    if before or after:
        if before or amounts[1] != (0, 0) or amounts[2] != (0, 0):
            raise Unsupported("padding of channels and more")
        # Every pixel is an image row of its own, with padding behind it.
        found = []
        for first in range(0, target.channels, rows):
            count = min(rows, target.channels - first)
            read = jobs.pixel_reads(
                base=place.address, x=first, jump=place.pixel, width=place.channels, length=rows,
                tiles=height * width,
            )  # fmt: skip
            write = jobs.pixel_writes(target.address + first, target.pixel, height * width, count)
            found.append(_copy(config, read, write, pad))
        return found
    # A line of words for every row.
    line = -(-target.row // rows)
    found = []
    for row in range(height):
        read = jobs.pixel_reads(
            base=place.address + (row - top) * place.row, x=-left * place.pixel, step=rows,
            line=line, width=place.size[1] * place.pixel, top=row - top, height=place.size[0],
            length=rows, tiles=line,
        )  # fmt: skip
        write = jobs.word_writes(target.address + row * target.row, rows, target.row)
        found.append(_copy(config, read, write, pad))
    return found


def _move(one: Operator, config: AcceleratorConfig, source: Places, target: Place) -> list[Job]:
    """Return copies of what an operator picks: it shows which by its way with numbers."""
    shape = one.inputs[0].shape
    chosen = one(np.arange(math.prod(shape)).reshape(shape))
    picked = source[0].addresses[chosen.ravel()]
    return moves(config, picked, target.addresses, target.channels)


def join(
    one: Concatenation | Pack, part: int, config: AcceleratorConfig, source: Place, target: Place,
    scratch: Scratch,
) -> list[Job]:  # fmt: skip
    """Return copies of one input to where it belongs in the output.

    Parameters
    ----------
    one : Concatenation or Pack
    part : int
        Index of the input.
    config : AcceleratorConfig
    source, target : Place
        Of that input, which may be a constant; of the output.
    scratch : function
        As of `lower`.
    """
    tensor, shape = one.inputs[part], one.output.shape
    numbers = np.arange(math.prod(shape)).reshape(shape)
    if isinstance(one, Pack):
        chosen = np.take(numbers, part, one.axis)
    else:
        ends = np.cumsum([other.shape[one.axis] for other in one.inputs])[:-1]
        chosen = np.split(numbers, ends, one.axis)[part]
    if tensor.real:
        raise Unsupported("real numbers")
    made, source = _broadcast(config, tensor, source, tensor.shape, scratch)
    if isinstance(one, Concatenation) and tensor.quantization != one.output.quantization:
        copies, source = _whole(config, source, scratch)
        made += copies
        copy = _room(scratch, image_shape(tensor.shape))
        table = one.rescaled(tensor, np.arange(-128, 128).astype(np.int8))
        made += _word_by_word(
            config, Mode.TABLE, source.address, copy.address, math.prod(tensor.shape),
            " by table", table=table[:, None],
        )  # fmt: skip
        source = copy
    return [*made, *moves(config, source.addresses, target.addresses[chosen.ravel()])]


_WAYS: dict[type, Callable[..., list[Job]]] = {
    DepthwiseConv2D: _depthwise, FuseConv2D: _fuse, ABConv2D: _abconv,
    FullyConnected: _linear, AveragePool2D: _average, MaxPool2D: _max_pool,
    Quantize: _quantize, Function: _function, PRelu: _prelu, Pad: _pad, Slice: _move,
    Transpose: _move, ResizeNearestNeighbor: _move, ResizeBilinear: _interpolate,
}  # fmt: skip
#: Those that may take room for a copy.
_WITH_SCRATCH: dict[type, Callable[..., list[Job]]] = {
    Conv2D: _conv, Mean: _mean, Add: _pair, Mul: _pair, Sub: _pair, Maximum: _extreme,
    Minimum: _extreme,
}  # fmt: skip

#: Those that take parts of pixels, and give them; others do it by copies.
_WITH_GAPS = (
    Conv2D, DepthwiseConv2D, FuseConv2D, MaxPool2D, PRelu, ResizeBilinear,
    ResizeNearestNeighbor, Slice, Transpose,
)  # fmt: skip


def lower(
    one: Operator, config: AcceleratorConfig, sources: Sequence[Place], target: Place,
    scratch: Scratch,
) -> list[Job]:  # fmt: skip
    """Return the jobs of an operator.

    Parameters
    ----------
    one : Operator
    config : AcceleratorConfig
    sources : sequence of Place
        Of the inputs.
    target : Place
    scratch : function
        Returns where so many bytes are free until the operator is done.

    Raises
    ------
    Unsupported
        If the machine has no way to do it.
    """
    if any(tensor.real for tensor in (*one.inputs, one.output)):
        raise Unsupported("real numbers")
    if one.inputs[0].data is not None and not isinstance(one, (Add, Mul, Sub, Maximum, Minimum)):
        raise Unsupported("a constant input")
    gaps = any(not place.gapless for place in (*sources, target))
    try:
        if not gaps or isinstance(one, _WITH_GAPS):
            return _lower(one, config, sources, target, scratch)
    except Unsupported:
        if not gaps:
            raise
    made: list[Job] = []
    whole = []
    for place in sources:
        copies, found = _whole(config, place, scratch)
        made += copies
        whole.append(found)
    if target.gapless:
        return made + _lower(one, config, whole, target, scratch)
    result = _room(scratch, (*target.size, target.channels))
    made += _lower(one, config, whole, result, scratch)
    return made + moves(config, result.addresses, target.addresses)


def _lower(
    one: Operator, config: AcceleratorConfig, sources: Places, target: Place, scratch: Scratch
) -> list[Job]:
    """Return the jobs of an operator; what lies with gaps is a part of every pixel."""
    try:
        for kind, way in _WITH_SCRATCH.items():
            if isinstance(one, kind):
                return way(one, config, sources, target, scratch)
        for kind, way in _WAYS.items():
            if isinstance(one, kind):
                return way(one, config, sources, target)
    except UserError as error:
        raise Unsupported(str(error)) from None
    raise Unsupported("no such job")
