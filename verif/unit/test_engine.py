"""The engine computes int8 layers from words: GEMM tiles and ST-OS passes, with freezes."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest

from golden import execute
from golden.arith import quant
from golden.machine.tile import st_os_tile
from hw.accelerator.combiner import COMBINE, LEFT, Mode
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.engine import Engine
from hw.accelerator.pacer import pace_job
from hw.config import ArrayConfig, Command
from hw.layouts import encode
from verif.unit.stepper import Drive, Stepper
from verif.unit.test_pacer import even
from verif.unit.test_requantizer import limits, parameters

#: Rows, columns, and rows that share a lane.
SHAPES = [(1, 1, 1), (2, 3, 1), (4, 4, 1), (3, 8, 1), (2, 1, 2), (4, 3, 2), (6, 5, 2), (4, 4, 4)]


def channels(dice: random.Random, rows: int) -> tuple[list[tuple[int, int, int]], int]:
    """Return bias, multiplier and shift of every row in both banks, and the word that says so."""
    found, word = [], 0
    for r in range(2 * rows):
        one = dice.randint(-500, 500), dice.randint(1 << 30, (1 << 31) - 1), -dice.randint(3, 9)
        found.append(one)
        word |= parameters(one[0], one[1], 31 - one[2], 1) << 70 * r
    return found, word


def packed(values: np.ndarray) -> int:
    return int.from_bytes(values.astype(np.int8).tobytes(), "little")


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize(("rows", "cols", "every"), SHAPES)
def test_gemm(rows: int, cols: int, every: int, stages: int) -> None:
    """Tiles one after the other give their words, last pixel first."""
    config = ArrayConfig(rows=rows, cols=cols, st_os=True, mac_stages=stages)
    word = AcceleratorConfig(array=config, axi_width=32).word
    dice = random.Random(100 * rows + cols)
    rng = np.random.default_rng(rows + cols)
    run = dice.randint(1, 3 * word)
    lengths, runs = even(run, -(-run // word)), dice.randint(1, 2)
    total, rounds = 3 * cols + 1, 3
    tiles = even(total, -(-total // cols))
    depth = run * runs
    weights = rng.integers(-128, 128, (rounds, rows, depth))
    pixels = rng.integers(-128, 128, (total, depth))
    given, word_of_parameters = channels(dice, rows)
    zero, low, high = 3, -100, 120
    wanted: list[list[int]] = []
    words = []
    for round_, size in itertools.product(range(rounds), tiles):
        begun = len(wanted) % total
        sums = pixels @ weights[round_].T
        bank = given[round_ % 2 * rows :][:rows]
        for p in reversed(range(begun, begun + size)):
            wanted.append(
                [
                    int(quant.requantize(int(sums[p, r]) + b, m, s, zero, (low, high)))
                    for r, (b, m, s) in enumerate(bank)
                ]
            )
        offset = 0
        for length in lengths * runs:
            for p in range(begun, begun + size):
                padded = np.zeros(word)
                padded[:length] = pixels[p, offset : offset + length]
                words.append(packed(padded))
            offset += length
    fields = {
        "runs": runs,
        "words": len(lengths),
        "length": lengths[-1],
        "pixels": tiles[-1],
        "long": lengths.count(lengths[0]) % len(lengths),
        "tiles": len(tiles),
        "large": tiles.count(tiles[0]) % len(tiles),
        "rounds": rounds,
    }
    still = {
        "i_job": encode(pace_job, fields),
        "i_pixels": tiles[-1],
        "i_emits": len(tiles),
        "i_ready": rounds,
        "i_stream": 0,
        "i_combine": 0,
        "i_parameters": word_of_parameters,
        "i_limits": limits(zero, low, high),
        "rst": 0,
    }
    commands = [Command(depth=depth, emit=size).encode() for size in tiles] * rounds
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
                **still,
                "i_en": moves,
                "i_begin": begin,
                "i_after": 0,
                "i_cmd_valid": int(asked < len(commands)),
                "i_cmd": commands[asked] if asked < len(commands) else None,
                "i_weights": packed(
                    weights[beat // (depth * len(tiles)) % rounds, :, beat % depth]
                ),
                "i_word": words[taken] if taken < len(words) else None,
                "i_weights_valid": 0,
                "i_word_valid": 0,
            }
            asked += bool(asked < len(commands) and seen.o_cmd_ready)
            if moves:
                beat += seen.o_weights
                taken += seen.o_word
            if seen.o_valid:
                found.append(
                    [int(x) for x in np.frombuffer(seen.o_result.to_bytes(rows, "little"), np.int8)]
                )

    Stepper(Engine(config=config, word=word, every=every)).run(drive())
    assert found == wanted


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize(("rows", "cols", "every"), SHAPES)
def test_passes(rows: int, cols: int, every: int, stages: int) -> None:
    """ST-OS passes of one and several folds, some of which keep their sums, with pauses."""
    config = ArrayConfig(rows=rows, cols=cols, st_os=True, mac_stages=stages)
    dice = random.Random(rows + 10 * cols)
    rng = np.random.default_rng(rows)
    word = AcceleratorConfig(array=config, axi_width=dice.choice([32, 128])).word
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
    results = [sums for sums in execute(tiles, config) if len(sums)]
    for number, sums in enumerate(results):  # a round has two commands with results
        bank = given[number // 2 % 2 * rows :][:rows]
        for beat in sums:
            wanted.append(
                [
                    int(quant.requantize(int(beat[r]) + b, m, s, zero, (low, high)))
                    for r, (b, m, s) in enumerate(bank)
                ]
            )
    words = [beat for tile in tiles for beat in tile.act]
    taps_of = [beat[:rows] for tile in tiles for beat in tile.wgt]
    commands = [tile.command.encode() for tile in tiles]
    still = {
        "i_job": 0,
        "i_pixels": 1,
        "i_emits": 2,
        "i_ready": 0,
        "i_stream": 1,
        "i_combine": 0,
        "i_parameters": word_of_parameters,
        "i_limits": limits(zero, low, high),
        "rst": 0,
        "i_begin": 0,
        "i_after": 0,
    }
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
                **still,
                "i_en": moves,
                "i_cmd_valid": int(asked < len(commands)),
                "i_cmd": commands[asked] if asked < len(commands) else None,
                "i_weights": packed(taps_of[beat]) if also else None,
                "i_weights_valid": also,
                "i_word": packed(words[taken]) if there else None,
                "i_word_valid": there,
            }
            asked += bool(asked < len(commands) and seen.o_cmd_ready)
            if moves:
                beat += seen.o_weights
                taken += seen.o_word
            if seen.o_valid:
                found.append(
                    [int(x) for x in np.frombuffer(seen.o_result.to_bytes(rows, "little"), np.int8)]
                )

    Stepper(Engine(config=config, word=word, every=every)).run(drive())
    assert found == wanted


@pytest.mark.parametrize(
    "what",
    ["add", "subtract", "subtract from", "product", "most", "least", "one", "table"],
)
@pytest.mark.parametrize(("rows", "every"), [(1, 1), (4, 1), (4, 2), (2, 2), (8, 4)])
def test_words(rows: int, every: int, what: str) -> None:
    """Words past the array: sums, differences, products, extremes, one by one, and by table."""
    config = ArrayConfig(rows=rows, cols=2, st_os=rows > 1)
    dice, rng = random.Random(rows), np.random.default_rng(rows)
    word = AcceleratorConfig(array=config, axi_width=32).word
    scales = (0.11, 0.07, 0.13) if what != "subtract from" else (0.07, 0.11, 0.13)
    zeros = dice.randint(-128, 127), dice.randint(-128, 127), dice.randint(-128, 127)
    a, b = (rng.integers(-128, 128, (40, rows)) for _ in range(2))
    tables = rng.integers(-128, 128, (256, rows))
    identity = (1 << 30, 30, 0)
    job: dict[str, Any] = {"zero_first": 0, "zero_second": 0}
    out_zero = zeros[2]
    given = [identity, identity]
    beats: list[np.ndarray] = []

    def lane(real: float) -> tuple[int, int, int]:
        multiplier, shift = quant.quantize_multiplier(real)
        return multiplier, 31 - shift, int(shift < 0)

    if what in ("add", "subtract", "subtract from"):
        wanted = quant.add(a, b, scales=scales, zero_points=zeros, subtract=what != "add")
        top = 2 * max(scales[:2])
        swap = scales[0] > scales[1]  # the second operand is the one with the greater scale
        first, second = (1, 0) if swap else (0, 1)
        job = {
            "mode": Mode.PAIR,
            "zero_first": zeros[first],
            "zero_second": zeros[second],
            "negate_first": what != "add" and swap,
            "negate_second": what != "add" and not swap,
        }
        given = [lane(scales[first] / top), lane(top / (1 << LEFT) / scales[2])]
        beats = [x for pair in zip((a, b)[second], (a, b)[first], strict=True) for x in pair]
    elif what == "product":
        wanted = quant.product(a, b, real=0.013, zero_points=zeros)
        job = {"mode": Mode.PAIR, "multiply": 1, "zero_first": zeros[0], "zero_second": zeros[1]}
        given = [(0, 1, 0), lane(0.013)]
        beats = [x for pair in zip(b, a, strict=True) for x in pair]
    elif what in ("most", "least"):
        some = a.reshape(10, 4, rows)
        wanted = some.max(1) if what == "most" else some.min(1)
        job, out_zero, beats = job | {"mode": Mode.MOST, "depth": 4}, 0, list(a)
        job["least"] = what == "least"
    elif what == "table":
        wanted = tables[a & 0xFF, np.arange(rows)]
        job, out_zero, beats = job | {"mode": Mode.TABLE}, 0, list(a)
    else:
        wanted = quant.rescale(a, 1.7, zeros[1:])
        job = {"mode": Mode.ONE, "zero_first": zeros[1]}
        given, beats = [lane(1.7), identity], list(a)
    if what == "product":  # the second operand stays
        wanted = np.concatenate([wanted, quant.product(a, b[0], real=0.013, zero_points=zeros)])
    banks = [given, given[::-1]][odd := dice.randint(0, 1)]
    word_of_parameters = 0
    for r, (multiplier, shift, twice) in enumerate(one for bank in banks for one in [bank] * rows):
        word_of_parameters |= parameters(5, multiplier, shift, twice) << 70 * r
    layout = encode(COMBINE, job)
    still = {
        "i_job": 0,
        "i_pixels": 1,
        "i_emits": 2,
        "i_ready": 0,
        "i_stream": 0,
        "rst": 0,
        "i_begin": 0,
        "i_after": 0,
        "i_cmd_valid": 0,
        "i_cmd": None,
        "i_weights": None,
        "i_weights_valid": 0,
        "i_odd": odd,
        "i_parameters": word_of_parameters,
        "i_limits": limits(out_zero, -128, 127),
    }
    found: list[list[int]] = []

    def drive() -> Drive:
        queue = [(beat, layout) for beat in beats]
        if what == "product":
            for kind, some in ((Mode.HOLD, b[:1]), (Mode.HELD, a)):
                other = encode(COMBINE, {**job, "mode": kind})
                queue += [(beat, other) for beat in some]
        taken = quiet = entries = there = 0
        before = None  # the job of the cycle before
        for _ in range(3000):
            if len(found) == len(wanted):
                return
            moves = int(dice.random() < 0.8)
            beat, mode = queue[min(taken, len(queue) - 1)]
            # Another job begins when the last one's results are out.
            there |= int(
                taken < len(queue)
                and dice.random() < 0.8
                and (mode == queue[max(taken - 1, 0)][1] or quiet > 30)
            )
            now = mode if there or quiet > 30 else queue[max(taken - 1, 0)][1]
            seen = yield {
                **still,
                "i_en": moves,
                "i_combine": int(now == before),  # a job is there a cycle before it enters
                "i_combiner": now,
                "i_word_valid": there,
                "i_word": packed(beat),
                "i_weights_valid": int(entries < 256 and dice.random() < 0.8),
                "i_weights": packed(tables[min(entries, 255)]),
            }
            before = now
            entries += seen.o_weights & moves
            taken += seen.o_word & moves
            there &= 1 - (seen.o_word & moves)  # a word stays until it is taken
            quiet = 0 if seen.o_word and moves else quiet + 1
            if seen.o_valid:
                found.append(
                    [int(x) for x in np.frombuffer(seen.o_result.to_bytes(rows, "little"), np.int8)]
                )

    Stepper(Engine(config=config, word=word, every=every)).run(drive())
    assert found == wanted.tolist()
