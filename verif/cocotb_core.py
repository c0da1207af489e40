"""The cocotb bench of the core: AXI4-Stream drivers and monitors around the emitted Verilog.

Started by `test_cocotb.py`, with the configuration in the environment variable STOS_CONFIG.
"""

from __future__ import annotations

import itertools
import os
import random
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, with_timeout
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from golden import Operands, Tile, execute, map_workload
from hw.config import ArrayConfig
from sim import cycles
from verif.lib.tiles import gemm, operands, random_tiles, st_os

CONFIG = ArrayConfig.from_json(os.environ["STOS_CONFIG"])


def pauses(probability: float, seed: int):
    """Yield True with the given probability."""
    dice = random.Random(seed)
    while True:
        yield dice.random() < probability


class Bench:
    """Sources, sink, protocol checks and a scoreboard."""

    first_command: int | None
    last_output: int | None

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        Clock(dut.clk, 10, "ns").start()
        self.sources = {
            name: AxiStreamSource(
                AxiStreamBus.from_prefix(dut, f"s_axis_{name}"), dut.clk, dut.rst, byte_lanes=1
            )
            for name in ("cmd", "act", "wgt")
        }
        self.sink = AxiStreamSink(
            AxiStreamBus.from_prefix(dut, "m_axis_out"), dut.clk, dut.rst, byte_lanes=1
        )
        if hasattr(dut, "mutant"):
            dut.mutant.value = int(os.environ.get("STOS_MUTANT", "0"))
        self.cycle = self.beats = 0
        self.first_command = self.last_output = None
        cocotb.start_soon(self.watch())

    async def reset(self) -> None:
        """Hold reset for two cycles."""
        self.dut.rst.value = 1
        for _ in range(2):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        self.first_command = self.last_output = None

    async def watch(self) -> None:
        """Count cycles, and assert the rules of AXI4-Stream on the output."""
        dut = self.dut
        waiting = None
        while True:
            await FallingEdge(dut.clk)
            self.cycle += 1
            if dut.rst.value == 1:
                waiting = None
                continue
            if dut.s_axis_cmd_tvalid.value == 1 and dut.s_axis_cmd_tready.value == 1:
                self.first_command = self.first_command or self.cycle
            assert dut.cmd_error.value == 0, "cmd_error without an illegal command"
            valid, ready = dut.m_axis_out_tvalid.value == 1, dut.m_axis_out_tready.value == 1
            beat = (dut.m_axis_out_tdata.value, dut.m_axis_out_tlast.value) if valid else None
            assert not valid or self.first_command, "a beat before any command"
            if waiting is not None:
                assert beat == waiting, "a waiting beat changed or was withdrawn"
            waiting = beat if valid and not ready else None
            if valid and ready:
                self.last_output = self.cycle
                self.beats += 1

    def stall(self, idle: float, pressure: float) -> None:
        """Set the probabilities of pauses."""
        for seed, source in enumerate(self.sources.values()):
            source.set_pause_generator(pauses(idle, seed))
        self.sink.set_pause_generator(pauses(pressure, 9))

    def send(self, tile: Tile) -> None:
        """Queue a tile: its command, and its beats as bytes lane by lane."""
        self.sources["cmd"].send_nowait(AxiStreamFrame([tile.command.encode()]))
        for name, beats, width in (
            ("act", tile.act, CONFIG.act_bytes),
            ("wgt", tile.wgt, CONFIG.weight_bytes),
        ):
            mask = (1 << 8 * width) - 1
            words = [
                sum((int(value) & mask) << 8 * width * lane for lane, value in enumerate(beat))
                for beat in beats
            ]
            self.sources[name].send_nowait(AxiStreamFrame(words))

    async def receive(self) -> np.ndarray:
        """Return the output beats of one command as signed values."""
        frame = await with_timeout(self.sink.recv(compact=False), 500, "us")
        width = 8 * CONFIG.acc_bytes
        mask, sign = (1 << width) - 1, 1 << width - 1
        lanes = range(CONFIG.rows)
        return np.array(
            [[((beat >> width * r & mask) ^ sign) - sign for r in lanes] for beat in frame.tdata]
        )

    async def check(self, tiles: list[Tile]) -> None:
        """Send tiles and compare everything that comes back."""
        expected = [beats for beats in execute(tiles, CONFIG) if len(beats)]
        assert expected
        before = self.beats
        for tile in tiles:
            self.send(tile)
        for want in expected:
            np.testing.assert_array_equal(await self.receive(), want)
        for _ in range(4 * (CONFIG.rows + CONFIG.cols)):
            await RisingEdge(self.dut.clk)
        # Not only of the sink, which keeps the beats of a frame without an end to itself.
        sent, wanted = self.beats - before, sum(map(len, expected))
        assert sent == wanted, f"the core sent more than it should: {sent} beats, not {wanted}"
        assert all(source.idle() for source in self.sources.values())
        assert self.dut.cmd_error.value == 0


@cocotb.test()
async def full_speed(dut) -> None:
    """No stall at all: outputs, and exactly the predicted cycles."""
    bench = Bench(dut)
    rng = np.random.default_rng(1)
    for _ in range(6):
        await bench.reset()
        for _ in range(CONFIG.rows + CONFIG.cols + 3):
            await RisingEdge(dut.clk)
        tiles = random_tiles(rng, CONFIG, 6)
        await bench.check(tiles)
        predicted = cycles([tile.command for tile in tiles], CONFIG)
        assert bench.last_output is not None and bench.first_command is not None
        took = bench.last_output - bench.first_command
        assert took == predicted, f"{took} cycles instead of {predicted}"


@cocotb.test()
async def stalled(dut) -> None:
    """Idle and back-pressure of 0, 10, 50 and 90 %, crossed."""
    bench = Bench(dut)
    rng = np.random.default_rng(2)
    await bench.reset()
    for idle, pressure in itertools.product((0.0, 0.1, 0.5, 0.9), repeat=2):
        bench.stall(idle, pressure)
        await bench.check(random_tiles(rng, CONFIG, 4))


@cocotb.test()
async def operators(dut) -> None:
    """Small layers of the operators, as golden lowers them, with a few stalls."""
    bench = Bench(dut)
    bench.stall(0.1, 0.1)
    await bench.reset()
    rng = np.random.default_rng(5)
    x = operands(rng, (5, 4, 4), CONFIG.act_width)

    def weights(*shape: int) -> np.ndarray:
        return operands(rng, shape, CONFIG.weight_width)

    expand = Operands.of("abconv", x, weights(2, 4), groups=2)
    middle = np.clip(expand.result(CONFIG.acc_width) >> 4, 0, 7)
    layers = [
        Operands.of("linear", x[0, 0], weights(4, 7)),
        Operands.of("conv", x, weights(4, 3)),
        Operands.of("conv", x, weights(3, 2, 4, 3), stride=2, pad_value=-3),
        Operands.of("depthwise", x, weights(3, 3, 4), pad_value=2),
        Operands.of("fuse_half", x, weights(3, 2), weights(3, 2)),
        Operands.of("fuse_full", x, weights(3, 4), weights(3, 4), stride=2),
        Operands.of("abconv", x, weights(3, 3, 2, 2), groups=2),
        expand,
        Operands.of("abconv", middle, weights(1, 1, 4, 3), groups=2),
    ]
    for data in layers:
        await bench.check(map_workload(data.workload, CONFIG).tiles(data).tiles)


@cocotb.test()
async def reset_in_mid_tile(dut) -> None:
    """Whatever a reset interrupts, the next command starts clean."""
    bench = Bench(dut)
    rng = np.random.default_rng(3)
    for wait in range(1, 3 * (CONFIG.rows + CONFIG.cols), 2):
        await bench.reset()
        for tile in random_tiles(rng, CONFIG, 6):
            bench.send(tile)
        for _ in range(CONFIG.rows + CONFIG.cols + wait):
            await RisingEdge(dut.clk)
        for source in bench.sources.values():
            source.clear()
        bench.sink.clear()
        await bench.reset()
        bench.sink.clear()
        await bench.check(random_tiles(rng, CONFIG, 3))


@cocotb.test()
async def results_need_no_later_input(dut) -> None:
    """Let a finished tile leave, whether the core is idle or waits for operands."""
    bench = Bench(dut)
    rng = np.random.default_rng(4)
    await bench.reset()
    kinds = [gemm, st_os] if CONFIG.st_os else [gemm]
    for first, second in itertools.product(kinds, repeat=2):
        one, two = (kind(rng, CONFIG, CONFIG.rows, 1, CONFIG.cols) for kind in (first, second))
        want = list(execute([one, two], CONFIG))
        bench.send(one)
        bench.sources["cmd"].send_nowait(AxiStreamFrame([two.command.encode()]))
        np.testing.assert_array_equal(await bench.receive(), want[0])
        assert dut.s_axis_act_tready.value == 0 or dut.s_axis_act_tvalid.value == 0
        queued = bench.sources["cmd"].send_nowait
        bench.sources["cmd"].send_nowait = lambda frame: None  # its command is already there
        bench.send(two)
        bench.sources["cmd"].send_nowait = queued
        np.testing.assert_array_equal(await bench.receive(), want[1])
