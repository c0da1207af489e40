"""Run tiles on the RTL and compare: what every test of the core is made of."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np

from golden import Tile, execute
from hw.config import ArrayConfig
from sim import cycles
from sim.rtl import Result, Simulator, Stalls


@functools.cache
def simulator(config: ArrayConfig) -> Simulator:
    """Return the built core of a configuration."""
    return Simulator(config)


def prove(
    config: ArrayConfig, tiles: Iterable[Tile], stalls: Stalls | None = None, seed: int = 1
) -> Result:
    """Run tiles on the RTL; compare every output beat, and without stalls the cycles."""
    tiles = list(tiles)
    expected = [beats for beats in execute(tiles, config) if len(beats)]
    result = simulator(config).run(tiles, stalls=stalls, seed=seed)
    assert expected, "nothing was compared"
    assert len(result.outputs) == len(expected)
    for index, (got, want) in enumerate(zip(result.outputs, expected, strict=True)):
        np.testing.assert_array_equal(got, want, err_msg=f"command {index} that emits")
    assert not result.cmd_error
    if stalls is None:
        assert result.cycles == cycles([tile.command for tile in tiles], config)
    return result
