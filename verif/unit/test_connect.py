"""The core in a design in Amaranth: its streams are what `wiring.connect` takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Array, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hw.config import ArrayConfig, Command
from hw.core import Core
from hw.layouts import COMMAND, lanes, result_layout


class Source(wiring.Component):
    """Send some payloads, one after the other."""

    o: stream.Interface

    def __init__(self, shape: Any, payloads: list[Any]) -> None:
        super().__init__({"o": Out(stream.Signature(shape))})
        self.bits = [shape.const(payload).as_bits() for payload in payloads]

    def elaborate(self, platform: object) -> Module:
        """Count what is taken."""
        m = Module()
        index = Signal(range(len(self.bits) + 1))
        payloads = Array([*self.bits, 0])
        m.d.comb += [
            Value.cast(self.o.payload).eq(payloads[index]),
            self.o.valid.eq(index != len(self.bits)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += index.eq(index + 1)
        return m


class Sink(wiring.Component):
    """Take payloads in two of three cycles, and show each for the cycle after it was taken."""

    i: stream.Interface
    o_taken: Signal
    o: Signal

    def __init__(self, shape: Any) -> None:
        signature = {"i": In(stream.Signature(shape)), "o_taken": Out(1), "o": Out(shape)}
        super().__init__(signature)

    def elaborate(self, platform: object) -> Module:
        """Keep the last payload."""
        m = Module()
        phase = Signal(range(3))
        m.d.sync += phase.eq(phase + 1)
        with m.If(phase == 2):
            m.d.sync += phase.eq(0)
        m.d.comb += self.i.ready.eq(phase != 0)
        m.d.sync += [self.o_taken.eq(self.i.valid & self.i.ready), self.o.eq(self.i.payload)]
        return m


def run(config: ArrayConfig, command: Command, act: list, wgt: list) -> list[tuple[list[int], int]]:
    """Return the (data, last) of every result beat."""
    m = Module()
    m.submodules.core = core = Core(config=config)
    weights = lanes(config.weight_lanes, config.weight_width)
    fields = {name: int(getattr(command, name, 0)) for name in COMMAND.members}
    m.submodules.cmd = cmd = Source(COMMAND, [fields])
    m.submodules.act = activations = Source(lanes(config.rows, config.act_width), act)
    m.submodules.wgt = taps = Source(weights, wgt)
    m.submodules.sink = sink = Sink(result_layout(config))
    wiring.connect(m, cmd.o, core.i_cmd)
    wiring.connect(m, activations.o, core.i_act)
    wiring.connect(m, taps.o, core.i_wgt)
    wiring.connect(m, core.o_out, sink.i)
    results: list[tuple[list[int], int]] = []

    async def collect(ctx: Any) -> None:
        for _ in range(200):
            await ctx.tick()
            if ctx.get(sink.o_taken):
                beat = ctx.get(sink.o)
                results.append(([beat.data[row] for row in range(config.rows)], beat.last))
        assert not ctx.get(core.o_cmd_error)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(collect)
    simulator.run()
    return results


@pytest.mark.parametrize("config", [
    ArrayConfig(rows=2, cols=3, act_width=5, weight_width=6, acc_width=17),
    ArrayConfig(rows=2, cols=3, st_os=True, accumulators=1),
], ids=ArrayConfig.flags)  # fmt: skip
def test_gemm(config: ArrayConfig) -> None:
    """``Y = A B``, beat n is column n of Y: no pad bits, no packing by hand."""
    a = np.array([[1, -2, 3, -16], [-5, 6, -7, 15]])
    b = np.array([[1, 2, 3], [-4, 5, -6], [7, -32, 9], [31, 0, -1]])
    found = run(config, Command(depth=4, emit=3), a.T.tolist(), b.tolist())
    assert [data for data, _ in found] == (a @ b).T.tolist()
    assert [last for _, last in found] == [0, 0, 1]


def test_st_os() -> None:
    """``y[r, i] = sum_k w[r, k] * x[r, i + k]``: a signal and taps per row."""
    config = ArrayConfig(rows=2, cols=2, st_os=True)
    x = np.array([[1, 2, 3], [-4, 5, -128]])
    w = np.array([[1, 10], [2, -1]])
    y = [[w[r] @ x[r, i : i + 2] for r in range(2)] for i in range(2)]
    found = run(config, Command(depth=2, emit=2, st_os=True), x.T.tolist(), w.T.tolist())
    assert found == [(y[0], 0), (y[1], 1)]
