"""Random tiles for the benches."""

from __future__ import annotations

import numpy as np

from golden import Tile, gemm_tile, st_os_tile
from hw.config import ArrayConfig, Command


def operands(rng: np.random.Generator, shape: tuple[int, ...], width: int) -> np.ndarray:
    """Return random operands of `width` bits, about a quarter of them extreme."""
    low, high = -(1 << width - 1), (1 << width - 1) - 1
    values = rng.integers(low, high, shape, endpoint=True)
    return np.where(rng.random(shape) < 0.25, rng.choice([low, high], shape), values)


def gemm(
    rng: np.random.Generator, config: ArrayConfig, m: int, k: int, n: int, **flags: bool
) -> Tile:
    """Return a GEMM tile of the given size."""
    a = operands(rng, (m, k), config.act_width)
    return gemm_tile(a, operands(rng, (k, n), config.weight_width), config, **flags)


def st_os(
    rng: np.random.Generator, config: ArrayConfig, m: int, k: int, n: int, **flags: bool
) -> Tile:
    """Return an ST-OS pass with k taps and n outputs for m rows."""
    x = operands(rng, (m, n + k - 1), config.act_width)
    return st_os_tile(x, operands(rng, (m, k), config.weight_width), config, **flags)


def tile(rng: np.random.Generator, config: ArrayConfig, command: Command) -> Tile:
    """Return a tile with random operands on all lanes, also where a layer would have zeros."""
    act = operands(rng, (command.act_beats(config), config.rows), config.act_width)
    shape = (command.weight_beats, config.weight_lanes)
    return Tile(command=command, act=act, wgt=operands(rng, shape, config.weight_width))


def random_tiles(
    rng: np.random.Generator, config: ArrayConfig, count: int, deepest: int = 12
) -> list[Tile]:
    """Return tiles of both modes in random order, with chains of kept and dropped sums."""
    tiles: list[Tile] = []
    kept = False
    for index in range(count):
        keep = index < count - 1 and rng.random() < 0.2
        flags = {"keep": keep, "accumulate": bool(kept and rng.random() < 0.7)}
        m = int(rng.integers(1, config.rows, endpoint=True))
        if config.st_os and rng.random() < 0.5:
            k = int(rng.integers(1, config.cols, endpoint=True))
            longest = config.cols if any(flags.values()) else 3 * config.cols
            n = int(rng.integers(1, longest, endpoint=True))
            tiles.append(st_os(rng, config, m, k, n, **flags))
        else:
            k = int(rng.integers(1, deepest, endpoint=True))
            n = int(rng.integers(1, config.cols, endpoint=True))
            tiles.append(gemm(rng, config, m, k, n, **flags))
        kept = keep
    return tiles
