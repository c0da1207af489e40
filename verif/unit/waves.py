"""Tiles as they enter a row or a grid, without the core around it: skewed by hand, or in line."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable

import numpy as np

from hw.config import ArrayConfig
from hw.layouts import operand_layout
from verif.unit.stepper import Inputs, Stepper, number, pack, signed


class Waves:
    """Inputs of a grid (or of a row: a grid of one), tile after tile, and its expected results.

    A tile enters as early as the result chains allow it. Inputs that matter to no tile stay
    unnamed, so that they are garbage.

    Parameters
    ----------
    config : ArrayConfig
    seed : int
        Of the operands and of the bubbles.
    bubbles : float
        Probability of a bubble before a beat.
    """

    def __init__(self, config: ArrayConfig, seed: int = 0, bubbles: float = 0.0) -> None:
        self.config = config
        self.dice = random.Random(seed)
        self.bubbles = bubbles
        self.west: dict[tuple[int, int], int] = {}  # activations by (step, row)
        self.north: dict[tuple[int, int], tuple[int | None, int]] = {}  # operands by (step, column)
        self.line: dict[tuple[int, int], tuple[int, int]] = {}  # broadcast operands by (step, row)
        self.broadcast: dict[int, int] = {}  # by step; lasts until it changes
        self.moves: set[int] = set()  # steps of ST-OS beats
        self.release: dict[int, int] = defaultdict(int)  # rows by step
        self.results: dict[tuple[int, int], int] = {}  # by (step, row)
        self.now = 0  # the next beat enters no earlier
        self.mode = False
        self.last_gemm = self.last_result = -(1 << 16)
        self.prior = 0
        self.kept: np.ndarray | None = None
        if config.accumulators == 2:
            self.clear()

    def clear(self) -> None:
        """Drop the sums: a mark without a product goes through the grid."""
        self.now += self.mode  # one bubble after ST-OS
        self.mode = False
        self.broadcast[self.now] = 0
        for column in range(self.config.cols):
            self.north[self.now + column, column] = (None, 2)
        self.last_gemm = self.now
        self.now += 1

    def _beats(self, count: int, wait_at: Callable[[int], bool], width: int) -> list[int]:
        """Return the steps in which beats enter; those that `wait_at` names wait for results."""
        steps = []
        for beat in range(count):
            while self.dice.random() < self.bubbles:
                self.now += 1
            if wait_at(beat):
                self.now = max(self.now, self.last_result + max(self.prior, width))
            steps.append(self.now)
            self.now += 1
        return steps

    def _operands(self, rows: int, columns: int, width: int) -> np.ndarray:
        return np.array(
            [[number(self.dice, width) for _ in range(columns)] for _ in range(rows)], np.int64
        )

    def _mark(self, first: bool, last: bool) -> int:
        """Return the tags of a product."""
        return 1 | 2 * (last if self.config.accumulators == 2 else first)

    def _expect(self, sums: np.ndarray, finished: list[int], emit: int) -> None:
        """Release every row in the step after which its last column is finished."""
        for row, step in enumerate(finished):
            self.release[step] |= 1 << row
            for n in range(emit):
                self.results[step + 1 + n, row] = int(sums[row, n])

    def gemm(self, depth: int, emit: int, *, accumulate: bool = False) -> None:
        """Let ``Y[r, n] = sum_k A[r, k] * B[k, n]`` enter as a diagonal wave."""
        config = self.config
        rows, cols, two = config.rows, config.cols, config.accumulators == 2
        self.now += self.mode  # one bubble after ST-OS
        self.mode = False
        a = self._operands(rows, depth, config.act_width)
        b = self._operands(depth, cols, config.weight_width)
        last = depth - 1

        def waits(beat: int) -> bool:
            return (beat == last and emit > 0) if two else (beat == 0 and not accumulate)

        steps = self._beats(depth, waits, emit if two else emit or cols)
        self.broadcast[steps[0]] = 0
        for k, step in enumerate(steps):
            tags = self._mark(k == 0 and not accumulate, k == last and emit > 0)
            for row in range(rows):
                self.west[step + row, row] = a[row, k]
            for column in range(cols):
                self.north[step + column, column] = (b[k, cols - 1 - column], tags)
        self.last_gemm = steps[-1]
        sums = a @ b
        if accumulate and self.kept is not None:
            sums = sums + self.kept
        self.kept = None if emit else sums
        if emit:
            self.last_result, self.prior = steps[-1], emit
            done = steps[-1] + cols - 1 + config.mac_stages
            self._expect(sums, [done + row for row in range(rows)], emit)

    def st_os(self, taps: int, emit: int, folds: int = 1, *, accumulate: bool = False) -> None:
        """Let ``y[r, i] = sum_k w[r, k] * x[r, i + k]`` enter in line, its taps broadcast."""
        config = self.config
        rows, cols, two = config.rows, config.cols, config.accumulators == 2
        if not self.mode:
            self.now = max(self.now, self.last_gemm + rows + cols - 1)
        self.mode = True
        x = self._operands(rows, folds * cols + taps - 1, config.act_width)
        self.broadcast[self.now] = 1
        done = 0
        for fold in range(folds):
            w = self._operands(rows, taps, config.weight_width)
            final = fold == folds - 1
            width = emit if final else cols
            before = 0 if fold else cols - 1  # beats that only fill the row
            first, last = before, before + taps - 1

            def waits(beat: int, first: int = first, last: int = last) -> bool:
                return (beat == last and emit > 0) if two else (beat == first and not accumulate)

            count = last + 1 if final else before + cols
            steps = self._beats(count, waits, width if two else width or cols)
            self.moves.update(steps)
            for row in range(rows):
                for step, value in zip(steps, x[row, done : done + count], strict=True):
                    self.west[step, row] = value
            done += count
            for k in range(taps):
                tags = self._mark(k == 0 and not accumulate, k == taps - 1 and emit > 0)
                for row in range(rows):
                    self.line[steps[before + k], row] = (w[row, k], tags)
            sums = np.zeros((rows, cols), np.int64)
            for k in range(taps):
                sums += w[:, [k]] * x[:, fold * cols + k : (fold + 1) * cols + k]
            if accumulate and self.kept is not None:
                sums = sums + self.kept
            self.kept = None if emit else sums
            if emit:
                self.last_result, self.prior = steps[last], width
                self._expect(sums, [steps[last] + config.mac_stages] * rows, width)

    def steps(self) -> list[Inputs]:
        """Return the inputs of every step, and of those after the last beat."""
        config, dice = self.config, self.dice
        rows, cols, weight = config.rows, config.cols, config.weight_width
        operand = operand_layout(config).size
        steps = []
        broadcast = 0
        for step in range(self.now + 2 * cols + rows + config.mac_stages):
            broadcast = self.broadcast.get(step, broadcast)

            def tagged(value: int | None, tags: int) -> int:
                bits = dice.getrandbits(weight) if value is None else pack([value], weight)
                return bits | tags << weight

            north = [tagged(*self.north.get((step, c), (None, 0))) for c in range(cols)]
            west = [self.west.get((step, r), dice.getrandbits(16)) for r in range(rows)]
            inputs = {
                "i_en": 1,
                "i_move": int(not broadcast or step in self.moves),
                "i_release": self.release[step],
                "i_a": pack(west, config.act_width),
                "i_operand": pack(north, operand),
            }
            if config.st_os:
                line = [tagged(*self.line.get((step, r), (0, 0))) for r in range(rows)]
                inputs |= {"i_broadcast_en": broadcast, "i_broadcast": pack(line, operand)}
                if broadcast:
                    del inputs["i_operand"]
            steps.append(inputs)
        return steps

    def random_tiles(self, count: int) -> None:
        """Let random tiles enter: both modes, all widths, chains of kept sums."""
        config, dice = self.config, self.dice
        for index in range(count):
            emit = dice.randint(1, config.cols) if dice.random() < 0.7 or index == count - 1 else 0
            accumulate = self.kept is not None and dice.random() < 0.7
            if self.kept is not None and not accumulate and config.accumulators == 2:
                self.clear()
            if config.st_os and dice.random() < 0.5:
                folds = dice.randint(1, 3) if emit and not accumulate else 1
                self.st_os(dice.randint(1, config.cols), emit, folds, accumulate=accumulate)
            else:
                self.gemm(dice.randint(1, 6), emit, accumulate=accumulate)

    def compare(self, stepper: Stepper, *, seed: int = 0) -> None:
        """Run, and compare every result."""
        assert self.results, "nothing is compared"
        width = self.config.acc_width
        trace = stepper.run(self.steps(), seed=seed)
        for (step, row), want in self.results.items():
            got = signed(trace[step].o_result >> row * width, width)
            assert got == signed(want, width), f"row {row} in step {step}"
