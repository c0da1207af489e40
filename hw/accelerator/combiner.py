"""Element by element: words of one tensor or two, on their way into the requantization lanes."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.data import ArrayLayout, StructLayout, View
from amaranth.lib.wiring import In, Out

from ..layouts import choose, lanes
from ..share import SharedComponent
from .ram import Ram
from .requantizer import WIDE, wide_steps

__all__ = ["COMBINE", "ENTRIES", "LEFT", "Combiner", "CombinerLane", "Mode"]

#: Bits to the left of the first operand of a sum, as in TensorFlow Lite; the second has one less.
LEFT = 20

#: Entries of a lane's table: one for every byte.
ENTRIES = 256


class Mode(IntEnum):
    """What is done with the words."""

    ONE = 0  # every word is requantized
    MOST = 1  # the greatest of `depth` words, byte by byte, or the least
    PAIR = 2  # the second operand's word, then the first one's
    HOLD = 3  # keep this word as the second operand; there is no result
    HELD = 4  # every word is a first operand of the one that is kept
    TABLE = 5  # every byte is an index in the table of its lane


#: What the lanes need to know of it.
_LANE: dict[str, Any] = {
    "multiply": 1, "negate_first": 1, "negate_second": 1,
    "zero_first": signed(8), "zero_second": signed(8),
}  # fmt: skip

#: How words are combined. `multiply`: the product of both operands, not the sum. `least`: of
#: `MOST`, the least.
COMBINE = StructLayout({**_LANE, "mode": 3, "least": 1, "depth": 16})


class Combiner(SharedComponent):
    """Bring words to the lanes, once for `ONE` and `MOST`, twice for two operands.

    A first operand is ``a - zero_first``, a second one ``b - zero_second``. In the first pass the
    lane makes ``M1(first << 20)`` of it, or the exact product of both. The second pass is ``M2(+-
    that +- (second << 19))``: of two summands the one with the greater scale is exact in TensorFlow
    Lite, too, so that is to be the second one. For one operand ``M1(first)`` is the result; for
    `TABLE` it is M1 of what the table has. The tables come first, in `ENTRIES` words: entry n of
    every lane in word n.

    Parameters
    ----------
    rows : int
        Bytes of a word.
    every : int
        Bytes that take the same lane, one after the other: bytes ``n * every`` and the next ones
        take lane n. The lanes are ``rows / every``.
    mac_stages : 1 or 2
        Of the lanes.

    Members
    -------
    i_en : In(1)
        All moves in this step.
    i_active : In(1)
        Words are for this part. It stays until the last result is out.
    i_job : In(COMBINE)
        The job, from the cycle before `i_active` on.
    i_word, i_word_valid, o_word : 8 * rows, 1, 1
        The next word; it is taken in this step, and stays until then.
    i_entry, i_entry_valid, o_entry : 8 * rows, 1, 1
        The next word of the tables; it is taken in this step.
    i_wide : In(lanes * WIDE)
        What the lanes made of the sums of `wide_steps` steps ago.
    o_sums, o_carries : 32 * lanes, lanes
        Into the lanes.
    o_addends : Out(32 * lanes)
        Beside their biases, which are 0 then. It is 0 itself, unless there are words.
    o_factors, o_factor : 8 * lanes, 1
        Beside their multipliers, which are 0 then, if `o_factor`.
    o_next_second : Out(1)
        The next step is that of a second pass.
    o_next_index : Out(range(every))
        Which of its bytes every lane gets then. Only if `every` is more than 1, as is `o_twice`.
    o_twice : Out(1)
        Every result takes two passes, so that those of a lane are two steps apart.
    o_valid : Out(1)
        What enters is the last result of a word when it leaves.

    Latency: a step from a word to the first pass of the first byte of every lane.
    """

    i_en: Signal
    i_active: Signal
    i_job: Signal
    i_word: Signal
    i_word_valid: Signal
    o_word: Signal
    i_entry: Signal
    i_entry_valid: Signal
    o_entry: Signal
    i_wide: Signal
    o_sums: Signal
    o_carries: Signal
    o_addends: Signal
    o_factors: Signal
    o_factor: Signal
    o_next_second: Signal
    o_next_index: Signal
    o_twice: Signal
    o_valid: Signal

    def __init__(self, *, rows: int, every: int = 1, mac_stages: int = 1) -> None:
        lanes_ = rows // every
        signature: dict[str, Any] = {
            "i_en": In(1), "i_active": In(1), "i_job": In(COMBINE.size), "i_word": In(8 * rows),
            "i_word_valid": In(1), "o_word": Out(1), "i_entry": In(8 * rows),
            "i_entry_valid": In(1), "o_entry": Out(1), "i_wide": In(lanes_ * WIDE),
            "o_sums": Out(32 * lanes_), "o_carries": Out(lanes_), "o_addends": Out(32 * lanes_),
            "o_factors": Out(8 * lanes_), "o_factor": Out(1), "o_next_second": Out(1),
            "o_valid": Out(1),
        }  # fmt: skip
        if every > 1:
            signature |= {"o_next_index": Out(range(every)), "o_twice": Out(1)}
        parameters = (rows, every, mac_stages)
        super().__init__(kind="combiner", parameters=parameters, signature=signature, resets=True)
        self.rows, self.every, self.mac_stages = rows, every, mac_stages

    def body(self, platform: object) -> Module:
        """Build the word that is kept, and when words enter."""
        m = Module()
        job = View(COMBINE, self.i_job)
        word = View(lanes(self.rows, 8), self.i_word)
        kept = Signal(8 * self.rows, reset_less=True)
        kept_bytes = View(lanes(self.rows, 8), kept)
        # a word is kept; words of this result
        holds = Signal()
        count = Signal(16)
        phase = Signal()  # first passes enter in steps with 1, second ones in steps with 0
        modes = (Mode.MOST, Mode.PAIR, Mode.HOLD, Mode.HELD, Mode.TABLE)
        flags = [Signal(name=f"by_{mode.name.lower()}") for mode in modes]
        most, pair, hold, held, table = flags
        twice = pair | held
        m.d.sync += [flag.eq(job.mode == mode) for flag, mode in zip(flags, modes, strict=True)]

        # --- Tables ---
        entries = Signal(range(ENTRIES + 1))  # that are there
        enters_table = Signal()
        lacks = table & (entries != ENTRIES)
        m.d.comb += [
            self.o_entry.eq(self.i_active & lacks & self.i_entry_valid),
            enters_table.eq(self.o_entry & self.i_en),
        ]
        with m.If(~self.i_active):
            m.d.sync += entries.eq(0)
        with m.Elif(enters_table):
            m.d.sync += entries.eq(entries + 1)

        # --- Words ---
        final = Signal(name="last_word")  # of a result
        waits = Mux(pair, ~holds, hold) | (most & ~final)  # no result yet
        index: Value = Const(0, 0)  # of the bytes of a lane
        if self.every > 1:
            index = Signal(range(self.every), name="index")
        there = Signal(name="word_there")  # it, or one of its bytes, moves on
        take = Signal()
        issue = Signal()
        m.d.comb += [
            there.eq(self.i_active & self.i_word_valid & ~lacks & (waits | ~twice | ~phase)),
            issue.eq(there & ~waits),
            take.eq(there & (waits | index.all())),
            self.o_word.eq(take),
        ]
        if self.every > 1:
            with m.If(self.i_en & issue):
                m.d.sync += index.eq(index + 1)
        # Bytes that are the greatest so far, and stay.
        stays = [
            most & (count != 0) & ((k > w) ^ job.least)
            for k, w in zip(kept_bytes, word, strict=True)
        ]
        with m.If(self.i_en):
            m.d.sync += phase.eq(~phase & self.i_active)
            with m.If(take):
                for k, w, stay in zip(kept_bytes, word, stays, strict=True):
                    with m.If(~(held | stay)):
                        m.d.sync += k.eq(w)
                m.d.sync += [
                    count.eq(Mux(final | ~most, 0, count + 1)),
                    final.eq(Mux(final | ~most, job.depth == 1, count + 2 == job.depth)),
                    holds.eq(pair & ~holds),
                ]

        with m.If(~self.i_active):
            m.d.sync += final.eq(job.depth == 1)

        # --- Lanes ---
        bits = len(index)
        ahead = 1 + wide_steps(self.mac_stages)
        enters = [Signal(1 + bits, name=f"enters_{n}") for n in range(ahead)]
        again = Signal()  # a second pass
        new = Cat(issue, index)
        with m.If(self.i_en):
            m.d.sync += Cat(*enters).eq(Cat(new, *enters[:-1]))
        entering = Mux(again, enters[-1], enters[0])
        result = again | (enters[0][0] & ~twice)
        m.d.comb += [
            again.eq(enters[-1][0] & twice),
            self.o_next_second.eq(enters[-2][0] & twice),
            self.o_valid.eq(result & entering[1:].all()),
            self.o_factor.eq(job.multiply & ~again),
        ]
        if self.every > 1:
            m.d.comb += [
                self.o_next_index.eq(Mux(self.o_next_second, enters[-2], new)[1:]),
                self.o_twice.eq(twice),
            ]
        wides = View(ArrayLayout(WIDE, self.rows // self.every), self.i_wide)
        entry = View(ArrayLayout(8, self.rows), self.i_entry)
        outs = (self.o_sums, 32), (self.o_carries, 1), (self.o_addends, 32), (self.o_factors, 8)
        for n in range(self.rows // self.every):
            lane = CombinerLane(every=self.every, mac_stages=self.mac_stages)
            m.submodules[f"lane_{n}"] = lane
            own_rows = range(n * self.every, (n + 1) * self.every)
            m.d.comb += [
                lane.i_en.eq(self.i_en), lane.i_phase.eq(phase),
                lane.i_job.eq(self.i_job[: StructLayout(_LANE).size]),
                lane.i_again.eq(again), lane.i_twice.eq(twice),
                lane.i_first.eq(choose([word[r] for r in own_rows], index)),
                lane.i_stay.eq(choose([stays[r] for r in own_rows], index)),
                lane.i_second.eq(choose([kept_bytes[r] for r in own_rows], index)),
                lane.i_wide.eq(wides[n]), lane.i_table.eq(table),
                lane.i_entry.eq(Cat(entry[r] for r in own_rows)),
                lane.i_entry_write.eq(enters_table), lane.i_entry_index.eq(entries),
            ]  # fmt: skip
            if self.every > 1:
                m.d.comb += lane.i_index.eq(index)
            for (port, width), own in zip(
                outs, (lane.o_sum, lane.o_carry, lane.o_addend, lane.o_factor), strict=True
            ):
                m.d.comb += port.word_select(n, width).eq(own)
        return m


class CombinerLane(SharedComponent):
    """The operands of one lane: what enters it in a first pass, and in a second one.

    Parameters
    ----------
    every : int
        Bytes that take the lane one after the other; each has a table of its own.
    mac_stages : 1 or 2
        Of the lane.

    Members
    -------
    i_en, i_job : 1, the first fields of COMBINE
        As of `Combiner`.
    i_phase : In(1)
        A second operand moves on.
    i_first, i_second : 8, 8
        The operands; the step after is that of the first pass.
    i_stay : In(1)
        The second one is the greatest so far, and takes the place of the first one.
    i_again, i_twice : 1, 1
        This is a second pass; there are two.
    i_wide : In(WIDE)
    i_table : In(1)
        The first operand is what the table has for it.
    i_index : In(range(every))
        Which of its bytes. Only if `every` is more than 1.
    i_entry_write, i_entry_index, i_entry : 1, 8, 8 * every
        An entry of every table is written.
    o_sum, o_carry, o_addend, o_factor : 32, 1, 32, 8
        As of `Combiner`.
    """

    i_en: Signal
    i_job: Signal
    i_phase: Signal
    i_first: Signal
    i_second: Signal
    i_stay: Signal
    i_again: Signal
    i_twice: Signal
    i_wide: Signal
    i_table: Signal
    i_index: Signal
    i_entry_write: Signal
    i_entry_index: Signal
    i_entry: Signal
    o_sum: Signal
    o_carry: Signal
    o_addend: Signal
    o_factor: Signal

    def __init__(self, *, every: int = 1, mac_stages: int = 1) -> None:
        signature: dict[str, Any] = {
            "i_en": In(1), "i_job": In(StructLayout(_LANE).size), "i_phase": In(1),
            "i_first": In(8),
            "i_second": In(8), "i_stay": In(1), "i_again": In(1), "i_twice": In(1),
            "i_wide": In(WIDE), "i_table": In(1), "i_entry_write": In(1), "i_entry_index": In(8),
            "i_entry": In(8 * every),
            "o_sum": Out(32), "o_carry": Out(1), "o_addend": Out(32), "o_factor": Out(8),
        }  # fmt: skip
        if every > 1:
            signature["i_index"] = In(range(every))
        parameters = (every, mac_stages)
        super().__init__(kind="combiner_lane", parameters=parameters, signature=signature)
        self.every, self.mac_stages = every, mac_stages

    def body(self, platform: object) -> Module:
        """Build the two operands, the table, and the way of the second operand to its pass."""
        m = Module()
        job = View(StructLayout(_LANE), self.i_job)
        found = []
        for n in range(self.every):
            m.submodules[f"entries_{n}"] = table = Ram(kind="table_ram", depth=ENTRIES, width=8)
            m.d.comb += [
                table.i_write.eq(self.i_entry_write), table.i_write_address.eq(self.i_entry_index),
                table.i_write_data.eq(self.i_entry.word_select(n, 8)), table.i_read.eq(self.i_en),
                table.i_read_address.eq(self.i_first),
            ]  # fmt: skip
            found.append(table.o_read_data)
        index: Value = Const(0, 0)
        if self.every > 1:
            index = Signal(range(self.every), name="index_q", reset_less=True)
            with m.If(self.i_en):
                m.d.sync += index.eq(self.i_index)
        first = Signal(signed(9), reset_less=True)
        length = (3 + wide_steps(self.mac_stages)) // 2
        seconds = [Signal(signed(9), name=f"second_{n}", reset_less=True) for n in range(length)]
        difference = Signal(signed(9))
        m.d.comb += difference.eq(self.i_second.as_signed() - job.zero_second)
        with m.If(self.i_en):
            m.d.sync += [
                # Whether it stays is known late; then the zero point is 0.
                first.eq(
                    Mux(
                        self.i_stay,
                        self.i_second.as_signed(),
                        self.i_first.as_signed() - job.zero_first,
                    )
                ),
                seconds[0].eq(Mux(job.negate_second, -difference, difference)),
            ]
            with m.If(self.i_phase):  # a second operand moves every other step
                m.d.sync += [new.eq(old) for new, old in zip(seconds[1:], seconds, strict=False)]
        now, old = seconds[0], seconds[-1]
        turned = Signal()
        m.d.comb += turned.eq(job.negate_first ^ (job.multiply & old[-1]))
        left = Mux(
            job.multiply, Cat(Const(0, 1), first, first[-1].replicate(22)),
            Mux(self.i_twice, Cat(Const(0, LEFT), first, first[-1].replicate(3)),
                Cat(first, first[-1].replicate(23))),
        )  # fmt: skip
        other = Mux(self.i_again, self.i_wide[1:] ^ turned.replicate(32), left)
        entry = choose(found, index)  # late in the cycle, as it comes from a memory
        addend = Cat(Const(0, LEFT - 1), old, old[-1].replicate(4))
        m.d.comb += [
            self.o_sum.eq(Mux(self.i_table, Cat(entry, entry[-1].replicate(24)), other)),
            self.o_carry.eq(self.i_again & (self.i_wide[0] ^ turned)),
            self.o_addend.eq(Mux(self.i_again & ~job.multiply, addend, 0)),
            self.o_factor.eq(Mux(now[-1], -now, now)),
        ]
        return m
