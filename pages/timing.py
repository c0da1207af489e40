"""When every PE works: the timing diagrams of docs/dataflow.md, from the cycle model."""

from __future__ import annotations

from hw.config import ArrayConfig, Command
from sim import schedule

from .draw import CONTROL, Sheet

__all__ = ["gemm", "sheet", "st_os"]

COLOURS = ("#0072B2", "#E69F00", "#009E73")  # colour-blind safe (Okabe and Ito)
CONFIG = ArrayConfig(rows=2, cols=4, st_os=True)


def sheet(commands: list[Command], config: ArrayConfig, title: str) -> Sheet:
    """Draw who works when: inputs, every PE, and the output stream, one column per cycle."""
    rows, cols = config.rows, config.cols
    names = ["activations", "weights"]
    names += [f"PE {r},{c}" for r in range(rows) for c in range(cols)] + ["results"]
    cells: list[tuple[int, int, str, str]] = []  # line, cycle, colour, text
    fold_number = 0
    for timing in schedule(commands, config):
        command = timing.command
        if command.st_os:
            begin = timing.first_weight - (cols - 1)
            for beat in range(command.act_beats(config)):
                cells.append((0, begin + beat, "#999999", str(beat)))
        for fold in range(command.folds):
            colour = COLOURS[fold_number % len(COLOURS)]
            fold_number += 1
            offset = fold * timing.fold
            # With two accumulators only the last weight may wait.
            enters = [timing.first_weight + offset + k for k in range(command.depth - 1)]
            enters.append(timing.last_weight + offset)
            for k, cycle in enumerate(enters):
                if not command.st_os:
                    cells.append((0, cycle, colour, str(k)))
                cells.append((1, cycle, colour, str(k)))
                for r in range(rows):
                    for c in range(cols):
                        delay = 2 if command.st_os else 2 + r + c
                        cells.append((2 + r * cols + c, cycle + delay, colour, str(k)))
            last = fold == command.folds - 1
            for i in range(command.emit if last else cols):
                cells.append((len(names) - 1, timing.first_output + offset + i, colour, str(i)))
    end = max(cycle for _, cycle, _, _ in cells) + 1
    left, top = 3.9, len(names) + 0.9
    s = Sheet(left + end + 0.3, top + 1.0, 27)
    s.words(0.2, top + 0.5, title, size=9, align="left", bold=True)
    for line, name in enumerate(names):
        s.words(left - 0.3, top - line - 0.5, name, size=8, align="right")
    for cycle in range(0, end + 1, 5):
        s.line((left + cycle, top), (left + cycle, 0.9), ink="#BBBBBB", width=0.6, arrow=False,
               layer=1)  # fmt: skip
        s.words(left + cycle, 0.45, str(cycle), size=8, ink=CONTROL)
    s.words(left - 0.3, 0.45, "cycle", size=8, ink=CONTROL, align="right")
    for line, cycle, colour, text in cells:
        s.box(left + cycle, top - line - 0.95, 1, 0.9, text, face=colour, edge="white", ink="white",
              size=7, line=0.8)  # fmt: skip
    return s


def gemm() -> Sheet:
    """Draw three GEMM tiles."""
    command = Command(depth=5, emit=4)
    return sheet([command] * 3, CONFIG, "three GEMM tiles, K = 5, N = 4, on 2 x 4 PEs")


def st_os() -> Sheet:
    """Draw an ST-OS pass of three folds."""
    command = Command(depth=3, folds=3, emit=4, st_os=True)
    return sheet([command], CONFIG, "an ST-OS pass, K = 3, three folds, on 2 x 4 PEs")
