"""The controller: takes commands, and decides in every step what enters the array."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from .config import COMMAND_FIELDS, ArrayConfig
from .drain import DRAIN_WIDTH
from .share import SharedComponent

__all__ = ["Controller"]


class Controller(SharedComponent):
    """The only state machine of the core.

    In every step it lets one beat of the current command enter the array, or a bubble. A beat
    waits for its operands, and for three rules:

    *Results.* Two folds must not meet on a row's result chain. The beat that would bring the
    next result (with two accumulators: the last one of a fold; with one: the first one) waits
    until the last beat of the fold before is ``max(emit before, emit now)`` steps old.

    *GEMM after ST-OS.* Broadcast operands must not travel south: one bubble in between.

    *ST-OS after GEMM.* The wave must have left the grid: ``rows + cols - 2`` bubbles in between.

    Parameters
    ----------
    config : ArrayConfig
        The machine.

    Members
    -------
    i_en : In(1)
        The array moves in this step.
    i_cmd, i_cmd_valid, o_cmd_ready : 64, 1, 1
        Command stream.
    i_act_valid, o_act_ready, i_wgt_valid, o_wgt_ready : 1 each
        Handshakes of the operand streams. A beat is taken from both in the same step.
    o_tags : Out(2)
        `{mark, valid}` for the operands that enter (see `PE`). These and the following outputs
        belong to the beat taken in the step before.
    o_move : Out(1)
        Activations move: always in GEMM, with every beat in ST-OS.
    o_broadcast : Out(1)
        Operands are for the broadcast lines. ST-OS only.
    o_token, o_token_direct : DRAIN_WIDTH, 1
        Drain token, and whether it is for all rows at once (ST-OS only).
    o_cmd_error : Out(1)
        An illegal command was taken since reset.

    Latency: a command taken in cycle t can bring in its first beat in cycle t + 1. After reset
    the first command is taken after `flush_steps` + 1 cycles, when nothing of the past is left.
    """

    def __init__(self, *, config: ArrayConfig) -> None:
        signature: dict[str, Any] = {
            "i_en": In(1),
            "i_cmd": In(64),
            "i_cmd_valid": In(1),
            "o_cmd_ready": Out(1),
            "i_act_valid": In(1),
            "o_act_ready": Out(1),
            "i_wgt_valid": In(1),
            "o_wgt_ready": Out(1),
            "o_tags": Out(2),
            "o_move": Out(1),
            "o_token": Out(DRAIN_WIDTH),
            "o_cmd_error": Out(1),
        }
        if config.st_os:
            signature |= {"o_broadcast": Out(1), "o_token_direct": Out(1)}
        super().__init__(kind="controller", parameters=config, signature=signature, resets=True)
        self.config = config

    @property
    def flush_steps(self) -> int:
        """Steps after reset until the operands of an interrupted command have left the grid."""
        return self.config.rows + self.config.cols - 1

    @property
    def wave_steps(self) -> int:
        """Bubbles between the last beat of a GEMM tile and the first one of an ST-OS pass."""
        return self.config.rows + self.config.cols - 2

    def body(self, platform: object) -> Module:
        """Build the command decoder, the beat counter and the rules."""
        config = self.config
        cols = config.cols
        m = Module()

        # Command word: decode and check.
        word = {name: self.i_cmd[low : low + width] for name, low, width in COMMAND_FIELDS}
        kept = Signal()  # the previous command had emit = 0
        single = Signal()
        legal = Signal()
        keeps = word["emit"] == 0
        m.d.comb += [
            single.eq(word["folds"] == 1),
            legal.eq(
                (word["depth"] != 0)
                & (word["emit"] <= cols)
                & (word["reserved"] == 0)
                & (~word["accumulate"] | kept)
            ),
        ]
        if config.st_os:
            with m.If(word["st_os"] & (word["depth"] > cols)):
                m.d.comb += legal.eq(0)
            with m.If(~single & ~(word["st_os"] & ~keeps & ~word["accumulate"])):
                m.d.comb += legal.eq(0)
            with m.If(word["folds"] == 0):
                m.d.comb += legal.eq(0)
        else:
            with m.If(word["st_os"] | ~single):
                m.d.comb += legal.eq(0)

        # The command in progress.
        busy = Signal()
        last_index = Signal(16)  # depth - 1
        folds = Signal(16)  # folds left
        emit = Signal(range(cols + 1))
        st_os = Signal()
        fresh = Signal()  # starts from zero
        index = Signal(16)  # beat within the tile, or position within the fold
        fill = Signal()  # ST-OS: the first cols - 1 beats only fill the row
        clear = Signal()  # an unwanted kept sum is to be cleared first

        tap = Signal()  # this beat carries weights
        last_tap = Signal()
        last_fold = Signal()
        ends = Signal()
        fold_emit = Signal.like(emit)
        if config.st_os:
            m.d.comb += [
                tap.eq(~fill & (index <= last_index)),
                last_fold.eq(folds == 1),
                fold_emit.eq(Mux(last_fold, emit, cols)),
            ]
        else:
            m.d.comb += [tap.eq(1), last_fold.eq(1), fold_emit.eq(emit)]
        m.d.comb += [
            last_tap.eq(tap & (index == last_index)),
            ends.eq(last_tap & last_fold),
        ]

        # Rule for results: `age` counts the steps since the last beat of the fold before.
        age = Signal(range(cols + 1), init=cols)
        prior = Signal.like(emit)  # outputs of that fold
        closing = Signal()  # it was the last fold of its command
        first_tap = Signal()
        gated = Signal()
        results_ok = Signal()
        m.d.comb += first_tap.eq(tap & (index == 0) & fresh)
        finishes = last_tap & (emit != 0)
        if config.accumulators == 2:
            m.d.comb += gated.eq(finishes)
            needed = fold_emit
        else:
            m.d.comb += gated.eq(first_tap)
            needed = Mux(emit == 0, cols, fold_emit)
        m.d.comb += results_ok.eq(~gated | ((age >= prior) & (age >= needed)))

        # Rules for changing over between GEMM and ST-OS.
        wave = Signal(range(self.flush_steps + 1), init=self.flush_steps)
        flush = Signal(init=1)
        mode_ok = Signal()
        tags = Signal(2)
        if config.st_os:
            broadcast = Signal()
            m.d.comb += mode_ok.eq(Mux(st_os, wave == 0, ~(broadcast & tags.any())))
        else:
            m.d.comb += mode_ok.eq(1)

        # One beat, or a clearing step, or a bubble.
        go = Signal()
        advance = Signal()
        wipe = Signal()
        flushed = Signal()
        m.d.comb += [
            go.eq(self.i_en & busy & ~clear & mode_ok & results_ok),
            self.o_act_ready.eq(go & (self.i_wgt_valid | ~tap)),
            self.o_wgt_ready.eq(go & self.i_act_valid & tap),
            advance.eq(self.o_act_ready & self.i_act_valid),
            flushed.eq(flush & (wave == 0) & self.i_en),
            wipe.eq(self.i_en & busy & clear & mode_ok),
            self.o_cmd_ready.eq(~flush & (~busy | (advance & ends))),
        ]

        with m.If(self.i_en):
            with m.If(wave != 0):
                m.d.sync += wave.eq(wave - 1)
            with m.If(age != cols):
                m.d.sync += age.eq(age + 1)
        with m.If(flushed):
            m.d.sync += flush.eq(0)
        with m.If(wipe):
            m.d.sync += clear.eq(0)
        with m.If(advance):
            m.d.sync += index.eq(index + 1)
            if config.st_os:
                with m.If(fill & (index == cols - 2)):
                    m.d.sync += [fill.eq(0), index.eq(0)]
                with m.If(~fill & st_os & (index == cols - 1)):
                    m.d.sync += [index.eq(0), folds.eq(folds - 1)]
            with m.If(ends):
                m.d.sync += busy.eq(0)
            with m.If(finishes):
                m.d.sync += [age.eq(1), prior.eq(fold_emit), closing.eq(last_fold)]
        if config.st_os:
            with m.If((advance | wipe) & ~st_os):
                m.d.sync += wave.eq(self.wave_steps)

        with m.If(self.i_cmd_valid & self.o_cmd_ready):
            with m.If(legal):
                m.d.sync += [
                    busy.eq(1),
                    last_index.eq(word["depth"] - 1),
                    emit.eq(word["emit"]),
                    fresh.eq(~word["accumulate"]),
                    index.eq(0),
                    kept.eq(keeps),
                ]
                if config.accumulators == 2:
                    m.d.sync += clear.eq(kept & ~word["accumulate"])
                if config.st_os:
                    m.d.sync += [
                        folds.eq(word["folds"]),
                        st_os.eq(word["st_os"]),
                        fill.eq(word["st_os"] & (cols > 1)),
                    ]
            with m.Else():
                m.d.sync += self.o_cmd_error.eq(1)

        # What enters the array, one step later.
        token = Signal(DRAIN_WIDTH)
        draining = age < prior
        mark = advance & finishes if config.accumulators == 2 else advance & first_tap
        clears = (wipe | flushed) if config.accumulators == 2 else 0
        with m.If(self.i_en):
            m.d.sync += tags.eq(Cat(advance & tap, mark | clears))
            with m.If(advance & finishes):
                m.d.sync += token.eq(Cat(1, 1, last_fold & (fold_emit == 1)))
            with m.Else():
                m.d.sync += token.eq(Cat(draining, 0, draining & closing & (age + 1 == prior)))
        m.d.comb += [self.o_tags.eq(tags), self.o_token.eq(token)]
        if config.st_os:
            move = Signal()
            mode = Mux(advance | wipe, st_os, broadcast | flushed)
            with m.If(self.i_en):
                m.d.sync += [broadcast.eq(mode), move.eq(advance | ~mode)]
                with m.If(advance & finishes):
                    m.d.sync += self.o_token_direct.eq(st_os)
            m.d.comb += [self.o_broadcast.eq(broadcast), self.o_move.eq(move & self.i_en)]
        else:
            m.d.comb += self.o_move.eq(self.i_en)
        return m
