"""The engine: the array between words of activations, words of weights, and words of results."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.data import ArrayLayout, View
from amaranth.lib.wiring import In, Out

from ..array import Grid, Skew
from ..config import ArrayConfig
from ..control import Controller, Drain
from ..layouts import COMMAND, TAGS, TOKEN, choose, lanes, operand_layout
from ..share import SharedComponent
from .combiner import COMBINE, Combiner
from .corner_turn import CornerTurn
from .jobs import PARAMETER_BYTES, parameter_block, parameter_words
from .loader import Loader
from .pacer import GemmPacer, pace_job
from .ram import Ram
from .requantizer import LIMITS, PARAMETERS, WIDE, Requantizer, lane_steps

__all__ = ["Engine"]


class Engine(SharedComponent):
    """The array, with channels on rows, and int8 results.

    GEMM: the west gets a word of weights per beat, one for every row's channel; the north gets the
    windows of up to `cols` pixels, by the corner turn. ST-OS: the west gets a word of activations
    per beat, the broadcast lines a word of taps. Either way a result is a word of one pixel, the
    last pixel of a GEMM's tile first. Or words go from the memory into the lanes, past the array.

    Parameters
    ----------
    config : ArrayConfig
        The array, of 8-bit operands and 32-bit sums.
    word : int
        Bytes of a word, as `AcceleratorConfig` says.
    every : int
        Rows that share a requantization lane, which are also the steps from one result of a row to
        the next; a power of two that divides the rows.

    Members
    -------
    i_en : In(1)
        All moves in this cycle. Low where `o_beat` or `o_take` ask for what is not there.
    i_cmd, i_cmd_valid, o_cmd_ready : COMMAND, 1, 1
        Commands of the array: one per tile or pass.
    i_begin, i_after, i_job, i_ready, i_pixels : 1, 1, pace_job, 16, range(cols + 1)
        A GEMM's beats, as `GemmPacer` and `Loader` take them.
    i_emits : In(16)
        Commands of a round that have results, at least 1.
    i_stream : In(1)
        The job is ST-OS. It changes only while no beat is offered.
    i_combine, i_combiner : 1, COMBINE
        Words are for `Combiner`, with the parameters of two rounds. As `i_stream`.
    i_odd : In(1)
        The first one of these rounds is an odd one.
    o_beat, o_take, o_next_beat, o_next_take : Out(1) each
        A GEMM needs a word of weights, or of activations, in this cycle; in the next one.
    i_weights, o_weights : 8 * rows, 1
        The next word of weights, taps or tables; it is taken in this cycle if the array moves.
    i_weights_valid : In(1)
        It is there. In ST-OS, and for tables of the combiner; a GEMM's beats wait by `i_en`.
    i_word, o_word : 8 * word, 1
        The next word of activations; it is taken in this cycle if the array moves.
    i_word_valid : In(1)
        It is there, and stays until it is taken. In ST-OS and for the combiner only.
    i_parameters, i_parameters_left, i_parameters_odd : 8 * word, range(parameter_words + 1), 1
        A word of the parameters of all rows' channels, if any are left, this one among them; of an
        odd round, counted from reset on, or of an even one. They are there a cycle after the last
        word, and the next ones but one come when the last result of the round is out.
    i_limits : In(2 * LIMITS)
        Of even rounds and of odd ones. They stay, too.
    o_result, o_valid, o_next_valid, o_last : 8 * rows, 1, 1, 1
        A word of results, row 0 in the low bits, in the cycle after one in which the array moved;
        whether there will be one in the next cycle, and whether it is the last one of its command.
    o_busy : Out(1)
        A GEMM has beats left, or groups on their way.

    Latency: ``cols + rows + mac_stages + lane_steps(mac_stages)`` steps from the last beat of a
    tile to its first result.
    """

    i_en: Signal
    i_cmd: Signal
    i_cmd_valid: Signal
    o_cmd_ready: Signal
    i_begin: Signal
    i_after: Signal
    i_job: Signal
    i_ready: Signal
    i_pixels: Signal
    i_emits: Signal
    i_stream: Signal
    i_combine: Signal
    i_combiner: Signal
    i_odd: Signal
    o_beat: Signal
    o_take: Signal
    o_next_beat: Signal
    o_next_take: Signal
    i_weights: Signal
    o_weights: Signal
    i_weights_valid: Signal
    i_word: Signal
    o_word: Signal
    i_word_valid: Signal
    i_parameters: Signal
    i_parameters_left: Signal
    i_parameters_odd: Signal
    i_limits: Signal
    o_result: Signal
    o_valid: Signal
    o_next_valid: Signal
    o_last: Signal
    o_busy: Signal

    def __init__(self, *, config: ArrayConfig, word: int, every: int = 1) -> None:
        signature: dict[str, Any] = {
            "i_en": In(1), "i_cmd": In(COMMAND.size), "i_cmd_valid": In(1), "o_cmd_ready": Out(1),
            "i_begin": In(1), "i_after": In(1), "i_job": In(pace_job.size), "i_ready": In(16),
            "i_pixels": In(range(config.cols + 1)), "i_emits": In(16), "i_stream": In(1),
            "i_combine": In(1), "i_combiner": In(COMBINE.size), "i_odd": In(1),
            "o_beat": Out(1), "o_take": Out(1), "o_next_beat": Out(1), "o_next_take": Out(1),
            "i_weights": In(8 * config.rows),
            "o_weights": Out(1),
            "i_weights_valid": In(1), "i_word": In(8 * word), "o_word": Out(1),
            "i_word_valid": In(1), "i_parameters": In(8 * word),
            "i_parameters_left": In(range(parameter_words(config.rows, word, every) + 1)),
            "i_parameters_odd": In(1),
            "i_limits": In(2 * LIMITS.size), "o_result": Out(8 * config.rows), "o_valid": Out(1),
            "o_next_valid": Out(1), "o_last": Out(1), "o_busy": Out(1),
        }  # fmt: skip
        parameters = (config, word, every)
        super().__init__(kind="engine", parameters=parameters, signature=signature, resets=True)
        self.config, self.word, self.every = config, word, every

    def body(self, platform: object) -> Module:
        """Wire the parts of the array as the stream core does, but for both edges and the drain."""
        config, every, m = self.config, self.every, Module()
        rows, cols, bypass = config.rows, config.cols, config.st_os
        m.submodules.controller = controller = Controller(config=config, every=every)
        m.submodules.pacer = pacer = GemmPacer(cols=cols, every=every)
        m.submodules.loader = loader = Loader(word=self.word, cols=cols)
        m.submodules.turn = turn = CornerTurn(word=self.word, cols=cols)
        m.submodules.west = west = Skew(kind="west_skew", lanes=rows, width=8, bypass=bypass)
        m.submodules.grid = grid = Grid(config=config, paced=every > 1)
        m.submodules.drain = drain = Drain(config=config, extra=1, every=every)
        m.submodules.combiner = combiner = Combiner(
            rows=rows, every=every, mac_stages=config.mac_stages
        )
        m.submodules.deskew = deskew = Skew(
            kind="deskew", lanes=rows, width=8, reverse=True, bypass=True, group=every
        )
        for part in (controller, pacer, loader, turn, west, grid, drain, combiner, deskew):
            m.d.comb += part.i_en.eq(self.i_en)

        stream = self.i_stream if config.st_os else 0
        beat = pacer.o_beat
        m.d.comb += [
            pacer.i_begin.eq(self.i_begin),
            pacer.i_after.eq(self.i_after),
            pacer.i_job.eq(self.i_job),
            pacer.i_ready.eq(self.i_ready),
            self.o_beat.eq(beat),
            self.o_take.eq(loader.o_take),
            self.o_next_beat.eq(pacer.o_next),
            self.o_next_take.eq(loader.o_next),
            loader.i_group.eq(beat & pacer.o_group),
            loader.i_large.eq(pacer.o_large),
            loader.i_pixels.eq(self.i_pixels),
            turn.i_word.eq(self.i_word),
            turn.i_phase.eq(loader.o_phase),
            turn.i_before.eq(loader.o_before),
            controller.i_cmd.eq(self.i_cmd),
            controller.i_cmd_valid.eq(self.i_cmd_valid),
            self.o_cmd_ready.eq(controller.o_cmd_ready),
            controller.i_act_valid.eq(Mux(stream, self.i_word_valid, beat)),
            controller.i_wgt_valid.eq(Mux(stream, self.i_weights_valid, beat)),
            self.o_weights.eq(
                Mux(
                    self.i_combine,
                    combiner.o_entry,
                    Mux(stream, controller.o_wgt_ready & self.i_weights_valid, beat),
                )
            ),
            self.o_word.eq(
                Mux(
                    self.i_combine,
                    combiner.o_word,
                    Mux(stream, controller.o_act_ready & self.i_word_valid, loader.o_take),
                )
            ),
            combiner.i_active.eq(self.i_combine),
            combiner.i_job.eq(self.i_combiner),
            combiner.i_word.eq(self.i_word[: 8 * rows]),
            combiner.i_word_valid.eq(self.i_word_valid),
            combiner.i_entry.eq(self.i_weights),
            combiner.i_entry_valid.eq(self.i_weights_valid),
            self.o_busy.eq(pacer.o_busy | ~loader.o_empty),
        ]

        weights = Signal(8 * rows, reset_less=True)
        activations = Signal(8 * rows, reset_less=True)
        with m.If(self.i_en):
            m.d.sync += [
                weights.eq(self.i_weights),
                activations.eq(Mux(stream, self.i_word[: 8 * rows], self.i_weights)),
            ]
        m.d.comb += [
            west.i.eq(activations), grid.i_a.eq(west.o), grid.i_move.eq(controller.o_move),
        ]  # fmt: skip
        self._north(m, controller, turn, grid)
        if config.st_os:
            enable = controller.o_broadcast
            taps = View(lanes(rows, 8), weights)
            line = Cat(Cat(taps[r], controller.o_tags) for r in range(rows))
            m.d.comb += [
                west.i_bypass.eq(enable),
                grid.i_broadcast_en.eq(enable),
                grid.i_broadcast.eq(line & enable.replicate(len(line))),
            ]
        self._results(m, controller, grid, drain, combiner, deskew)
        return m

    def _north(self, m: Module, controller: Controller, turn: CornerTurn, grid: Grid) -> None:
        """Feed the columns: bytes of the corner turn, and tags one step later for each."""
        config = self.config
        tags: Value = controller.o_tags
        if config.st_os:
            tags = tags & ~controller.o_broadcast.replicate(TAGS.size)
        wave = tags
        if config.cols > 1:
            line = Signal(TAGS.size * (config.cols - 1), name="tag_line")
            with m.If(self.i_en):
                m.d.sync += line.eq(Cat(tags, line))
            wave = Cat(tags, line)
        tags_of = View(ArrayLayout(TAGS, config.cols), wave)
        bytes_of = View(lanes(config.cols, 8), turn.o)
        north = View(ArrayLayout(operand_layout(config), config.cols), grid.i_operand)
        for c in range(config.cols):
            m.d.comb += [north[c].weight.eq(bytes_of[c]), north[c].tags.eq(tags_of[c])]

    def _results(
        self, m: Module, controller: Controller, grid: Grid, drain: Drain, combiner: Combiner,
        deskew: Skew,
    ) -> None:  # fmt: skip
        """Requantize every row's sums, and bring the rows back in line."""
        config, rows, every = self.config, self.config.rows, self.every
        sums = View(lanes(rows, 32), grid.o_result)
        number = rows // every
        small = View(lanes(number, 8), deskew.i)
        wides = View(ArrayLayout(WIDE, number), combiner.i_wide)
        others = View(lanes(number, 32), combiner.o_sums)
        addends = View(lanes(number, 32), combiner.o_addends)
        factors = View(ArrayLayout(8, number), combiner.o_factors)
        by_factor = self.i_combine & combiner.o_factor
        combine = self.i_combine
        banks = self._banks(m, controller, drain)
        for n in range(number):
            lane = Requantizer(mac_stages=config.mac_stages)
            m.submodules[f"lane_{n}"] = lane
            row, odd, used = self._turn(m, n, drain, combiner, banks)
            own = range(n * every, (n + 1) * every)
            to = View(PARAMETERS, lane.i_parameters)
            m.d.comb += [
                lane.i_en.eq(self.i_en),
                lane.i_odd.eq(odd),
                lane.i_sum.eq(Mux(combine, others[n], choose([sums[r] for r in own], row))),
                lane.i_carry.eq(combine & combiner.o_carries[n]),
                # Where the combiner has something to say, the parameters are 0.
                to.bias.eq(used.bias | addends[n]),
                to.multiplier.eq(used.multiplier | (factors[n] & by_factor.replicate(8))),
                to.shift.eq(used.shift),
                to.twice.eq(used.twice),
                lane.i_limits.eq(self.i_limits),
                small[n].eq(lane.o),
                wides[n].eq(lane.o_wide),
            ]
        if every > 1:
            m.d.comb += grid.i_stay.eq(~drain.o_shift)
        m.d.comb += [drain.i_token.eq(controller.o_token), grid.i_release.eq(drain.o_release)]
        bypass: Value = combine
        if config.st_os:
            m.d.comb += drain.i_direct.eq(controller.o_token_direct)
            bypass = bypass | drain.o_bypass
        if every > 1:
            by_two = combine & combiner.o_twice
            bypass = Cat(bypass & ~by_two, by_two)
        later: Value = Cat(drain.o_valid | combiner.o_valid, drain.o_last, bypass)
        coming = later
        for step in range(lane_steps(config.mac_stages)):
            coming, later = later, Signal(len(later), name=f"flags_{step}")
            with m.If(self.i_en):
                m.d.sync += later.eq(coming)
        valid = Signal()  # one is there, and was not in the cycle before
        m.d.sync += valid.eq(self.o_next_valid)
        m.d.comb += [
            self.o_next_valid.eq(coming[0] & self.i_en),
            self.o_result.eq(deskew.o), self.o_valid.eq(valid),
            self.o_last.eq(later[1]), deskew.i_bypass.eq(later[2:]),
        ]  # fmt: skip

    def _turn(
        self, m: Module, lane: int, drain: Drain, combiner: Combiner, banks: list[Value]
    ) -> tuple[Value, Value, Any]:
        """Return which of its rows a lane serves in this step, and that row's bank and parameters.

        They are known a step ahead, and the parameters come out of a memory.
        """
        every, combine = self.every, self.i_combine
        own = range(lane * every, (lane + 1) * every)
        row: Value = Const(0, 0)
        next_row: Value = Const(0, 0)
        if every > 1:
            row = Signal(range(every), name=f"row_{lane}", reset_less=True)
            next_row = Signal(range(every), name=f"next_row_{lane}")
            for index, r in enumerate(own):
                with m.If(drain.o_token[r]):
                    m.d.comb += next_row.eq(index)
            with m.If(combine):
                m.d.comb += next_row.eq(combiner.o_next_index)
            with m.If(self.i_en):
                m.d.sync += row.eq(next_row)
        odd = Signal(name=f"odd_{lane}", reset_less=True)
        next_odd = Signal(name=f"next_odd_{lane}")
        bank = choose([banks[r] for r in own], next_row)
        m.d.comb += next_odd.eq(Mux(combine, self.i_odd ^ combiner.o_next_second, bank))
        with m.If(self.i_en):
            m.d.sync += odd.eq(next_odd)
        ram = self._parameters(m, lane)
        m.d.comb += [ram.i_read.eq(self.i_en), ram.i_read_address.eq(Cat(next_odd, next_row))]
        return row, odd, View(PARAMETERS, ram.o_read_data[: PARAMETERS.size])

    def _parameters(self, m: Module, lane: int) -> Ram:
        """Return the memory of a lane's parameters, and write those that come."""
        every, word = self.every, self.word
        ram = Ram(kind="parameter_ram", depth=2 * every, width=8 * PARAMETER_BYTES)
        m.submodules[f"parameters_{lane}"] = ram
        # Words come in blocks, of one row of every lane each; so many are left at their first ones.
        block, left = parameter_block(self.config.rows, word, every), self.i_parameters_left
        starts = [(every - index) * block for index in range(every)]
        row: Value = Const(0, 0)
        if every > 1:
            row = Signal(range(every), name=f"write_row_{lane}")
            for index, start in enumerate(starts):
                with m.If(left <= start):
                    m.d.comb += row.eq(index)
        m.d.comb += ram.i_write_address.eq(Cat(self.i_parameters_odd, row))
        for byte in range(PARAMETER_BYTES):
            after, place = divmod(PARAMETER_BYTES * lane + byte, word)
            m.d.comb += [
                ram.i_write[byte].eq(Cat(left == start - after for start in starts).any()),
                ram.i_write_data.word_select(byte, 8).eq(self.i_parameters.word_select(place, 8)),
            ]
        return ram

    def _banks(self, m: Module, controller: Controller, drain: Drain) -> list[Value]:
        """Return for every row whether its sum is one of an odd round, which its token says.

        That is a step before the sum leaves the row.
        """
        bank = Signal()
        count = Signal(16)
        emits = Signal(16)  # of this round: that of the next one may be there already
        token = View(TOKEN, controller.o_token)
        starts = (count == 0) & token.first
        last = count + 1 == Mux(starts, self.i_emits, emits)
        with m.If(self.i_en):
            with m.If(starts):
                m.d.sync += emits.eq(self.i_emits)
            with m.If(token.valid & token.last):
                m.d.sync += [bank.eq(bank ^ last), count.eq(Mux(last, 0, count + 1))]
        m.d.comb += drain.i_extra.eq(bank)
        return list(drain.o_extra)
