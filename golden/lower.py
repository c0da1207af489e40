"""From operators to tiles.

Every function takes what its operator in `golden.operators` takes, and the machine, and returns
a `Lowering`: the tiles in order, and where their outputs go. The same tiles drive the golden
executor, the RTL and the cycle model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hw.config import ArrayConfig

from .operators import (
    Padding,
    Stride,
    Window,
    abconv2d,
    check_groups,
    fuse_branches,
    gather,
)
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

_DEEPEST = 0xFFFF


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
    """

    tiles: list[Tile]
    places: list[IntArray]
    shape: tuple[int, ...]

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

    def add(self, tile: Tile, place: IntArray) -> None:
        """Add a tile; `place` is (out beats or fewer, lanes or fewer)."""
        self.tiles.append(tile)
        beats = tile.command.out_beats(self.config)
        if beats:
            full = np.full((beats, self.config.rows), -1, np.int64)
            full[: place.shape[0], : place.shape[1]] = place
            self.places.append(full)

    def gemm(self, a: IntArray, b: IntArray, place: IntArray) -> None:
        """Add ``Y[M, N] = A[M, K] @ B[K, N]``, with the place of every element of Y.

        Tiles of one width follow each other: results of different widths leave less well.
        """
        config = self.config
        for n in range(0, b.shape[1], config.cols):
            for m in range(0, a.shape[0], config.rows):
                for k in range(0, a.shape[1], _DEEPEST):
                    tile = gemm_tile(
                        a[m : m + config.rows, k : k + _DEEPEST],
                        b[k : k + _DEEPEST, n : n + config.cols],
                        config,
                        keep=k + _DEEPEST < a.shape[1],
                        accumulate=k > 0,
                    )
                    self.add(tile, place[m : m + config.rows, n : n + config.cols].T)

    def done(self) -> Lowering:
        return Lowering(tiles=self.tiles, places=self.places, shape=self.shape)


def _indices(shape: Sequence[int]) -> IntArray:
    return np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)


def lower_linear(x: Any, w: Any, config: ArrayConfig) -> Lowering:
    """Lower `linear` to GEMM: M = 1, K = c_in, N = c_out."""
    x, w = integers("x", x, 1), integers("w", w, 2)
    builder = _Builder(config, (w.shape[1],))
    builder.gemm(x[None], w, _indices((1, w.shape[1])))
    return builder.done()


def lower_pointwise_conv2d(x: Any, w: Any, config: ArrayConfig) -> Lowering:
    """Lower `pointwise_conv2d` to GEMM: M = H*W, K = c_in, N = c_out."""
    w = integers("w", w, 2)
    return lower_conv2d(x, w[None, None], config)


def lower_conv2d(
    x: Any,
    w: Any,
    config: ArrayConfig,
    *,
    stride: Stride = 1,
    padding: Padding = "same",
    pad_value: int = 0,
) -> Lowering:
    """Lower `conv2d` to GEMM on im2col: M = H_out*W_out, K = kh*kw*c_in, N = c_out."""
    w = integers("w", w, 4)
    return lower_abconv2d(x, w, 1, config, stride=stride, padding=padding, pad_value=pad_value)


def lower_abconv2d(
    x: Any,
    w: Any,
    groups: int,
    config: ArrayConfig,
    *,
    stride: Stride = 1,
    padding: Padding = "same",
    pad_value: int = 0,
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
    builder.gemm(a, w.reshape(-1, c_out), _indices((len(a), c_out)))
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
) -> tuple[Lowering, Lowering]:
    """Lower `abconv_exp2d` to two GEMMs: the expansion, and the convolution of its activation."""
    middle = activation(abconv2d(x, w_expand, groups, acc_width=config.acc_width))
    return (
        lower_abconv2d(x, w_expand, groups, config),
        lower_abconv2d(
            middle, w, groups, config, stride=stride, padding=padding, pad_value=pad_value
        ),
    )


def lower_depthwise_conv2d(
    x: Any,
    w: Any,
    config: ArrayConfig,
    *,
    stride: Stride = 1,
    padding: Padding = "same",
    pad_value: int = 0,
) -> Lowering:
    """Lower `depthwise_conv2d`: ST-OS streams, or block-diagonal GEMM on a plain core."""
    x, w = integers("x", x, 3), integers("w", w, 3)
    if w.shape[2] != x.shape[2]:
        raise ValueError(f"w must have {x.shape[2]} channels, not {w.shape[2]}")
    window = Window.of(x.shape[:2], w.shape[:2], stride, padding)
    builder = _Builder(config, (*window.output, x.shape[2]))
    _depthwise(builder, x, w, window, pad_value, _indices(builder.shape))
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
) -> Lowering:
    """Lower `fuse_conv2d`: row and column passes, or block-diagonal GEMM on a plain core."""
    branches = fuse_branches(x, w_row, w_col, variant, stride, padding)
    each = branches[0][1].shape[2]
    builder = _Builder(config, (*branches[0][2].output, 2 * each))
    places = np.split(_indices(builder.shape), 2, axis=2)
    for (image, w, window), place in zip(branches, places, strict=True):
        _depthwise(builder, image, w, window, pad_value, place)
    return builder.done()


def _depthwise(
    builder: _Builder, x: IntArray, w: IntArray, window: Window, pad: int, place: IntArray
) -> None:
    """Lower a depthwise convolution whose element (i, j, c) goes to ``place[i, j, c]``."""
    if not builder.config.st_os:
        _block_diagonal(builder, x, w, window, pad, place)
        return
    plan = _StreamPlan.best(window, x.shape[2], builder.config)
    turned = _StreamPlan.best(window.transposed, x.shape[2], builder.config)
    if turned.steps < plan.steps:
        plan = turned
        x, w, place = (array.transpose(1, 0, 2) for array in (x, w, place))
    plan.build(builder, x, w, pad, place)


def _block_diagonal(
    builder: _Builder, x: IntArray, w: IntArray, window: Window, pad: int, place: IntArray
) -> None:
    """Put g channels side by side on g columns: K = kh*kw*g, zeros off the diagonal."""
    config = builder.config
    channels = x.shape[2]
    taps = w.reshape(-1, channels)
    patches = window.patches(x, pad).reshape(-1, len(taps), channels)
    place = place.reshape(-1, channels)

    def steps(block: int) -> int:
        # Steady state of sim.cycles: max(K, N) or K + N - 1 per tile, K = taps * N.
        deep = len(taps) * channels
        return deep if config.accumulators == 2 else deep + channels - -(-channels // block)

    block = min(range(1, min(channels, config.cols) + 1), key=lambda g: (steps(g), -g))
    for c in range(0, channels, block):
        group = slice(c, c + block)
        size = len(range(channels)[group])
        a = patches[:, :, group].reshape(len(patches), -1)
        b = (taps[:, group, None] * np.eye(size, dtype=np.int64)).reshape(-1, size)
        builder.gemm(a, b, place[:, group])


@dataclass(frozen=True, kw_only=True)
class _StreamPlan:
    """How a depthwise convolution becomes streams: one channel, or a part of its rows, per lane.

    The rows of a lane are laid end to end; padding between two rows is shared by both, and the
    outputs that fall on it are dropped. Each kernel row (and each `cols` taps of a long one) is
    a pass of its own that accumulates.
    """

    window: Window
    channels: int
    config: ArrayConfig
    split: int  # lanes per channel

    @classmethod
    def best(cls, window: Window, channels: int, config: ArrayConfig) -> _StreamPlan:
        """Return the plan of the fewest steps."""
        plans = (
            cls(window=window, channels=channels, config=config, split=split)
            for split in range(1, min(window.output[0], config.rows) + 1)
        )
        return min(plans, key=lambda plan: plan.steps)

    @property
    def rows_per_lane(self) -> int:
        return -(-self.window.output[0] // self.split)

    @property
    def span(self) -> tuple[int, int]:
        """First and last image column that a row needs."""
        left = self.window.padding[1][0]
        reach = (self.window.output[1] - 1) * self.window.stride[1] + self.window.kernel[1] - 1
        return -left, reach - left

    @property
    def pitch(self) -> int:
        """Stream elements from one row to the next."""
        first, last = self.span
        # No more than K - 1: an output that reads nothing but padding is not shared.
        before, after = max(0, -first), max(0, last - self.window.size[1] + 1)
        shared = min(before, after, self.window.kernel[1] - 1)
        return last - first + 1 - shared

    @property
    def outputs(self) -> int:
        """Outputs per lane, dropped ones included."""
        dense = (self.window.output[1] - 1) * self.window.stride[1] + 1
        return self.pitch * (self.rows_per_lane - 1) + dense

    @property
    def passes(self) -> list[tuple[int, slice]]:
        """Kernel row and taps of every pass."""
        kh, kw = self.window.kernel
        cols = self.config.cols
        return [(i, slice(k, min(k + cols, kw))) for i in range(kh) for k in range(0, kw, cols)]

    @property
    def steps(self) -> int:
        """Steps in the steady state."""
        config = self.config
        groups = -(-self.channels * self.split // config.rows)
        folds = -(-self.outputs // config.cols)
        taps = [part.stop - part.start for _, part in self.passes]
        if len(taps) == 1:
            gap = config.cols if config.accumulators == 2 else config.cols + taps[0] - 1
            return groups * (folds * gap + config.cols)
        return groups * folds * sum(config.cols + k - 1 for k in taps)

    def build(self, builder: _Builder, x: IntArray, w: IntArray, pad: int, place: IntArray) -> None:
        """Add the tiles of all lanes."""
        lanes = _indices((self.channels, self.split)).reshape(-1)
        for start in range(0, len(lanes), self.config.rows):
            some = lanes[start : start + self.config.rows]
            first = (some % self.split) * self.rows_per_lane
            self._build_lanes(builder, x, w, pad, place, some // self.split, first)

    def _build_lanes(
        self,
        builder: _Builder,
        x: IntArray,
        w: IntArray,
        pad: int,
        place: IntArray,
        channel: IntArray,
        first: IntArray,
    ) -> None:
        """Add the passes of one group of lanes: their channels, and their first output rows."""
        config, window, cols = self.config, self.window, self.config.cols
        height, width = window.output
        (stride_v, stride_h), top = window.stride, window.padding[0][0]
        position = np.arange(self.outputs + window.kernel[1] - 1)
        line = np.minimum(position // self.pitch, self.rows_per_lane - 1)
        column = self.span[0] + position - line * self.pitch
        row = first[:, None] + line  # output row, (lanes, positions)

        # Where the outputs go, (outputs, lanes).
        offset = (position - line * self.pitch)[: self.outputs, None]
        out_row = row[:, : self.outputs].T
        wanted = (offset % stride_h == 0) & (offset // stride_h < width) & (out_row < height)
        target = place[
            np.minimum(out_row, height - 1), np.minimum(offset // stride_h, width - 1), channel
        ]
        target = np.where(wanted, target, -1)

        streams = [
            gather(x, row * stride_v - top + i, column[None], channel[:, None], pad)
            for i in range(window.kernel[0])
        ]
        passes = self.passes
        if len(passes) == 1:
            builder.add(st_os_tile(streams[0], w[0][:, channel].T, config), target)
            return
        for fold in range(0, self.outputs, cols):
            count = min(cols, self.outputs - fold)
            for index, (i, part) in enumerate(passes):
                begin = fold + part.start
                tile = st_os_tile(
                    streams[i][:, begin : begin + count + part.stop - part.start - 1],
                    w[i, part][:, channel].T,
                    config,
                    keep=index < len(passes) - 1,
                    accumulate=index > 0,
                )
                builder.add(tile, target[fold : fold + count])
