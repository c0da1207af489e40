"""The rules by themselves: room on the result chains, and changing over."""

from __future__ import annotations

import functools
import itertools
import random
from typing import Any

import pytest

from hw.config import ArrayConfig
from hw.control.rules import Changeover, Results, flush_steps, wave_steps
from hw.layouts import TOKEN
from verif.unit.parts import Alone
from verif.unit.stepper import Drive, Inputs, Stepper

SHAPES = [(1, 1), (1, 4), (3, 1), (2, 3)]
CONFIGS = [
    ArrayConfig(rows=rows, cols=cols, st_os=mode)
    for (rows, cols), mode in itertools.product(SHAPES, (False, True))
]
every = pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
every_st_os = pytest.mark.parametrize(
    "config", [c for c in CONFIGS if c.st_os], ids=ArrayConfig.flags
)


def token(*, valid: int = 1, first: int = 0, last: int = 0) -> int:
    fields: Any = TOKEN.const({"valid": valid, "first": first, "last": last})
    return fields.as_bits()


@functools.cache
def results(config: ArrayConfig, pace: int = 1) -> Stepper:
    count = config.cols.bit_length()
    widths = {"en": 1, "load": 1, "width": count, "finish": 1, "last_fold": 1, "following": count}
    return Stepper(Alone(Results(config=config, every=pace), widths | {"st_os": 1}))


def test_two_folds() -> None:
    """Three results, one per step; a fold of two may finish when the first one is 3 steps old."""
    config = ArrayConfig(rows=1, cols=3)
    wait: Inputs = {"en": 1, "load": 0, "finish": 0}
    finish = wait | {"finish": 1, "last_fold": 1}
    steps = [wait | {"load": 1, "width": 3}, finish | {"load": 1, "width": 2}, *[wait] * 3, finish]
    trace = results(config).run([*steps, *[wait] * 3])
    assert [seen.o_room for seen in trace[1:6]] == [1, 0, 0, 1, 1]
    first, middle, last = token(first=1), token(), token(last=1)
    assert [seen.o_token for seen in trace] == [0, 0, first, middle, last, 0, first, last, 0]


@every
@pytest.mark.parametrize("pace", [1, 2, 4])
def test_results(config: ArrayConfig, pace: int) -> None:
    """`room` from ``max(pace * outputs before, outputs now)`` steps on; tokens `pace` apart."""
    cols, dice = config.cols, random.Random(2)

    def drive() -> Drive:
        step, last, before, now = 0, -pace * cols, 0, 0
        tokens: dict[int, int] = {}
        direct = None
        loaded = False
        for _ in range(600):
            inputs: Inputs = {"en": int(dice.random() < 0.8), "load": 0, "finish": 0}
            inputs["st_os"] = dice.randrange(2)
            room = loaded and step >= last + max(pace * before, now)
            following = dice.choice([1, cols, dice.randint(1, cols)])
            ends = True
            if inputs["en"] and loaded and room and dice.random() < 0.7:
                ends = not config.st_os or dice.random() < 0.5
                inputs |= {"finish": 1, "last_fold": int(ends), "following": following}
            if inputs["en"] and ((inputs["finish"] and ends) or not loaded) and dice.random() < 0.7:
                inputs |= {"load": 1, "width": following}
            seen = yield inputs
            if loaded:
                assert seen.o_room == room
            assert seen.o_token == tokens.get(step, 0)
            if config.st_os and direct is not None:
                assert seen.o_direct == direct
            if inputs["finish"]:
                for index in range(now):
                    tail = ends and index == now - 1
                    tokens[step + 1 + pace * index] = token(first=index == 0, last=tail)
                last, before, now, direct = step, now, following, inputs["st_os"]
                loaded = not ends
            if inputs["load"]:
                loaded, now = True, following
            step += inputs["en"]

    results(config, pace).run(drive(), seed=2)


@functools.cache
def changeover(config: ArrayConfig, pace: int = 1) -> Stepper:
    widths = dict.fromkeys(("en", "st_os", "advance", "wipe", "tagged"), 1)
    return Stepper(Alone(Changeover(config=config, every=pace), widths))


BUBBLE: Inputs = {"en": 1, "st_os": 0, "advance": 0, "wipe": 0, "tagged": 0}
GEMM = BUBBLE | {"advance": 1}
PASS = BUBBLE | {"st_os": 1, "advance": 1}


@every
def test_flush(config: ArrayConfig) -> None:
    """`flush_steps` steps after reset, and the one in which the sums are cleared."""
    steps = flush_steps(config)
    for pause in (0, 1):
        cycles = [BUBBLE | {"en": en} for en in [0] * pause + [1]] * (steps + 3)
        trace = [
            seen for seen, c in zip(changeover(config).run(cycles), cycles, strict=True) if c["en"]
        ]
        assert [seen.o_flush for seen in trace] == [1] * (steps + 1) + [0] * 2
        assert [seen.o_flushed for seen in trace] == [0] * steps + [1, 0, 0]


@every_st_os
@pytest.mark.parametrize("pace", [1, 2, 8])
def test_st_os_after_gemm(config: ArrayConfig, pace: int) -> None:
    """The wave and its tokens get these bubbles; meanwhile activations move, whatever waits."""
    steps = config.rows + pace * (config.cols - 1) - 1
    flush = [BUBBLE] * (flush_steps(config) + 1)
    waits = BUBBLE | {"st_os": 1}
    trace = changeover(config, pace).run([*flush, GEMM, *[waits] * steps, PASS, waits, PASS, waits])
    seen = trace[len(flush) + 1 :]
    assert [one.o_mode_ok for one in seen] == [0] * steps + [1] * 4
    assert [one.o_broadcast for one in seen] == [0] * (steps + 1) + [1] * 3
    assert [one.o_move for one in seen] == [1] * (steps + 1) + [1, 0, 1]


@every_st_os
def test_gemm_after_st_os(config: ArrayConfig) -> None:
    """A step without tags comes between; a clearing step counts as a beat."""
    flush = [BUBBLE] * (flush_steps(config) + 1)
    trace = changeover(config).run([*flush, PASS | {"tagged": 1}, BUBBLE, BUBBLE, GEMM, BUBBLE])
    seen = trace[len(flush) + 1 :]
    assert [one.o_mode_ok for one in seen[:3]] == [0, 1, 1]
    assert [one.o_broadcast for one in seen] == [1, 1, 1, 0]
    trace = changeover(config).run([*flush, BUBBLE | {"wipe": 1}, BUBBLE | {"st_os": 1}])
    assert trace[-1].o_mode_ok == (wave_steps(config) == 0)
    assert not trace[-1].o_broadcast
