"""The sequencer: what every beat of a command is."""

from __future__ import annotations

import functools
import itertools
import random
from collections import deque

import pytest

from hw.config import ArrayConfig, Command
from hw.control.sequencer import Sequencer
from verif.unit.parts import Alone
from verif.unit.rules import Beat, beats_of, random_commands, st_os
from verif.unit.stepper import Drive, Inputs, Stepper

CONFIGS = [
    ArrayConfig(rows=1, cols=cols, st_os=mode, accumulators=accumulators)
    for cols, mode, accumulators in itertools.product((1, 2, 5), (False, True), (1, 2))
]
every = pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
IDLE: Inputs = {"load": 0, "advance": 0, "wipe": 0}


@functools.cache
def stepper(config: ArrayConfig) -> Stepper:
    widths = {"load": 1, "advance": 1, "wipe": 1}
    return Stepper(Alone(Sequencer(config=config), widths, command=True))


def begin(command: Command, *, clear: int = 0) -> Inputs:
    """Return the inputs that bring a command."""
    return {
        "load": 1,
        "next_depth_1": command.depth - 1,
        "next_folds": command.folds,
        "next_emit": command.emit,
        "next_fresh": not command.accumulate,
        "next_clear": clear,
        "next_st_os": command.st_os,
    }


def test_one_pass() -> None:
    """Two taps, two folds on three columns: two beats of fill, a fold of three, one of two."""
    config = ArrayConfig(rows=1, cols=3, st_os=True)
    go = IDLE | {"advance": 1}
    trace = stepper(config).run([IDLE | begin(st_os(2, 1, folds=2)), *[go] * 7, IDLE])
    beats = trace[1:8]
    assert [seen.o_busy for seen in trace] == [0] + [1] * 7 + [0]
    assert [seen.o_tap for seen in beats] == [0, 0, 1, 1, 0, 1, 1]
    assert [seen.o_first_tap for seen in beats] == [0, 0, 1, 0, 0, 1, 0]
    assert [seen.o_finishes for seen in beats] == [0, 0, 0, 1, 0, 0, 1]
    assert [seen.o_ends for seen in beats] == [0, 0, 0, 0, 0, 0, 1]
    assert beats[3].o_following == 1  # the second fold has one output


def test_clear() -> None:
    """The clearing step is wanted until it has come; only with two accumulators."""
    for accumulators in (1, 2):
        config = ArrayConfig(rows=1, cols=3, accumulators=accumulators)
        steps = [IDLE | begin(Command(depth=2, emit=1), clear=1), IDLE, IDLE | {"wipe": 1}, IDLE]
        trace = stepper(config).run(steps)
        assert [seen.o_clear for seen in trace] == [0, *[accumulators == 2] * 2, 0]


@every
def test_random(config: ArrayConfig) -> None:
    """Every output about every beat, with pauses; the next command comes with the last beat."""
    dice = random.Random(1)
    commands = deque(random_commands(config, dice, 40))

    def drive() -> Drive:
        beats: deque[Beat] = deque()
        yield IDLE
        while commands or beats:
            inputs = dict(IDLE)
            if beats:
                inputs["advance"] = int(dice.random() < 0.7)
            done = not beats or (len(beats) == 1 and inputs["advance"])
            starts = bool(commands) and done and dice.random() < 0.8
            if starts:
                inputs |= begin(commands[0])
            seen = yield inputs
            assert seen.o_busy == bool(beats)
            if beats:
                beat = beats[0]
                assert seen.o_tap == beat.tap
                assert (seen.o_first_tap, seen.o_finishes) == (beat.first, beat.finish)
                assert seen.o_ends == beat.ends
                assert seen.o_st_os == beat.st_os
                if beat.tap:
                    assert seen.o_last_fold == beat.last
                if beat.finish and not beat.last:
                    assert seen.o_following == next(
                        one.width for one in beats if one.tap and one is not beat
                    )
            if inputs["advance"]:
                beats.popleft()
            if starts:
                beats.extend(beats_of(commands.popleft(), config))

    stepper(config).run(drive(), seed=1)
