"""The addresses that a GEMM's results go to: pixels of a tile backwards, block after block."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.writer import GemmWriter, write_job
from hw.layouts import encode
from verif.lib.machines import SMALL
from verif.unit.stepper import LONG, Drive, Stepper


@pytest.mark.parametrize("seed", range(16 + 60 * LONG))
def test_pixels(seed: int) -> None:
    """Channels, pixels and tiles at random, with pauses."""
    dice, machine = random.Random(seed), SMALL[seed % 2]
    bits, word = machine.local_bits, machine.word
    channels, pixels, rows = dice.randint(1, 20), dice.randint(1, 30), dice.randint(1, word)
    most, pace = 9, 0.5
    if 16 <= seed < 28:  # many pixels of many tiles, many pixels of a tile, many blocks
        many = dice.randint(1 << 14, (1 << 16) - 1)
        channels, pixels, most = [(3, many, 2), (3, many // 8, 511), (many, 2, 2)][(seed - 16) // 4]
        pace = 0.9
    blocks = -(-channels // rows)
    base, count = dice.randrange(1 << bits), -(-pixels // dice.randint(1, most))
    each, more = divmod(pixels, count)
    tiles = [each + 1] * more + [each] * (count - more)
    wanted = []
    for block in range(blocks):
        begun = 0
        for size in tiles:
            for p in reversed(range(begun, begun + size)):
                width = min(rows, channels - block * rows)
                wanted.append((base + p * channels + block * rows, (1 << width) - 1))
            begun += size
    job = encode(
        write_job(bits),
        {
            "base": base,
            "step": channels,
            "reach": each * channels,
            "tiles": count,
            "large": more,
            "pixels": each,
            "rounds": blocks,
            "rows": rows,
            "rest": channels - (blocks - 1) * rows,
        },
    )

    def drive() -> Drive:
        yield {"i_begin": 1, "i_new": job, "i_next": 1}
        for index, (address, mask) in enumerate(wanted):
            taken = 0
            while not taken:
                taken = int(dice.random() < pace)
                seen = yield {"i_begin": 0, "i_job": job, "i_next": taken}
                assert seen.o_address == address % (1 << bits), index
                assert (1 << seen.o_count) - 1 == mask, index
                assert seen.o_round == ((index + 1) % pixels == 0)
                assert seen.o_last == (index == len(wanted) - 1)

    Stepper(GemmWriter(address=bits, word=word)).run(drive())
