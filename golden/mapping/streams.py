"""ST-OS streams: a channel's rows end to end through one row of the array.

A pass has the taps of one kernel row, or of all of them and zeros in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from hw.config import ArrayConfig, Command

from ..arith.window import Window, gather
from ..arith.wrap import IntArray
from ..machine.schedule import Repeat
from ..machine.tile import st_os_tile
from ..workload import Branch, Operands
from .common import DEEPEST, Placed, ceil

__all__ = ["Lanes", "Stream", "StreamMapping", "candidates", "map_streams"]


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """The signals of a channel in lanes of the array.

    Parameters
    ----------
    signals : dict of int to int64 array (outputs + taps - 1, lanes)
        By kernel row; joined, only that of row 0.
    taps : int64 array (kernel rows, taps, lanes)
    place : int64 array (outputs, lanes)
        Where every output goes, -1 for nowhere.
    """

    signals: dict[int, IntArray]
    taps: IntArray
    place: IntArray


@dataclass(frozen=True, kw_only=True)
class Stream:
    """An image channel as one signal: its rows end to end.

    Padding between two rows is shared by both, and the outputs that fall on it are dropped. A
    kernel row is a pass of its own that accumulates (and so is every `cols` taps of a long one).
    Or all kernel rows are *joined* into one pass: between the taps of two of them lie as many zeros
    as between two rows of the image. A pass has `cols` taps at most, so a wide image is cut into
    bands of columns for it.

    Parameters
    ----------
    window : Window
        Of the image as it is streamed.
    turned : bool
        Whether columns are streamed; `window` is that of the transposed image then.
    bands : int
        Bands that the image is cut into, each a signal of its own.
    joined : bool
        Whether one pass has all kernel rows.
    cols : int
        Columns of the array.
    """

    window: Window
    turned: bool
    bands: int
    joined: bool
    cols: int

    @property
    def width(self) -> int:
        """Outputs of a row of a band."""
        return ceil(self.window.output[1], self.bands)

    @property
    def lines(self) -> int:
        """Rows of outputs, those included that a vertical stride drops."""
        rows, stride = self.window.output[0], self.window.stride[0]
        return (rows - 1) * stride + 1 if self.joined else rows

    @property
    def pitch(self) -> int:
        """Elements from one row to the next."""
        taps, stride = self.window.kernel[1], self.window.stride[1]
        span = (self.width - 1) * stride + taps
        if self.bands == 1:
            before = self.window.padding[1][0]
            after = span - before - self.window.size[1]
            # No more than taps - 1: an output that reads nothing but padding is not shared.
            span -= max(0, min(before, after, taps - 1))
        return max(span, taps) if self.joined else span

    @cached_property
    def length(self) -> int:
        """Outputs of a signal, dropped ones included."""
        return self.pitch * (self.lines - 1) + (self.width - 1) * self.window.stride[1] + 1

    @cached_property
    def passes(self) -> list[tuple[int, slice]]:
        """Kernel row and taps of every pass; joined, row 0 and all taps, zeros included."""
        kh, kw = self.window.kernel
        if self.joined:
            return [(0, slice(0, (kh - 1) * self.pitch + kw))]
        return [
            (i, slice(k, min(k + self.cols, kw)))
            for i in range(kh)
            for k in range(0, kw, self.cols)
        ]

    @property
    def depths(self) -> list[int]:
        """Taps of every pass."""
        return [taps.stop - taps.start for _, taps in self.passes]

    def steps(self, channels: int, pieces: int, config: ArrayConfig) -> int:
        """Return the cycles in the steady state, `pieces` lanes per signal."""
        groups = ceil(channels * self.bands * pieces, config.rows)
        folds = ceil(ceil(self.length, pieces), self.cols)
        if len(self.depths) == 1 and config.accumulators == 2:
            return groups * (folds * self.cols + self.depths[0] - 1)
        return groups * folds * sum(self.cols + depth - 1 for depth in self.depths)

    def best_pieces(self, channels: int, config: ArrayConfig) -> tuple[int, int]:
        """Return the fewest steps, and the lanes per signal that give them."""
        # Other numbers of lanes have as many folds as one of these, and more lanes.
        folds = ceil(self.length, self.cols)
        few = range(1, math.isqrt(folds) + 2)
        choices = {*few, *(ceil(self.length, count * self.cols) for count in few)}
        # A command counts folds in 16 bits.
        choices = {n for n in choices if ceil(ceil(self.length, n), self.cols) <= DEEPEST}
        return min((self.steps(channels, pieces, config), pieces) for pieces in choices)

    def lanes(self, data: Operands, branch: int, pieces: int, outputs: int) -> Lanes:
        """Return the lanes of one of a workload's images, `pieces` of `outputs` per signal."""
        image = data.images[branch].turned() if self.turned else data.images[branch]
        window = self.window
        (height, width), (sv, sh), (kh, kw) = window.output, window.stride, window.kernel
        (top, _), (left, _) = window.padding
        count = np.arange(image.x.shape[2] * self.bands * pieces)
        channel, band = count // (self.bands * pieces), count // pieces % self.bands
        # Where every element of a lane lies: line of the signal, and offset in the line.
        reach = max(part.stop for _, part in self.passes) - 1
        position = count % pieces * outputs + np.arange(outputs + reach)[:, None]
        lines = self.lines + (kh - 1 if self.joined else 0)
        line = np.minimum(position // self.pitch, lines - 1)
        offset = position - line * self.pitch
        across = band * self.width * sh - left + offset
        step = 1 if self.joined else sv
        signals = {
            i: gather(image.x, line * step - top + i, across, channel, data.pad_value)
            for i in range(1 if self.joined else kh)
        }
        taps = image.w
        if self.joined:
            taps = np.zeros((1, (kh - 1) * self.pitch + kw, image.w.shape[2]), np.int64)
            for i in range(kh):
                taps[0, i * self.pitch : i * self.pitch + kw] = image.w[i]
        # What falls on padding or between two strides goes nowhere.
        line, offset = line[:outputs], offset[:outputs]
        down = line * step
        column = band * self.width + offset // sh
        wanted = (down % sv == 0) & (down // sv < height)
        wanted &= (offset % sh == 0) & (offset // sh < self.width) & (column < width)
        place = image.place[
            np.minimum(down // sv, height - 1), np.minimum(column, width - 1), channel
        ]
        return Lanes(signals=signals, taps=taps[:, :, channel], place=np.where(wanted, place, -1))


@dataclass(frozen=True, kw_only=True)
class StreamMapping:
    """Depthwise convolutions as ST-OS streams.

    Every signal is cut into pieces of equal length, wherever the cut falls, one per lane;
    ``depth - 1`` elements at a cut are streamed twice.

    Parameters
    ----------
    branches : tuple of int
        Which branches of the layer; they share commands, so their signals are equally long.
    streams : tuple of Stream
        One per branch.
    channels : tuple of int
        Per branch.
    pieces : int
        Lanes per signal.
    rows, cols : int
        Of the array.
    """

    branches: tuple[int, ...]
    streams: tuple[Stream, ...]
    channels: tuple[int, ...]
    pieces: int
    rows: int
    cols: int

    name = "ST-OS"

    @property
    def lanes(self) -> int:
        """Lanes of all branches."""
        return sum(self.channels) * self.streams[0].bands * self.pieces

    @property
    def piece(self) -> int:
        """Outputs of a lane, dropped ones included."""
        return ceil(self.streams[0].length, self.pieces)

    @property
    def program(self) -> list[Repeat]:
        """The commands."""
        depths = self.streams[0].depths
        folds = ceil(self.piece, self.cols)
        last = self.piece - (folds - 1) * self.cols
        groups = ceil(self.lanes, self.rows)
        if len(depths) == 1:
            return [Repeat((Command(depth=depths[0], folds=folds, emit=last, st_os=True),), groups)]

        def fold(emit: int) -> tuple[Command, ...]:
            return tuple(
                Command(
                    depth=depth, emit=emit if index == len(depths) - 1 else 0, st_os=True,
                    accumulate=index > 0,
                )
                for index, depth in enumerate(depths)
            )  # fmt: skip

        full = [Repeat(fold(self.cols), folds - 1)] if folds > 1 else []
        return [Repeat((*full, *fold(last)), groups)]

    @property
    def bounds(self) -> list[tuple[Repeat, str]]:
        """The commands, and what limits them: every row waits for its own inputs."""
        return [(part, "west edge") for part in self.program]

    def tiles(self, data: Operands, config: ArrayConfig) -> Iterator[Placed]:
        """Yield the passes of a workload's `Operands.images`, and where their outputs go."""
        parts = [
            stream.lanes(data, branch, self.pieces, self.piece)
            for branch, stream in zip(self.branches, self.streams, strict=True)
        ]
        signals = {
            row: np.concatenate([part.signals[row] for part in parts], axis=1)
            for row in parts[0].signals
        }
        taps = np.concatenate([part.taps for part in parts], axis=2)
        place = np.concatenate([part.place for part in parts], axis=1)
        passes = self.streams[0].passes
        for start in range(0, self.lanes, config.rows):
            some = slice(start, start + config.rows)
            if len(passes) == 1:
                tile = st_os_tile(signals[0][:, some].T, taps[0][:, some].T, config)
                yield tile, place[:, some]
                continue
            for fold in range(0, self.piece, config.cols):
                count = min(config.cols, self.piece - fold)
                for index, (row, part) in enumerate(passes):
                    begin = fold + part.start
                    length = count + part.stop - part.start - 1
                    tile = st_os_tile(
                        signals[row][begin : begin + length, some].T,
                        taps[row, part, some].T,
                        config,
                        keep=index < len(passes) - 1,
                        accumulate=index > 0,
                    )
                    yield tile, place[fold : fold + count, some]

    def __str__(self) -> str:
        """Say what a lane holds."""
        stream = self.streams[0]
        count = len(stream.depths)
        passes = f"{count} passes" if count > 1 else f"1 pass of {stream.depths[0]} taps"
        bands = f"{stream.bands} bands, " if stream.bands > 1 else ""
        return f"{passes}, {bands}{self.pieces} lane{'s' * (self.pieces > 1)} per signal"


def candidates(branch: Branch, config: ArrayConfig, joined: bool) -> Iterator[Stream]:
    """Yield ways to stream a branch."""
    cols = config.cols
    both = ((branch.window, False), (branch.window.transposed, True))
    for window, turned in both[: 1 if both[0][0] == both[1][0] else 2]:
        one = Stream(window=window, turned=turned, bands=1, joined=False, cols=cols)
        yield one
        if not joined or window.kernel[0] == 1:
            continue
        across = window.output[1]
        for bands in sorted({ceil(across, width) for width in range(1, across + 1)}):
            banded = replace(one, bands=bands, joined=True)
            if banded.depths[0] <= cols:
                yield banded


def map_streams(
    branches: tuple[Branch, ...], config: ArrayConfig, joined: bool
) -> list[StreamMapping]:
    """Map branches to streams, together where their commands agree."""
    groups: dict[tuple[Any, ...], list[tuple[int, int, Stream]]] = {}
    for index, branch in enumerate(branches):
        channels = branch.channels
        stream = min(
            candidates(branch, config, joined),
            key=lambda one: one.best_pieces(channels, config)[0],
        )
        key = (stream.length, stream.bands, stream.window.kernel, *stream.depths)
        groups.setdefault(key, []).append((index, channels, stream))
    found = []
    for group in groups.values():
        together = tuple(channels for _, channels, _ in group)
        streams = tuple(stream for _, _, stream in group)
        found.append(
            StreamMapping(
                branches=tuple(index for index, _, _ in group),
                streams=streams,
                channels=together,
                pieces=streams[0].best_pieces(sum(together), config)[1],
                rows=config.rows,
                cols=config.cols,
            )
        )
    return found
