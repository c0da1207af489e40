"""A tile: one command together with the beats that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hw.config import ArrayConfig, Command

from ..arith.wrap import IntArray, check_operand, check_range

__all__ = ["Tile", "gemm_tile", "st_os_tile"]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One command and its operand beats.

    Parameters
    ----------
    command : Command
        What the core is told.
    act : int64 array (command.act_beats, rows)
        Beats of `s_axis_act`.
    wgt : int64 array (command.weight_beats, weight_lanes)
        Beats of `s_axis_wgt`.
    """

    command: Command
    act: IntArray
    wgt: IntArray

    def check(self, config: ArrayConfig, *, kept: bool = False) -> None:
        """Raise `ValueError` if the tile does not fit the machine."""
        command = self.command
        command.check(config, kept=kept)
        for name, beats, shape, width in (
            ("act", self.act, (command.act_beats(config), config.rows), config.act_width),
            ("wgt", self.wgt, (command.weight_beats, config.weight_lanes), config.weight_width),
        ):
            if beats.shape != shape:
                raise ValueError(f"{name} beats must have shape {shape}, not {beats.shape}")
            if beats.dtype != np.int64:
                raise TypeError(f"{name} beats must be int64, not {beats.dtype}")
            check_range(f"{name} beats", beats, width)


def _lanes(beats: IntArray, lanes: int) -> IntArray:
    """Fill up unused lanes with zeros."""
    return np.pad(beats, ((0, 0), (0, lanes - beats.shape[1])))


def gemm_tile(
    a: Any, b: Any, config: ArrayConfig, *, keep: bool = False, accumulate: bool = False
) -> Tile:
    """Return the tile that computes ``Y[M, N] = A[M, K] @ B[K, N]``.

    Parameters
    ----------
    a : integer array (M, K)
        Activations, M at most `rows`.
    b : integer array (K, N)
        Weights, N at most `cols`.
    config : ArrayConfig
        The machine.
    keep : bool
        Emit nothing; keep the sums for the next command.
    accumulate : bool
        Continue from kept sums.

    Raises
    ------
    TypeError, ValueError
        If an array has the wrong kind, shape or range.
    """
    a = check_operand("a", a, 2, config.act_width)
    b = check_operand("b", b, 2, config.weight_width)
    if a.shape[1] != b.shape[0]:
        raise ValueError(f"a and b must agree in K, not {a.shape} and {b.shape}")
    if not 1 <= a.shape[0] <= config.rows:
        raise ValueError(f"a must have from 1 to {config.rows} rows, not {a.shape[0]}")
    if not 1 <= b.shape[1] <= config.cols:
        raise ValueError(f"b must have from 1 to {config.cols} columns, not {b.shape[1]}")
    command = Command(depth=len(b), emit=0 if keep else b.shape[1], accumulate=accumulate)
    command.check(config, kept=accumulate)
    return Tile(command=command, act=_lanes(a.T, config.rows), wgt=_lanes(b, config.weight_lanes))


def st_os_tile(
    x: Any, w: Any, config: ArrayConfig, *, keep: bool = False, accumulate: bool = False
) -> Tile:
    """Return the pass that computes ``y[r, i] = sum_k w[r, k] * x[r, i + k]``.

    Parameters
    ----------
    x : integer array (L, S)
        One signal per row, L at most `rows`.
    w : integer array (L, K)
        The taps of every row, K at most `cols`. The pass emits ``S - K + 1`` outputs per row.
    config : ArrayConfig
        The machine.
    keep, accumulate : bool
        As in `gemm_tile`; both need ``S - K + 1 <= cols``.

    Raises
    ------
    TypeError, ValueError
        If an array has the wrong kind, shape or range.
    """
    x = check_operand("x", x, 2, config.act_width)
    w = check_operand("w", w, 2, config.weight_width)
    if len(x) != len(w) or not 1 <= len(x) <= config.rows:
        raise ValueError(
            f"x and w must have the same 1 to {config.rows} rows, not {len(x)} and {len(w)}"
        )
    depth = w.shape[1]
    outputs = x.shape[1] - depth + 1
    if outputs < 1:
        raise ValueError(f"x must be at least as long as w ({depth}), not {x.shape[1]}")
    folds = -(-outputs // config.cols)
    command = Command(
        depth=depth,
        emit=0 if keep else outputs - (folds - 1) * config.cols,
        folds=folds,
        st_os=True,
        accumulate=accumulate,
    )
    command.check(config, kept=accumulate)
    act = np.zeros((command.act_beats(config), config.rows), np.int64)
    act[: x.shape[1], : len(x)] = x.T
    wgt = np.tile(_lanes(w.T, config.weight_lanes), (folds, 1))
    return Tile(command=command, act=act, wgt=wgt)
