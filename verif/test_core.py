"""The emitted core against the golden model and the cycle model, at full speed and stalled."""

from __future__ import annotations

import numpy as np
import pytest

from hw.config import ArrayConfig
from sim.rtl import Stalls
from verif.lib.bench import prove, simulator
from verif.lib.suite import CONFIGS, GROUPS, SEED, check, runs
from verif.lib.tiles import gemm, random_tiles, st_os

ids = ArrayConfig.flags


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_group(config, group):
    """Outputs, cycles and cmd_error of every run, and the rules of the streams."""
    for run in runs(config, group, SEED):
        check(simulator(config), run)


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_steady_state_gemm(config):
    """A tile takes max(K, N) cycles with two accumulators, K + N - 1 with one."""
    rng = np.random.default_rng(4)
    for k in (1, 2, config.cols, 3 * config.cols):
        for n in {1, config.cols}:
            short = prove(config, [gemm(rng, config, config.rows, k, n) for _ in range(2)])
            long = prove(config, [gemm(rng, config, config.rows, k, n) for _ in range(52)])
            step = max(k, n) if config.accumulators == 2 else k + n - 1
            assert long.cycles - short.cycles == 50 * step


@pytest.mark.parametrize("config", [c for c in CONFIGS if c.st_os], ids=ids)
def test_steady_state_st_os(config):
    """A fold takes C cycles with two accumulators, C + K - 1 with one."""
    rng = np.random.default_rng(5)
    cols = config.cols
    for k in {1, (cols + 1) // 2, cols}:
        short = prove(config, [st_os(rng, config, config.rows, k, 2 * cols)])
        long = prove(config, [st_os(rng, config, config.rows, k, 52 * cols)])
        step = cols if config.accumulators == 2 else cols + k - 1
        assert long.cycles - short.cycles == 50 * step


def test_smoke_32x32():
    """The README's core: both modes, with and without stalls."""
    config = ArrayConfig(rows=32, cols=32, st_os=True)
    rng = np.random.default_rng(7)
    prove(config, random_tiles(rng, config, 40, deepest=100))
    prove(config, random_tiles(rng, config, 10), Stalls(cmd=0.1, act=0.1, wgt=0.1, out=0.1))
