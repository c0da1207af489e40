"""When the beats of a GEMM may enter the array: the pace that the corner turn and the drain set."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib.data import StructLayout, View
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["GemmPacer", "pace_job"]

#: What a job says of its beats; see `hw.accelerator.reader.gemm_job`.
pace_job = StructLayout(
    {
        "runs": 8, "words": 16, "long": 16, "length": 9, "tiles": 16, "large": 16, "pixels": 9,
        "rounds": 16,
    }
)  # fmt: skip

#: Steps from one tile to the next, at least.
_APART = 2


class GemmPacer(SharedComponent):
    """Offer the beats of a GEMM, one per step, or hold them back.

    A word of L bytes is L beats without a pause: the corner turn moves in every step. A word may
    begin in step s if

    - the word before began in ``s - P`` or earlier, P the pixels of its tile: one word is read per
      step, and every word of the group before has come by then;
    - it is not the last of its tile, or its last beat, in ``s + L - 1``, is at least ``max(every *
      P before, P, 2)`` steps after that of the tile before, if there was one: results must not
      meet, and a tile is a command, of which one comes in two cycles;
    - it is not the first of a round, or the round is one of the `i_ready` that may begin.

    Parameters
    ----------
    cols : int
        Most pixels of a tile.
    every : int
        Steps from one result of a row to the next, a power of two.

    Members
    -------
    i_en : In(1)
        The array moves in this step.
    i_begin : In(1)
        Begin with the job; its first beat may come in the next step.
    i_job : In(pace_job)
        The job, which is to be there in the cycle before `i_begin`, and until its last beat.
    i_after : In(1)
        What came before was ST-OS: as if a tile of `cols` pixels had just ended.
    i_ready : In(16)
        Rounds of the job that may begin in the next cycle.
    o_beat, o_next : Out(1) each
        A beat enters in this step, if the array moves; and whether this will be so in the next
        cycle.
    o_group : Out(1)
        It is the first one of a word.
    o_large : Out(1)
        Its tile has one more pixel than `pixels`.
    o_tile, o_last : Out(1) each
        It is the last one of its tile; of the job.
    o_busy : Out(1)
        There are beats left.

    Latency: none; the counters are registers.
    """

    i_en: Signal
    i_begin: Signal
    i_job: Signal
    i_after: Signal
    i_ready: Signal
    o_beat: Signal
    o_next: Signal
    o_group: Signal
    o_large: Signal
    o_tile: Signal
    o_last: Signal
    o_busy: Signal

    def __init__(self, *, cols: int, every: int = 1) -> None:
        signature: dict[str, Any] = {
            "i_en": In(1), "i_begin": In(1), "i_job": In(pace_job.size), "i_after": In(1),
            "i_ready": In(16),
            "o_beat": Out(1), "o_next": Out(1), "o_group": Out(1), "o_large": Out(1),
            "o_tile": Out(1), "o_last": Out(1), "o_busy": Out(1),
        }  # fmt: skip
        parameters = (cols, every)
        super().__init__(kind="gemm_pacer", parameters=parameters, signature=signature, resets=True)
        self.cols, self.every = cols, every

    def body(self, platform: object) -> Module:
        """Build the counters, the two ages, and what the next word has to wait for.

        Whether a beat may enter decides whether the whole array moves: it is known a cycle ahead.
        """
        m = Module()
        job = View(pace_job, self.i_job)
        byte = Signal(9)
        # From 1.
        word = Signal(16)
        run = Signal(8)
        # From 0.
        number = Signal(16)
        round_ = Signal(16)
        bits = self.every.bit_length() - 1
        # Ages are as old as it matters at most.
        word_age = Signal(range(self.cols + 1), init=self.cols)  # steps since the word before began
        steps = range(max(self.cols << bits, _APART) + 1)
        sum_age = Signal(steps, init=steps[-1])  # since the last beat of the tile before
        width = Signal(steps)  # that its results take
        # Of the next beat: its word is a long one, its tile a large one; what `sum_age` has to be
        # above if it begins the last word of a tile.
        long = Signal()
        large = Signal()
        gap = Signal(range(-(1 << 9), steps.stop))
        # These decide whether it may enter. There is one; it begins a word, or a round; it is of
        # the last word of its tile; the word before is old enough, and so is the tile before; the
        # round may not begin.
        names = ("busy", "begins", "new", "last_word", "spaced", "room", "waits")
        now, then = (
            SimpleNamespace(**{name: Signal(name=f"{name}{suffix}") for name in names})
            for suffix in ("", "_next")
        )
        for name in names:
            m.d.comb += getattr(then, name).eq(getattr(now, name))
            m.d.sync += getattr(now, name).eq(getattr(then, name))
        beat = Signal()
        m.d.comb += self.o_next.eq(
            then.busy
            & (
                ~then.begins
                | (then.spaced & (~then.last_word | then.room) & ~(then.new & then.waits))
            )
        )
        m.d.sync += beat.eq(self.o_next)

        pixels = Signal(range(self.cols + 1))
        length = job.length + long
        word_ends = byte + 1 == length
        run_ends = Signal()  # the word is the last one of its run
        # Of the job: a run, or a tile, has a single word; what the first tile takes.
        one_word = Signal()
        one_in_all = Signal()
        first = Signal(10)
        m.d.sync += [
            one_word.eq(job.words == 1), one_in_all.eq((job.runs == 1) & (job.words == 1)),
            first.eq(self._apart(job.pixels + job.large.any())),
        ]  # fmt: skip
        next_ends = Mux(run_ends, one_word, word + 1 == job.words)  # the word after it is
        tile_ends = word_ends & now.last_word
        round_ends = tile_ends & (number + 1 == job.tiles)
        ends = round_ends & (round_ + 1 == job.rounds)
        wide = self._apart(pixels << bits)  # what the results of the tile take
        few = job.pixels[: len(word_age)]

        def enough(age: Value, large: Value) -> Value:
            """Return whether all words of a group are read when it is that old."""
            return (age >= few) & ~(large & (age == few))

        go = Signal()
        m.d.comb += [
            pixels.eq(job.pixels + large),
            self.o_busy.eq(now.busy),
            self.o_beat.eq(beat),
            self.o_group.eq(now.begins),
            self.o_large.eq(large),
            self.o_tile.eq(tile_ends),
            self.o_last.eq(ends),
            go.eq(self.i_en & beat),
        ]
        older, word_older = self._older(sum_age), self._older(word_age)
        m.d.comb += then.waits.eq(round_ == self.i_ready)
        with m.If(self.i_en):
            m.d.sync += [word_age.eq(word_older), sum_age.eq(older)]
            m.d.comb += [then.spaced.eq(enough(word_older, large)), then.room.eq(older > gap)]
        with m.If(go):
            m.d.sync += byte.eq(byte + 1)
            m.d.comb += [then.begins.eq(word_ends), then.new.eq(0)]
            with m.If(now.begins):
                m.d.sync += word_age.eq(1)
                m.d.comb += then.spaced.eq((few == 1) & ~large)
            with m.If(word_ends):
                m.d.sync += [
                    byte.eq(0), word.eq(Mux(run_ends, 1, word + 1)), run_ends.eq(next_ends),
                    long.eq(Mux(run_ends, job.long.any(), word < job.long)),
                ]  # fmt: skip
                last_run = Mux(run_ends, run + 1, run) == job.runs
                m.d.comb += then.last_word.eq(next_ends & last_run)
                with m.If(run_ends):
                    m.d.sync += run.eq(run + 1)
            with m.If(tile_ends):
                larger = Mux(number + 1 == job.tiles, job.large.any(), number + 1 < job.large)
                m.d.sync += [
                    run.eq(1), number.eq(number + 1), sum_age.eq(1), width.eq(wide),
                    large.eq(larger), gap.eq(wide - job.length),
                ]  # fmt: skip
                m.d.comb += [
                    then.last_word.eq(one_in_all), then.room.eq(wide <= job.length),
                    then.spaced.eq(
                        Mux(now.begins, (few == 1) & ~larger, enough(word_older, larger))
                    ),
                ]  # fmt: skip
            with m.If(round_ends):
                m.d.sync += [number.eq(0), round_.eq(round_ + 1)]
                m.d.comb += [then.new.eq(1), then.waits.eq(round_ + 1 == self.i_ready)]
                if self.every == 1:  # only this tile may be larger than the one before
                    m.d.sync += gap.eq(first - job.length)
                    m.d.comb += then.room.eq(first <= job.length)
            with m.If(ends):
                m.d.comb += then.busy.eq(0)
        with m.If(self.i_begin):
            before = Mux(self.i_after, steps[-1], width)
            need = Mux(before > first, before, first) - job.length
            age = Mux(self.i_after, 0, Mux(self.i_en, older, sum_age))
            # `age > need`, without waiting for the greater of the two.
            end = age + job.length
            roomy = (end > before) & (end > first)
            word_now = Mux(self.i_en, word_older, word_age)
            m.d.sync += [
                byte.eq(0), word.eq(1), run.eq(1), number.eq(0), round_.eq(0), gap.eq(need),
                long.eq(job.long.any()), large.eq(job.large.any()), run_ends.eq(one_word),
            ]  # fmt: skip
            m.d.comb += [
                then.busy.eq(1), then.begins.eq(1), then.new.eq(1), then.last_word.eq(one_in_all),
                then.waits.eq(self.i_ready == 0), then.room.eq(roomy),
                then.spaced.eq(enough(word_now, job.large.any())),
            ]  # fmt: skip
        with m.If(self.i_begin & self.i_after):
            m.d.sync += [sum_age.eq(0), width.eq(steps[-1])]
        return m

    def _apart(self, pixels: Value) -> Value:
        """Return how far from the next one a tile with so many results is."""
        return pixels if self.every >= _APART else Mux(pixels < _APART, _APART, pixels)

    def _older(self, age: Signal) -> Value:
        return Mux(age == Const(age.init, age.shape()), age, age + 1)
