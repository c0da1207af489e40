"""The command in progress: which beats it has, and what the next one is."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value

from ..config import ArrayConfig
from .command_port import NextCommand

__all__ = ["Sequencer"]


class Sequencer:
    """Count the beats of the command in progress: taps, and in ST-OS fill, folds and their rests.

    A GEMM tile is `depth` beats with a tap each. An ST-OS pass first fills the rows with
    ``cols - 1`` beats; then each of its folds is `cols` beats long, the last one `depth`; the
    first `depth` beats of a fold have a tap each. All outputs are registers, or one gate behind
    them.

    A part of the controller: its logic becomes the controller's own by `build`.

    Parameters
    ----------
    config : ArrayConfig
        The machine.

    Members
    -------
    busy : 1
        A command is in progress. What follows is about it, and valid only then.
    clear : 1
        Its clearing step is still to come. Never with one accumulator.
    st_os : 1
        It is an ST-OS pass.
    last_fold, following : 1, range(cols + 1)
        Its next beat is of its last fold; outputs per row of the fold after that one.
    tap : 1
        Its next beat carries weights: all but fill and rest of an ST-OS fold.
    first_tap, last_tap : 1
        It is the first one of a fold that starts from zero; the last one of a fold.
    finishes, ends : 1
        It is the last tap of a fold that emits; of the command.

    Latency: a command is in progress from the cycle after its `load` on.
    """

    def __init__(self, *, config: ArrayConfig) -> None:
        self.config = config
        self.busy = Signal()
        self.clear = Signal()
        self.st_os = Signal()
        self.last_fold = Signal()
        self.following = Signal(range(config.cols + 1))
        self.tap = Signal()
        self.first_tap = Signal()
        self.last_tap = Signal()
        self.finishes = Signal()
        self.ends = Signal()
        self._taps_left = Signal(16, name="taps_left")  # after the next beat
        self._fresh = Signal(name="fresh")  # folds start from zero

    def build(
        self, m: Module, *, command: NextCommand, load: Value, advance: Value, wipe: Value
    ) -> None:
        """Add the logic to a module.

        Parameters
        ----------
        m : Module
            The controller's module.
        command, load : NextCommand, 1
            The next command, and whether it begins: none is in progress, or its last beat enters.
        advance : 1
            The next beat enters the array.
        wipe : 1
            The clearing step does.
        """
        emits = Signal()
        m.d.comb += [
            self.finishes.eq(self.last_tap & emits),
            self.ends.eq(self.last_tap & self.last_fold),
        ]
        with m.If(advance):
            m.d.sync += [
                self._taps_left.eq(self._taps_left - 1),
                self.first_tap.eq(0),
                self.last_tap.eq(self.tap & (self._taps_left == 1)),
            ]
            with m.If(self.ends):
                m.d.sync += self.busy.eq(0)
        with m.If(load):
            m.d.sync += [
                self.busy.eq(1),
                emits.eq(command.emit != 0),
                self._fresh.eq(command.fresh),
            ]
        if self.config.accumulators == 2:
            with m.If(wipe):
                m.d.sync += self.clear.eq(0)
            with m.If(load):
                m.d.sync += self.clear.eq(command.clear)
        if self.config.st_os:
            self._count_folds(m, command, load, advance)
        else:
            m.d.comb += [self.tap.eq(1), self.last_fold.eq(1), self.following.eq(self.config.cols)]
            with m.If(load):
                self._begin(m, command)

    def _begin(self, m: Module, command: NextCommand) -> None:
        """Begin a command with its first tap."""
        m.d.sync += [
            self._taps_left.eq(command.depth_1),
            self.first_tap.eq(command.fresh),
            self.last_tap.eq(command.depth_1 == 0),
        ]

    def _count_folds(self, m: Module, command: NextCommand, load: Value, advance: Value) -> None:
        """Build what only ST-OS needs: the fill, the position in a fold, and the folds."""
        cols = self.config.cols
        emit = Signal(range(cols + 1))
        depth_1 = Signal(range(cols))
        folds = Signal(16)  # folds left
        fill = Signal()  # the first cols - 1 beats only fill the row
        position = Signal(range(cols))
        turn = Signal()  # position is cols - 1: a fold begins with the next beat
        m.d.comb += self.following.eq(Mux(folds == 2, emit, cols))
        with m.If(advance & self.st_os):
            m.d.sync += [
                position.eq(position + 1),
                turn.eq((position == cols - 2) if cols > 1 else 1),
            ]
            with m.If(self.last_tap):
                m.d.sync += self.tap.eq(0)
            with m.If(turn):
                m.d.sync += [
                    position.eq(0),
                    turn.eq(cols == 1),
                    fill.eq(0),
                    self.tap.eq(1),
                    self.first_tap.eq(self._fresh),
                    self.last_tap.eq(depth_1 == 0),
                    self._taps_left.eq(depth_1),
                ]
                with m.If(~fill):
                    m.d.sync += [folds.eq(folds - 1), self.last_fold.eq(folds == 2)]
        with m.If(load):
            self._begin(m, command)
            # The fill is one beat shorter than a fold: it starts at position 1.
            fills = command.st_os & (cols > 1)
            m.d.sync += [
                self.st_os.eq(command.st_os),
                emit.eq(command.emit),
                depth_1.eq(command.depth_1),
                folds.eq(command.folds),
                self.last_fold.eq(command.folds == 1),
                fill.eq(fills),
                position.eq(fills),
                turn.eq(cols <= 2),
                self.tap.eq(~fills),
            ]
            with m.If(fills):
                m.d.sync += [self.first_tap.eq(0), self.last_tap.eq(0)]
