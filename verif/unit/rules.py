"""The rules of the controller, as inequalities between steps, and commands to try them with."""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hw.config import COMMAND_FIELDS, ArrayConfig, Command, CommandError
from verif.unit.stepper import Inputs

NEVER = -(1 << 20)


def gemm(depth: int, emit: int, *, accumulate: bool = False) -> Command:
    """Return the command of a GEMM tile."""
    return Command(depth=depth, emit=emit, accumulate=accumulate)


def st_os(depth: int, emit: int, folds: int = 1, *, accumulate: bool = False) -> Command:
    """Return the command of an ST-OS pass."""
    return Command(depth=depth, emit=emit, folds=folds, st_os=True, accumulate=accumulate)


def random_commands(config: ArrayConfig, dice: random.Random, count: int) -> list[Command]:
    """Return legal commands of all kinds, often at their limits; the last one emits."""
    cols = config.cols
    commands: list[Command] = []
    kept = False
    for index in range(count):
        accumulate = kept and dice.random() < 0.6
        emit = dice.choice([0, 1, cols, dice.randint(1, cols)])
        if index == count - 1:
            emit = cols
        if config.st_os and dice.random() < 0.5:
            folds = dice.choice([1, 2, 3]) if emit and not accumulate else 1
            taps = dice.choice([1, cols, dice.randint(1, cols)])
            commands.append(st_os(taps, emit, folds, accumulate=accumulate))
        else:
            depth = dice.choice([1, 1, 2, dice.randint(1, 2 * cols + 2)])
            commands.append(gemm(depth, emit, accumulate=accumulate))
        kept = emit == 0
    return commands


def one_field_off(config: ArrayConfig) -> Iterable[tuple[bool, int]]:
    """Yield (whether sums are kept, command word): all legal but for at most one field.

    Every field at its limits and next to them, every single bit of the wide ones and every
    reserved bit, for both modes, starting from zero and accumulating.
    """
    cols = config.cols
    bits = [1 << bit for bit in range(16)]
    values = {
        "depth": [0, cols, cols + 1, *bits],
        "folds": [0, 2, 3, *bits],
        "emit": [0, cols, cols + 1, *bits],
        "reserved": [1 << bit for bit in range(14)],
    }
    good = {"depth": 1, "folds": 1, "emit": 1, "st_os": 0, "accumulate": 0, "reserved": 0}
    offs = [{name: value} for name in values for value in values[name]]
    offs += [{"folds": 2, "emit": 0}, {"folds": 2, "emit": cols}]
    for off, mode, kept in itertools.product(offs, (0, 1), (0, 1)):
        fields = good | {"st_os": mode, "accumulate": kept} | off
        yield bool(kept), sum(fields[name] << low for name, low, _ in COMMAND_FIELDS)
    for mode, kept, accumulate in itertools.product((0, 1), (0, 1), (0, 1)):
        fields = good | {"st_os": mode, "accumulate": accumulate}
        yield bool(kept), sum(fields[name] << low for name, low, _ in COMMAND_FIELDS)


class Beat(NamedTuple):
    """One beat of a command."""

    st_os: bool
    tap: bool = False  # it takes a weight
    first: bool = False  # the first tap of a sum that starts from zero
    finish: bool = False  # the last tap of a sum that is emitted
    width: int = 0  # outputs per row of its fold
    last: bool = False  # it belongs to the last fold of its command
    ends: bool = False  # it is the last one of its command


def beats_of(command: Command, config: ArrayConfig) -> Iterator[Beat]:
    """Yield the beats of a command: ``folds * cols + depth - 1`` for ST-OS, `depth` for GEMM."""
    mode, depth = command.st_os, command.depth
    for _ in range(config.cols - 1 if mode else 0):
        yield Beat(mode)
    for fold in range(command.folds):
        last = fold == command.folds - 1
        for k in range(depth):
            yield Beat(
                mode,
                tap=True,
                first=k == 0 and not command.accumulate,
                finish=k == depth - 1 and command.emit > 0,
                width=command.emit if last else config.cols,
                last=last,
                ends=last and k == depth - 1,
            )
        for _ in range(config.cols - depth if mode and not last else 0):
            yield Beat(mode)


class Rules:
    """What the controller is to do in every cycle, by its docstring.

    Parameters
    ----------
    config : ArrayConfig
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Start again as after `rst`."""
        self.step = 0  # steps since reset: cycles with i_en
        self.waiting: Command | None = None  # the command taken ahead
        self.waiting_drops = False
        self.beats: deque[Beat] = deque()  # what is left of the command in progress
        self.drops = False  # its clearing step is still to come
        self.kept = self.error = False
        self.last_finish = self.last_gemm = self.last_st_os = NEVER
        self.prior = 0  # outputs per row of the fold that emitted last
        self.tokens: dict[int, int] = {}  # by step
        self.tags = 0
        self.mode = False  # of the array
        self.move: bool | None = None  # unknown before the first step
        self.direct = False

    @property
    def flushing(self) -> bool:
        """Whether operands from before the reset may still be in the grid."""
        return self.step <= self.config.rows + self.config.cols - 1

    def may_enter(self, st_os: bool) -> bool:
        """Return whether the mode can change over, if it has to."""
        if st_os:
            return self.step > self.last_gemm + self.config.rows + self.config.cols - 2
        return self.step > self.last_st_os + 1

    def may_finish(self, beat: Beat) -> bool:
        """Return whether the results of the fold before leave room for those of this one."""
        width = beat.width
        if self.config.accumulators == 2:
            waits = beat.finish
        else:
            waits = beat.first
            width = width or self.config.cols  # a kept sum may be continued by a wide one
        return not waits or self.step >= self.last_finish + max(self.prior, width)

    def cycle(self, inputs: Inputs) -> dict[str, int | None]:
        """Return the outputs of one cycle (None: any value), and go on to the next."""
        config = self.config
        enable = bool(inputs["i_en"])
        beat = self.beats[0] if self.beats else None
        may = enable and beat is not None and self.may_enter(beat.st_os)
        clears = may and self.drops
        go = may and not self.drops and beat is not None and self.may_finish(beat)
        tap = beat is not None and beat.tap
        act, weight = inputs["i_act_valid"], inputs["i_wgt_valid"]
        act_ready = bool(go and (weight or not tap))
        enters = bool(act_ready and act)
        load = enable and self.waiting is not None
        load = load and (beat is None or (enters and beat.ends))
        ready = not self.flushing and (self.waiting is None or load)
        outputs: dict[str, int | None] = {
            "o_cmd_ready": ready,
            "o_act_ready": act_ready,
            "o_wgt_ready": bool(go and act and tap),
            "o_tags": self.tags,
            "o_token": self.tokens.get(self.step, 0),
            "o_cmd_error": self.error,
            "o_move": enable,
        }
        if config.st_os:
            outputs |= {"o_broadcast": self.mode, "o_token_direct": self.direct}
            if enable:
                outputs["o_move"] = self.move
        if enable:
            self._enter(beat if enters else None, clears)
        if load:
            assert self.waiting is not None and not self.beats
            self.beats.extend(beats_of(self.waiting, config))
            self.drops, self.waiting = self.waiting_drops, None
        if ready and inputs["i_cmd_valid"]:
            self._take(inputs["i_cmd"])
        if enable:
            self.step += 1
        if inputs.get("rst"):
            self.reset()
        return outputs

    def _enter(self, beat: Beat | None, clears: bool) -> None:
        """Let a beat, a clearing step or a bubble enter."""
        two = self.config.accumulators == 2
        flushed = self.step == self.config.rows + self.config.cols - 1
        mark = clears or (flushed and two)
        if clears:
            self.drops = False
            self._change_over(self.beats[0].st_os)
        if flushed:
            self.mode = self.config.st_os
        if beat is not None:
            self.beats.popleft()
            self._change_over(beat.st_os)
            mark = beat.finish if two else beat.first
            if beat.finish:
                for index in range(beat.width):
                    final = index == beat.width - 1
                    place = self.step + 1 + index
                    assert place not in self.tokens, "two folds meet on the result chain"
                    self.tokens[place] = 1 + 2 * (index == 0) + 4 * (final and beat.last)
                self.last_finish, self.prior, self.direct = self.step, beat.width, beat.st_os
        self.tags = (beat is not None and beat.tap) + 2 * mark
        self.move = beat is not None or not self.mode

    def _change_over(self, st_os: bool) -> None:
        self.mode = st_os
        if st_os:
            self.last_st_os = self.step
        else:
            self.last_gemm = self.step

    def _take(self, word: int) -> None:
        try:
            command = Command.decode(word)
            command.check(self.config, kept=self.kept)
        except CommandError:
            self.error = True
            return
        self.waiting = command
        two = self.config.accumulators == 2
        self.waiting_drops = two and self.kept and not command.accumulate
        self.kept = command.emit == 0
