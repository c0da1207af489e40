"""The machine: jobs from the ring, run by the engine from and to the activation memory."""

from __future__ import annotations

import functools
import operator
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out

from ..config import ArrayConfig
from ..layouts import COMMAND
from ..share import SharedComponent
from .activation_memory import ActivationMemory
from .combiner import Mode
from .engine import Engine
from .jobs import JOB, TRANSFER, Base, Kind, job_words, narrow, parameter_words
from .pacer import pace_job
from .reader import GemmReader, gemm_job
from .requantizer import LIMITS
from .ring import Ring
from .streams import StreamReader, StreamWriter, stream_job, stream_write_job
from .writer import GemmWriter, write_job

__all__ = ["Machine"]


class Front:
    """The job whose operands enter, the one that follows, and what the parts say of both.

    Parameters
    ----------
    word : int
        Bytes of a word.
    """

    def __init__(self, word: int) -> None:
        bits = 8 * word * job_words(word)
        # The job after this one, its rounds that are loaded, and the bank of its first one.
        self.following = Signal(bits, reset_less=True)
        self.later: Any = View(JOB, self.following[: JOB.size])
        self.valid = Signal(name="following_valid")
        self.ahead = Signal(16, name="following_loaded")
        self.later_odd = Signal(name="following_odd")
        self.later_check = Signal(16, name="following_check")  # 0 if the job is whole
        self.later_stream = Signal(name="following_stream")  # it is ST-OS
        # This job.
        self.descriptor = Signal(bits, reset_less=True)
        self.job: Any = View(JOB, self.descriptor[: JOB.size])
        # It is one of the kinds that compute, ST-OS, a COMBINE, one that only holds a word.
        self.computes = Signal()
        self.stream = Signal()
        self.combines = Signal()
        self.holds = Signal()
        self.whole = Signal()  # its check is right
        self.index = Signal(16)
        self.loaded = Signal(16)
        self.odd = Signal()
        self.after = Signal()  # the job before was ST-OS
        self.take = Signal()  # the following job becomes this one
        self.begin = Signal()
        self.running = Signal()
        self.ends = Signal()
        # The job whose results leave: this one or the one before.
        self.writing = Signal()
        self.pending = Signal()  # the job before; this one's are still to come
        self.last = Signal()  # its last result leaves
        self.freed = Signal(2)  # banks that are not needed any more


class Machine(SharedComponent):
    """Run jobs one after the other, each of them as soon as the operands of the one before are in.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    word : int
        Bytes of a word, as `AcceleratorConfig` says.
    rows : int
        Of a bank of the activation memory.
    depth, program : int
        Words of the ring of weights, and of that of jobs and parameters; powers of two.
    every : int
        Rows that share a requantization lane, as of `Engine`.

    Members
    -------
    i_start : In(1)
        Begin with the first job.
    i_program, i_program_data, o_program_room : 1, 8 * word, range(program + 1)
        Words of jobs and their parameters.
    i_push, i_data, o_room : 1, 8 * word, range(depth + 1)
        Words of weights.
    i_load, i_load_address, i_load_data, o_next_load : 1, range(2 * rows * word), 8 * word, 1
        A word from memory for the activation memory, which is written in this cycle. It may come
        only if `o_next_load` was 1 in the cycle before: results go first.
    i_load_first, i_load_end : range(word), range(word + 1)
        Its first byte, and the one behind its last.
    i_loading, i_load_left : 1, range(4 * rows * word)
        Bytes are on their way; so many, from that address on, are not there. Words that have some
        of them wait, and so do jobs that may not overlap with the job before.
    i_store, i_store_address, o_store : 1, range(2 * rows * word), 8 * word
        A word is read for memory, and is there after the next cycle with `i_store`; only in a job
        of kind STORE, or while idle.
    o_transfer, o_is_load, o_job, i_transferred : 1, 1, TRANSFER, 1
        The job is a LOAD or a STORE, this one; it is known a cycle before. A STORE is done, or a
        LOAD has begun.
    o_done, o_illegal : Out(1)
        The last job, or one that is none, has ended the run in this cycle.
    o_index, o_completes : Out(16), Out(1)
        Index of the job; a job is done with this cycle.
    o_array, o_weights, o_activations : Out(1) each
        What the cycle is spent on: operands enter; weights, or activations, are waited for.
    """

    i_start: Signal
    i_program: Signal
    i_program_data: Signal
    o_program_room: Signal
    i_push: Signal
    i_data: Signal
    o_room: Signal
    i_load: Signal
    i_load_first: Signal
    i_load_end: Signal
    i_load_address: Signal
    i_load_data: Signal
    o_next_load: Signal
    i_loading: Signal
    i_load_left: Signal
    i_store: Signal
    i_store_address: Signal
    o_store: Signal
    o_transfer: Signal
    o_is_load: Signal
    o_job: Signal
    i_transferred: Signal
    o_done: Signal
    o_illegal: Signal
    o_index: Signal
    o_completes: Signal
    o_array: Signal
    o_weights: Signal
    o_activations: Signal

    def __init__(
        self, *, config: ArrayConfig, word: int, rows: int, depth: int, program: int,
        every: int = 1,
    ) -> None:  # fmt: skip
        local = (2 * rows * word - 1).bit_length()
        signature: dict[str, Any] = {
            "i_start": In(1), "i_program": In(1), "i_program_data": In(8 * word),
            "o_program_room": Out(range(program + 1)), "i_push": In(1), "i_data": In(8 * word),
            "o_room": Out(range(depth + 1)), "i_load": In(1),
            "i_load_first": In(range(word)), "i_load_end": In(range(word + 1)),
            "i_load_address": In(local),
            "i_load_data": In(8 * word), "o_next_load": Out(1), "i_loading": In(1),
            "i_load_left": In(local + 1), "i_store": In(1), "i_store_address": In(local),
            "o_store": Out(8 * word), "o_transfer": Out(1), "o_is_load": Out(1),
            "o_job": Out(TRANSFER.size), "i_transferred": In(1), "o_done": Out(1),
            "o_illegal": Out(1), "o_index": Out(16),
            "o_completes": Out(1),
            "o_array": Out(1), "o_weights": Out(1), "o_activations": Out(1),
        }  # fmt: skip
        parameters = (config, word, rows, depth, program, every)
        super().__init__(kind="machine", parameters=parameters, signature=signature, resets=True)
        self.config, self.word, self.rows = config, word, rows
        self.depth, self.program, self.every = depth, program, every
        self.local = local

    def body(self, platform: object) -> Module:
        """Wire memory, rings, generators and engine, and build the sequence of the jobs."""
        config, word, m = self.config, self.word, Module()
        m.submodules.memory = memory = ActivationMemory(word=word, rows=self.rows)
        m.submodules.job_ring = program = Ring(
            depth=self.program, width=8 * word, kind="job_ring", again=False
        )
        m.submodules.weight_ring = ring = Ring(depth=self.depth, width=8 * word, kind="weight_ring")
        m.submodules.gemm_reader = gemm_reader = GemmReader(address=self.local, word=word)
        m.submodules.gemm_writer = gemm_writer = GemmWriter(address=self.local, word=word)
        readers: list[Any] = [gemm_reader]
        writers: list[Any] = [gemm_writer]
        if config.st_os:
            m.submodules.stream_reader = StreamReader(
                address=self.local, word=word, cols=config.cols
            )
            m.submodules.stream_writer = StreamWriter(address=self.local, word=word)
            readers.append(m.submodules.stream_reader)
            writers.append(m.submodules.stream_writer)
        m.submodules.engine = engine = Engine(config=config, word=word, every=self.every)

        front = Front(word)
        job = front.job
        combiner = job.own.gemm.combine
        en = Signal(init=1)
        stream = front.stream
        if config.st_os:
            m.d.comb += front.later_stream.eq(front.later.kind == Kind.STREAM)
        # A COMBINE enters, once all its rounds are loaded.
        combine = Signal()
        m.d.sync += combine.eq(
            front.combines & (front.begin | (front.running & ~front.ends))
            & (front.loaded == job.rounds)
        )  # fmt: skip
        limits = self._program(m, program, engine, front)
        fill, filled, idle = self._words(m, memory, readers, engine, front, stream, en)
        giving = self._commands(m, engine, job, stream, front)
        self._results(m, memory, writers, engine, front, stream)
        hold = combine & front.holds
        entered = idle & ~giving & ~engine.o_busy  # all operands of the job are in the array
        m.d.comb += front.ends.eq(Mux(front.combines, hold & idle | front.last, entered))
        asked = Signal(16)
        blocks = Mux(front.combines, combiner.mode == Mode.TABLE, job.rounds)
        asks = Signal()  # there are more blocks
        with m.If(front.begin):
            m.d.sync += [asked.eq(0), asks.eq(blocks.any())]
        with m.Elif(ring.i_block & ring.o_block):
            m.d.sync += [asked.eq(asked + 1), asks.eq(asked + 1 != blocks)]

        # A GEMM's operands are asked for, and all waits; those of ST-OS are offered. That it waits
        # is known a cycle ahead: the enable goes everywhere.
        wants_weights = engine.o_beat & ~ring.o_valid
        wants_word = engine.o_take & ~fill
        m.d.sync += en.eq(~(engine.o_next_beat & ~ring.o_next) & ~(engine.o_next_take & ~filled))
        m.d.comb += [
            program.i_push.eq(self.i_program),
            program.i_data.eq(self.i_program_data),
            self.o_program_room.eq(program.o_room),
            ring.i_push.eq(self.i_push),
            ring.i_data.eq(self.i_data),
            self.o_room.eq(ring.o_room),
            ring.i_block.eq(front.running & asks),
            ring.i_words.eq(job.depth),
            ring.i_times.eq(job.times),
            ring.i_pop.eq(engine.o_weights & en),
            engine.i_weights.eq(ring.o_data[: 8 * config.rows]),
            engine.i_en.eq(en),
            engine.i_stream.eq(stream),
            engine.i_combine.eq(combine),
            engine.i_combiner.eq(combiner.as_value()),
            engine.i_odd.eq(front.odd),
            engine.i_ready.eq(front.loaded),
            engine.i_emits.eq(job.emits),
            engine.i_weights_valid.eq(ring.o_valid),
            engine.i_word_valid.eq(fill),
            engine.i_limits.eq(limits),
            self.o_is_load.eq(job.kind == Kind.LOAD),
            self.o_job.eq(job.own.transfer.as_value()),
            self.o_index.eq(front.index),
            self.o_weights.eq(wants_weights),
            self.o_activations.eq(~wants_weights & wants_word),
            self.o_array.eq(engine.o_weights & en & ~front.combines),
        ]
        self._sequence(m, front)
        return m

    def _program(self, m: Module, program: Ring, engine: Engine, front: Front) -> Value:
        """Read jobs ahead, and parameters into the two banks; return the limits of both."""
        word = self.word
        per_job, per_round = job_words(word), parameter_words(self.config.rows, word, self.every)
        limits = [Signal(LIMITS.size, name=f"limits_{n}", reset_less=True) for n in range(2)]
        left = Signal(range(max(per_job, per_round) + 1))  # words
        rounds = Signal(16)  # that are not loaded
        odd = Signal()  # the bank of the next one
        used = Signal(range(3))  # banks with parameters that are needed
        full = Signal()  # a bank is full
        m.d.sync += used.eq(used + full - front.freed)
        later = front.later
        pieces = functools.reduce(
            operator.xor, (program.o_data[n : n + 16] for n in range(0, 8 * word, 16))
        )
        with m.If(front.take):
            m.d.sync += [
                front.whole.eq(~front.later_check.any()),
                front.valid.eq(0), front.loaded.eq(front.ahead + full), front.ahead.eq(0),
                front.odd.eq(front.later_odd),
            ]  # fmt: skip
        with m.Elif(full):
            with m.If(front.valid):
                m.d.sync += front.ahead.eq(front.ahead + 1)
            with m.Else():
                m.d.sync += front.loaded.eq(front.loaded + 1)
        m.d.comb += program.i_words.eq(per_job)
        with m.FSM(name="program"):
            with m.State("IDLE"):
                with m.If(self.i_start):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += program.i_block.eq(~front.valid)
                m.d.sync += left.eq(per_job)
                with m.If(program.i_block & program.o_block):
                    m.d.sync += front.later_check.eq(0)
                    m.next = "JOB"
            with m.State("JOB"):
                m.d.comb += program.i_pop.eq(1)
                with m.If(program.o_valid):
                    m.d.sync += [
                        front.later_check.eq(front.later_check ^ pieces), left.eq(left - 1),
                    ]  # fmt: skip
                    for n in range(per_job):
                        with m.If(left == per_job - n):
                            m.d.sync += front.following.word_select(n, 8 * word).eq(program.o_data)
                    with m.If(left == 1):
                        m.next = "NEW"
            with m.State("NEW"):
                m.d.sync += [front.valid.eq(1), rounds.eq(later.rounds), front.later_odd.eq(odd)]
                m.next = "ROUND"
            with m.State("ROUND"):
                m.d.sync += left.eq(per_round)
                with m.If(rounds == 0):
                    m.next = "ASK"
                with m.Elif(used != 2):
                    m.d.comb += [program.i_block.eq(1), program.i_words.eq(per_round)]
                    with m.If(program.o_block):
                        m.next = "PARAMETERS"
            with m.State("PARAMETERS"):
                m.d.comb += program.i_pop.eq(1)
                with m.If(program.o_valid):
                    m.d.comb += engine.i_parameters_left.eq(left)
                    for n, limit in enumerate(limits):
                        with m.If(odd == n):
                            m.d.sync += limit.eq(
                                Mux(front.valid, later.limits.as_value(),
                                    front.job.limits.as_value())
                            )  # fmt: skip
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.d.comb += full.eq(1)
                        m.d.sync += [rounds.eq(rounds - 1), odd.eq(~odd)]
                        m.next = "ROUND"
        m.d.comb += [engine.i_parameters.eq(program.o_data), engine.i_parameters_odd.eq(odd)]
        return Cat(*limits)

    def _sequence(self, m: Module, front: Front) -> None:
        """Begin jobs: the next one as soon as all operands of this one are in the array."""
        later, job = front.later, front.job
        started = Signal()  # there was a job before
        compute = [Kind.GEMM, Kind.COMBINE, *[Kind.STREAM] * self.config.st_os]
        computes = Cat(later.kind == one for one in compute).any()
        combines = later.kind == Kind.COMBINE
        alone = ~(computes & later.overlap)
        with m.FSM(name="front"):
            with m.State("IDLE"):
                quiet = ~front.writing & ~self.i_loading
                m.d.comb += front.take.eq(front.valid & ~front.pending & (~alone | quiet))
                with m.If(front.take):
                    m.d.sync += [
                        front.descriptor.eq(front.following), front.index.eq(front.index + started),
                        started.eq(1), front.after.eq(front.stream), front.computes.eq(computes),
                        front.stream.eq(front.later_stream), front.combines.eq(combines),
                        front.holds.eq(combines & (later.own.gemm.combine.mode == Mode.HOLD)),
                    ]  # fmt: skip
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                base = job.own.transfer.base
                to_host = (base == Base.OUTPUT) | (base == Base.SCRATCH)
                count = job.own.transfer.bytes
                fits = count.any() & ~count[self.local + 1 :].any()
                transfers = self.o_is_load | ((job.kind == Kind.STORE) & to_host)
                m.d.comb += front.begin.eq(front.whole & front.computes)
                with m.If(front.begin):
                    m.d.sync += front.running.eq(1)
                    m.next = "RUN"
                with m.Elif(front.whole & fits & transfers):
                    m.next = "TRANSFER"
                with m.Else():
                    m.d.comb += [
                        self.o_done.eq(1),
                        self.o_illegal.eq(~front.whole | (job.kind != Kind.END)),
                    ]
                    m.next = "END"
            with m.State("RUN"):
                with m.If(front.ends):
                    m.d.sync += front.running.eq(0)
                    m.next = "IDLE"
            with m.State("TRANSFER"):
                m.d.comb += self.o_transfer.eq(1)
                with m.If(self.i_transferred):
                    m.next = "IDLE"
            with m.State("END"):  # until the reset before the next run
                pass

    def _words(
        self, m: Module, memory: ActivationMemory, readers: list[Any], engine: Engine,
        front: Front, stream: Value, en: Value,
    ) -> tuple[Value, Value, Value]:  # fmt: skip
        """Read words of activations ahead of the engine.

        Return whether one is there, whether one will be in the next cycle of a GEMM, and whether
        all of the job are taken.
        """
        job, begin = front.job, front.begin
        gemm, other = readers[0], readers[-1]
        bits = len(gemm.o_first)
        address = Mux(stream, other.o_address, gemm.o_address)
        first = Mux(stream, 0, gemm.o_first)
        last = Mux(stream, other.o_bytes, gemm.o_bytes)
        jobs = (
            narrow(job.own.gemm.read, gemm_job(self.local)),
            narrow(job.own.stream.read, stream_job(self.local)),
        )
        for index, (reader, own) in enumerate(zip(readers, jobs, strict=False)):
            m.d.comb += [reader.i_begin.eq(begin & (stream == index)), reader.i_job.eq(own)]
        if other is not gemm:
            m.d.comb += other.i_rounds.eq(job.rounds)
        # Addresses are left, of one of the readers.
        active = [Signal(name=f"reading_{n}") for n in range(len(readers))]
        reading = Cat(*active).any()
        # An address is there; a word comes out of the memory; a word is there.
        asking = Signal()
        coming = Signal()
        fill = Signal()
        # The address, and one more: whether the readers go on is known early in a cycle.
        new = Cat(address, first, last)
        next_read = Signal(len(new), reset_less=True)
        spare = Signal(len(new), reset_less=True)
        spared = Signal()
        free = Signal()  # the address is, or will be, another one
        moves = Signal()
        read = Signal()
        take = Signal()
        storing = Signal()
        # A word, which is in two rows of the memory, waits until both have what is loaded; and for
        # a cycle if one of them is being written.
        size = self.word.bit_length() - 1
        blocked = Signal()
        inside, row = self.i_load_address[:size], self.i_load_address[size:]
        rows = (self.i_load_left + inside + self.word - 1) >> size  # that are not whole
        ahead = Signal(self.local - size)
        m.d.comb += [
            ahead.eq(next_read[size : self.local] + 1 - row),
            blocked.eq(self.i_loading & (ahead <= rows)),
            storing.eq(~front.running),  # after an abort, too, while a burst is being written
            take.eq(engine.o_word & en & fill),
            moves.eq(Mux(storing, self.i_store, ~fill | take)),
            read.eq(asking & moves & ~blocked & ~memory.o_clash),
            free.eq(~asking | read),
            *(
                reader.i_next.eq(own & ~spared) for own, reader in zip(active, readers, strict=True)
            ),
            memory.i_read_en.eq(moves),
            memory.i_read_address.eq(Mux(storing, self.i_store_address, next_read[: self.local])),
        ]  # fmt: skip
        m.d.sync += spared.eq(~free & (reading | spared))
        with m.If(~spared):
            m.d.sync += spare.eq(new)
        with m.If(free):
            m.d.sync += [asking.eq(reading | spared), next_read.eq(Mux(spared, spare, new))]
        for index, (own, reader) in enumerate(zip(active, readers, strict=True)):
            with m.If(begin):
                m.d.sync += own.eq(stream == index)
            with m.Elif(~spared & reader.o_last):
                m.d.sync += own.eq(0)

        # What is padding becomes the zero point, a cycle after the word has left the memory.
        first_q = Signal(bits, reset_less=True)
        last_q = Signal(bits, reset_less=True)
        inner = Signal(self.word, reset_less=True)
        word = memory.o_read
        padded = Cat(Mux(inner[n], word.word_select(n, 8), job.pad) for n in range(self.word))
        with m.If(moves):
            m.d.sync += [
                coming.eq(read), fill.eq(coming), Cat(first_q, last_q).eq(next_read[self.local :]),
                inner.eq(Cat((n >= first_q) & (n < last_q) for n in range(self.word))),
            ]  # fmt: skip
        m.d.comb += [engine.i_word.eq(padded), self.o_store.eq(word)]
        # Only a GEMM wants to know, and only the loader takes its words: that is known early.
        filled = Mux(~fill | (engine.o_take & en), coming, fill)
        return fill, filled, ~(reading | asking | coming | fill)

    def _commands(self, m: Module, engine: Engine, job: Any, stream: Value, front: Front) -> Value:
        """Give the array its commands, and the engine a GEMM's beats once the first is there.

        A GEMM has a command per tile; an ST-OS signal one for all folds of its only pass, or one
        for every pass of every fold, of which the last one emits. A round begins once its
        parameters are there; a GEMM's beats see to that themselves. Return whether commands, or the
        beginning of a GEMM's beats, are still to come.
        """
        gemm, passes = job.own.gemm.read, job.own.stream.read
        # From 1: the tile, fold or pass that is next, and the band. From 0: the round.
        tile = Signal(16)
        number = Signal(8)
        giving = Signal()
        band = Signal(16)
        round_ = Signal(16)
        # The next command is in a register: that it is taken is known late in a cycle.
        held = Signal()
        command = Signal(COMMAND.size + 1, reset_less=True)
        taken = Signal()  # the first one of a GEMM was taken in the cycle before
        give = Signal()
        starts = front.begin & ~front.combines
        m.d.comb += give.eq((starts | giving) & (~stream | (round_ != front.loaded)) & ~held)
        m.d.sync += [
            held.eq(give | (held & ~engine.o_cmd_ready)),
            taken.eq(held & engine.o_cmd_ready & command[-1] & ~stream),
        ]
        # It is the last pass of its fold, fold or tile of its signal, band of its round, round.
        last_pass, last_tile, last_band, last_round = (
            Signal(name=f"last_{name}") for name in ("pass", "tile", "band", "round")
        )
        single = passes.passes == 1
        tiles = Mux(stream, passes.folds, gemm.tiles)
        bands = Mux(stream, passes.bands, 1)
        word = View(COMMAND, Signal(COMMAND.size, name="command_word"))
        m.d.comb += [
            word.depth.eq(Mux(stream, passes.depth, job.depth)),
            word.folds.eq(Mux(stream & single, passes.folds, 1)),
            word.emit.eq(gemm.pixels + (tile <= gemm.large)),
            word.st_os.eq(stream),
            word.accumulate.eq(stream & (number != 1)),
            engine.i_cmd.eq(command[: COMMAND.size]),
            engine.i_cmd_valid.eq(held),
            engine.i_begin.eq(taken),
            engine.i_after.eq(front.after),
            engine.i_pixels.eq(gemm.pixels),
            engine.i_job.eq(Cat(getattr(gemm, name) for name, _ in pace_job)),
        ]
        with m.If(stream):
            full = Mux(single | last_tile, passes.last, self.config.cols)
            m.d.comb += word.emit.eq(Mux(last_pass, full, 0))
        signal_ends = Mux(stream, last_pass & (single | last_tile), last_tile)
        round_ends = signal_ends & last_band
        with m.If(~held):
            m.d.sync += command.eq(Cat(word, (tile == 1) & (round_ == 0)))
        with m.If(starts):
            m.d.sync += giving.eq(1)
        with m.If(front.take):
            later, its, streams = front.later, front.later.own.stream.read, front.later_stream
            m.d.sync += [
                tile.eq(1), number.eq(1), band.eq(1), round_.eq(0), last_pass.eq(its.passes == 1),
                last_tile.eq(Mux(streams, its.folds, later.own.gemm.read.tiles) == 1),
                last_band.eq(~streams | (its.bands == 1)), last_round.eq(later.rounds == 1),
            ]  # fmt: skip
        with m.Elif(give):
            m.d.sync += [number.eq(number + 1), last_pass.eq(number + 1 == passes.passes)]
            with m.If(~stream | last_pass):
                m.d.sync += [
                    number.eq(1), last_pass.eq(single), tile.eq(tile + 1),
                    last_tile.eq(tile + 1 == tiles),
                ]  # fmt: skip
            with m.If(signal_ends):
                m.d.sync += [
                    tile.eq(1), last_tile.eq(tiles == 1), band.eq(band + 1),
                    last_band.eq(band + 1 == bands),
                ]  # fmt: skip
            with m.If(round_ends):
                m.d.sync += [
                    band.eq(1), last_band.eq(bands == 1), round_.eq(round_ + 1),
                    last_round.eq(round_ + 2 == job.rounds),
                ]  # fmt: skip
                with m.If(last_round):
                    m.d.sync += giving.eq(0)
        return giving | held | taken

    def _results(
        self, m: Module, memory: ActivationMemory, writers: list[Any], engine: Engine, front: Front,
        stream: Value,
    ) -> None:  # fmt: skip
        """Write results, or what is loaded: the writers are one job behind."""
        job = front.job
        jobs = [
            narrow(job.own.gemm.write, write_job(self.local)),
            narrow(job.own.stream.write, stream_write_job(self.local)),
        ][: len(writers)]
        kept = Signal(max(map(len, jobs)), reset_less=True)
        kept_stream = Signal()
        kept_combine = Signal()
        hold = front.holds
        begins = front.begin & ~hold
        valid = engine.o_valid
        # The writers go on, and if they do, to the job of the front.
        step = valid | (begins & ~front.writing)
        turns = Signal()
        switch = Signal()
        m.d.comb += switch.eq(step & turns)
        with m.If(switch):
            m.d.sync += [
                kept.eq(Mux(stream, jobs[-1], jobs[0])), kept_stream.eq(stream),
                kept_combine.eq(front.combines),
                front.writing.eq(1), front.pending.eq(0),
            ]  # fmt: skip
        with m.Elif(front.last):
            m.d.sync += front.writing.eq(0)
        with m.Elif(begins):
            m.d.sync += front.pending.eq(1)
        gemm, other = writers[0], writers[-1]
        for index, (writer, new) in enumerate(zip(writers, jobs, strict=True)):
            m.d.comb += [
                writer.i_begin.eq(turns & (stream == index)),
                writer.i_new.eq(new),
                writer.i_job.eq(kept[: len(new)]),
                writer.i_next.eq(step),
            ]  # fmt: skip
        width = 8 * (self.word - self.config.rows)
        result = Cat(engine.o_result, Const(0, width)) if width else engine.o_result
        count, address, round_ends, last = (
            Mux(kept_stream, two, one)
            for one, two in (
                (gemm.o_count, other.o_count), (gemm.o_address, other.o_address),
                (gemm.o_round, other.o_round), (gemm.o_last, other.o_last),
            )
        )  # fmt: skip
        kept_result = Mux(kept_stream, other.o_kept, 1) if other is not gemm else Const(1)
        m.d.comb += [
            turns.eq((begins & (~front.writing | last)) | (front.pending & last)),
            front.last.eq(valid & last),
            front.freed.eq(Mux(kept_combine, Mux(front.last, 2, 0), valid & round_ends)),
            self.o_next_load.eq(~engine.o_next_valid),
            memory.i_write_en.eq(Mux(valid, kept_result, self.i_load)),
            memory.i_write_first.eq(Mux(valid, 0, self.i_load_first)),
            memory.i_write_end.eq(Mux(valid, count, self.i_load_end)),
            memory.i_write_address.eq(Mux(valid, address, self.i_load_address)),
            memory.i_write_data.eq(Mux(valid, result, self.i_load_data)),
        ]
        m.d.comb += self.o_completes.eq(
            front.last | (self.o_transfer & self.i_transferred) | (hold & front.ends)
        )
