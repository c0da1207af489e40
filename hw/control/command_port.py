"""Where commands come in: they are decoded, checked, and taken one ahead."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.data import StructLayout, View

from ..config import ArrayConfig
from ..layouts import COMMAND

__all__ = ["CommandPort", "NextCommand"]


class NextCommand:
    """The command that was taken ahead, as those who begin it need it.

    Members
    -------
    depth_1 : 16
        Its depth - 1.
    folds : 16
        Its folds.
    emit : range(cols + 1)
        Outputs per row of its last fold.
    width : range(cols + 1)
        Outputs per row of its first fold, as the rule for results counts them.
    fresh : 1
        It starts from zero,
    clear : 1
        but where sums are kept, which are to be cleared first.
    st_os : 1
        It is an ST-OS pass.
    """

    def __init__(self, *, config: ArrayConfig) -> None:
        outputs = range(config.cols + 1)
        self.depth_1 = Signal(16, name="next_depth_1")
        self.folds = Signal(16, name="next_folds")
        self.emit = Signal(outputs, name="next_emit")
        self.width = Signal(outputs, name="next_width")
        self.fresh = Signal(name="next_fresh")
        self.clear = Signal(name="next_clear")
        self.st_os = Signal(name="next_st_os")


class CommandPort:
    """Take commands one ahead, so that none waits for the one before; refuse illegal ones.

    A part of the controller: its logic becomes the controller's own by `build`.

    Parameters
    ----------
    config : ArrayConfig
        The machine.

    Members
    -------
    ready : 1
        A command is taken if there is one.
    full, next : 1, NextCommand
        A legal command waits, and what it says. Valid from the cycle after it was taken until
        the cycle of its `load`.
    error : 1
        An illegal command was taken since reset. It changes nothing else.
    """

    def __init__(self, *, config: ArrayConfig) -> None:
        self.config = config
        self.ready = Signal(name="cmd_ready")
        self.full = Signal()
        self.next = NextCommand(config=config)
        self.error = Signal(name="cmd_error")

    def build(self, m: Module, *, word: Value, valid: Value, closed: Value, load: Value) -> None:
        """Add the logic to a module.

        Parameters
        ----------
        m : Module
            The controller's module.
        word, valid : COMMAND, 1
            The stream of commands.
        closed : 1
            No command is taken.
        load : 1
            The waiting command begins, so that another one can be taken.
        """
        taken = self.next
        command = View(COMMAND, word)
        kept = Signal()  # the previous command had emit = 0
        keeps = command.emit == 0
        single = command.folds == 1
        legal = self._legal(m, command, kept, keeps, single)
        width = self._width(m, command, keeps, single)
        accept = Signal()
        m.d.comb += [
            self.ready.eq(~closed & (~self.full | load)),
            accept.eq(valid & self.ready),
        ]
        with m.If(load):
            m.d.sync += self.full.eq(0)
        with m.If(accept):
            with m.If(legal):
                m.d.sync += [
                    self.full.eq(1),
                    kept.eq(keeps),
                    taken.depth_1.eq(command.depth - 1),
                    taken.emit.eq(command.emit),
                    taken.width.eq(width),
                    taken.fresh.eq(~command.accumulate),
                    taken.clear.eq(kept & ~command.accumulate),
                    taken.folds.eq(command.folds),
                    taken.st_os.eq(command.st_os),
                ]
            with m.Else():
                m.d.sync += self.error.eq(1)

    def _legal(
        self, m: Module, command: View[StructLayout], kept: Value, keeps: Value, single: Value
    ) -> Signal:
        """Return whether the command is one that `hw.config.Command.check` lets pass."""
        cols = self.config.cols
        legal = Signal()
        m.d.comb += legal.eq(
            (command.depth != 0)
            & (command.emit <= cols)
            & (command.reserved == 0)
            & (~command.accumulate | kept)
        )
        if self.config.st_os:
            several = command.st_os & ~keeps & ~command.accumulate
            with m.If(command.st_os & (command.depth > cols)):
                m.d.comb += legal.eq(0)
            with m.If(~single & ~several):
                m.d.comb += legal.eq(0)
            with m.If(command.folds == 0):
                m.d.comb += legal.eq(0)
        else:
            with m.If(command.st_os | ~single):
                m.d.comb += legal.eq(0)
        return legal

    def _width(self, m: Module, command: View[StructLayout], keeps: Value, single: Value) -> Signal:
        """Return what the rule for results counts the first fold with."""
        cols = self.config.cols
        width = Signal(range(cols + 1))
        m.d.comb += width.eq(Mux(single, command.emit, cols))
        if self.config.accumulators == 1:
            with m.If(keeps):
                m.d.comb += width.eq(cols)
        return width
