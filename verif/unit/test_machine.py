"""Convolutions as jobs, one after the other, from and to the activation memory."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from golden.arith import quant
from golden.arith.window import Window
from hw.accelerator.combiner import LEFT, Mode
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.machine import Machine
from hw.config import ArrayConfig
from sim.accelerator import jobs
from sim.accelerator.jobs import Job, Place, Requantization
from verif.unit.stepper import Drive, Stepper


def quantization(rng: np.random.Generator, dice: random.Random, channels: int) -> Requantization:
    """Return a random requantization of `channels` channels."""
    return Requantization(
        bias=rng.integers(-3000, 3000, channels),
        multiplier=rng.integers(1 << 30, 1 << 31, channels),
        shift=-rng.integers(6, 12, channels),
        zero=dice.randint(-128, 127),
    )


def requantized(sums: np.ndarray, given: Requantization) -> np.ndarray:
    """Return what the golden model makes of sums."""
    return quant.requantize(
        sums + given.bias, given.multiplier, given.shift, given.zero, given.limits
    )


@dataclass
class Layer:
    """A random layer: its job and its result."""

    job: Job
    result: np.ndarray


def depthwise(
    seed: int, config: AcceleratorConfig, source: int, x: np.ndarray, target: int
) -> Layer:
    """Return a random depthwise convolution, by ST-OS or, one in three, as a GEMM."""
    dice, rng = random.Random(seed), np.random.default_rng(seed)
    c = x.shape[2]
    kernel = dice.choice([(3, 3), (3, 1), (1, 3), (2, 2)])
    stride = dice.choice([1, 2]), dice.choice([1, 2])
    window = Window.of(x.shape[:2], kernel, stride, "same")
    pad = dice.randint(-128, 127)
    weights = rng.integers(-128, 128, (*kernel, c)).astype(np.int8)
    given = quantization(rng, dice, c)
    result = requantized((window.patches(x.astype(np.int64), pad) * weights).sum((2, 3)), given)
    places = Place.dense(source, x.shape), Place.dense(target, result.shape)
    if dice.random() < 0.34:
        job = jobs.gemm(config, window, *places, weights[None], given, pad, diagonal=True)
    else:
        way = dice.choice(jobs.streams(window, c, config))
        job = jobs.stream(config, way, *places, weights[None], given, pad)
    return Layer(job, result)


def convolution(
    seed: int, config: AcceleratorConfig, source: int, x: np.ndarray, target: int
) -> Layer:
    """Return a random convolution."""
    dice, rng = random.Random(seed), np.random.default_rng(seed)
    c_out = dice.randint(1, 3 * config.array.rows)
    kernel = dice.choice([1, 2, 3]), dice.choice([1, 3])
    stride = dice.choice([1, 2]), dice.choice([1, 2])
    window = Window.of(x.shape[:2], kernel, stride, "same")
    out_h, out_w = window.output
    pixels = [
        n for n in range(1, 5) if out_w % n == 0 and (n == 1 or n * c_out <= config.array.rows)
    ]
    pad = dice.randint(-128, 127)
    weights = rng.integers(-128, 128, (*kernel, x.shape[2], c_out)).astype(np.int8)
    patches = window.patches(x.astype(np.int64), pad).reshape(out_h * out_w, -1)
    given = quantization(rng, dice, c_out)
    result = requantized(patches @ weights.reshape(-1, c_out).astype(np.int64), given)
    result = result.reshape(out_h, out_w, c_out)
    job = jobs.gemm(
        config,
        window,
        Place.dense(source, x.shape),
        Place.dense(target, result.shape),
        weights[None],
        given,
        pad,
        pixels=dice.choice(pixels),
    )
    return Layer(job, result)


def addition(
    seed: int, config: AcceleratorConfig, source: int, x: np.ndarray, target: int
) -> Layer:
    """Return the sum of a tensor and itself, a word further each time."""
    read, write = jobs.words(source, 0, target, x.size, config.array.rows)
    top = (1 << 30, 0)
    result = quant.add(x, x, scales=(1, 1, 2), zero_points=(3, 3, -5))
    job = jobs.combine(
        config,
        Mode.PAIR,
        read=read,
        write=write,
        first=top,
        zeros=(3, 3, -5),
        second=quant.quantize_multiplier(2 / (1 << LEFT) / 2),
    )
    return Layer(job, result)


@pytest.mark.parametrize("kinds", ["mixed", "depthwise"])
@pytest.mark.parametrize("pace", [1.0, 0.4])
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (2, 3), (8, 4)])
def test_layers(rows: int, cols: int, pace: float, kinds: str) -> None:
    """Three layers in a row, blocks of channels and all, with words that come late."""
    array = ArrayConfig(rows=rows, cols=cols, st_os=True)
    config = AcceleratorConfig(array=array, axi_width=32, act_kib=1, wgt_kib=1)
    word = config.word
    dice = random.Random(rows)
    x = np.random.default_rng(1).integers(-128, 128, (4, 5, 3)).astype(np.int8)
    first, place, layers = x.tobytes(), 5, []
    here, top = place, place + len(first)
    makers: list[Any] = [depthwise] if kinds == "depthwise" else [convolution, depthwise, addition]
    for seed in range(4):
        target = top + dice.randrange(7) + word
        layer = makers[(seed + rows) % len(makers)](seed + rows + cols, config, here, x, target)
        layers.append((target, layer))
        x, here, top = layer.result, target, target + layer.result.size
    every = [*(layer.job for _, layer in layers), jobs.end()]
    program = b"".join(job.program(word) for job in every)
    weights = b"".join(job.weights.tobytes() for job in every)
    queues = [
        [data[n : n + word] for n in range(0, len(data), word)] for data in (program, weights)
    ]
    memory = Machine(
        config=array,
        word=word,
        rows=config.bank_rows,
        depth=config.ring_words,
        program=config.program_words,
    )
    found: dict[int, bytes] = {}

    def drive() -> Drive:
        quiet = {
            name: 0
            for name in (
                "i_start",
                "i_push",
                "i_program",
                "i_load",
                "i_loading",
                "i_store",
                "i_transferred",
            )
        }
        for offset in range(0, len(first), word):
            part = first[offset : offset + word]
            yield quiet | {
                "i_load": 1,
                "i_load_first": 0,
                "i_load_end": len(part),
                "i_load_address": place + offset,
                "i_load_data": int.from_bytes(part, "little"),
            }
        yield quiet | {"i_start": 1}
        pushed, room = [0, 0], [config.program_words, config.ring_words]
        for _ in range(20000):
            push = [
                int(pushed[n] < len(queue) and room[n] > 0 and dice.random() < pace)
                for n, queue in enumerate(queues)
            ]
            data = [
                int.from_bytes(queue[pushed[n]], "little") if push[n] else None
                for n, queue in enumerate(queues)
            ]
            seen = yield quiet | {
                "i_program": push[0],
                "i_program_data": data[0],
                "i_push": push[1],
                "i_data": data[1],
            }
            pushed = [pushed[n] + push[n] for n in range(2)]
            room = [seen.o_program_room - push[0], seen.o_room - push[1]]
            if seen.o_done:
                assert not seen.o_illegal
                break
        else:
            raise AssertionError("the run does not end")
        for target, layer in layers:
            raw = b""
            for offset in range(0, layer.result.size + 2, 1):
                seen = yield quiet | {"i_store": 1, "i_store_address": target + offset}
                if offset >= 2:
                    raw += bytes([seen.o_store & 0xFF])
            found[target] = raw

    Stepper(memory).run(drive())
    for target, layer in layers:
        assert found[target] == layer.result.astype(np.int8).tobytes(), layer.job.text
