"""The addresses that a GEMM's results go to: pixels of a tile backwards, block after block."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.writer import GemmWriter, write_job
from hw.layouts import encode
from verif.unit.stepper import Drive, Stepper

ADDRESS, WORD = 14, 8


@pytest.mark.parametrize("seed", range(8))
def test_pixels(seed: int) -> None:
    """Channels, pixels and tiles at random, with pauses."""
    dice = random.Random(seed)
    channels, pixels, rows = dice.randint(1, 20), dice.randint(1, 30), dice.randint(1, WORD)
    blocks = -(-channels // rows)
    base, count = dice.randrange(200), -(-pixels // dice.randint(1, 9))
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
        write_job(ADDRESS),
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
                taken = dice.randint(0, 1)
                seen = yield {"i_begin": 0, "i_job": job, "i_next": taken}
                assert (seen.o_address, (1 << seen.o_count) - 1) == (address, mask), index
                assert seen.o_round == ((index + 1) % pixels == 0)
                assert seen.o_last == (index == len(wanted) - 1)

    Stepper(GemmWriter(address=ADDRESS, word=WORD)).run(drive())
