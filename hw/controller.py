"""The controller: takes commands, and decides in every step what enters the array."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from .config import COMMAND_FIELDS, ArrayConfig
from .drain import DRAIN_WIDTH
from .emit.share import SharedComponent

__all__ = ["Controller"]


class Controller(SharedComponent):
    """The only state machine of the core.

    In every step it lets one beat of the current command enter the array, or a bubble. A beat
    waits for its operands, and for these rules:

    *Results.* Two folds must not meet on a row's result chain. The beat that would bring the
    next result (with two accumulators: the last one of a fold; with one: the first one) waits
    until the last beat of the fold before is ``max(emit before, emit now)`` steps old. With one
    accumulator, a fold that keeps its sums counts as one that emits `cols`.

    *GEMM after ST-OS.* Broadcast operands must not travel south: one bubble in between.

    *ST-OS after GEMM.* The wave must have left the grid: ``rows + cols - 2`` bubbles in between.

    *Dropping kept sums.* With two accumulators a clearing step, which needs no operands, comes
    before the first beat of a command that starts from zero where sums were kept.

    Results that are on their way never wait for operands.

    Parameters
    ----------
    config : ArrayConfig
        The machine.

    Members
    -------
    i_en : In(1)
        The array moves in this step.
    i_cmd, i_cmd_valid, o_cmd_ready : 64, 1, 1
        Command stream. An illegal command is taken and changes nothing.
    i_act_valid, o_act_ready, i_wgt_valid, o_wgt_ready : 1 each
        Handshakes of the operand streams. A beat is taken from both in the same step, or only
        from the activations where an ST-OS pass has no tap: fill and rest of a fold.
    o_tags : Out(2)
        `{mark, valid}` for the operands that enter (see `PE`). These and the following outputs
        belong to the beat taken in the step before.
    o_move : Out(1)
        Activations move: always in GEMM, with every beat in ST-OS.
    o_broadcast : Out(1)
        Operands are for the broadcast lines. It changes only with a beat or a clearing step, and
        is set by the clearing step at the end of the flush. ST-OS only.
    o_token, o_token_direct : DRAIN_WIDTH, 1
        Drain token, and whether it is for all rows at once (ST-OS only); the latter changes only
        with the first token of a fold.
    o_cmd_error : Out(1)
        An illegal command was taken since reset.

    Latency: a command taken in cycle t can bring in its first beat in cycle t + 2; commands are
    taken one ahead, so that none waits for the one before. After reset the first command is taken
    after `flush_steps` + 1 steps, when nothing of the past is left; the last of these clears the
    sums if there are two accumulators.
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
        """Build the command buffer, the command in progress and the rules.

        What a rule needs to know is worked out one step ahead and kept as a flag, so that the
        way from the streams' valid to the array is only a few gates long.
        """
        config = self.config
        cols = config.cols
        m = Module()

        go = Signal()  # a beat may enter
        advance = Signal()  # and does
        load = Signal()  # the buffered command becomes the one in progress
        accept = Signal()

        # Command word: decode and check.
        word = {name: self.i_cmd[low : low + width] for name, low, width in COMMAND_FIELDS}
        kept = Signal()  # the previous command had emit = 0
        keeps = word["emit"] == 0
        single = word["folds"] == 1
        legal = Signal()
        m.d.comb += legal.eq(
            (word["depth"] != 0)
            & (word["emit"] <= cols)
            & (word["reserved"] == 0)
            & (~word["accumulate"] | kept)
        )
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

        # The buffered command. `width` is what the rule for results counts with.
        width = Signal(range(cols + 1))
        m.d.comb += width.eq(Mux(single, word["emit"], cols))
        if config.accumulators == 1:
            with m.If(keeps):
                m.d.comb += width.eq(cols)
        full = Signal()
        next_depth_1 = Signal(16)  # depth - 1
        next_emit = Signal(range(cols + 1))
        next_width = Signal(range(cols + 1))
        next_fresh = Signal()  # starts from zero
        next_clear = Signal()  # but a kept sum is to be cleared first
        next_folds = Signal(16)
        next_st_os = Signal()
        flush = Signal(init=1)
        ends = Signal()
        m.d.comb += [
            self.o_cmd_ready.eq(~flush & (~full | load)),
            accept.eq(self.i_cmd_valid & self.o_cmd_ready),
        ]
        with m.If(load):
            m.d.sync += full.eq(0)
        with m.If(accept):
            with m.If(legal):
                m.d.sync += [
                    full.eq(1),
                    kept.eq(keeps),
                    next_depth_1.eq(word["depth"] - 1),
                    next_emit.eq(word["emit"]),
                    next_width.eq(width),
                    next_fresh.eq(~word["accumulate"]),
                    next_clear.eq(kept & ~word["accumulate"]),
                    next_folds.eq(word["folds"]),
                    next_st_os.eq(word["st_os"]),
                ]
            with m.Else():
                m.d.sync += self.o_cmd_error.eq(1)

        # The command in progress, and what its next beat is.
        busy = Signal()
        emit = Signal(range(cols + 1))
        emits = Signal()
        fresh = Signal()
        clear = Signal()
        folds = Signal(16)  # folds left
        last_fold = Signal()
        st_os = Signal()
        taps_left = Signal(16)  # after this one
        tap = Signal()  # this beat carries weights: all but fill and rest of an ST-OS fold
        first_tap = Signal()
        last_tap = Signal()
        finishes = Signal()  # the last one of a fold that emits
        m.d.comb += [finishes.eq(last_tap & emits), ends.eq(last_tap & last_fold)]
        with m.If(advance):
            m.d.sync += [
                taps_left.eq(taps_left - 1),
                first_tap.eq(0),
                last_tap.eq(tap & (taps_left == 1)),
            ]
            with m.If(ends):
                m.d.sync += busy.eq(0)
        if config.st_os:
            depth_1 = Signal(range(cols))
            fill = Signal()  # the first cols - 1 beats only fill the row
            position = Signal(range(cols))
            turn = Signal()  # position is cols - 1: a fold begins with the next beat
            with m.If(advance & st_os):
                m.d.sync += [
                    position.eq(position + 1),
                    turn.eq((position == cols - 2) if cols > 1 else 1),
                ]
                with m.If(last_tap):
                    m.d.sync += tap.eq(0)
                with m.If(turn):
                    m.d.sync += [
                        position.eq(0),
                        turn.eq(cols == 1),
                        fill.eq(0),
                        tap.eq(1),
                        first_tap.eq(fresh),
                        last_tap.eq(depth_1 == 0),
                        taps_left.eq(depth_1),
                    ]
                    with m.If(~fill):
                        m.d.sync += [folds.eq(folds - 1), last_fold.eq(folds == 2)]
        else:
            m.d.comb += [tap.eq(1), last_fold.eq(1), st_os.eq(0)]
        with m.If(load):
            m.d.sync += [
                busy.eq(1),
                emit.eq(next_emit),
                emits.eq(next_emit != 0),
                fresh.eq(next_fresh),
                taps_left.eq(next_depth_1),
                first_tap.eq(next_fresh),
                last_tap.eq(next_depth_1 == 0),
            ]
            if config.st_os:
                # The fill is one beat shorter than a fold: it starts at position 1.
                fills = next_st_os & (cols > 1)
                m.d.sync += [
                    st_os.eq(next_st_os),
                    depth_1.eq(next_depth_1),
                    folds.eq(next_folds),
                    last_fold.eq(next_folds == 1),
                    fill.eq(fills),
                    position.eq(fills),
                    turn.eq(cols <= 2),
                    tap.eq(~fills),
                ]
                with m.If(fills):
                    m.d.sync += [first_tap.eq(0), last_tap.eq(0)]

        # Rule for results: the gated beat waits until the fold before (its last beat came `age`
        # steps ago, and `left` of its results are still to be announced) leaves room.
        age = Signal(range(cols + 1), init=cols)
        left = Signal(range(cols + 1))
        left_last = Signal()  # left is 1
        closing = Signal()  # it was the last fold of its command
        fold_width = Signal(range(cols + 1))
        narrow = Signal()  # fold_width <= 1
        room = Signal()  # age >= fold_width
        draining = Signal()  # left != 0

        def at_most_one(value: Any) -> Any:
            return value <= 1 if cols > 1 else Const(1)

        gated = first_tap if config.accumulators == 1 else finishes
        older = Signal.like(age)
        m.d.comb += older.eq(age + (age != cols))
        with m.If(self.i_en):
            m.d.sync += age.eq(older)
            with m.If(draining):
                m.d.sync += [left.eq(left - 1), draining.eq(~left_last), left_last.eq(left == 2)]
            m.d.sync += room.eq(older >= fold_width)
        with m.If(advance & finishes):
            # From here on fold_width is that of the fold that follows in the same command.
            coming = Mux(folds == 2, emit, cols)
            m.d.sync += [
                age.eq(1),
                left.eq(fold_width - 1),
                draining.eq(~narrow),
                left_last.eq(fold_width == 2),
                closing.eq(last_fold),
                fold_width.eq(coming),
                narrow.eq(at_most_one(coming)),
                room.eq(at_most_one(coming)),
            ]
        with m.If(load):
            m.d.sync += [fold_width.eq(next_width), narrow.eq(at_most_one(next_width))]
            m.d.sync += room.eq(
                at_most_one(next_width) | (~(advance & finishes) & (older >= next_width))
            )

        # Rules for changing over between GEMM and ST-OS.
        wave = Signal(range(self.flush_steps + 1), init=self.flush_steps)
        settled = Signal()  # wave is 0
        wipe = Signal()
        flushed = Signal()
        with m.If(self.i_en & ~settled):
            m.d.sync += [wave.eq(wave - 1), settled.eq(wave <= 1 if self.flush_steps > 1 else 1)]
        tags = Signal(2)
        mode_ok = Const(1)
        if config.st_os:
            broadcast = Signal()
            mode_ok = Mux(st_os, settled, ~(broadcast & tags.any()))
            with m.If((advance | wipe) & ~st_os):
                m.d.sync += [wave.eq(self.wave_steps), settled.eq(self.wave_steps == 0)]
        m.d.comb += flushed.eq(flush & settled & self.i_en)
        with m.If(flushed):
            m.d.sync += flush.eq(0)
        if config.accumulators == 2:
            m.d.comb += wipe.eq(self.i_en & busy & clear & mode_ok)
            with m.If(wipe):
                m.d.sync += clear.eq(0)
            with m.If(load):
                m.d.sync += clear.eq(next_clear)

        # One beat, or a clearing step, or a bubble.
        m.d.comb += [
            go.eq(self.i_en & busy & ~clear & mode_ok & (~gated | (room & ~draining))),
            self.o_act_ready.eq(go & (self.i_wgt_valid | ~tap)),
            self.o_wgt_ready.eq(go & self.i_act_valid & tap),
            advance.eq(self.o_act_ready & self.i_act_valid),
            load.eq(full & self.i_en & (~busy | (advance & ends))),
        ]

        # What enters the array, one step later.
        token = Signal(DRAIN_WIDTH)
        mark = advance & first_tap
        if config.accumulators == 2:
            mark = (advance & finishes) | wipe | flushed
        with m.If(self.i_en):
            m.d.sync += tags.eq(Cat(advance & tap, mark))
            with m.If(advance & finishes):
                m.d.sync += token.eq(Cat(1, 1, last_fold & narrow))
            with m.Else():
                m.d.sync += token.eq(Cat(draining, 0, draining & closing & left_last))
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
