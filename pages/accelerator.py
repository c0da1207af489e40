"""The accelerator at work: the corner turn step by step, and a run seen at its ports."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.sim import Simulator

from golden.int8.array_operators import Conv2D
from golden.int8.graph import Graph
from golden.int8.tensor import Tensor
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.corner_turn import CornerTurn
from hw.config import ArrayConfig
from sim.accelerator.compiler import compile_graph
from sim.accelerator.rtl import MOVES, AcceleratorSimulator
from sim.accelerator.run import place

from .draw import BLUE, CONTROL, GREEN, GREY, ORANGE, Sheet

__all__ = ["CONFIG", "network", "run", "traced", "turn", "turned"]

CONFIG = AcceleratorConfig(
    array=ArrayConfig(rows=4, cols=4, st_os=True), act_kib=1, wgt_kib=1, axi_width=64
)
LATENCY = 12

_COLUMNS = 4
_COLOURS = (BLUE, ORANGE, GREEN, GREY)


def turned(groups: int = 3) -> list[tuple[int | None, list[int]]]:
    """Simulate the corner turn: for every step the pixel whose word comes, and the columns' bytes.

    Byte k of pixel p is ``16 * p + k``.
    """
    found: list[tuple[int | None, list[int]]] = []
    dut = CornerTurn(word=_COLUMNS, cols=_COLUMNS)

    async def drive(bench: Any) -> None:
        for step in range((groups + 1) * _COLUMNS - 1):
            pixel = step if step < groups * _COLUMNS else None
            word = sum(16 * step + k << 8 * k for k in range(_COLUMNS)) if pixel is not None else 0
            for port, value in (
                (dut.i_en, 1), (dut.i_word, word), (dut.i_phase, step % _COLUMNS),
                (dut.i_before, _COLUMNS),
            ):  # fmt: skip
                bench.set(port, value)
            out = bench.get(dut.o)
            found.append((pixel, [out >> 8 * c & 0xFF for c in range(_COLUMNS)]))
            await bench.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    return found


def turn() -> Sheet:
    """Draw what comes, and what every column gets, step by step."""
    steps = turned()
    words = sum(pixel is not None for pixel, _ in steps)
    left, top = 3.2, 6.6
    s = Sheet(left + len(steps) + 0.4, top + 1.2, 38)
    s.words(left - 0.3, top + 0.55, "step", size=8, ink=CONTROL, align="right")
    s.words(left - 0.3, top - 0.5, "word of pixel", size=8.5, align="right")
    for c in range(_COLUMNS):
        s.words(left - 0.3, top - 1.9 - c, f"column {c}", size=8.5, align="right")
    for number, (pixel, columns) in enumerate(steps):
        s.words(left + number + 0.5, top + 0.55, str(number), size=8, ink=CONTROL)
        if pixel is not None:
            s.box(
                left + number + 0.04, top - 0.9, 0.92, 0.8, f"p{pixel}",
                face=_COLOURS[pixel % _COLUMNS], edge="white", ink="white", size=8,
            )  # fmt: skip
        for c, byte in enumerate(columns):
            owner, k = divmod(byte, 16)
            if c <= number < words + c:
                s.box(
                    left + number + 0.04, top - 2.3 - c, 0.92, 0.8, f"p{owner}.{k}",
                    face=_COLOURS[owner % _COLUMNS], edge="white", ink="white", size=7.5,
                )  # fmt: skip
    s.words(
        left, 0.55, "a word comes per step: four bytes (p0.0 to p0.3) of one pixel; every column\n"
        "gets the bytes of its own pixels, a step later than its neighbour", size=8, align="left",
    )  # fmt: skip
    return s


def network() -> Graph:
    """Return a network of one convolution, 3 x 4 pixels of 5 channels to 4."""
    rng = np.random.default_rng(1)
    source = Tensor(name="input", shape=(1, 3, 4, 5), scale=0.02)
    target = Tensor(name="output", shape=(1, 3, 4, 4), scale=0.05)
    weights = rng.integers(-127, 128, (1, 1, 5, 4), dtype=np.int8)
    one = Conv2D(
        inputs=(source,), output=target, weights=(weights,), padding="valid",
        weight_scales=np.full(4, 0.01, np.float32), bias=np.zeros(4, np.int32),
    )  # fmt: skip
    graph = Graph(inputs=(source,), outputs=(target,), operators=(one,))
    graph.check()
    return graph


def traced() -> tuple[int, ...]:
    """Run it on the Verilog; return what moved, from the first register write to the interrupt."""
    program = compile_graph(network(), CONFIG)
    value = np.random.default_rng(2).integers(-128, 128, program.inputs[0].shape).astype(np.int8)
    placed = place(program, [value])
    simulator = AcceleratorSimulator(CONFIG, trace=True)
    result = simulator.run(placed.memory, placed.addresses, latency=LATENCY, reset=1)
    simulator.close()
    interrupt = 1 << MOVES.index("irq")
    end = next(n for n, moves in enumerate(result.trace) if moves & interrupt)
    return result.trace[: end + 3]


def run(trace: tuple[int, ...] = ()) -> Sheet:
    """Draw the run: a line for every channel, a mark for every beat."""
    trace = trace or traced()
    left, pitch, top = 7.6, 0.14, len(MOVES) * 0.62 + 1.3
    s = Sheet(left + pitch * len(trace) + 0.5, top + 0.9, 36)
    colours = dict.fromkeys(MOVES, BLUE) | {
        "register write": CONTROL, "operands enter the array": ORANGE, "results": ORANGE,
        "aw": GREEN, "w": GREEN, "b": GREEN, "irq": CONTROL,
    }  # fmt: skip
    for cycle in range(0, len(trace) + 1, 10):
        x = left + pitch * cycle
        s.line((x, 0.9), (x, top), ink="#DDDDDD", width=0.6, arrow=False, layer=1)
        s.words(x, 0.55, str(cycle), size=7.5, ink=CONTROL)
    s.words(left - 0.3, 0.55, "cycle", size=8, ink=CONTROL, align="right")
    for line, name in enumerate(MOVES):
        y = top - 0.62 * (line + 1)
        s.words(left - 0.3, y + 0.22, name, size=8.5, align="right")
        s.line((left, y), (left + pitch * len(trace), y), ink="#CCCCCC", width=0.6, arrow=False,
               layer=1)  # fmt: skip
        begun = None
        for cycle in range(len(trace) + 1):
            moves = cycle < len(trace) and trace[cycle] >> line & 1
            if moves and begun is None:
                begun = cycle
            elif not moves and begun is not None:
                x, width = left + pitch * begun, pitch * (cycle - begun)
                s.box(x, y, width, 0.44, face=colours[name], edge=colours[name], line=0.3)
                begun = None
    s.words(
        0.2, top + 0.45, "4 x 4 ST-OS, a bus of 64 bits, memory 12 cycles away: a pointwise "
        "convolution of 12 pixels, 5 channels to 4", size=9, align="left", bold=True,
    )  # fmt: skip
    return s
