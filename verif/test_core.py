"""The emitted core against the golden model and the cycle model, at full speed and stalled."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from bench import prove, simulator
from tiles import gemm, random_tiles, st_os

from golden import execute
from hw.config import ArrayConfig
from sim.rtl import Stalls

SHAPES = [(1, 1), (1, 6), (5, 1), (3, 5), (5, 3), (8, 8)]
CONFIGS = [
    ArrayConfig(rows=rows, cols=cols, st_os=st_os, accumulators=accumulators)
    for (rows, cols), st_os, accumulators in itertools.product(SHAPES, (False, True), (1, 2))
    if st_os or (rows, cols) in ((1, 1), (3, 5))
] + [
    ArrayConfig(rows=3, cols=4, st_os=True, act_width=4, weight_width=4, acc_width=8),
    ArrayConfig(rows=4, cols=3, st_os=True, act_width=16, weight_width=16, acc_width=64),
    ArrayConfig(rows=4, cols=3, st_os=True, act_width=9, weight_width=5, acc_width=19),
    ArrayConfig(rows=16, cols=16, st_os=True),
    ArrayConfig(rows=1, cols=1, st_os=True, accumulators=1, mac_stages=2),
    ArrayConfig(rows=3, cols=5, accumulators=1, mac_stages=2),
    ArrayConfig(rows=5, cols=3, mac_stages=2),
    ArrayConfig(rows=3, cols=5, st_os=True, mac_stages=2),
    ArrayConfig(rows=5, cols=3, st_os=True, accumulators=1, mac_stages=2),
]
ids = ArrayConfig.flags


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_random_tiles(config):
    """Both modes interleaved, kept and dropped sums, outputs and cycles."""
    rng = np.random.default_rng(1)
    for seed in range(1, 41):
        prove(
            config, random_tiles(rng, config, int(rng.integers(1, 12, endpoint=True))), None, seed
        )


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_stalls(config):
    """Pauses of 0, 10, 50 and 90 % on inputs and output, crossed."""
    rng = np.random.default_rng(2)
    levels = (0.0, 0.1, 0.5, 0.9)
    for seed, (idle, pressure) in enumerate(itertools.product(levels, levels), start=1):
        stalls = Stalls(cmd=idle, act=idle, wgt=idle, out=pressure)
        prove(config, random_tiles(rng, config, 8), stalls, seed)
        one = {str(rng.choice(["cmd", "act", "wgt"])): idle}
        prove(config, random_tiles(rng, config, 8), Stalls(**one, out=pressure), seed)


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_short_reductions_back_to_back(config):
    """K from 1 to 40 with 2, 3 and 50 tiles in a row, without a single stall."""
    rng = np.random.default_rng(3)
    for k, count in itertools.product(range(1, 41), (2, 3, 50)):
        n = int(rng.integers(1, config.cols, endpoint=True))
        prove(config, [gemm(rng, config, config.rows, k, n) for _ in range(count)])


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


@pytest.mark.parametrize("config", [c for c in CONFIGS if c.rows < 8], ids=ids)
def test_illegal_commands(config):
    """Each kind is taken, sets cmd_error and leaves the data path alone."""
    rng = np.random.default_rng(6)
    cols = config.cols
    legal = 1 | 1 << 16 | 1 << 32
    words = [
        legal & ~0xFFFF,  # depth 0
        legal & ~(0xFFFF << 16),  # folds 0
        legal | 2 << 16,  # folds 3, GEMM
        legal & ~(0xFFFF << 32) | (cols + 1) << 32,  # emit > C
        *(legal | 1 << bit for bit in range(50, 64)),  # reserved
        legal | 1 << 49,  # accumulate without a predecessor
        legal | 1 << 48 | (cols + 1 if config.st_os else 1),  # too many taps, or no ST-OS
        legal & ~(0xFFFF << 32) | 1 << 48 | 2 << 16,  # ST-OS, folds 3, emit 0
    ]
    keeping = gemm(rng, config, config.rows, 3, 1, keep=True)
    ending = gemm(rng, config, config.rows, 3, cols, accumulate=True)
    tiles = [gemm(rng, config, config.rows, 2, cols), keeping, ending]
    expected = [beats for beats in execute(tiles, config) if len(beats)]
    good = [tile.command.encode() for tile in tiles]
    for bad in words:
        for where in range(4):
            # Between a kept tile and its continuation, accumulate is legal: try it elsewhere.
            if where == 2 and bad == legal | 1 << 49:
                continue
            sent = [*good[:where], bad, *good[where:]]
            result = simulator(config).run(tiles, words=sent)
            assert result.cmd_error, f"{bad:016x} was not reported"
            for got, want in zip(result.outputs, expected, strict=True):
                np.testing.assert_array_equal(got, want)


def test_smoke_32x32():
    """The README's core: both modes, with and without stalls."""
    config = ArrayConfig(rows=32, cols=32, st_os=True)
    rng = np.random.default_rng(7)
    prove(config, random_tiles(rng, config, 40, deepest=100))
    prove(config, random_tiles(rng, config, 10), Stalls(cmd=0.1, act=0.1, wgt=0.1, out=0.1))
