"""The exact cycle model of the core: when the controller starts what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hw.config import ArrayConfig, Command

__all__ = ["Repeat", "Timing", "cycles", "flush_cycles", "schedule", "unroll"]


@dataclass(frozen=True)
class Repeat:
    """A sequence of commands, `count` times over.

    Parameters
    ----------
    parts : tuple of Command or Repeat
    count : int
        At least 1.
    """

    parts: tuple[Command | Repeat, ...]
    count: int = 1


Program = Iterable[Command | Repeat]


def unroll(program: Program) -> Iterator[Command]:
    """Yield every command of a program."""
    for part in program:
        if isinstance(part, Command):
            yield part
        else:
            for _ in range(part.count):
                yield from unroll(part.parts)


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


@dataclass(frozen=True)
class _State:
    """What the start of the next command depends on."""

    now: int  # the earliest cycle for the next beat; the first command is taken in cycle 0
    other: int  # the same for a command of the other mode
    last: int  # cycle in which the last beat of the last emitting fold entered
    prior: int = 0  # outputs per row of that fold
    end: int = 0  # cycle in which its last output is taken
    mode: bool | None = None
    kept: bool = False

    def since(self, time: int) -> _State:
        """Return the same state on a clock that shows `time` less."""
        return _State(
            self.now - time, self.other - time, self.last - time, self.prior, self.end - time,
            self.mode, self.kept,
        )  # fmt: skip


def _advance(state: _State, command: Command, config: ArrayConfig) -> tuple[_State, Timing]:
    """Return when a command runs, and the state behind it; the rules are those of `schedule`."""
    rows, cols = config.rows, config.cols
    two = config.accumulators == 2
    command.check(config, kept=state.kept)
    depth, emit, folds, mode = command.depth, command.emit, command.folds, command.st_os
    start = state.now if state.mode in (None, mode) else state.other
    if two and state.kept and not command.accumulate:
        start += 1  # the clearing step
    width = cols if folds > 1 else emit  # outputs per row of the first fold
    first = start + (cols - 1 if mode else 0)  # an ST-OS pass fills its rows first
    fold = cols
    if two:  # the last beat of a fold waits for the results of the fold before
        finish = first + depth - 1
        if emit:
            finish = max(finish, state.last + max(state.prior, width))
    else:  # the first weight does; a fold that is kept counts as one that emits `cols`
        fold += depth - 1
        if not command.accumulate:
            first = max(first, state.last + max(state.prior, width or cols))
        finish = first + depth - 1
    timing = Timing(
        command=command,
        first_weight=first if depth > 1 else finish,
        last_weight=finish,
        fold=fold,
        first_output=finish + config.mac_stages + (2 if mode else rows + cols),
    )
    finish += (folds - 1) * fold
    now = finish + 1
    after = _State(
        now,
        now + (1 if mode else rows + cols - 2),
        finish if emit else state.last,
        emit or state.prior,
        timing.last_output if emit else state.end,
        mode,
        not emit,
    )
    return after, timing


def _start(config: ArrayConfig) -> _State:
    return _State(now=2, other=2, last=-config.cols)


def flush_cycles(config: ArrayConfig) -> int:
    """Return the clock cycles after reset in which no command is taken: ``rows + cols``.

    So long it takes until nothing of the past is left in the grid.
    """
    return config.rows + config.cols


def cycles(program: Program, config: ArrayConfig) -> int:
    """Return the clock cycles from the first accepted command to the last output beat.

    That is the number of clock edges from the one at which the first command is taken to the one
    at which the last output beat is taken, when every input stream always has its next beat and
    every output beat is taken at once. It is exact: the RTL is compared with it by equality.

    A repetition that emits results is not run through: when a round leaves the core as it found
    it, the others take the same time.

    Parameters
    ----------
    program : iterable of Command or Repeat
    config : ArrayConfig

    Raises
    ------
    ValueError
        If a command is illegal, or if nothing is emitted at all.
    """
    end = _run(_start(config), program, config).end
    if end == 0:
        raise ValueError("the commands emit nothing")
    return end


def _run(state: _State, program: Program, config: ArrayConfig) -> _State:
    for part in program:
        if isinstance(part, Command):
            state, _ = _advance(state, part, config)
            continue
        for done in range(1, part.count + 1):
            before, state = state, _run(state, part.parts, config)
            time = state.now - before.now
            if state.since(time) == before:
                state = state.since(-time * (part.count - done))
                break
    return state


def schedule(commands: Iterable[Command], config: ArrayConfig) -> Iterator[Timing]:
    """Yield when every command runs, if nothing ever stalls.

    The rules are those of `hw.control.Controller`:

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
    state = _start(config)
    for command in commands:
        state, timing = _advance(state, command, config)
        yield timing
