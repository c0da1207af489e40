"""The controller: when commands are taken, when beats enter, and what goes with them.

Directed tests show each rule of the docstring by itself: that it holds, and that nothing waits for
one step longer than it must. The random ones compare every output of every cycle with `rules`.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections import deque
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from amaranth.sim import Simulator

from hw.config import COMMAND_FIELDS, ArrayConfig, Command
from hw.control import Controller
from hw.control.rules import flush_steps, wave_steps
from sim import schedule
from verif.unit.rules import Rules, gemm, one_field_off, random_commands, st_os
from verif.unit.stepper import Drive, Inputs, Stepper, check_stalls

SHAPES = [(1, 1), (1, 4), (3, 1), (1, 2), (2, 3), (3, 2), (2, 5)]
CONFIGS = [
    ArrayConfig(rows=rows, cols=cols, st_os=st_os, accumulators=accumulators)
    for (rows, cols), st_os, accumulators in itertools.product(SHAPES, (False, True), (1, 2))
]
ids = ArrayConfig.flags
every = pytest.mark.parametrize("config", CONFIGS, ids=ids)
every_st_os = pytest.mark.parametrize("config", [c for c in CONFIGS if c.st_os], ids=ids)
NOTHING: Inputs = {"i_en": 1, "i_cmd_valid": 0, "i_act_valid": 0, "i_wgt_valid": 0}


@functools.cache
def stepper(config: ArrayConfig) -> Stepper:
    return Stepper(Controller(config=config))


def run(config: ArrayConfig, commands: Iterable[Command], **inputs: int) -> SimpleNamespace:
    """Send commands, all streams always valid; return the cycles in which things happen.

    Cycles count from the first command on, as in `schedule`: `commands`, `acts` and `weights` are
    those in which a beat of the stream is taken, `tokens` those in which the grid gets one,
    `beats` the `acts` of every command. A keyword changes an input of all cycles.
    """
    commands = list(commands)
    quiet = 6 * (config.rows + config.cols) + 6
    limit = sum(command.act_beats(config) + quiet for command in commands) + quiet
    log = SimpleNamespace(commands=[], acts=[], weights=[], tokens={}, tags={}, trace=[])

    def drive() -> Drive:
        queue = deque(commands)
        idle = 0
        for cycle in itertools.count():
            named = NOTHING | {"i_act_valid": 1, "i_wgt_valid": 1} | inputs
            if queue:
                named |= {"i_cmd_valid": 1, "i_cmd": queue[0].encode()}
            seen = yield named
            log.trace.append(seen)
            idle += 1
            for name, ready in (
                ("commands", named["i_cmd_valid"] and seen.o_cmd_ready),
                ("acts", named["i_act_valid"] and seen.o_act_ready),
                ("weights", named["i_wgt_valid"] and seen.o_wgt_ready),
            ):
                if ready:
                    getattr(log, name).append(cycle)
                    idle = 0
            if log.commands and log.commands[-1] == cycle:
                queue.popleft()
            if seen.o_token & 1:
                log.tokens[cycle] = seen.o_token
            if seen.o_tags:
                log.tags[cycle] = seen.o_tags
            if idle > quiet:
                return
            assert cycle < limit, "it never ends"

    stepper(config).run(drive())
    assert len(log.commands) == len(commands), "not every command was taken"
    begin = log.commands[0]
    for name in ("commands", "acts", "weights"):
        setattr(log, name, [cycle - begin for cycle in getattr(log, name)])
    for name in ("tokens", "tags"):
        setattr(log, name, {cycle - begin: flags for cycle, flags in getattr(log, name).items()})
    acts = iter(log.acts)
    log.beats = [
        list(itertools.islice(acts, command.act_beats(config))) for command in commands
    ]  # fmt: skip
    return log


def test_one_tile() -> None:
    """A 3-deep tile with 2 results on a 2 x 3 array, cycle by cycle."""
    config = ArrayConfig(rows=2, cols=3)
    log = run(config, [gemm(3, 2)])
    assert log.commands == [0]
    assert log.acts == log.weights == [2, 3, 4]
    # Tags are {mark, valid}, one cycle later; the mark is on the last product. The first one, from
    # before the command, clears the sums of an interrupted one.
    assert log.tags == {0: 0b10, 3: 0b01, 4: 0b01, 5: 0b11}
    assert log.tokens == {5: 0b011, 6: 0b101}  # {last, first, valid}


def test_one_pass() -> None:
    """Two taps, 5 results of a 2 x 3 array: a fold of 3 and one of 2, cycle by cycle."""
    config = ArrayConfig(rows=2, cols=3, st_os=True, accumulators=1)
    log = run(config, [st_os(2, 2, folds=2)])
    # 2 beats fill the rows; tap, tap, rest; then tap, tap. With one accumulator the second fold
    # begins when the last tap of the first one is 3 results old.
    assert log.acts == [2, 3, 4, 5, 6, 8, 9]
    assert log.weights == [4, 5, 8, 9]
    assert log.tags == {5: 0b11, 6: 0b01, 9: 0b11, 10: 0b01}
    assert log.tokens == {6: 0b011, 7: 0b001, 8: 0b001, 10: 0b011, 11: 0b101}
    begin = log.trace.index(next(seen for seen in log.trace if seen.o_cmd_ready))
    direct = {cycle - begin for cycle, seen in enumerate(log.trace) if seen.o_token_direct}
    assert set(log.tokens) <= direct
    moves = {cycle - begin for cycle, seen in enumerate(log.trace) if seen.o_move}
    assert {cycle for cycle in moves if cycle >= 2} == {cycle + 1 for cycle in log.acts}


@every
def test_latency(config: ArrayConfig) -> None:
    """The first beat enters 2 cycles after its command, and its tags one cycle later."""
    for command in [gemm(1, 1)] + [st_os(1, 1)] * config.st_os:
        log = run(config, [command])
        assert log.acts[0] == 2
        assert log.weights[0] + 1 == max(log.tags) == max(log.tokens)


@every
def test_flush_after_reset(config: ArrayConfig) -> None:
    """No command for `flush_steps` + 1 steps after reset; the last of them clears the sums."""
    steps = flush_steps(config)
    assert steps == config.rows + config.cols - 1  # the way of an operand through the grid
    wanting = {"i_cmd_valid": 1, "i_cmd": gemm(1, 1).encode(), "i_act_valid": 1, "i_wgt_valid": 1}
    trace = stepper(config).run([wanting | {"i_en": 1}] * (steps + 3))
    assert [seen.o_cmd_ready for seen in trace[: steps + 2]] == [0] * (steps + 1) + [1]
    clear = 0b10 if config.accumulators == 2 else 0
    assert [seen.o_tags for seen in trace] == [0] * (steps + 1) + [clear, 0]
    if config.st_os:
        assert trace[-2].o_broadcast  # in all rows at once
    trace = stepper(config).run([wanting | {"i_en": index % 2} for index in range(2 * steps + 3)])
    assert [seen.o_cmd_ready for seen in trace].index(1) == 2 * (steps + 1)


@every
def test_results_do_not_meet(config: ArrayConfig) -> None:
    """A fold finishes (or starts) when the one before is ``max(emit before, emit now)`` old."""
    cols = config.cols
    for depth, before, now in itertools.product((1, 2, 2 * cols), {1, cols}, {1, cols}):
        log = run(config, [gemm(2, before)] + [gemm(depth, now)] * 3)
        assert len(log.tokens) == before + 3 * now, "a result is lost"
        waits = [max(before, now), now, now]
        for (first, second), wait in zip(itertools.pairwise(log.beats), waits, strict=True):
            if config.accumulators == 2:
                assert second[-1] == first[-1] + max(wait, depth)
            else:
                assert second[0] == first[-1] + wait
                assert second[-1] == second[0] + depth - 1


@every_st_os
def test_folds_do_not_meet(config: ArrayConfig) -> None:
    """An ST-OS fold follows the one before after C beats, with one accumulator C + K - 1."""
    cols = config.cols
    for taps, emit in itertools.product({1, (cols + 1) // 2, cols}, {1, cols}):
        log = run(config, [st_os(taps, emit, folds=4)])
        assert len(log.tokens) == 3 * cols + emit
        gap = cols if config.accumulators == 2 else cols + taps - 1
        assert log.weights[::taps] == [log.weights[0] + fold * gap for fold in range(4)]


@pytest.mark.parametrize("config", [c for c in CONFIGS if c.accumulators == 1], ids=ids)
def test_kept_sum_counts_as_wide(config: ArrayConfig) -> None:
    """With one accumulator, a fold that emits nothing yet waits as one with C results."""
    log = run(config, [gemm(1, 1), gemm(1, 0), gemm(1, config.cols, accumulate=True)])
    assert log.acts == [2, 2 + config.cols, 3 + config.cols]


@pytest.mark.parametrize("config", [c for c in CONFIGS if c.accumulators == 2], ids=ids)
def test_only_the_result_waits(config: ArrayConfig) -> None:
    """With two accumulators, sums that are kept do not wait for the result chain."""
    cols = config.cols
    log = run(config, [gemm(1, cols), gemm(1, 0), gemm(1, cols, accumulate=True)])
    assert log.acts == [2, 3, 2 + max(2, cols)]


@every_st_os
def test_gemm_after_st_os(config: ArrayConfig) -> None:
    """Exactly one bubble, so that broadcast operands do not travel south."""
    log = run(config, [st_os(1, 1), gemm(3, 1)])
    assert log.beats[1][0] == log.beats[0][-1] + 2
    log = run(config, [st_os(1, 0), gemm(3, 1, accumulate=True), st_os(1, 1), gemm(3, 1)])
    assert log.beats[1][0] == log.beats[0][-1] + 2
    assert log.beats[3][0] == log.beats[2][-1] + 2


@every_st_os
def test_st_os_after_gemm(config: ArrayConfig) -> None:
    """Exactly ``rows + cols - 2`` bubbles, so that the wave has left the grid."""
    bubbles = wave_steps(config)
    assert bubbles == config.rows + config.cols - 2
    log = run(config, [gemm(2, 1), st_os(1, 1)])
    assert log.beats[1][0] == log.beats[0][-1] + 1 + bubbles
    log = run(config, [gemm(2, 0), st_os(1, 1, accumulate=True), gemm(1, 1), st_os(1, 1)])
    assert log.beats[1][0] == log.beats[0][-1] + 1 + bubbles
    assert log.beats[3][0] == log.beats[2][-1] + 1 + bubbles


@every
def test_dropping_kept_sums(config: ArrayConfig) -> None:
    """One clearing step with two accumulators, none with one."""
    step = int(config.accumulators == 2)
    log = run(config, [gemm(2, 0), gemm(5, 1)])
    assert log.beats[1][0] == log.beats[0][-1] + 1 + step
    marks = [cycle for cycle, tags in log.tags.items() if tags == 0b10 and cycle > 2]
    assert marks == [log.beats[0][-1] + 2] * step
    log = run(config, [gemm(2, 0), gemm(5, 1, accumulate=True)])
    assert log.beats[1][0] == log.beats[0][-1] + 1
    assert 0b10 not in [tags for cycle, tags in log.tags.items() if cycle > 2]
    if config.st_os:
        bubbles = config.rows + config.cols - 2
        log = run(config, [gemm(1, 0), st_os(1, 0), gemm(1, 0), st_os(1, 1)])
        assert log.beats[1][0] == log.beats[0][-1] + 1 + bubbles + step
        assert log.beats[2][0] == log.beats[1][-1] + 2 + step
        assert log.beats[3][0] == log.beats[2][-1] + 1 + bubbles + step


@every
def test_results_never_wait_for_input(config: ArrayConfig) -> None:
    """The results of a fold leave in consecutive steps although no operand and command comes."""
    cols = config.cols
    for command in [gemm(1, cols)] + [st_os(1, cols, folds=2)] * config.st_os:
        beats = command.act_beats(config)

        def drive(command: Command = command, beats: int = beats) -> Drive:
            sent = taken = 0
            for _ in range(6 * (cols + config.rows) + 12):
                more = int(taken < beats)
                named = {"i_en": 1, "i_cmd_valid": int(not sent), "i_cmd": command.encode()}
                seen = yield named | {"i_act_valid": more, "i_wgt_valid": more}
                sent |= seen.o_cmd_ready
                taken += more and seen.o_act_ready

        trace = stepper(config).run(drive())
        tokens = [seen.o_token & 1 for seen in trace]
        assert sum(tokens) == command.out_beats(config)
        last = len(tokens) - tokens[::-1].index(1)
        assert all(tokens[last - cols : last])


@every
def test_commands_are_taken_ahead(config: ArrayConfig) -> None:
    """One command waits while one is in progress, and then enters without a bubble."""
    depth = 2 * config.cols + 2
    log = run(config, [gemm(depth, 0)] + [gemm(depth, 0, accumulate=True)] * 2)
    assert log.acts == list(range(2, 2 + 3 * depth))
    # The second is taken when the first is in progress, the third when the second is.
    assert log.commands == [0, 1, depth + 1]


@every
def test_one_stream_alone(config: ArrayConfig) -> None:
    """A beat with a weight takes both or none; one that only fills the row takes no weight."""
    for command in [gemm(2, 1)] + [st_os(1, 1)] * config.st_os:
        log = run(config, [command], i_act_valid=0)
        assert not log.acts and not log.weights and not log.tokens
        log = run(config, [command], i_wgt_valid=0)
        assert len(log.acts) == (config.cols - 1 if command.st_os else 0)
        assert not log.weights and not log.tokens


@every
def test_schedule(config: ArrayConfig) -> None:
    """Without stalls everything happens in the cycle that the cycle model says."""
    dice = random.Random(1)
    for _ in range(3):
        commands = random_commands(config, dice, 10)
        log = run(config, commands)
        weights, tokens = iter(log.weights), iter(sorted(log.tokens))
        for timing in schedule(commands, config):
            command = timing.command
            for fold in range(command.folds):
                taken = list(itertools.islice(weights, command.depth))
                later = fold * timing.fold
                assert taken[0] == timing.first_weight + later
                assert taken[-1] == timing.last_weight + later
                emits = config.cols if fold < command.folds - 1 else command.emit
                leave = list(itertools.islice(tokens, emits))
                assert leave == [taken[-1] + 1 + index for index in range(emits)]
        assert not list(weights) and not list(tokens)


def near_legal(config: ArrayConfig, dice: random.Random) -> int:
    """Return a command word with every field at a limit or next to one."""
    cols = config.cols
    word = 0
    for name, low, width in COMMAND_FIELDS:
        value = {
            "depth": dice.choice([0, 1, 1, 2, cols, cols + 1, 1 << dice.randrange(5)]),
            "folds": dice.choice([0, 1, 1, 1, 2, 3]),
            "emit": dice.choice([0, 0, 1, cols, cols, cols + 1, 1 << dice.randrange(16)]),
            "st_os": dice.randrange(2),
            "accumulate": dice.randrange(2),
            "reserved": dice.choice([0] * 9 + [1 << dice.randrange(14)]),
        }[name]
        word |= value % (1 << width) << low
    return word


def traffic(
    config: ArrayConfig, dice: random.Random, count: int, *, enable: float, valid: float,
    resets: float = 0.0,
) -> Drive:  # fmt: skip
    """Yield random cycles, and compare each with `Rules`."""
    rules = Rules(config)
    word = near_legal(config, dice)
    for index in range(count):
        inputs = {
            "i_en": int(dice.random() < enable),
            "i_cmd_valid": int(dice.random() < 0.8),
            "i_act_valid": int(dice.random() < valid),
            "i_wgt_valid": int(dice.random() < valid),
            "rst": int(dice.random() < resets),
        }
        if inputs["i_cmd_valid"]:
            inputs["i_cmd"] = word
        seen = yield inputs
        for name, want in rules.cycle(inputs).items():
            if want is not None:
                assert getattr(seen, name) == want, f"{name} in cycle {index}"
        if inputs["i_cmd_valid"] and seen.o_cmd_ready:
            word = near_legal(config, dice)


@every
@pytest.mark.parametrize(("enable", "valid"), [(1.0, 1.0), (0.7, 0.8), (1.0, 0.4)])
def test_random(config: ArrayConfig, enable: float, valid: float) -> None:
    """Every output in every cycle: legal and illegal commands, pauses of every kind."""
    dice = random.Random(f"{config} {valid}")
    stepper(config).run(traffic(config, dice, 350, enable=enable, valid=valid), seed=1)


@every
def test_reset(config: ArrayConfig) -> None:
    """After a reset in any cycle the controller does as after power-up."""
    dice = random.Random(2)
    stepper(config).run(
        traffic(config, dice, 500, enable=0.9, valid=0.9, resets=1 / (4 * config.cols + 12)), seed=2
    )


@every
def test_stalls(config: ArrayConfig) -> None:
    """Nothing happens without `i_en`, but that a command is taken ahead."""
    commands = random_commands(config, random.Random(3), 4)
    steps = [NOTHING] * (config.rows + config.cols)
    dice = random.Random(4)
    for command in commands:
        word = {"i_cmd_valid": 1, "i_cmd": command.encode()}
        steps.append(NOTHING | word)
        for _ in range(2 * command.act_beats(config) + config.rows + 2 * config.cols):
            valid = {"i_act_valid": dice.randrange(2), "i_wgt_valid": dice.randrange(2)}
            steps.append(NOTHING | valid)
    check_stalls(stepper(config), steps, {"i_en": 0, "i_cmd_valid": 0})


@pytest.mark.parametrize(
    "config",
    [c for c in CONFIGS if c.rows == 1 and c.cols != 2 and c.accumulators == 2],
    ids=ids,
)
def test_illegal_commands(config: ArrayConfig) -> None:
    """One that `Command.check` refuses is taken, changes nothing and sets `o_cmd_error`.

    Each comes after a command that keeps its sums or does not, and before one that accumulates:
    which is legal if the sums are still kept.
    """
    refused = []
    then = gemm(1, 1, accumulate=True).encode()

    def drive() -> Drive:
        rules = Rules(config)
        for kept, word in one_field_off(config):
            queue = deque([gemm(1, 0 if kept else 1).encode(), word, then])
            for index in range(flush_steps(config) + config.cols + 8):
                inputs = NOTHING | {"i_act_valid": 1, "i_wgt_valid": 1}
                if queue:
                    inputs |= {"i_cmd_valid": 1, "i_cmd": queue[0]}
                if index == flush_steps(config) + config.cols + 7:
                    inputs["rst"] = 1
                seen = yield inputs
                for name, want in rules.cycle(inputs).items():
                    assert want is None or getattr(seen, name) == want, f"{name} after {word:016x}"
                if queue and seen.o_cmd_ready and queue.popleft() == word and len(queue) == 1:
                    refused.append(rules.error)
            assert not queue, "also an illegal command is taken"

    stepper(config).run(drive())
    assert 30 < sum(refused) < len(refused) - 30


@pytest.mark.parametrize(
    ("cols", "command"), [(5, gemm(0xFFFF, 1)), (1, st_os(1, 1, folds=0xFFFF))]
)
def test_counters_at_their_ends(cols: int, command: Command) -> None:
    """The longest tile and the longest pass take 65535 beats, not one less."""
    dut = Controller(config=ArrayConfig(rows=2, cols=cols, st_os=True))
    beats = tokens = 0

    async def testbench(ctx: Any) -> None:
        nonlocal beats, tokens
        ctx.set(dut.i_cmd, command.encode())
        for valid in (dut.i_en, dut.i_cmd_valid, dut.i_act_valid, dut.i_wgt_valid):
            ctx.set(valid, 1)
        await ctx.tick().until(dut.o_cmd_ready)
        ctx.set(dut.i_cmd_valid, 0)
        async for *_, act, weight, token in ctx.tick().sample(
            dut.o_act_ready, dut.o_wgt_ready, dut.o_token
        ):
            beats += act & weight
            tokens += token & 1
            if token & 4:
                break

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert beats == 0xFFFF
    assert tokens == command.folds
