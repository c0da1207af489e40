"""The engine computes int8 layers from words: GEMM tiles and ST-OS passes, with freezes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
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
from verif.lib.machines import SMALL
from verif.unit.stepper import Drive, Inputs, Stepper
from verif.unit.test_pacer import even
from verif.unit.test_requantizer import limits, parameters

#: Arrays, and rows that share a lane.
MACHINES = [
    *((ArrayConfig(rows=rows, cols=cols, st_os=True, mac_stages=stages), every)
      for rows, cols, every in ((1, 1, 1), (2, 3, 1), (4, 4, 1), (3, 8, 1), (2, 1, 2),
                                (6, 5, 2), (4, 4, 4))
      for stages in (1, 2)),
    *((one.array, one.rows_per_lane) for one in SMALL),
]  # fmt: skip
on_all = pytest.mark.parametrize(("config", "every"), MACHINES, ids=str)


def word_of(config: ArrayConfig, axi_width: int = 32) -> int:
    """Return the bytes of a word of a machine with that array."""
    for one in SMALL:
        if one.array == config:
            return one.word
    return AcceleratorConfig(array=config, axi_width=axi_width).word


def channels(dice: random.Random, rows: int) -> tuple[list[tuple[int, int, int]], list[int]]:
    """Return bias, multiplier and shift of every row in both banks, and what says so of each."""
    found = [
        (dice.randint(-500, 500), dice.randint(1 << 30, (1 << 31) - 1), -dice.randint(3, 9))
        for _ in range(2 * rows)
    ]
    return found, [parameters(one[0], one[1], 31 - one[2], 1) for one in found]


def given(still: Inputs, engine: Engine, of: list[int]) -> Iterator[Inputs]:
    """Yield the cycles in which the parameters of all rows come, for both banks."""
    rows, every, word = engine.config.rows, engine.every, engine.word
    for odd in range(2):
        words = []
        for index in range(every):  # of every lane, the row with this index
            block = b"".join(
                one.to_bytes(9, "little") for one in of[odd * rows :][index:rows:every]
            )
            block += bytes(-len(block) % word)
            words += [block[n : n + word] for n in range(0, len(block), word)]
        for left, one in zip(range(len(words), 0, -1), words, strict=True):
            yield {
                **still,
                "i_begin": 0,
                "i_cmd_valid": 0,
                "i_combine": 0,
                "i_weights_valid": 0,
                "i_word_valid": 0,
                "i_parameters": int.from_bytes(one, "little"),
                "i_parameters_left": left,
                "i_parameters_odd": odd,
            }


def packed(values: np.ndarray) -> int:
    return int.from_bytes(values.astype(np.int8).tobytes(), "little")


@on_all
def test_gemm(config: ArrayConfig, every: int) -> None:
    """Tiles one after the other give their words, last pixel first."""
    rows, cols = config.rows, config.cols
    word = word_of(config)
    dice = random.Random(100 * rows + cols)
    rng = np.random.default_rng(rows + cols)
    run = dice.randint(1, 3 * word)
    lengths, runs = even(run, -(-run // word)), dice.randint(1, 2)
    total, rounds = 3 * cols + 1, 3
    tiles = even(total, -(-total // cols))
    depth = run * runs
    weights = rng.integers(-128, 128, (rounds, rows, depth))
    pixels = rng.integers(-128, 128, (total, depth))
    wanted_of, encoded = channels(dice, rows)
    zero, low, high = 3, -100, 120
    wanted: list[list[int]] = []
    words = []
    for round_, size in itertools.product(range(rounds), tiles):
        begun = len(wanted) % total
        sums = pixels @ weights[round_].T
        bank = wanted_of[round_ % 2 * rows :][:rows]
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
        "i_parameters_left": 0,
        "i_limits": limits(zero, low, high),
        "rst": 0,
    }
    commands = [Command(depth=depth, emit=size).encode() for size in tiles] * rounds
    found: list[list[int]] = []

    engine = Engine(config=config, word=word, every=every)

    def drive() -> Drive:
        yield from given(still, engine, encoded)
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

    Stepper(engine).run(drive())
    assert found == wanted


@on_all
def test_passes(config: ArrayConfig, every: int) -> None:
    """ST-OS passes of one and several folds, some of which keep their sums, with pauses."""
    rows, cols = config.rows, config.cols
    dice = random.Random(rows + 10 * cols)
    rng = np.random.default_rng(rows)
    word = word_of(config, dice.choice([32, 128]))
    wanted_of, encoded = channels(dice, rows)
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
        bank = wanted_of[number // 2 % 2 * rows :][:rows]
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
        "i_parameters_left": 0,
        "i_limits": limits(zero, low, high),
        "rst": 0,
        "i_begin": 0,
        "i_after": 0,
    }
    found: list[list[int]] = []

    engine = Engine(config=config, word=word, every=every)

    def drive() -> Drive:
        yield from given(still, engine, encoded)
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

    Stepper(engine).run(drive())
    assert found == wanted


@pytest.mark.parametrize(
    "what",
    ["add", "subtract", "subtract from", "product", "most", "least", "one", "table"],
)
@pytest.mark.parametrize(
    ("config", "every"),
    [
        (ArrayConfig(rows=rows, cols=2, st_os=rows > 1), every)
        for rows, every in ((1, 1), (2, 2), (8, 4))
    ]
    + [(one.array, one.rows_per_lane) for one in SMALL],
    ids=str,
)
def test_words(config: ArrayConfig, every: int, what: str) -> None:
    """Words past the array: sums, differences, products, extremes, one by one, and by table."""
    rows = config.rows
    dice, rng = random.Random(rows), np.random.default_rng(rows)
    word = word_of(config)
    scales = (0.11, 0.07, 0.13) if what != "subtract from" else (0.07, 0.11, 0.13)
    zeros = dice.randint(-128, 127), dice.randint(-128, 127), dice.randint(-128, 127)
    a, b = (rng.integers(-128, 128, (40, rows)) for _ in range(2))
    tables = rng.integers(-128, 128, (256, rows))
    identity = (1 << 30, 30, 0)
    job: dict[str, Any] = {"zero_first": 0, "zero_second": 0}
    out_zero = zeros[2]
    passes = [identity, identity]
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
        passes = [lane(scales[first] / top), lane(top / (1 << LEFT) / scales[2])]
        beats = [x for pair in zip((a, b)[second], (a, b)[first], strict=True) for x in pair]
    elif what == "product":
        wanted = quant.product(a, b, real=0.013, zero_points=zeros)
        job = {"mode": Mode.PAIR, "multiply": 1, "zero_first": zeros[0], "zero_second": zeros[1]}
        passes = [(0, 1, 0), lane(0.013)]
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
        passes, beats = [lane(1.7), identity], list(a)
    if what == "product":  # the second operand stays
        wanted = np.concatenate([wanted, quant.product(a, b[0], real=0.013, zero_points=zeros)])
    banks = [passes, passes[::-1]][odd := dice.randint(0, 1)]
    encoded = [parameters(0, *one) for bank in banks for one in [bank] * rows]
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
        "i_parameters_left": 0,
        "i_limits": limits(out_zero, -128, 127),
    }
    found: list[list[int]] = []

    engine = Engine(config=config, word=word, every=every)

    def drive() -> Drive:
        yield from given({**still, "i_combiner": layout}, engine, encoded)
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

    Stepper(engine).run(drive())
    assert found == wanted.tolist()
