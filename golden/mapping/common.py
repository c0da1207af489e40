"""What the mappings share: GEMM tiles of any depth, and small arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

from hw.config import ArrayConfig, Command
from report.errors import UserError

from ..arith.wrap import IntArray
from ..machine.tile import Tile, gemm_tile

__all__ = [
    "DEEPEST",
    "FEW",
    "MAPPINGS",
    "Placed",
    "Span",
    "ceil",
    "check_mapping",
    "gemm_commands",
    "gemm_steps",
    "gemm_tiles",
]

#: ``best``: every mapping there is. ``textbook``: pixels on rows and channels on columns, depthwise
#: layers as block-diagonal GEMM, or as ST-OS streams, a kernel row at a time, on a core for them.
MAPPINGS = ("best", "textbook")

DEEPEST = 0xFFFF  # a command counts its depth, and its folds, in 16 bits
FEW = 8  # so many candidates, the best in the steady state, have their exact cycles counted

Span = tuple[int, int]

#: A tile, and where its outputs go: flat indices in the result (out beats, lanes), -1 for none.
Placed = tuple[Tile, IntArray]


def check_mapping(mapping: str) -> None:
    """Raise `UserError` unless it is one of `MAPPINGS`."""
    if mapping not in MAPPINGS:
        raise UserError(f"mapping must be one of {', '.join(MAPPINGS)}, not {mapping!r}")


def ceil(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


def _depth_spans(depth: int) -> list[Span]:
    """Return the parts of a reduction that one command each can take."""
    return [(k, min(k + DEEPEST, depth)) for k in range(0, depth, DEEPEST)]


def gemm_commands(depth: int, emit: int) -> tuple[Command, ...]:
    """Return the commands of a GEMM tile."""
    return tuple(
        Command(depth=stop - start, emit=emit if stop == depth else 0, accumulate=start > 0)
        for start, stop in _depth_spans(depth)
    )


def gemm_steps(depth: int, emit: int, config: ArrayConfig) -> int:
    """Return the cycles of a GEMM tile in the steady state."""
    return max(depth, emit) if config.accumulators == 2 else depth + emit - 1


def gemm_tiles(a: IntArray, b: IntArray, place: IntArray, config: ArrayConfig) -> Iterator[Placed]:
    """Yield one GEMM tile ``a (M, K) @ b (K, N)``, in as many commands as its depth takes.

    Parameters
    ----------
    place : int64 array (M, N)
        Where every output goes.
    """
    depth = a.shape[1]
    for start, stop in _depth_spans(depth):
        part = gemm_tile(
            a[:, start:stop], b[start:stop], config, keep=stop < depth, accumulate=start > 0
        )
        yield part, place.T
