"""The addresses of a GEMM are those of its windows, tile by tile."""

from __future__ import annotations

import random

import pytest

from golden.arith.window import Window
from hw.accelerator.reader import GemmReader, gemm_job
from hw.layouts import encode
from verif.lib.machines import SMALL
from verif.unit.stepper import LONG, Drive, Stepper


def even(total: int, parts: int) -> list[int]:
    each, more = divmod(total, parts)
    return [each + 1] * more + [each] * (parts - more)


WAYS = ("wide", "high", "deep", "tall kernel", "many rounds", "many words", "large tile")


def large(way: str, dice: random.Random) -> tuple[tuple[int, int], int, tuple[int, int], int]:
    """Return image, channels, kernel and rounds, large in one way."""
    most = dice.randint(1 << 14, (1 << 16) - 1)
    few = dice.randint(200, 255)
    return {
        "wide": ((1, most), 1, (1, 1), 1), "high": ((most, 1), 1, (1, 1), 1),
        "deep": ((1, 1), most, (1, 1), 2), "tall kernel": ((few, 1), 3, (few, 1), 1),
        "many rounds": ((1, 2), 3, (1, 1), most // 4),
        "many words": ((1, 1), most, (1, 1), 1), "large tile": ((1, 510), 40, (1, 3), 2),
    }[way]  # fmt: skip


@pytest.mark.parametrize("seed", range(40 + (4 * len(WAYS) + 80) * LONG))
def test_windows(seed: int) -> None:
    """Kernels, strides, padding, channels, tiles and blocks at random, with pauses."""
    dice, machine = random.Random(seed), SMALL[seed % 2]
    address_bits, word = machine.local_bits, machine.word
    while True:
        height, width = dice.randint(1, 8), dice.randint(1, 8)
        channels = dice.randint(1, 12)
        kernel = dice.randint(1, 5), dice.randint(1, 5)
        stride = dice.randint(1, 3), dice.randint(1, 3)
        padding = dice.choice(["same", "valid"])
        if padding == "same" or (kernel[0] <= height and kernel[1] <= width):
            break
    rounds = dice.randint(1, 2)
    way, pace = "", 0.5
    if 0 <= seed - 40 < 4 * len(WAYS):
        way = WAYS[(seed - 40) // 4]
        (height, width), channels, kernel, rounds = large(way, dice)
        stride, padding, pace = (1, 1), "valid", 0.9
    window = Window.of((height, width), kernel, stride, padding)
    (top, _), (left, _) = window.padding
    out_h, out_w = window.output
    source, pitch = dice.randrange(1 << address_bits), width * channels
    run = kernel[1] * channels
    words = dice.randint(run // 2, run) if way == "many words" else -(-run // word)
    lengths = even(run, words)
    most = 511 if way == "large tile" else 8
    tiles = even(out_h * out_w, -(-out_h * out_w // dice.randint(1, most)))
    block = dice.choice([0, 8])
    turns = dice.randint(1, 2) if seed < 40 else 1
    # Some words are only a part of a pixel's channels, as in depthwise layers.
    skip = 0 if way else dice.choice([0, 3])
    room = pitch + skip * len(lengths)

    wanted = []
    for round_ in range(rounds):
        begun = 0
        for pixels in tiles:
            for i in [*range(kernel[0])] * turns:
                offset = 0
                for length in lengths:
                    for p in range(begun, begun + pixels):
                        y = p // out_w * stride[0] - top + i
                        x = (p % out_w * stride[1] - left) * channels + offset
                        real = [n for n in range(length) if 0 <= y < height and 0 <= x + n < pitch]
                        wanted.append((source + round_ * block + y * room + x, real))
                    offset += length + skip
            begun += pixels

    job = encode(gemm_job(address_bits), {
            "base": source - top * room, "x": -left * channels, "step": stride[1] * channels,
            "line": out_w, "jump": stride[0] * room, "pitch": room,
            "width": pitch, "skip": skip, "block": block, "top": -top,
            "stride": stride[0], "height": height, "rows": kernel[0],
            "turns": turns, "runs": turns * kernel[0], "words": len(lengths),
            "long": lengths.count(lengths[0]) % len(lengths), "length": lengths[-1],
            "tiles": len(tiles), "large": tiles.count(tiles[0]) % len(tiles), "pixels": tiles[-1],
            "rounds": rounds,
        })  # fmt: skip

    def drive() -> Drive:
        yield {"i_begin": 1, "i_job": job, "i_next": 0}
        for index, (address, real) in enumerate(wanted):
            while True:
                taken = int(dice.random() < pace)
                seen = yield {"i_begin": 0, "i_job": job, "i_next": taken}
                assert seen.o_last == (index == len(wanted) - 1)
                assert list(range(seen.o_first, seen.o_bytes)) == real, (index, address)
                if real:
                    assert seen.o_address == address % (1 << address_bits)
                if taken:
                    break

    Stepper(GemmReader(address=address_bits, word=word)).run(drive())
