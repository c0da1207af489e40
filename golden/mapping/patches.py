"""Toeplitz tiles: a patch of neighbouring outputs of a depthwise channel per row.

The taps are shifted from column to column; with patches of one pixel it is the block-diagonal GEMM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from heapq import nsmallest

import numpy as np

from hw.config import ArrayConfig

from ..arith.window import Window, gather
from ..arith.wrap import IntArray
from ..machine.schedule import Repeat
from ..workload import Branch, Operands
from .common import FEW, Placed, Span, ceil, gemm_commands, gemm_steps, gemm_tiles

__all__ = ["PatchMapping", "candidates"]


@dataclass(frozen=True, kw_only=True)
class PatchMapping:
    """A depthwise convolution by patches of neighbouring outputs.

    A row of the array holds the input under one patch, a column the taps of one output of the
    patch, shifted to where that output is. `together` channels share a tile side by side: each
    uses its own rows and columns, and where the rows of one meet the columns of another the
    results are not used.

    Parameters
    ----------
    branch : int
        Which branch of the layer.
    window : Window
    channels : int
    patch : (int, int)
        Outputs of a patch, down and across.
    together : int
        Channels per tile.
    rows : int
        Rows of the array.
    """

    branch: int
    window: Window
    channels: int
    patch: Span
    together: int
    rows: int

    @property
    def name(self) -> str:
        """What the tile is: one pixel per row, or a patch."""
        return "block-diagonal" if self.patch == (1, 1) else "Toeplitz"

    @property
    def grid(self) -> Span:
        """Patches of a channel, down and across."""
        (h, w), (ph, pw) = self.window.output, self.patch
        return ceil(h, ph), ceil(w, pw)

    @property
    def patches(self) -> int:
        """Patches of a channel."""
        return self.grid[0] * self.grid[1]

    @property
    def reach(self) -> Span:
        """Height and width of the input under a patch."""
        (kh, kw), (sv, sh), (ph, pw) = self.window.kernel, self.window.stride, self.patch
        return (ph - 1) * sv + kh, (pw - 1) * sh + kw

    @property
    def depth(self) -> int:
        """Depth of a tile."""
        return self.reach[0] * self.reach[1]

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Outputs per row of a tile, and how many tiles in a row have as many."""
        size = self.patch[0] * self.patch[1]
        if self.together == 1:
            return [(size, self.channels * ceil(self.patches, self.rows))]
        full, rest = divmod(self.channels, self.together)
        runs = [(self.together * size, full), (rest * size, rest > 0)]
        return [run for run in runs if run[1]]

    @property
    def program(self) -> list[Repeat]:
        """The commands."""
        return [Repeat(gemm_commands(self.depth, emit), count) for emit, count in self.runs]

    @property
    def bounds(self) -> list[tuple[Repeat, str]]:
        """The commands, and what limits them: every row waits for its own inputs."""
        return [(part, "west edge") for part in self.program]

    def tiles(self, data: Operands, config: ArrayConfig) -> Iterator[Placed]:
        """Yield the tiles of one of a workload's `Operands.images`, and where their outputs go."""
        inputs, taps, place = self._gathered(data)
        (ph, pw), count = self.patch, self.patches
        for start in range(0, self.channels, self.together):
            some = range(start, min(start + self.together, self.channels))
            for row in range(0, count, self.rows) if len(some) == 1 else (0,):
                part = slice(row, row + self.rows)
                used = len(range(count)[part])
                where = np.full((len(some) * used, len(some) * ph * pw), -1, np.int64)
                for index, c in enumerate(some):
                    own = slice(index * used, (index + 1) * used)
                    where[own, index * ph * pw : (index + 1) * ph * pw] = place[part, :, c]
                yield from gemm_tiles(
                    np.concatenate([inputs[part, :, c] for c in some]),
                    np.concatenate([taps[:, :, c] for c in some], axis=1),
                    where,
                    config,
                )

    def _gathered(self, data: Operands) -> tuple[IntArray, IntArray, IntArray]:
        """Return what lies under every patch, the shifted taps, and where the outputs go.

        ``(patches, depth, channels)``, ``(depth, outputs, channels)`` and ``(patches, outputs,
        channels)``, outputs those of a patch.
        """
        image, window, (ph, pw) = data.images[self.branch], self.window, self.patch
        (kh, kw), (sv, sh), (height, width) = window.kernel, window.stride, window.output
        down, across = (
            np.arange(count)[:, None] * size * stride - before + np.arange(reach)
            for count, size, stride, (before, _), reach in zip(
                self.grid, self.patch, window.stride, window.padding, self.reach, strict=True
            )
        )
        inputs = gather(
            image.x, down[:, None, :, None], across[None, :, None, :], slice(None), data.pad_value
        ).reshape(self.patches, self.depth, -1)
        shifted = np.zeros((*self.reach, ph, pw, self.channels), np.int64)
        for i, j in np.ndindex(ph, pw):
            shifted[i * sv : i * sv + kh, j * sh : j * sh + kw, i, j] = image.w
        taps = shifted.reshape(self.depth, ph * pw, -1)
        # What exceeds the image goes nowhere.
        (gh, gw), channels = self.grid, self.channels
        place = np.full((gh * ph, gw * pw, channels), -1, np.int64)
        place[:height, :width] = image.place
        place = place.reshape(gh, ph, gw, pw, channels).swapaxes(1, 2)
        return inputs, taps, place.reshape(gh * gw, ph * pw, -1)

    def __str__(self) -> str:
        """Say what a tile holds."""
        shape = f"{self.patch[0]} x {self.patch[1]}"
        channels = f"{self.together} channel{'s' * (self.together > 1)}"
        return f"{shape} outputs per row, {channels} per tile"


@lru_cache(maxsize=4096)
def candidates(
    index: int, branch: Branch, config: ArrayConfig, mapping: str
) -> tuple[PatchMapping, ...]:
    """Return the few patches that are best in the steady state."""
    rows, cols = config.rows, config.cols
    outputs, channels = branch.window.output, branch.channels
    (height, width), (kh, kw), (sv, sh) = outputs, branch.window.kernel, branch.window.stride
    if mapping == "textbook":
        height = width = 1  # of a patch, at most

    def ways() -> Iterator[tuple[int, int, int, int, int]]:
        for ph in range(1, min(height, cols) + 1):
            for pw in range(1, min(width, cols // ph) + 1):
                size, depth = ph * pw, ((ph - 1) * sv + kh) * ((pw - 1) * sh + kw)
                patches = ceil(outputs[0], ph) * ceil(outputs[1], pw)
                most = max(1, min(rows // patches, cols // size, channels))
                for together in range(1, most + 1):
                    tiles = ceil(channels, together) * ceil(together * patches, rows)
                    steps = tiles * gemm_steps(depth, together * size, config)
                    yield steps, tiles, ph, pw, together

    return tuple(
        PatchMapping(
            branch=index, window=branch.window, channels=channels, patch=(ph, pw),
            together=together, rows=rows,
        )
        for _, _, ph, pw, together in nsmallest(FEW, ways())
    )  # fmt: skip
