"""Convolutions as jobs, one after the other, from and to the activation memory."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from golden.arith import quant
from golden.arith.window import Window
from golden.mapping.streams import candidates
from golden.workload import Branch
from hw.accelerator.engine import word_bytes
from hw.accelerator.jobs import JOB, Kind, job_words, parameter_words
from hw.accelerator.machine import Machine
from hw.config import ArrayConfig
from verif.unit.stepper import Drive, Stepper
from verif.unit.test_pacer import even

Words = list[bytes]


def cut(data: bytes, word: int, count: int) -> Words:
    data = data.ljust(word * count, b"\0")
    return [data[word * n : word * (n + 1)] for n in range(count)]


def end(word: int) -> Words:
    job = JOB.const({"kind": Kind.END}).as_value().value  # type: ignore[attr-defined]
    return cut(job.to_bytes(JOB.size // 8 + 1, "little"), word, job_words(word))


def quantization(
    rng: np.random.Generator, dice: random.Random, channels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return bias, multiplier and shift of every channel, and the zero point of the result."""
    bias, multiplier = rng.integers(-3000, 3000, channels), rng.integers(1 << 30, 1 << 31, channels)
    return bias, multiplier, -rng.integers(6, 12, channels), dice.randint(-128, 127)


class Depthwise:
    """A random depthwise convolution by ST-OS: its words for the ring, and its result."""

    def __init__(
        self, seed: int, config: ArrayConfig, word: int, source: int, shape: tuple[int, ...],
        x: np.ndarray, target: int,
    ) -> None:  # fmt: skip
        dice, rng = random.Random(seed), np.random.default_rng(seed)
        rows, cols = config.rows, config.cols
        height, width, c = shape
        kernel = dice.choice([(3, 3), (3, 1), (1, 3), (2, 2)])
        stride = dice.choice([1, 2]), dice.choice([1, 2])
        window = Window.of((height, width), kernel, stride, "same")
        zero_in = dice.randint(-128, 127)
        weights = rng.integers(-128, 128, (*kernel, c))
        sums = (window.patches(x.astype(np.int64), zero_in) * weights).sum((2, 3))
        bias, multiplier, shift, zero_out = quantization(rng, dice, c)
        self.result = quant.requantize(sums + bias, multiplier, shift, zero_out)
        self.shape = self.result.shape
        streams = [
            one
            for one in candidates(Branch(window, c), config, True)
            if one.joined or one.window.kernel[1] <= cols
        ]
        stream = dice.choice(streams)
        win = stream.window
        (top, _), (left, _) = win.padding
        out_h, out_w = win.output
        step = 1 if stream.joined else win.stride[0]
        near, far, out_near, out_far = c, width * c, c, window.output[1] * c
        if stream.turned:
            near, far, out_near, out_far = far, near, out_far, out_near
            weights = weights.transpose(1, 0, 2)
        kh, kw = win.kernel
        taps = np.zeros((stream.depths[0] if stream.joined else kh * kw, c), np.int8)
        for i in range(kh):
            begin = i * (stream.pitch if stream.joined else kw)
            taps[begin : begin + kw] = weights[i]
        folds = -(-stream.length // cols)
        self.words: Words = []
        for block in range(0, c, rows):
            channels = range(block, min(block + rows, c))
            for band in range(stream.bands):
                x0 = band * stream.width * win.stride[1] - left
                read = {
                    "base": source + block - top * far + x0 * near, "pixel": near,
                    "line": step * far, "row": far, "pitch": stream.pitch, "x": x0,
                    "width": win.size[1], "top": -top, "step": step, "height": win.size[0],
                    "passes": len(stream.depths), "depth": stream.depths[0], "folds": folds,
                    "last": stream.length - (folds - 1) * cols,
                }  # fmt: skip
                write = {
                    "base": target + block + band * stream.width * out_near, "pixel": out_near,
                    "line": out_far, "pitch": stream.pitch, "across": win.stride[1],
                    "width": min(stream.width, out_w - band * stream.width),
                    "down": win.stride[0] if stream.joined else 1, "count": stream.length,
                    "rows": len(channels),
                }  # fmt: skip
                job = JOB.const(
                    {"kind": Kind.STREAM, "pad": zero_in & 0xFF, "depth": len(taps),
                     "read": {"stream": read}, "write": {"stream": write},
                     "limits": {"zero": zero_out, "low": -128, "high": 127, "away": 0}}
                ).as_value().value  # type: ignore[attr-defined]  # fmt: skip
                self.words += cut(job.to_bytes(JOB.size // 8 + 1, "little"), word, job_words(word))
                self.words += parameters(bias, multiplier, shift, channels, rows, word)
                for beat in taps[:, channels.start : channels.stop]:
                    self.words += cut(beat.tobytes(), word, 1)
        assert out_h > 0


def parameters(
    bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, channels: range, rows: int,
    word: int,
) -> Words:  # fmt: skip
    """Return the parameters of a block of channels as the ring has them."""
    data = b""
    for c in channels:
        bits = int(bias[c]) & 0xFFFFFFFF | int(multiplier[c]) << 32
        bits |= (31 - int(shift[c])) << 63 | 1 << 69
        data += bits.to_bytes(9, "little")
    return cut(data, word, parameter_words(rows, word))


class Layer:
    """A random convolution: its words for the ring, and its result."""

    def __init__(
        self,
        seed: int,
        config: ArrayConfig,
        word: int,
        source: int,
        shape: tuple[int, ...],
        x: np.ndarray,
        target: int,
    ) -> None:
        dice, rng = random.Random(seed), np.random.default_rng(seed)
        rows, cols = config.rows, config.cols
        height, width, c_in = shape
        c_out = dice.randint(1, 2 * rows)
        kernel = (dice.choice([1, 2, 3]), dice.choice([1, 3]))
        stride = dice.choice([1, 2]), dice.choice([1, 2])
        window = Window.of((height, width), kernel, stride, "same")
        out_h, out_w = window.output
        zero_in, zero_out = dice.randint(-128, 127), dice.randint(-128, 127)
        weights = rng.integers(-128, 128, (*kernel, c_in, c_out))
        patches = window.patches(x.astype(np.int64), zero_in).reshape(out_h * out_w, -1)
        sums = patches @ weights.reshape(-1, c_out)
        bias = rng.integers(-3000, 3000, c_out)
        multiplier = rng.integers(1 << 30, 1 << 31, c_out)
        shift = -rng.integers(6, 12, c_out)
        limits = (-128, 127)
        result = quant.requantize(sums + bias, multiplier, shift, zero_out, limits)
        self.shape = (out_h, out_w, c_out)
        self.result = result.reshape(self.shape)

        (top, _), (left, _) = window.padding
        run, pitch = kernel[1] * c_in, width * c_in
        lengths = even(run, -(-run // word))
        pixels = out_h * out_w
        tiles = even(pixels, -(-pixels // cols))
        self.words: Words = []
        for block in range(0, c_out, rows):
            channels = range(block, min(block + rows, c_out))
            read = {
                "base": source - top * pitch, "x": -left * c_in, "step": stride[1] * c_in,
                "line": out_w, "jump": stride[0] * pitch, "pitch": pitch, "top": -top,
                "stride": stride[0], "height": height, "rows": kernel[0], "words": len(lengths),
                "long": lengths.count(lengths[0]) % len(lengths), "length": lengths[-1],
                "tiles": len(tiles), "large": tiles.count(tiles[0]) % len(tiles),
                "pixels": tiles[-1], "rounds": 1,
            }  # fmt: skip
            write = {
                "base": target + block, "step": c_out, "tiles": read["tiles"],
                "large": read["large"], "pixels": read["pixels"], "rounds": 1,
                "rows": len(channels), "rest": len(channels),
            }  # fmt: skip
            job = JOB.const(
                {"kind": Kind.GEMM, "pad": zero_in & 0xFF, "depth": run * kernel[0],
                 "read": {"gemm": read},                  "write": {"gemm": write},
                 "limits": {"zero": zero_out, "low": limits[0], "high": limits[1], "away": 0}}
            ).as_value().value  # type: ignore[attr-defined]  # fmt: skip
            self.words += cut(job.to_bytes(JOB.size // 8 + 1, "little"), word, job_words(word))
            self.words += parameters(bias, multiplier, shift, channels, rows, word)
            for k in range(kernel[0]):
                part = weights[k].reshape(run, c_out)[:, channels.start : channels.stop]
                for beat in part.astype(np.int8):
                    self.words += cut(beat.tobytes(), word, 1)


@pytest.mark.parametrize("kinds", ["mixed", "depthwise"])
@pytest.mark.parametrize("pace", [1.0, 0.4])
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (2, 3), (8, 4)])
def test_layers(rows: int, cols: int, pace: float, kinds: str) -> None:
    """Three layers in a row, blocks of channels and all, with words that come late."""
    config = ArrayConfig(rows=rows, cols=cols, st_os=True)
    word = word_bytes(config)
    dice = random.Random(rows)
    shape: tuple[int, ...] = (4, 5, 3)
    x = np.random.default_rng(1).integers(-128, 128, shape)
    first, place, layers = x.astype(np.int8).tobytes(), 5, []
    here, words = place, []
    top = place + len(first)
    for seed in range(3):
        target = top + dice.randrange(7)
        kind = Depthwise if (seed + rows) % 3 == 1 or kinds == "depthwise" else Layer
        layer: Any = kind(seed + rows + cols, config, word, here, shape, x, target)
        layers.append((target, layer))
        words += layer.words
        x, shape, here, top = layer.result, layer.shape, target, target + layer.result.size
    words += end(word)
    memory = Machine(config=config, word=word, rows=512 // word, depth=256)
    found: dict[int, bytes] = {}

    def drive() -> Drive:
        quiet = {name: 0 for name in ("i_start", "i_push", "i_load", "i_store", "i_transferred")}
        for offset in range(0, len(first), word):
            part = first[offset : offset + word]
            yield quiet | {"i_load": (1 << len(part)) - 1, "i_load_address": place + offset,
                           "i_load_data": int.from_bytes(part, "little")}  # fmt: skip
        yield quiet | {"i_start": 1}
        pushed, room = 0, 256
        for _ in range(20000):
            push = int(pushed < len(words) and room > 0 and dice.random() < pace)
            data = int.from_bytes(words[pushed], "little") if push else None
            seen = yield quiet | {"i_push": push, "i_data": data}
            pushed += push
            room = seen.o_room - push
            if seen.o_done:
                assert not seen.o_illegal
                break
        else:
            raise AssertionError("the run does not end")
        for target, layer in layers:
            data = b""
            for offset in range(0, layer.result.size + 2, 1):
                seen = yield quiet | {"i_store_address": target + offset}
                if offset >= 2:
                    data += bytes([seen.o_store & 0xFF])
            found[target] = data

    Stepper(memory).run(drive())
    for target, layer in layers:
        assert found[target] == layer.result.astype(np.int8).tobytes()
