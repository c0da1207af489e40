"""The engine computes int8 layers from words: GEMM tiles and ST-OS passes, with freezes."""

from __future__ import annotations

import random

import numpy as np
import pytest

from golden import execute
from golden.arith import quant
from golden.machine.tile import st_os_tile
from hw.accelerator.engine import Engine, word_bytes
from hw.accelerator.pacer import pace_job
from hw.config import ArrayConfig, Command
from verif.unit.stepper import Drive, Stepper
from verif.unit.test_pacer import even
from verif.unit.test_requantizer import limits, parameters

SHAPES = [(1, 1), (2, 3), (4, 4), (3, 8)]


def channels(dice: random.Random, rows: int) -> tuple[list[tuple[int, int, int]], int]:
    """Return bias, multiplier and shift of every row, and the word that says so."""
    found, word = [], 0
    for r in range(rows):
        one = dice.randint(-500, 500), dice.randint(1 << 30, (1 << 31) - 1), -dice.randint(3, 9)
        found.append(one)
        word |= parameters(one[0], one[1], 31 - one[2], 1) << 70 * r
    return found, word


def packed(values: np.ndarray) -> int:
    return int.from_bytes(values.astype(np.int8).tobytes(), "little")


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_gemm(rows: int, cols: int, stages: int) -> None:
    """Tiles one after the other give their words, last pixel first."""
    config = ArrayConfig(rows=rows, cols=cols, st_os=True, mac_stages=stages)
    word = word_bytes(config)
    dice = random.Random(100 * rows + cols)
    rng = np.random.default_rng(rows + cols)
    run = dice.randint(1, 3 * word)
    lengths, runs = even(run, -(-run // word)), dice.randint(1, 2)
    total = 3 * cols + 1
    tiles = even(total, -(-total // cols))
    depth = run * runs
    weights = rng.integers(-128, 128, (rows, depth))
    pixels = rng.integers(-128, 128, (total, depth))
    given, word_of_parameters = channels(dice, rows)
    zero, low, high = 3, -100, 120
    sums = pixels @ weights.T
    wanted = []
    words = []
    begun = 0
    for size in tiles:
        for p in reversed(range(begun, begun + size)):
            wanted.append([int(quant.requantize(int(sums[p, r]) + b, m, s, zero, (low, high)))
                           for r, (b, m, s) in enumerate(given)])  # fmt: skip
        offset = 0
        for length in lengths * runs:
            for p in range(begun, begun + size):
                padded = np.zeros(word)
                padded[:length] = pixels[p, offset : offset + length]
                words.append(packed(padded))
            offset += length
        begun += size
    fields = {
        "rows": runs, "words": len(lengths), "length": lengths[-1], "pixels": tiles[-1],
        "long": lengths.count(lengths[0]) % len(lengths), "tiles": len(tiles),
        "large": tiles.count(tiles[0]) % len(tiles), "rounds": 1,
    }  # fmt: skip
    still = {
        "i_job": pace_job.const(fields).as_value().value,  # type: ignore[attr-defined]
        "i_pixels": tiles[-1], "i_stream": 0, "i_parameters": word_of_parameters,
        "i_limits": limits(zero, low, high), "rst": 0,
    }  # fmt: skip
    commands = [Command(depth=depth, emit=size).encode() for size in tiles]
    found: list[list[int]] = []

    def drive() -> Drive:
        asked = beat = taken = 0
        begun = False
        for cycle in range(3000):
            if len(found) == len(wanted):
                return
            # The first beat needs its command.
            begin = int(not begun and asked > 0 and cycle > rows + cols + 6)
            begun |= bool(begin)
            moves = int(dice.random() < 0.8)
            seen = yield {
                **still, "i_en": moves, "i_begin": begin,
                "i_cmd_valid": int(asked < len(commands)),
                "i_cmd": commands[asked] if asked < len(commands) else None,
                "i_weights": packed(weights[:, beat % depth]),
                "i_word": words[taken] if taken < len(words) else None,
                "i_weights_valid": 0, "i_word_valid": 0,
            }  # fmt: skip
            asked += bool(asked < len(commands) and seen.o_cmd_ready)
            if moves:
                beat += seen.o_weights
                taken += seen.o_word
            if seen.o_valid:
                found.append([int(x) for x in np.frombuffer(
                    seen.o_result.to_bytes(rows, "little"), np.int8)])  # fmt: skip

    Stepper(Engine(config=config, word=word)).run(drive())
    assert found == wanted


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_passes(rows: int, cols: int, stages: int) -> None:
    """ST-OS passes of one and several folds, some of which keep their sums, with pauses."""
    config = ArrayConfig(rows=rows, cols=cols, st_os=True, mac_stages=stages)
    dice = random.Random(rows + 10 * cols)
    rng = np.random.default_rng(rows)
    word = word_bytes(config, dice.choice([1, 16]))
    given, word_of_parameters = channels(dice, rows)
    zero, low, high = -7, -128, 127
    tiles, kept = [], False
    for _ in range(8):
        taps = dice.randint(1, cols)
        outputs = (
            dice.randint(1, cols) if kept or dice.random() < 0.3 else dice.randint(1, 3 * cols)
        )
        keep = outputs <= cols and dice.random() < 0.3
        x = rng.integers(-128, 128, (rows, outputs + taps - 1))
        w = rng.integers(-128, 128, (rows, taps))
        tiles.append(st_os_tile(x, w, config, keep=keep, accumulate=kept and outputs <= cols))
        kept = keep
    if kept:  # the last one gives its sums
        tiles[-1] = st_os_tile(x, w, config, accumulate=tiles[-1].command.accumulate)
    wanted = []
    for sums in execute(tiles, config):
        for beat in sums:
            wanted.append([int(quant.requantize(int(beat[r]) + b, m, s, zero, (low, high)))
                           for r, (b, m, s) in enumerate(given)])  # fmt: skip
    words = [beat for tile in tiles for beat in tile.act]
    taps_of = [beat[:rows] for tile in tiles for beat in tile.wgt]
    commands = [tile.command.encode() for tile in tiles]
    still = {
        "i_job": 0, "i_pixels": 1, "i_stream": 1, "i_parameters": word_of_parameters,
        "i_limits": limits(zero, low, high), "rst": 0, "i_begin": 0,
    }  # fmt: skip
    found: list[list[int]] = []

    def drive() -> Drive:
        asked = beat = taken = 0
        for _ in range(3000):
            if len(found) == len(wanted):
                return
            moves, there, also = (int(dice.random() < 0.8) for _ in range(3))
            there &= taken < len(words)
            also &= beat < len(taps_of)
            seen = yield {
                **still, "i_en": moves, "i_cmd_valid": int(asked < len(commands)),
                "i_cmd": commands[asked] if asked < len(commands) else None,
                "i_weights": packed(taps_of[beat]) if also else None, "i_weights_valid": also,
                "i_word": packed(words[taken]) if there else None, "i_word_valid": there,
            }  # fmt: skip
            asked += bool(asked < len(commands) and seen.o_cmd_ready)
            if moves:
                beat += seen.o_weights
                taken += seen.o_word
            if seen.o_valid:
                found.append([int(x) for x in np.frombuffer(
                    seen.o_result.to_bytes(rows, "little"), np.int8)])  # fmt: skip

    Stepper(Engine(config=config, word=word)).run(drive())
    assert found == wanted
