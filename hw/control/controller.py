"""The controller: takes commands, and decides in every step what enters the array."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out

from ..config import ArrayConfig
from ..layouts import COMMAND, TAGS, TOKEN
from ..share import SharedComponent
from .command_port import CommandPort
from .rules import Changeover, Results
from .sequencer import Sequencer

__all__ = ["Controller"]


class Controller(SharedComponent):
    """The only state machine of the core.

    In every step it lets one beat of the current command enter the array, or a bubble. Its parts:
    `CommandPort` takes commands, one ahead; `Sequencer` knows what the next beat of the command in
    progress is; `Results` and `Changeover` know whether it may enter. A beat waits for its
    operands, and for these rules:

    *Results.* Two folds must not meet on a row's result chain. The beat that would bring the
    next result (with two accumulators: the last one of a fold; with one: the first one) waits
    until the last beat of the fold before is ``max(every * emit before, emit now)`` steps old. With
    one accumulator, a fold that keeps its sums counts as one that emits `cols`.

    *GEMM after ST-OS.* Broadcast operands must not travel south: one bubble in between.

    *ST-OS after GEMM.* The wave must have left the grid: `wave_steps` bubbles in between.

    *Dropping kept sums.* With two accumulators a clearing step, which needs no operands, comes
    before the first beat of a command that starts from zero where sums were kept.

    Results that are on their way never wait for operands.

    Parameters
    ----------
    config : ArrayConfig
        The machine.
    every : int
        Steps from one result of a row to the next, a power of two.

    Members
    -------
    i_en : In(1)
        The array moves in this step.
    i_cmd, i_cmd_valid, o_cmd_ready : COMMAND, 1, 1
        Command stream. An illegal command is taken and changes nothing.
    i_act_valid, o_act_ready, i_wgt_valid, o_wgt_ready : 1 each
        Handshakes of the operand streams. A beat is taken from both in the same step, or only
        from the activations where an ST-OS pass has no tap: fill and rest of a fold.
    o_tags : Out(TAGS)
        Tags for the operands that enter (see `PE`). These and the following outputs
        belong to the beat taken in the step before.
    o_move : Out(1)
        Activations move: always in GEMM, with every beat in ST-OS.
    o_broadcast : Out(1)
        Operands are for the broadcast lines. It changes only with a beat or a clearing step, and
        is set by the clearing step at the end of the flush. ST-OS only.
    o_token, o_token_direct : TOKEN, 1
        Drain token, and whether it is for all rows at once (ST-OS only); the latter changes only
        with the first token of a fold.
    o_cmd_error : Out(1)
        An illegal command was taken since reset.

    Latency: a command taken in cycle t can bring in its first beat in cycle t + 2; commands are
    taken one ahead, so that none waits for the one before. After reset the first command is taken
    after ``flush_steps(config) + 1`` steps, when nothing of the past is left; the last of these
    clears the sums if there are two accumulators.
    """

    i_en: Signal
    i_cmd: Signal
    i_cmd_valid: Signal
    o_cmd_ready: Signal
    i_act_valid: Signal
    o_act_ready: Signal
    i_wgt_valid: Signal
    o_wgt_ready: Signal
    o_tags: Signal
    o_move: Signal
    o_token: Signal
    o_broadcast: Signal
    o_token_direct: Signal
    o_cmd_error: Signal

    def __init__(self, *, config: ArrayConfig, every: int = 1) -> None:
        signature: dict[str, Any] = {
            "i_en": In(1),
            "i_cmd": In(COMMAND.size),
            "i_cmd_valid": In(1),
            "o_cmd_ready": Out(1),
            "i_act_valid": In(1),
            "o_act_ready": Out(1),
            "i_wgt_valid": In(1),
            "o_wgt_ready": Out(1),
            "o_tags": Out(TAGS.size),
            "o_move": Out(1),
            "o_token": Out(TOKEN.size),
            "o_cmd_error": Out(1),
        }
        if config.st_os:
            signature |= {"o_broadcast": Out(1), "o_token_direct": Out(1)}
        parameters = (config, every)
        super().__init__(kind="controller", parameters=parameters, signature=signature, resets=True)
        self.config, self.every = config, every

    def body(self, platform: object) -> Module:
        """Wire the parts together, and decide between a beat, a clearing step and a bubble."""
        config = self.config
        m = Module()
        port = CommandPort(config=config)
        beat = Sequencer(config=config)
        results = Results(config=config, every=self.every)
        change = Changeover(config=config, every=self.every)

        go = Signal()  # a beat may enter, if the array moves
        advance = Signal()  # and does
        finish = Signal()  # it is the last one of a fold that emits
        load = Signal()  # the command taken ahead becomes the one in progress
        wipe = Signal()  # the clearing step enters

        port.build(m, word=self.i_cmd, valid=self.i_cmd_valid, closed=change.flush, load=load)
        beat.build(m, command=port.next, load=load, advance=advance, wipe=wipe)
        results.build(
            m, en=self.i_en, load=load, width=port.next.width, finish=finish,
            last_fold=beat.last_fold, following=beat.following, st_os=beat.st_os,
        )  # fmt: skip
        # What enters the array is seen one step later.
        mark = advance & beat.first_tap
        if config.accumulators == 2:
            mark = finish | wipe | change.flushed
        entering = View(TAGS, Signal(TAGS.size, name="entering"))
        m.d.comb += [entering.valid.eq(advance & beat.tap), entering.mark.eq(mark)]
        tags = entering.as_value()
        change.build(
            m, en=self.i_en, st_os=beat.st_os, advance=advance, wipe=wipe, tagged=tags.any()
        )

        gated = beat.first_tap if config.accumulators == 1 else beat.finishes
        m.d.comb += [
            go.eq(beat.busy & ~beat.clear & change.mode_ok & (~gated | results.room)),
            self.o_act_ready.eq(self.i_en & go & (self.i_wgt_valid | ~beat.tap)),
            self.o_wgt_ready.eq(self.i_en & go & self.i_act_valid & beat.tap),
            advance.eq(self.o_act_ready & self.i_act_valid),
            finish.eq(advance & beat.finishes),
            load.eq(port.full & self.i_en & (~beat.busy | (advance & beat.ends))),
            wipe.eq(self.i_en & beat.busy & beat.clear & change.mode_ok),
        ]

        entered = Signal(TAGS.size, name="tags")
        with m.If(self.i_en):
            m.d.sync += entered.eq(tags)
        m.d.comb += [
            self.o_cmd_ready.eq(port.ready),
            self.o_cmd_error.eq(port.error),
            self.o_tags.eq(entered),
            self.o_token.eq(results.token),
        ]
        if config.st_os:
            m.d.comb += [
                self.o_broadcast.eq(change.broadcast),
                self.o_move.eq(change.move & self.i_en),
                self.o_token_direct.eq(results.direct),
            ]
        else:
            m.d.comb += self.o_move.eq(self.i_en)
        return m
