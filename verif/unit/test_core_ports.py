"""The core: what its streams mean, when results come, and how it stops and starts.

What the array computes at full size is for `verif/test_core.py`, on the emitted Verilog.
"""

from __future__ import annotations

import functools
import random
from collections import deque
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from golden import Tile, execute
from hw.config import ArrayConfig, Command
from hw.top import Top, core_ports
from sim import cycles
from verif.unit.rules import gemm, random_commands, st_os
from verif.unit.stepper import Drive, Stepper, number, pack, unpack

CONFIGS = [
    ArrayConfig(rows=1, cols=1, accumulators=1, act_width=2, weight_width=2, acc_width=4),
    ArrayConfig(rows=1, cols=3, st_os=True, act_width=9, weight_width=3, acc_width=12),
    ArrayConfig(rows=3, cols=1, st_os=True, accumulators=1, mac_stages=2),
    ArrayConfig(rows=2, cols=3, act_width=3, weight_width=10, acc_width=17, mac_stages=2),
    ArrayConfig(rows=3, cols=2, st_os=True, act_width=4, weight_width=4, acc_width=8),
    ArrayConfig(
        rows=2, cols=3, st_os=True, accumulators=1, act_width=2, weight_width=2, acc_width=9
    ),
]
ids = ArrayConfig.flags
every = pytest.mark.parametrize("config", CONFIGS, ids=ids)
SILENT = {f"s_axis_{name}_tvalid": 0 for name in ("cmd", "act", "wgt")} | {"m_axis_out_tready": 1}


@functools.cache
def stepper(config: ArrayConfig) -> Stepper:
    return Stepper(Top(config=config))


def lanes(values: Iterable[int], width: int, pitch: int, dice: random.Random) -> int:
    """Return a beat: every number in a lane of whole bytes, with garbage in the pad bits."""
    words = (pack([value], width) | dice.getrandbits(8) << width for value in values)
    return pack(words, 8 * pitch)


def tile(config: ArrayConfig, command: Command, dice: random.Random) -> Tile:
    """Return a command with random operands in all lanes."""

    def operands(beats: int, count: int, width: int) -> np.ndarray:
        return np.array([[number(dice, width) for _ in range(count)] for _ in range(beats)])

    act = operands(command.act_beats(config), config.rows, config.act_width)
    wgt = operands(command.weight_beats, config.weight_lanes, config.weight_width)
    return Tile(command=command, act=act, wgt=wgt)


def streams(config: ArrayConfig, tiles: list[Tile], dice: random.Random) -> dict[str, list[int]]:
    """Return the beats of the input streams."""
    act = [beat for tile in tiles for beat in tile.act]
    wgt = [beat for tile in tiles for beat in tile.wgt]
    return {
        "cmd": [tile.command.encode() for tile in tiles],
        "act": [lanes(beat, config.act_width, config.act_bytes, dice) for beat in act],
        "wgt": [lanes(beat, config.weight_width, config.weight_bytes, dice) for beat in wgt],
    }


def drive(
    beats: dict[str, list[int]], log: SimpleNamespace, dice: random.Random, *, valid: float = 1.0,
    ready: float = 1.0, quiet: int,
) -> Drive:  # fmt: skip
    """Offer the beats of the input streams, and log what leaves, until nothing happens.

    A beat that is offered stays until it is taken; results must do the same.
    """
    queues = {name: deque(stream) for name, stream in beats.items()}
    offered = dict.fromkeys(queues, False)
    log.cycle, log.taken, log.outputs = 0, {name: [] for name in queues}, []
    waiting, idle = None, 0
    limit = 400 + 20 * sum(len(stream) for stream in beats.values())
    while idle < quiet:
        inputs = {"m_axis_out_tready": int(dice.random() < ready)}
        for name, queue in queues.items():
            offered[name] = bool(queue) and (offered[name] or dice.random() < valid)
            inputs[f"s_axis_{name}_tvalid"] = int(offered[name])
            if offered[name]:
                inputs[f"s_axis_{name}_tdata"] = queue[0]
        seen = yield inputs
        assert log.cycle < limit, "it never ends"
        idle += 1
        for name, queue in queues.items():
            if offered[name] and getattr(seen, f"s_axis_{name}_tready"):
                queue.popleft()
                offered[name] = False
                log.taken[name].append(log.cycle)
                idle = 0
        result = (seen.m_axis_out_tdata, seen.m_axis_out_tlast) if seen.m_axis_out_tvalid else None
        if waiting is not None:
            assert result == waiting, "a result changed while it waited"
        waiting = result
        if result and inputs["m_axis_out_tready"]:
            log.outputs.append((log.cycle, *result))
            waiting, idle = None, 0
        log.cycle += 1
    log.left = {name: len(queue) for name, queue in queues.items()}
    log.error = seen.cmd_error


def quiet(config: ArrayConfig) -> int:
    """Return cycles after which a core that does nothing will do nothing more."""
    return 4 * (config.rows + config.cols) + 8


def compare(config: ArrayConfig, tiles: list[Tile], log: SimpleNamespace) -> None:
    assert not any(log.left.values()), "some beats were never taken"
    want = [
        (list(beat), index == len(beats) - 1)
        for beats in execute(tiles, config)
        for index, beat in enumerate(beats)
    ]
    got = [
        (unpack(data, 8 * config.acc_bytes, config.rows), bool(last))
        for _, data, last in log.outputs
    ]
    assert got == want
    assert not log.error


def test_gemm() -> None:
    """[[1, -2], [3, 4]] times [[5], [6]], on a 2 x 2 array with 12-bit sums."""
    config = ArrayConfig(rows=2, cols=2, acc_width=16)
    beats = {
        "cmd": [Command(depth=2, emit=1).encode()],
        "act": [0x03_01, 0x04_FE],  # columns of A: lane r is row r
        "wgt": [0x77_05, 0x77_06],  # rows of B; lane 1 is not emitted
    }
    log = SimpleNamespace()
    stepper(config).run(drive(beats, log, random.Random(1), quiet=20))
    (_, data, last), = log.outputs  # fmt: skip
    assert unpack(data, 16, 2) == [1 * 5 - 2 * 6, 3 * 5 + 4 * 6]
    assert last


def test_st_os() -> None:
    """Taps (1, 10) and (2, 0) over (1, 2, 3) and (4, 5, 6): one row, one signal, one kernel."""
    config = ArrayConfig(rows=2, cols=2, acc_width=16, st_os=True)
    beats = {
        "cmd": [Command(depth=2, emit=2, st_os=True).encode()],
        "act": [0x04_01, 0x05_02, 0x06_03],
        "wgt": [0x02_01, 0x00_0A],
    }
    log = SimpleNamespace()
    stepper(config).run(drive(beats, log, random.Random(1), quiet=20))
    assert [unpack(data, 16, 2) for _, data, _ in log.outputs] == [[21, 8], [32, 10]]
    assert [last for *_, last in log.outputs] == [0, 1]


@every
def test_latency(config: ArrayConfig) -> None:
    """The first result is taken as many cycles after its command as the docstring says."""
    rows, cols, stages = config.rows, config.cols, config.mac_stages
    for depth in {1, cols}:
        commands = [(gemm(depth, 1), depth + cols + rows + stages + 1)]
        if config.st_os:
            commands.append((st_os(depth, 1), depth + cols + stages + 2))
        for command, latency in commands:
            dice = random.Random(depth)
            log = SimpleNamespace()
            beats = streams(config, [tile(config, command, dice)], dice)
            stepper(config).run(drive(beats, log, dice, quiet=quiet(config)))
            assert log.outputs[0][0] == log.taken["cmd"][0] + latency


@every
@pytest.mark.parametrize(("valid", "ready"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.4), (0.8, 0.8)])
def test_random(config: ArrayConfig, valid: float, ready: float) -> None:
    """Results are those of the golden model, whatever pauses; without pauses also the cycles."""
    dice = random.Random(f"{config} {valid} {ready}")
    tiles = [tile(config, command, dice) for command in random_commands(config, dice, 12)]
    log = SimpleNamespace()
    beats = streams(config, tiles, dice)
    steps = drive(beats, log, dice, valid=valid, ready=ready, quiet=quiet(config) + 20)
    stepper(config).run(steps, seed=1)
    compare(config, tiles, log)
    if valid == ready == 1:
        taken = log.outputs[-1][0] - log.taken["cmd"][0]
        assert taken == cycles([tile.command for tile in tiles], config)


@every
def test_results_come_without_input(config: ArrayConfig) -> None:
    """A second command that has no operands does not hold back the results of the first."""
    dice = random.Random(3)
    tiles = [tile(config, gemm(2, config.cols), dice) for _ in range(2)]
    beats = streams(config, tiles, dice)
    for name in ("act", "wgt"):
        del beats[name][2:]
    log = SimpleNamespace()
    stepper(config).run(drive(beats, log, dice, quiet=quiet(config)))
    assert len(log.outputs) == config.cols
    assert log.left["cmd"] == 0


@every
def test_sink_that_never_takes(config: ArrayConfig) -> None:
    """The array stops behind a result that waits, and takes no more operands."""
    dice = random.Random(4)
    tiles = [tile(config, gemm(1, 1), dice) for _ in range(10 * (config.rows + config.cols))]
    log = SimpleNamespace()
    steps = drive(streams(config, tiles, dice), log, dice, ready=0.0, quiet=quiet(config))
    trace = stepper(config).run(steps)
    first = next(index for index, seen in enumerate(trace) if seen.m_axis_out_tvalid)
    for seen in trace[first + 1 :]:
        assert seen.m_axis_out_tvalid
        assert not seen.s_axis_act_tready and not seen.s_axis_wgt_tready
    assert log.left["act"] > 0


@every
def test_reset(config: ArrayConfig) -> None:
    """After a reset in any cycle the core computes as if nothing had been before."""
    dice = random.Random(5)
    before = [tile(config, command, dice) for command in random_commands(config, dice, 3)]
    bad = Command(depth=1, emit=1).encode() | 1 << 63
    after = [tile(config, gemm(2, config.cols), dice)]
    if config.st_os:
        after.insert(0, tile(config, st_os(1, config.cols), dice))
    busy = sum(len(tile.act) for tile in before) + 5 * (config.rows + config.cols)
    for cut in range(1, busy, 3):
        log = SimpleNamespace()

        def steps(cut: int = cut, log: SimpleNamespace = log) -> Drive:
            beats = streams(config, before, dice)
            beats["cmd"].insert(1, bad)
            running = drive(beats, SimpleNamespace(), dice, ready=0.8, quiet=busy)
            seen: Any = None
            for _ in range(cut):
                seen = yield running.send(seen)
            seen = yield SILENT | {"rst": 1}
            yield from drive(streams(config, after, dice), log, dice, quiet=quiet(config))

        stepper(config).run(steps(), seed=cut)
        compare(config, after, log)


@every
def test_illegal_command(config: ArrayConfig) -> None:
    """It is taken, reported for good, and changes nothing."""
    dice = random.Random(6)
    tiles = [tile(config, gemm(2, 1), dice)]
    beats = streams(config, tiles, dice)
    beats["cmd"].insert(0, Command(depth=0, emit=1).encode())
    log = SimpleNamespace()
    stepper(config).run(drive(beats, log, dice, quiet=quiet(config)))
    assert log.error
    log.error = 0
    compare(config, tiles, log)


@every
def test_ports(config: ArrayConfig) -> None:
    """The signature is what `core_ports` says."""
    ports = stepper(config).component.signature.members
    assert [name for name, _, _ in core_ports(config)] == list(ports)
    for name, direction, width in core_ports(config):
        assert (ports[name].flow.name, ports[name].shape) == (direction[:-3].title(), width)
