"""GEMM tiles: strips of a result, one operand held, the other moving past it.

A tile holds pixels on the rows and channels on the columns, or the reverse, or some of both on each
edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from heapq import nsmallest
from itertools import product

import numpy as np

from hw.config import ArrayConfig

from ..machine.schedule import Repeat, cycles
from ..workload import Operands
from .common import FEW, Placed, Span, ceil, check_mapping, gemm_commands, gemm_steps, gemm_tiles

__all__ = ["GemmMapping", "Strip", "covers", "map_gemm"]


def _even(start: int, stop: int, parts: int) -> Iterator[Span]:
    """Yield spans that differ by one at most, the larger ones first."""
    each, more = divmod(stop - start, parts)
    for part in range(parts):
        first = start + part * each + min(part, more)
        yield first, first + each + (part < more)


def _even_sizes(total: int, parts: int) -> list[tuple[int, int]]:
    """Return the sizes of even spans, and how many have each."""
    each, more = divmod(total, parts)
    return [run for run in ((each + 1, more), (each, parts - more)) if run[1]]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Tiles that share one operand: a part of the result of a GEMM.

    Every tile holds all of `span` of the `held` operand, and the next few elements of `moving` of
    the other one: `on_rows` of them on the rows, against the held ones on the columns, and
    `on_cols` of them on the columns, against the held ones on the rows. With both, the two
    corners of the tile where pixels meet pixels and channels channels are not used.

    Parameters
    ----------
    held : str
        ``"pixels"`` or ``"channels"``.
    span, moving : (int, int)
        First and last element, exclusive.
    on_rows, on_cols : int
        At most so many moving elements per tile.
    blocks : int
        Even parts of `span` that are held one after the other; more than 1 only if ``on_cols = 0``.
    """

    held: str
    span: Span
    moving: Span
    on_rows: int
    on_cols: int
    blocks: int = 1

    @property
    def _tiles(self) -> int:
        """Tiles of a block."""
        return ceil(self.moving[1] - self.moving[0], self.on_rows + self.on_cols)

    @property
    def _moving_on_cols(self) -> int:
        return max(0, self.moving[1] - self.moving[0] - self._tiles * self.on_rows)

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.blocks * self._tiles

    @property
    def emits(self) -> list[tuple[int, int]]:
        """Outputs per row of a tile, and how many tiles in a row have as many."""
        held = self.span[1] - self.span[0]
        if self.on_cols:
            beside = held if self.on_rows else 0
            runs = _even_sizes(self._moving_on_cols, self._tiles)
            return [(beside + size, count) for size, count in runs]
        return [(size, count * self._tiles) for size, count in _even_sizes(held, self.blocks)]

    def parts(self) -> Iterator[tuple[Span, Span, Span]]:
        """Yield the held and the moving elements of every tile: held, on rows, on columns."""
        start, stop = self.moving
        middle = stop - self._moving_on_cols
        for held in _even(*self.span, self.blocks):
            for tile, on_cols in enumerate(_even(middle, stop, self._tiles)):
                row = start + tile * self.on_rows
                yield held, (row, min(row + self.on_rows, middle)), on_cols


@dataclass(frozen=True, kw_only=True)
class GemmMapping:
    """``Y[M, N] = A[M, K] @ B[K, N]`` as strips; M pixels, N channels.

    Parameters
    ----------
    pixels, depth, channels : int
        M, K, N.
    strips : tuple of Strip
    """

    pixels: int
    depth: int
    channels: int
    strips: tuple[Strip, ...]

    name = "GEMM"

    @property
    def program(self) -> list[Repeat]:
        """The commands."""
        return [part for part, _ in self.bounds]

    @property
    def bounds(self) -> list[tuple[Repeat, str]]:
        """The commands, and what limits them as long as results leave fast enough.

        Tiles that hold operands on both edges leave two corners of the array unused, since the
        edges bring too few operands for more.
        """
        return [
            (
                Repeat(gemm_commands(self.depth, emit), count),
                "west edge" if strip.on_rows and strip.on_cols else "compute",
            )
            for strip in self.strips
            for emit, count in strip.emits
        ]

    def tiles(self, data: Operands, config: ArrayConfig) -> Iterator[Placed]:
        """Yield the tiles of a workload's `Operands.matrices`, and where their outputs go."""
        a, b, place = data.matrices
        for strip in self.strips:
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
                yield from gemm_tiles(
                    np.concatenate([a[p1], b[:, n2].T]),
                    np.concatenate([b[:, n1], a[p2].T], axis=1),
                    where,
                    config,
                )

    def __str__(self) -> str:
        """Say which operand is held where, and what moves past it."""
        words = []
        for strip in self.strips:
            size = ceil(strip.span[1] - strip.span[0], strip.blocks)
            where = (
                "columns" if not strip.on_cols else "rows" if not strip.on_rows else "both edges"
            )
            other = "channels" if strip.held == "pixels" else "pixels"
            held = strip.held[: None if size > 1 else -1]
            tiles = f"{strip.tiles} tile{'s' * (strip.tiles > 1)}"
            words.append(f"{size} {held} on {where}, {tiles} of {other}")
        return "; ".join(words)


def _left_over(held: str, span: Span, moving: Span, config: ArrayConfig) -> list[Strip]:
    """Return the strips that hold less than a full block: on either edge, and on both."""
    size, (rows, cols) = span[1] - span[0], (config.rows, config.cols)
    sides = [
        (rows, 0) if size <= cols else None,
        (0, cols) if size <= rows else None,
        (rows - size, cols - size) if size < min(rows, cols) else None,
    ]
    return [
        Strip(held=held, span=span, moving=moving, on_rows=side[0], on_cols=side[1])
        for side in sides
        if side
    ]


def covers(
    pixels: int, channels: int, config: ArrayConfig, mapping: str
) -> Iterator[tuple[Strip, ...]]:
    """Yield ways to cover the result: full blocks, and what they leave over on both sides."""
    rows, cols = config.rows, config.cols
    # With other widths on the two edges, operands cannot change sides.
    free = mapping == "best" and config.act_width == config.weight_width
    sizes = {"channels": channels, "pixels": pixels}

    def counts(size: int, block: int) -> list[int]:
        return sorted({size // block, ceil(size, block)}) if free else [ceil(size, block)]

    for held, other in (("channels", "pixels"), ("pixels", "channels"))[: 2 if free else 1]:
        wide, tall = sizes[held], sizes[other]
        for across, down in product(counts(wide, cols), counts(tall, rows)):
            width, height = min(wide, across * cols), min(tall, down * rows)
            choices = []
            if width and height:
                full = Strip(
                    held=held, span=(0, width), moving=(0, height), on_rows=rows, on_cols=0,
                    blocks=across,
                )  # fmt: skip
                choices.append([full])
            if width < wide and height:
                choices.append(_left_over(held, (width, wide), (0, height), config))
            if height < tall:
                choices.append(_left_over(other, (height, tall), (0, wide), config))
            for strips in product(*choices):
                # The widest first: results of falling width leave without a gap.
                yield tuple(sorted(strips, key=lambda strip: -strip.emits[0][0]))


@lru_cache(maxsize=4096)
def map_gemm(
    pixels: int, depth: int, channels: int, config: ArrayConfig, mapping: str = "best"
) -> GemmMapping:
    """Map ``Y[M, N] = A[M, K] @ B[K, N]``.

    Parameters
    ----------
    pixels, depth, channels : int
        M, K, N.
    config : ArrayConfig
    mapping : str
        One of `MAPPINGS`.

    Raises
    ------
    UserError
        If the mapping is unknown.
    """
    check_mapping(mapping)

    def steps(strips: tuple[Strip, ...]) -> int:
        runs = (run for strip in strips for run in strip.emits)
        return sum(count * gemm_steps(depth, emit, config) for emit, count in runs)

    few = nsmallest(FEW, covers(pixels, channels, config, mapping), key=steps)
    if mapping == "best":
        few += covers(pixels, channels, config, "textbook")
    mappings = [
        GemmMapping(pixels=pixels, depth=depth, channels=channels, strips=strips) for strips in few
    ]
    return min(mappings, key=lambda found: cycles(found.program, config))
