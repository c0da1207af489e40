"""The rules that a beat waits for: room on the result chains, and changing over."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.data import View

from ..config import ArrayConfig
from ..layouts import TOKEN

__all__ = ["Changeover", "Results", "flush_steps", "wave_steps"]


def flush_steps(config: ArrayConfig) -> int:
    """Return the steps after reset until the operands of an interrupted command have left."""
    return config.rows + config.cols - 1


def wave_steps(config: ArrayConfig, every: int = 1) -> int:
    """Return the bubbles between the last beat of a GEMM tile and the first of an ST-OS pass.

    The wave is gone ``rows + cols - 2`` steps after it. With results `every` steps apart, the last
    token of a tile reaches the last row ``every * (cols - 1) + rows - 1`` steps after the first one
    reaches row 0, and must be there before those of ST-OS, which go to all rows at once.
    """
    return config.rows + every * (config.cols - 1) - 1


class Results:
    """Announce every result with a drain token, and keep two folds from meeting on a chain.

    There is room for the results of a fold as soon as the last beat of the fold before is
    ``max(every * outputs before, outputs now)`` steps old: then all results before are announced.

    What the rule needs to know is worked out one step ahead and kept as a flag, so that the way
    from the streams' valid to the array is only a few gates long.

    A part of the controller: its logic becomes the controller's own by `build`.

    Parameters
    ----------
    config : ArrayConfig
        The machine.
    every : int
        Steps from one result of a row to the next, a power of two.

    Members
    -------
    room : 1
        The fold in progress may bring its result in this step.
    token : TOKEN
        Token for the operands that entered in the step before.
    direct : 1
        It is for all rows at once. It changes only with the first token of a fold.

    Latency: the first token of a fold follows its `finish` in the next step, and then there is one
    every `every` steps, one per output.
    """

    def __init__(self, *, config: ArrayConfig, every: int = 1) -> None:
        self.config = config
        self.every = every
        self.room = Signal()
        self.token = Signal(TOKEN.size)
        self.direct = Signal()

        outputs = range(config.cols + 1)
        # Steps until the results are announced, `every` for each.
        self._left = Signal(range(every * config.cols + 1), name="left")
        self._left_last = Signal(name="left_last")  # left is `every`
        self._draining = Signal(name="draining")  # left != 0
        self._closing = Signal(name="closing")  # they are those of the last fold of a command
        self._fold_width = Signal(outputs, name="fold_width")  # outputs of the fold in progress
        self._narrow = Signal(name="narrow")  # fold_width <= 1

    def build(
        self, m: Module, *, en: Value, load: Value, width: Value, finish: Value, last_fold: Value,
        following: Value, st_os: Value,
    ) -> None:  # fmt: skip
        """Add the logic to a module.

        Parameters
        ----------
        m : Module
            The controller's module.
        en : 1
            The array moves in this step.
        load, width : 1, range(cols + 1)
            A command begins, and the outputs per row of its first fold.
        finish, last_fold, following : 1, 1, range(cols + 1)
            The last beat of a fold that emits enters; it is the last fold of its command; outputs
            per row of the fold that follows.
        st_os : 1
            The command in progress is an ST-OS pass.
        """
        every, bits = self.every, self.every.bit_length() - 1
        with m.If(en):
            with m.If(self._draining):
                m.d.sync += [
                    self._left.eq(self._left - 1),
                    self._draining.eq(self._left != 1 if every > 1 else ~self._left_last),
                    self._left_last.eq(self._left == every + 1),
                ]
        with m.If(finish):
            m.d.sync += [
                self._left.eq(Cat(Const(0, bits), self._fold_width) - 1),
                self._draining.eq(1 if every > 1 else ~self._narrow),
                self._left_last.eq(self._fold_width == 2 if every == 1 else 0),
                self._closing.eq(last_fold),
                # From here on it is that of the fold that follows in the same command.
                self._fold_width.eq(following),
                self._narrow.eq(self._at_most_one(following)),
            ]
        with m.If(load):
            m.d.sync += [self._fold_width.eq(width), self._narrow.eq(self._at_most_one(width))]
        self._make_room(m, en, load, width, finish, following)

        token = View(TOKEN, self.token)
        with m.If(en):
            with m.If(finish):
                m.d.sync += [token.valid.eq(1), token.first.eq(1)]
                m.d.sync += token.last.eq(last_fold & self._narrow)
            with m.Else():
                # A result comes when `left` is a multiple of `every`.
                due = self._draining & ~self._left[:bits].any()
                m.d.sync += [token.valid.eq(due if every > 1 else self._draining)]
                m.d.sync += token.first.eq(0)
                m.d.sync += token.last.eq(self._draining & self._closing & self._left_last)
        if self.config.st_os:
            with m.If(en):
                with m.If(finish):
                    m.d.sync += self.direct.eq(st_os)

    def _make_room(
        self, m: Module, en: Value, load: Value, width: Value, finish: Value, following: Value
    ) -> None:
        """Build the age of the last `finish`, and the comparison that the rule consists of."""
        cols = self.config.cols
        age = Signal(range(cols + 1), init=cols)
        apart = Signal()  # the age is fold_width or more
        older = Signal.like(age)
        m.d.comb += [older.eq(age + (age != cols)), self.room.eq(apart & ~self._draining)]
        with m.If(en):
            m.d.sync += [age.eq(older), apart.eq(older >= self._fold_width)]
        with m.If(finish):
            m.d.sync += [age.eq(1), apart.eq(self._at_most_one(following))]
        with m.If(load):
            m.d.sync += apart.eq(self._at_most_one(width) | (~finish & (older >= width)))

    def _at_most_one(self, value: Value) -> Value:
        return value <= 1 if self.config.cols > 1 else Const(1)


class Changeover:
    """Keep GEMM and ST-OS apart: the rules of `Controller` for changing over, and for a reset.

    After a reset, what an interrupted command left in the grid must leave it before the first
    command is taken: that is `flush_steps` bubbles, and the step in which the sums are cleared.

    A part of the controller: its logic becomes the controller's own by `build`.

    Parameters
    ----------
    config : ArrayConfig
        The machine.
    every : int
        As of `Results`.

    Members
    -------
    flush, flushed : 1
        No command may be taken yet after reset; this is the last step of that.
    mode_ok : 1
        A beat or a clearing step of the command in progress may enter in this step.
    broadcast : 1
        The operands that entered in the step before are for the broadcast lines. It changes only
        with a beat or a clearing step, and is set at the end of the flush. ST-OS only.
    move : 1
        Activations moved then: always in GEMM, with every beat in ST-OS. ST-OS only.
    """

    def __init__(self, *, config: ArrayConfig, every: int = 1) -> None:
        self.config = config
        self.every = every
        self.flush = Signal(init=1)
        self.flushed = Signal()
        self.mode_ok = Signal()
        self.broadcast = Signal()
        self.move = Signal()

    def build(
        self, m: Module, *, en: Value, st_os: Value, advance: Value, wipe: Value, tagged: Value
    ) -> None:
        """Add the logic to a module.

        Parameters
        ----------
        m : Module
            The controller's module.
        en : 1
            The array moves in this step.
        st_os : 1
            The command in progress is an ST-OS pass.
        advance, wipe : 1
            A beat of it enters, or its clearing step.
        tagged : 1
            The operands that enter in this step have tags.
        """
        flush, wave_after = flush_steps(self.config), wave_steps(self.config, self.every)
        wave = Signal(range(max(flush, wave_after) + 1), init=flush)
        settled = Signal()  # wave is 0
        with m.If(en & ~settled):
            m.d.sync += [wave.eq(wave - 1), settled.eq(wave <= 1 if flush > 1 else 1)]
        m.d.comb += self.flushed.eq(self.flush & settled & en)
        with m.If(self.flushed):
            m.d.sync += self.flush.eq(0)
        if not self.config.st_os:
            m.d.comb += self.mode_ok.eq(1)
            return
        # Broadcast operands entered in the step before. A flag, as all beats wait for it.
        southward = Signal()
        m.d.comb += self.mode_ok.eq(Mux(st_os, settled, ~southward))
        mode = Mux(advance | wipe, st_os, self.broadcast | self.flushed)
        with m.If((advance | wipe) & ~st_os):
            m.d.sync += [wave.eq(wave_after), settled.eq(wave_after == 0)]
        with m.If(en):
            m.d.sync += [
                self.broadcast.eq(mode), self.move.eq(advance | ~mode), southward.eq(mode & tagged),
            ]  # fmt: skip
