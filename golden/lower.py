"""From operators to tiles.

Every function takes what its operator in `golden.operators` takes, and the machine, and returns
a `Lowering`: the tiles in order, and where their outputs go. The same tiles drive the golden
executor, the RTL and the cycle model. Which tiles they are says `golden.mapping`: `mapping` is one
of its `MAPPINGS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hw.config import ArrayConfig

from .mapping import (
    Branch,
    PatchMapping,
    StreamMapping,
    depth_spans,
    map_depthwise,
    map_gemm,
)
from .operators import (
    Padding,
    Stride,
    Window,
    abconv2d,
    check_groups,
    fuse_branches,
    gather,
)
from .schedule import Repeat
from .tile import IntArray, Tile, gemm_tile, integers, st_os_tile

__all__ = [
    "Lowering",
    "lower_abconv2d",
    "lower_abconv_exp2d",
    "lower_conv2d",
    "lower_depthwise_conv2d",
    "lower_fuse_conv2d",
    "lower_linear",
    "lower_pointwise_conv2d",
]


@dataclass(frozen=True, kw_only=True)
class Lowering:
    """The tiles of one operator.

    Parameters
    ----------
    tiles : list of Tile
        In the order in which the core takes them.
    places : list of int64 arrays (out beats, rows)
        For every tile that emits: the flat index in the result of every output, -1 for none.
    shape : tuple of int
        Of the result.
    program : list of Repeat
        The tiles' commands in closed form.
    """

    tiles: list[Tile]
    places: list[IntArray]
    shape: tuple[int, ...]
    program: list[Repeat]

    def collect(self, outputs: Iterable[IntArray]) -> IntArray:
        """Put output beats where they belong.

        Parameters
        ----------
        outputs : iterable of int64 arrays (out beats, rows)
            One per tile that emits (empty ones of other tiles are passed over).

        Raises
        ------
        ValueError
            If the outputs do not match the tiles, or an element of the result gets no value.
        """
        result = np.zeros(self.shape, np.int64)
        written = np.zeros(self.shape, bool)
        beats = [beat for beat in outputs if len(beat)]
        for place, beat in zip(self.places, beats, strict=True):
            used = place >= 0
            result.flat[place[used]] = beat[used]
            written.flat[place[used]] = True
        if not written.all():
            raise ValueError(f"{np.count_nonzero(~written)} elements of the result got no value")
        return result


class _Builder:
    """Collects tiles and places for one result."""

    def __init__(self, config: ArrayConfig, shape: tuple[int, ...]) -> None:
        self.config = config
        self.shape = shape
        self.tiles: list[Tile] = []
        self.places: list[IntArray] = []
        self.program: list[Repeat] = []

    def add(self, tile: Tile, place: IntArray) -> None:
        """Add a tile; `place` is (out beats or fewer, lanes or fewer)."""
        self.tiles.append(tile)
        beats = tile.command.out_beats(self.config)
        if beats:
            full = np.full((beats, self.config.rows), -1, np.int64)
            full[: place.shape[0], : place.shape[1]] = place
            self.places.append(full)

    def gemm(self, a: IntArray, b: IntArray, place: IntArray, mapping: str) -> None:
        """Add ``Y[M, N] = A[M, K] @ B[K, N]``, with the place of every element of Y."""
        config = self.config
        found = map_gemm(*a.shape, b.shape[1], config, mapping)
        self.program += found.program
        for strip in found.strips:
            for span, on_rows, on_cols in strip.parts():
                held, row, col = slice(*span), slice(*on_rows), slice(*on_cols)
                # Two blocks of the result: pixels p1 on rows against channels n1 on columns, and
                # channels n2 on rows against pixels p2 on columns. Empty if nothing moves there.
                none = slice(0, 0)
                with_row = held if row.start < row.stop else none
                with_col = held if col.start < col.stop else none
                if strip.held == "pixels":
                    p1, n1, p2, n2 = with_col, col, with_row, row
                else:
                    p1, n1, p2, n2 = row, with_row, col, with_col
                first, second = place[p1, n1], place[p2, n2].T
                where = np.full(np.add(first.shape, second.shape), -1, np.int64)
                where[: first.shape[0], : first.shape[1]] = first
                where[first.shape[0] :, first.shape[1] :] = second
                self.tile(
                    np.concatenate([a[p1], b[:, n2].T]),
                    np.concatenate([b[:, n1], a[p2].T], axis=1),
                    where,
                )

    def tile(self, a: IntArray, b: IntArray, place: IntArray) -> None:
        """Add one GEMM tile, in as many commands as its depth takes."""
        for start, stop in depth_spans(a.shape[1]):
            part = gemm_tile(
                a[:, start:stop], b[start:stop], self.config,
                keep=stop < a.shape[1], accumulate=start > 0,
            )  # fmt: skip
            self.add(part, place.T)

    def done(self) -> Lowering:
        return Lowering(
            tiles=self.tiles, places=self.places, shape=self.shape, program=self.program
        )


def _indices(shape: Sequence[int]) -> IntArray:
    return np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)


def lower_linear(x: Any, w: Any, config: ArrayConfig, *, mapping: str = "best") -> Lowering:
    """Lower `linear` to GEMM: M = 1, K = c_in, N = c_out."""
    x, w = integers("x", x, 1), integers("w", w, 2)
    builder = _Builder(config, (w.shape[1],))
    builder.gemm(x[None], w, _indices((1, w.shape[1])), mapping)
    return builder.done()


def lower_pointwise_conv2d(
    x: Any, w: Any, config: ArrayConfig, *, mapping: str = "best"
) -> Lowering:
    """Lower `pointwise_conv2d` to GEMM: M = H*W, K = c_in, N = c_out."""
    w = integers("w", w, 2)
    return lower_conv2d(x, w[None, None], config, mapping=mapping)


def lower_conv2d(
    x: Any,
    w: Any,
    config: ArrayConfig,
    *,
    stride: Stride = 1,
    padding: Padding = "same",
    pad_value: int = 0,
    mapping: str = "best",
) -> Lowering:
    """Lower `conv2d` to GEMM on im2col: M = H_out*W_out, K = kh*kw*c_in, N = c_out."""
    w = integers("w", w, 4)
    return lower_abconv2d(
        x, w, 1, config, stride=stride, padding=padding, pad_value=pad_value, mapping=mapping
    )


def lower_abconv2d(
    x: Any,
    w: Any,
    groups: int,
    config: ArrayConfig,
    *,
    stride: Stride = 1,
    padding: Padding = "same",
    pad_value: int = 0,
    mapping: str = "best",
) -> Lowering:
    """Lower `abconv2d` to GEMM: M = g*H_out*W_out, K = kh*kw*c_in/g, N = c_out/g."""
    x, w = integers("x", x, 3), integers("w", w, 2 if np.ndim(w) == 2 else 4)
    w = w.reshape(1, 1, *w.shape) if w.ndim == 2 else w
    check_groups(x, w, groups)
    kh, kw, c_in, c_out = w.shape
    window = Window.of(x.shape[:2], (kh, kw), stride, padding)
    shape = (*window.output, groups * c_out)
    patches = window.patches(x, pad_value).reshape(*window.output, kh, kw, groups, c_in)
    a = np.moveaxis(patches, 4, 2).reshape(-1, kh * kw * c_in)
    builder = _Builder(config, shape)
    builder.gemm(a, w.reshape(-1, c_out), _indices((len(a), c_out)), mapping)
    return builder.done()


def lower_abconv_exp2d(
    x: Any,
    w_expand: Any,
    w: Any,
    groups: int,
    config: ArrayConfig,
    *,
    activation: Callable[[IntArray], IntArray],
    stride: Stride = 1,
    padding: Padding = "same",
    pad_value: int = 0,
    mapping: str = "best",
) -> tuple[Lowering, Lowering]:
    """Lower `abconv_exp2d` to two GEMMs: the expansion, and the convolution of its activation."""
    middle = activation(abconv2d(x, w_expand, groups, acc_width=config.acc_width))
    return (
        lower_abconv2d(x, w_expand, groups, config, mapping=mapping),
        lower_abconv2d(
            middle,
            w,
            groups,
            config,
            stride=stride,
            padding=padding,
            pad_value=pad_value,
            mapping=mapping,
        ),  # fmt: skip
    )


def lower_depthwise_conv2d(
    x: Any,
    w: Any,
    config: ArrayConfig,
    *,
    stride: Stride = 1,
    padding: Padding = "same",
    pad_value: int = 0,
    mapping: str = "best",
) -> Lowering:
    """Lower `depthwise_conv2d`: Toeplitz or block-diagonal tiles, or ST-OS streams."""
    x, w = integers("x", x, 3), integers("w", w, 3)
    if w.shape[2] != x.shape[2]:
        raise ValueError(f"w must have {x.shape[2]} channels, not {w.shape[2]}")
    window = Window.of(x.shape[:2], w.shape[:2], stride, padding)
    builder = _Builder(config, (*window.output, x.shape[2]))
    image = _Image(x=x, w=w, window=window, place=_indices(builder.shape))
    _depthwise(builder, [image], pad_value, mapping)
    return builder.done()


def lower_fuse_conv2d(
    x: Any,
    w_row: Any,
    w_col: Any,
    config: ArrayConfig,
    *,
    variant: str = "half",
    stride: Stride = 1,
    padding: Padding = "same",
    pad_value: int = 0,
    mapping: str = "best",
) -> Lowering:
    """Lower `fuse_conv2d`: row and column streams, or Toeplitz or block-diagonal tiles."""
    branches = fuse_branches(x, w_row, w_col, variant, stride, padding)
    each = branches[0][1].shape[2]
    builder = _Builder(config, (*branches[0][2].output, 2 * each))
    places = np.split(_indices(builder.shape), 2, axis=2)
    images = [
        _Image(x=image, w=w, window=window, place=place)
        for (image, w, window), place in zip(branches, places, strict=True)
    ]
    _depthwise(builder, images, pad_value, mapping)
    return builder.done()


@dataclass(frozen=True, kw_only=True)
class _Image:
    """A depthwise convolution with its data; result element (i, j, c) goes to place[i, j, c].

    x ``(H, W, c)``, w ``(kh, kw, c)``, place ``(H_out, W_out, c)``.
    """

    x: IntArray
    w: IntArray
    window: Window
    place: IntArray

    def turned(self) -> _Image:
        """Return the same convolution of the transposed image."""
        x, w, place = (array.transpose(1, 0, 2) for array in (self.x, self.w, self.place))
        return _Image(x=x, w=w, window=self.window.transposed, place=place)


def _depthwise(builder: _Builder, images: list[_Image], pad: int, mapping: str) -> None:
    """Lower depthwise convolutions that make up one layer."""
    branches = tuple(Branch(image.window, image.x.shape[2]) for image in images)
    for part in map_depthwise(branches, builder.config, mapping).parts:
        builder.program += part.program
        if isinstance(part, PatchMapping):
            _patches(builder, part, images[part.branch], pad)
        elif isinstance(part, StreamMapping):
            _streams(builder, part, images, pad)


def _patches(builder: _Builder, mapping: PatchMapping, image: _Image, pad: int) -> None:
    """Add the tiles of a depthwise convolution by patches."""
    window, (ph, pw) = mapping.window, mapping.patch
    (kh, kw), (sv, sh), (height, width) = window.kernel, window.stride, window.output
    # What lies under every patch, (patches, depth, channels).
    down, across = (
        np.arange(count)[:, None] * size * stride - before + np.arange(reach)
        for count, size, stride, (before, _), reach in zip(
            mapping.grid, mapping.patch, window.stride, window.padding, mapping.reach, strict=True
        )
    )
    inputs = gather(
        image.x, down[:, None, :, None], across[None, :, None, :], slice(None), pad
    ).reshape(mapping.patches, mapping.depth, -1)
    # The taps of every output of a patch, (depth, outputs, channels).
    shifted = np.zeros((*mapping.reach, ph, pw, mapping.channels), np.int64)
    for i, j in np.ndindex(ph, pw):
        shifted[i * sv : i * sv + kh, j * sh : j * sh + kw, i, j] = image.w
    taps = shifted.reshape(mapping.depth, ph * pw, -1)
    # Where the outputs go, (patches, outputs, channels); what exceeds the image goes nowhere.
    (gh, gw), channels = mapping.grid, mapping.channels
    place = np.full((gh * ph, gw * pw, channels), -1, np.int64)
    place[:height, :width] = image.place
    place = place.reshape(gh, ph, gw, pw, channels).swapaxes(1, 2).reshape(gh * gw, ph * pw, -1)

    rows, count = builder.config.rows, mapping.patches
    for start in range(0, channels, mapping.together):
        some = range(start, min(start + mapping.together, channels))
        for row in range(0, count, rows) if len(some) == 1 else (0,):
            part = slice(row, row + rows)
            used = len(range(count)[part])
            where = np.full((len(some) * used, len(some) * ph * pw), -1, np.int64)
            for index, c in enumerate(some):
                own = slice(index * used, (index + 1) * used)
                where[own, index * ph * pw : (index + 1) * ph * pw] = place[part, :, c]
            builder.tile(
                np.concatenate([inputs[part, :, c] for c in some]),
                np.concatenate([taps[:, :, c] for c in some], axis=1),
                where,
            )


def _streams(builder: _Builder, mapping: StreamMapping, images: list[_Image], pad: int) -> None:
    """Add the passes of depthwise convolutions as streams."""
    config, pieces, outputs = builder.config, mapping.pieces, mapping.piece
    passes = mapping.streams[0].passes
    signals: dict[int, list[IntArray]] = {}  # by kernel row: (outputs + taps - 1, lanes)
    weights, targets = [], []
    for branch, stream in zip(mapping.branches, mapping.streams, strict=True):
        image = images[branch].turned() if stream.turned else images[branch]
        (height, width), (sv, sh), (kh, kw) = (
            image.window.output, image.window.stride, image.window.kernel
        )  # fmt: skip
        (top, _), (left, _) = image.window.padding
        lanes = np.arange(image.x.shape[2] * stream.bands * pieces)
        channel, band = lanes // (stream.bands * pieces), lanes // pieces % stream.bands
        # Where every element of a lane lies: line of the signal, and offset in the line.
        reach = max(part.stop for _, part in passes) - 1
        position = lanes % pieces * outputs + np.arange(outputs + reach)[:, None]
        lines = stream.lines + (kh - 1 if stream.joined else 0)
        line = np.minimum(position // stream.pitch, lines - 1)
        offset = position - line * stream.pitch
        across = band * stream.width * sh - left + offset
        step = 1 if stream.joined else sv
        for i in range(1 if stream.joined else kh):
            signal = gather(image.x, line * step - top + i, across, channel, pad)
            signals.setdefault(i, []).append(signal)
        taps = image.w
        if stream.joined:
            spread = np.zeros((1, (kh - 1) * stream.pitch + kw, image.w.shape[2]), np.int64)
            for i in range(kh):
                spread[0, i * stream.pitch : i * stream.pitch + kw] = image.w[i]
            taps = spread
        weights.append(taps[:, :, channel])

        line, offset = line[:outputs], offset[:outputs]
        down = line * step
        column = band * stream.width + offset // sh
        wanted = (down % sv == 0) & (down // sv < height)
        wanted &= (offset % sh == 0) & (offset // sh < stream.width) & (column < width)
        target = image.place[
            np.minimum(down // sv, height - 1), np.minimum(column, width - 1), channel
        ]
        targets.append(np.where(wanted, target, -1))
    signal_of = {i: np.concatenate(parts, axis=1) for i, parts in signals.items()}
    weight, target = np.concatenate(weights, axis=2), np.concatenate(targets, axis=1)

    for start in range(0, mapping.lanes, config.rows):
        some = slice(start, start + config.rows)
        if len(passes) == 1:
            tile = st_os_tile(signal_of[0][:, some].T, weight[0][:, some].T, config)
            builder.add(tile, target[:, some])
            continue
        for fold in range(0, outputs, config.cols):
            count = min(config.cols, outputs - fold)
            for index, (i, part) in enumerate(passes):
                begin = fold + part.start
                length = count + part.stop - part.start - 1
                tile = st_os_tile(
                    signal_of[i][begin : begin + length, some].T,
                    weight[i, part, some].T,
                    config,
                    keep=index < len(passes) - 1,
                    accumulate=index > 0,
                )
                builder.add(tile, target[fold : fold + count, some])
