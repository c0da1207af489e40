"""The exact cycle model of the core."""

from __future__ import annotations

from collections.abc import Iterable

from hw.config import ArrayConfig, Command

__all__ = ["cycles"]


def cycles(commands: Iterable[Command], config: ArrayConfig) -> int:
    """Return the clock cycles from the first accepted command to the last output beat.

    That is the number of clock edges from the one at which the first command is taken to the one
    at which the last output beat is taken, when every input stream always has its next beat and
    every output beat is taken at once. It is exact: the RTL is compared with it by equality.

    The rules are those of `hw.controller.Controller`. With `enter` the cycle in which a beat
    enters:

    - Beats of a command enter in consecutive cycles, the first one in the cycle after the last
      beat of the command before.
    - Two accumulators: the last beat of a fold enters no earlier than ``max(N', N)`` cycles
      after the last beat of the fold that emitted before (N', N: outputs per row of the two). One
      accumulator: the same holds for the first weight of a fold, and a fold that will be kept
      counts as ``N = cols``.
    - Two accumulators: dropping kept sums takes one cycle.
    - GEMM after ST-OS: one cycle in between. ST-OS after GEMM: ``rows + cols - 2``.
    - The first output of a fold is taken ``rows + cols + 1`` (GEMM) or 3 (ST-OS) cycles after its
      last beat entered, the others in consecutive cycles.

    Parameters
    ----------
    commands : iterable of Command
    config : ArrayConfig

    Raises
    ------
    ValueError
        If a command is illegal, or if nothing is emitted at all.
    """
    rows, cols = config.rows, config.cols
    two = config.accumulators == 2
    now = 1  # the earliest cycle for the next beat; the first command is taken in cycle 0
    mode: bool | None = None
    wave = 0  # the earliest cycle for a beat of the other mode
    last = -cols  # cycle in which the last beat of the last emitting fold entered
    prior = 0  # outputs per row of that fold
    end = 0
    kept = False
    for command in commands:
        command.check(config, kept=kept)
        depth, emit = command.depth, command.emit
        if mode is not None and command.st_os != mode:
            now = max(now, wave)
        mode = command.st_os
        if two and kept and not command.accumulate:
            now += 1
        kept = emit == 0
        width = cols if command.folds > 1 else emit
        tap = now + (cols - 1 if command.st_os else 0)  # the first weight enters
        if two:
            finish = tap + depth - 1
            if emit:
                finish = max(finish, last + max(prior, width))
            finish += (command.folds - 1) * cols
        else:
            if not command.accumulate:
                tap = max(tap, last + max(prior, width or cols))
            finish = tap + depth - 1
            finish += (command.folds - 1) * (cols + depth - 1)
        if emit:
            last, prior = finish, emit
            end = finish + (3 if mode else rows + cols + 1) + emit - 1
        now = finish + 1
        wave = now + (1 if mode else rows + cols - 2)
    if end == 0:
        raise ValueError("the commands emit nothing")
    return end
