"""The exact cycle model of the core."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hw.config import ArrayConfig, Command

__all__ = ["Timing", "cycles", "schedule"]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When one command runs, in cycles after the first command was taken.

    Parameters
    ----------
    command : Command
    first_weight : int
        The first weight of the first fold enters.
    last_weight : int
        The last weight of the first fold enters.
    fold : int
        Cycles from one fold to the next.
    first_output : int
        The first output of the first fold is taken, if the command emits.
    """

    command: Command
    first_weight: int
    last_weight: int
    fold: int
    first_output: int

    @property
    def last_output(self) -> int:
        """Cycle in which the last output is taken, if the command emits."""
        command = self.command
        return self.first_output + (command.folds - 1) * self.fold + command.emit - 1


def cycles(commands: Iterable[Command], config: ArrayConfig) -> int:
    """Return the clock cycles from the first accepted command to the last output beat.

    That is the number of clock edges from the one at which the first command is taken to the one
    at which the last output beat is taken, when every input stream always has its next beat and
    every output beat is taken at once. It is exact: the RTL is compared with it by equality.

    Parameters
    ----------
    commands : iterable of Command
    config : ArrayConfig

    Raises
    ------
    ValueError
        If a command is illegal, or if nothing is emitted at all.
    """
    end = 0
    for timing in schedule(commands, config):
        if timing.command.emit:
            end = timing.last_output
    if end == 0:
        raise ValueError("the commands emit nothing")
    return end


def schedule(commands: Iterable[Command], config: ArrayConfig) -> Iterator[Timing]:
    """Yield when every command runs, if nothing ever stalls.

    The rules are those of `hw.controller.Controller`:

    - Beats of a command enter in consecutive cycles, the first one in the cycle after the last
      beat of the command before.
    - Two accumulators: the last beat of a fold enters no earlier than ``max(N', N)`` cycles
      after the last beat of the fold that emitted before (N', N: outputs per row of the two). One
      accumulator: the same holds for the first weight of a fold, and a fold that will be kept
      counts as ``N = cols``.
    - Two accumulators: dropping kept sums takes one cycle.
    - GEMM after ST-OS: one cycle in between. ST-OS after GEMM: ``rows + cols - 2``.
    - The first output of a fold is taken ``rows + cols + mac_stages`` (GEMM) or
      ``mac_stages + 2`` (ST-OS) cycles after its last beat entered, the others in consecutive
      cycles.

    Raises
    ------
    ValueError
        If a command is illegal.
    """
    rows, cols = config.rows, config.cols
    two = config.accumulators == 2
    now = 2  # the earliest cycle for the next beat; the first command is taken in cycle 0
    other = 2  # the same for a command of the other mode
    mode: bool | None = None
    last = -cols  # cycle in which the last beat of the last emitting fold entered
    prior = 0  # outputs per row of that fold
    kept = False
    for command in commands:
        command.check(config, kept=kept)
        depth, emit, folds = command.depth, command.emit, command.folds
        start = now if mode in (None, command.st_os) else other
        mode = command.st_os
        if two and kept and not command.accumulate:
            start += 1
        kept = emit == 0
        width = cols if folds > 1 else emit
        first = start + (cols - 1 if mode else 0)
        fold = cols
        if two:
            finish = first + depth - 1
            if emit:
                finish = max(finish, last + max(prior, width))
        else:
            fold += depth - 1
            if not command.accumulate:
                first = max(first, last + max(prior, width or cols))
            finish = first + depth - 1
        yield Timing(
            command=command,
            first_weight=first,
            last_weight=finish,
            fold=fold,
            first_output=finish + config.mac_stages + (2 if mode else rows + cols),
        )
        finish += (folds - 1) * fold
        if emit:
            last, prior = finish, emit
        now = finish + 1
        other = now + (1 if mode else rows + cols - 2)
