"""The command port: commands are checked, and taken one ahead."""

from __future__ import annotations

import functools
import itertools

import pytest

from hw.config import ArrayConfig, Command, CommandError
from hw.control.command_port import CommandPort
from verif.unit.parts import Alone
from verif.unit.rules import gemm, one_field_off, st_os
from verif.unit.stepper import Inputs, Stepper

CONFIGS = [
    ArrayConfig(rows=1, cols=cols, st_os=mode, accumulators=accumulators)
    for cols, mode, accumulators in itertools.product((1, 5), (False, True), (1, 2))
]
every = pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
IDLE: Inputs = {"valid": 0, "closed": 0, "load": 0}


@functools.cache
def stepper(config: ArrayConfig) -> Stepper:
    widths = {"word": 64, "valid": 1, "closed": 1, "load": 1}
    return Stepper(Alone(CommandPort(config=config), widths))


def offer(command: Command, **more: int) -> Inputs:
    return IDLE | {"word": command.encode(), "valid": 1} | more


def test_one_ahead() -> None:
    """A command waits until it is loaded; only then, but in that cycle, another one is taken."""
    config = ArrayConfig(rows=2, cols=3)
    one, two = gemm(7, 2), gemm(9, 3)
    steps = [offer(one, closed=1), offer(one), offer(two), offer(two, load=1), IDLE, IDLE]
    trace = stepper(config).run(steps)
    assert [seen.o_ready for seen in trace[:4]] == [0, 1, 0, 1]
    assert [seen.o_full for seen in trace] == [0, 0, 1, 1, 1, 1]
    assert [seen.o_next_depth_1 for seen in trace[2:]] == [6, 6, 8, 8]
    assert trace[2].o_next_emit == trace[2].o_next_width == 2
    trace = stepper(config).run([offer(one), IDLE | {"load": 1}, IDLE])
    assert [seen.o_full for seen in trace] == [0, 1, 0]


@every
def test_what_a_command_says(config: ArrayConfig) -> None:
    """Folds are as wide as `cols`, the last one as `emit`; sums are cleared where some are kept."""
    cols = config.cols
    commands = [gemm(3, 0), gemm(1, 1, accumulate=True), gemm(2, 0), gemm(1, 1)]
    if config.st_os:
        commands += [st_os(1, 1, folds=3), st_os(1, cols), st_os(1, 0), st_os(1, 1)]
    trace = stepper(config).run([offer(one, load=1) for one in commands] + [IDLE])
    kept = False
    for command, seen in zip(commands, trace[1:], strict=True):
        assert (seen.o_full, seen.o_error) == (1, 0)
        assert seen.o_next_depth_1 == command.depth - 1
        assert (seen.o_next_emit, seen.o_next_folds) == (command.emit, command.folds)
        assert seen.o_next_st_os == command.st_os
        assert seen.o_next_fresh == (not command.accumulate)
        assert seen.o_next_clear == (kept and not command.accumulate)
        wide = command.folds > 1 or (config.accumulators == 1 and command.emit == 0)
        assert seen.o_next_width == (cols if wide else command.emit)
        kept = command.emit == 0


@every
def test_illegal(config: ArrayConfig) -> None:
    """One that `Command.check` refuses is taken, sets `error` for good, and changes nothing."""
    then = gemm(1, 1, accumulate=True)  # legal if the sums are still kept
    refused = 0
    words = list(one_field_off(config))
    steps: list[Inputs] = []
    for kept, word in words:
        before = offer(gemm(1, 0 if kept else 1), load=1)
        steps += [
            before,
            offer(then, load=1) | {"word": word},
            offer(then, load=1),
            IDLE | {"rst": 1},
        ]
    trace = stepper(config).run(steps)
    for index, (kept, word) in enumerate(words):
        try:
            Command.decode(word).check(config, kept=kept)
            legal = True
        except CommandError:
            legal, refused = False, refused + 1
        _, taken, following, last = trace[4 * index : 4 * index + 4]
        assert taken.o_ready == 1
        assert (following.o_full, following.o_error) == (legal, not legal), hex(word)
        if not legal:
            assert (last.o_full, last.o_error) == (kept, 1), hex(word)
    assert 30 < refused < len(words)
