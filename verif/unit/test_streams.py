"""The addresses of ST-OS are those of the signals of `golden.mapping.streams`."""

from __future__ import annotations

import itertools
import random

import pytest

from golden.arith.window import Window
from golden.mapping.streams import candidates
from golden.workload import Branch
from hw.accelerator.streams import StreamReader, StreamWriter, stream_job, stream_write_job
from hw.config import ArrayConfig
from hw.layouts import encode
from verif.lib.machines import SMALL
from verif.unit.stepper import LONG, Drive, Stepper


@pytest.mark.parametrize("seed", range(20 + 60 * LONG))
@pytest.mark.parametrize("way", ["reads", "writes"])
def test_signals(seed: int, way: str) -> None:
    """Every way to stream an image: turned, in bands, joined or not; strides and padding."""
    dice, machine = random.Random(seed), SMALL[seed % 2]
    bits, word, cols = machine.local_bits, machine.word, machine.array.cols
    config = ArrayConfig(rows=4, cols=cols, st_os=True)
    size, channels = (dice.randint(2, 9), dice.randint(2, 9)), dice.randint(1, 6)
    kernel = dice.choice([(3, 3), (1, 3), (3, 1), (2, 2)])
    stride = dice.choice([(1, 1), (2, 2), (1, 2), (2, 1)])
    rounds, pace = dice.randint(1, 3), 0.5
    if 20 <= seed < 36:  # wide, high, many blocks
        most = dice.randint(1 << 13, 1 << 15)
        size, rounds = [
            ((2, most), 1), ((most, 2), 1), ((2, 2), most // 4), ((most // 90, 70), 2),
        ][seed // 2 % 4]  # fmt: skip
        channels, pace = dice.randint(1, min(6, (1 << bits) // (size[0] * size[1]))), 0.9
    window = Window.of(size, kernel, stride, "same")
    streams = [
        one
        for one in candidates(Branch(window, channels), config, True)
        if one.joined or one.window.kernel[1] <= cols
    ]
    stream = dice.choice(streams)
    win = stream.window
    (top, _), (left, _) = win.padding
    height, width = win.size
    out_h, out_w = win.output
    step = 1 if stream.joined else win.stride[0]
    pixel, row = (
        (channels, size[1] * channels) if not stream.turned else (size[1] * channels, channels)
    )
    source, target = (dice.randrange(1 << bits) for _ in range(2))
    span = stream.width * win.stride[1]  # elements from a band to the next
    block = 2
    folds = -(-stream.length // cols)
    depth = stream.depths[0]

    turns = dice.randint(1, 2) if len(stream.depths) > 1 else 1
    reads = []
    groups = [(0, folds)] if len(stream.depths) == 1 else [(f, 1) for f in range(folds)]
    signals = [(round_, band) for round_ in range(rounds) for band in range(stream.bands)]
    for (round_, band), (fold, count) in itertools.product(signals, groups):
        for index in [*range(len(stream.depths))] * turns:
            for beat in range(cols - 1 + depth + (count - 1) * cols):
                line, at = divmod(fold * cols + beat, stream.pitch)
                y, x = line * step - top + index, band * span - left + at
                inside = 0 <= y < height and 0 <= x < width
                reads.append((source + round_ * block + y * row + x * pixel, inside))
    job = encode(
        stream_job(bits),
        {
            "base": source - top * row - left * pixel,
            "pixel": pixel,
            "line": step * row,
            "row": row,
            "pitch": stream.pitch,
            "x": -left,
            "width": width,
            "top": -top,
            "step": step,
            "height": height,
            "passes": turns * len(stream.depths),
            "kernel": len(stream.depths),
            "depth": depth,
            "folds": folds,
            "bands": stream.bands,
            "band_x": span,
            "band": span * pixel,
            "block": block,
        },
    )

    def read() -> Drive:
        yield {"i_begin": 1, "i_job": job, "i_rounds": rounds, "i_next": 0}
        for index, (address, inside) in enumerate(reads):
            taken = 0
            while not taken:
                taken = int(dice.random() < pace)
                seen = yield {"i_begin": 0, "i_job": job, "i_rounds": rounds, "i_next": taken}
                assert seen.o_bytes == word * inside, index
                assert seen.o_last == (index == len(reads) - 1)
                if inside:
                    assert seen.o_address == address % (1 << bits), index

    if way == "reads":
        Stepper(StreamReader(address=bits, word=word, cols=cols)).run(read())
        return

    writes = []
    down_by = win.stride[0] if stream.joined else 1
    line_pixels = out_w if not stream.turned else out_h
    dx, dy = (
        (channels, line_pixels * channels)
        if not stream.turned
        else (line_pixels * channels, channels)
    )
    for (round_, band), e in itertools.product(signals, range(stream.length)):
        line, at = divmod(e, stream.pitch)
        column = band * stream.width + at // win.stride[1]
        ok = (
            line < stream.lines
            and line % down_by == 0
            and at % win.stride[1] == 0
            and at // win.stride[1] < stream.width
            and column < out_w
        )
        y = line // down_by
        writes.append((target + round_ * block + y * dy + column * dx, ok, round_))
    rows, rest = min(channels, 4), 1
    write_job = encode(
        stream_write_job(bits),
        {
            "base": target,
            "pixel": dx,
            "line": dy,
            "pitch": stream.pitch,
            "across": win.stride[1],
            "width": stream.width,
            "down": down_by,
            "count": stream.length,
            "rows": rows,
            "rest": rest,
            "bands": stream.bands,
            "band": stream.width * dx,
            "rounds": rounds,
            "last_width": out_w - (stream.bands - 1) * stream.width,
            "block": block,
        },
    )

    def write() -> Drive:
        yield {"i_begin": 1, "i_new": write_job, "i_next": 1}
        for index, (address, ok, round_) in enumerate(writes):
            taken = 0
            while not taken:
                taken = int(dice.random() < pace)
                seen = yield {"i_begin": 0, "i_job": write_job, "i_next": taken}
                assert seen.o_kept == ok
                assert seen.o_count == (rest if round_ == rounds - 1 else rows)
                assert seen.o_round == ((index + 1) % (len(writes) // rounds) == 0)
                assert seen.o_last == (index == len(writes) - 1)
                if ok:
                    assert seen.o_address == address % (1 << bits), index

    Stepper(StreamWriter(address=bits, word=word)).run(write())
