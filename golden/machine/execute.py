"""Run a list of tiles: the value-level model of the core."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from hw.config import ArrayConfig

from ..arith.wrap import IntArray, wrap
from .tile import Tile

__all__ = ["execute"]


def execute(tiles: Iterable[Tile], config: ArrayConfig) -> Iterator[IntArray]:
    """Yield the output beats of every tile.

    GEMM: ``Y[r, n] = sum_k A[r, k] * B[k, n]``. ST-OS: ``y[r, i] = sum_k w[r, k] * x[r, i + k]``.
    Sums wrap modulo ``2**acc_width``.

    Parameters
    ----------
    tiles : iterable of Tile
        In the order in which the core takes them.
    config : ArrayConfig
        The machine.

    Yields
    ------
    int64 array (command.out_beats, rows)
        Beats of `m_axis_out`; no beats for a command with ``emit = 0``.

    Raises
    ------
    ValueError
        If a tile does not fit the machine.
    """
    rows, cols = config.rows, config.cols
    kept: IntArray | None = None
    for tile in tiles:
        command = tile.command
        tile.check(config, kept=kept is not None)
        if command.st_os:
            folds = tile.wgt[:, :rows].reshape(command.folds, command.depth, rows)
            sums = np.zeros((command.folds * cols, rows), np.int64)
            for fold, taps in enumerate(folds):
                for k, tap in enumerate(taps):
                    start = fold * cols + k
                    sums[fold * cols : (fold + 1) * cols] += tap * tile.act[start : start + cols]
        else:
            sums = tile.wgt[:, :cols].T @ tile.act
        if command.accumulate and kept is not None:
            sums = sums + kept
        sums = wrap(sums, config.acc_width)
        kept = None if command.emit else sums
        yield sums[: command.out_beats(config)]
