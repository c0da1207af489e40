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


#: Image, channels, kernel and rounds, large in one way each.
LARGE = [
    ((1, 5000), 1, (1, 1), 1), ((5000, 1), 1, (1, 1), 1), ((1, 1), 9000, (1, 1), 2),
    ((255, 1), 3, (255, 1), 1), ((1, 2), 3, (1, 1), 3000), ((1, 40), 900, (1, 3), 1),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(40 + 2 * len(LARGE) * LONG))
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
    pace = 0.5
    if seed >= 40:
        (height, width), channels, kernel, rounds = LARGE[(seed - 40) // 2]
        stride, padding, pace = (1, 1), "valid", 0.9
    window = Window.of((height, width), kernel, stride, padding)
    (top, _), (left, _) = window.padding
    out_h, out_w = window.output
    source, pitch = dice.randrange(1 << address_bits), width * channels
    run = kernel[1] * channels
    lengths = even(run, -(-run // word))
    tiles = even(out_h * out_w, -(-out_h * out_w // dice.randint(1, 8)))
    block = dice.choice([0, 8])
    turns = dice.randint(1, 2) if seed < 40 else 1
    # Some words are only a part of a pixel's channels, as in depthwise layers.
    skip = dice.choice([0, 3])
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
