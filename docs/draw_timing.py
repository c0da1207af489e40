"""Draw the timing diagrams of docs/dataflow.md from the cycle model: python docs/draw_timing.py."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

from hw.config import ArrayConfig, Command
from sim import schedule

HERE = Path(__file__).parent
COLOURS = ("#0072B2", "#E69F00", "#009E73")  # colour-blind safe (Okabe and Ito)


def draw(commands: list[Command], config: ArrayConfig, path: Path, title: str) -> None:
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
    figure, axes = plt.subplots(figsize=(0.27 * end + 1.2, 0.27 * len(names) + 1))
    for line, cycle, colour, text in cells:
        axes.broken_barh([(cycle, 1)], (line - 0.45, 0.9), color=colour, edgecolor="white")
        axes.text(cycle + 0.5, line, text, ha="center", va="center", color="white", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xticks(range(0, end + 1, 5))
    axes.set_xlim(0, end)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("cycle (the first command is taken in cycle 0)", fontsize=8)
    axes.set_title(title, fontsize=9, loc="left")
    axes.grid(axis="x", linewidth=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    figure.savefig(Path("build") / path.with_suffix(".png").name, dpi=110)
    plt.close(figure)


def main() -> None:
    """Draw both diagrams."""
    mpl.rcParams["svg.hashsalt"] = "stos"
    mpl.rcParams["svg.fonttype"] = "none"
    Path("build").mkdir(exist_ok=True)
    config = ArrayConfig(rows=2, cols=4, st_os=True)
    gemm = Command(depth=5, emit=4)
    draw([gemm] * 3, config, HERE / "gemm.svg", "three GEMM tiles, K = 5, N = 4, on 2 x 4 PEs")
    stream = Command(depth=3, folds=3, emit=4, st_os=True)
    draw([stream], config, HERE / "st_os.svg", "an ST-OS pass, K = 3, three folds, on 2 x 4 PEs")


if __name__ == "__main__":
    main()
