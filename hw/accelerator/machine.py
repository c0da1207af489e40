"""The machine: jobs from the ring, run by the engine from and to the activation memory."""

from __future__ import annotations

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
from .jobs import ADDRESS, JOB, Kind, job_words, parameter_words
from .pacer import pace_job
from .reader import GemmReader
from .requantizer import PARAMETERS
from .ring import Ring
from .streams import StreamReader, StreamWriter
from .writer import GemmWriter

__all__ = ["Machine"]

_AHEAD = 4  # words of activations that wait for the engine


class Machine(SharedComponent):
    """Run jobs one after the other: read a job, its parameters and its weights, and write results.

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

    Members
    -------
    i_start : In(1)
        Begin with the first job.
    i_program, i_program_data, o_program_room : 1, 8 * word, range(program + 1)
        Words of jobs and their parameters.
    i_push, i_data, o_room : 1, 8 * word, range(depth + 1)
        Words of weights.
    i_load, i_load_address, i_load_data : word, ADDRESS, 8 * word
        Bytes from memory for the activation memory; only in a job of kind LOAD, or while idle.
    i_store, i_store_address, o_store : 1, ADDRESS, 8 * word
        A word is read for memory, and is there two cycles later; only in a job of kind STORE, or
        while idle.
    o_job : Out(JOB)
        The job.
    o_transfer, i_transferred : 1, 1
        The job is of kind LOAD or STORE; it is done.
    o_done, o_illegal : Out(1)
        The last job, or one that is none, has ended the run in this cycle.
    o_index : Out(16)
        Index of the job.
    o_busy : Out(1)
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
    i_load_address: Signal
    i_load_data: Signal
    i_store: Signal
    i_store_address: Signal
    o_store: Signal
    o_job: Signal
    o_transfer: Signal
    i_transferred: Signal
    o_done: Signal
    o_illegal: Signal
    o_index: Signal
    o_busy: Signal
    o_array: Signal
    o_weights: Signal
    o_activations: Signal

    def __init__(self, *, config: ArrayConfig, word: int, rows: int, depth: int, program: int) -> None:
        signature: dict[str, Any] = {
            "i_start": In(1), "i_program": In(1), "i_program_data": In(8 * word),
            "o_program_room": Out(range(program + 1)), "i_push": In(1), "i_data": In(8 * word),
            "o_room": Out(range(depth + 1)), "i_load": In(word), "i_load_address": In(ADDRESS),
            "i_load_data": In(8 * word), "i_store": In(1), "i_store_address": In(ADDRESS),
            "o_store": Out(8 * word), "o_job": Out(JOB.size), "o_transfer": Out(1),
            "i_transferred": In(1), "o_done": Out(1), "o_illegal": Out(1), "o_index": Out(16),
            "o_busy": Out(1), "o_array": Out(1), "o_weights": Out(1), "o_activations": Out(1),
        }  # fmt: skip
        parameters = (config, word, rows, depth, program)
        super().__init__(kind="machine", parameters=parameters, signature=signature, resets=True)
        self.config, self.word, self.rows = config, word, rows
        self.depth, self.program = depth, program

    def body(self, platform: object) -> Module:
        """Wire memory, ring, generators and engine, and build the sequence of a job."""
        config, word, m = self.config, self.word, Module()
        m.submodules.memory = memory = ActivationMemory(word=word, rows=self.rows)
        m.submodules.job_ring = program = Ring(depth=self.program, width=8 * word, kind="job_ring")
        m.submodules.ring = ring = Ring(depth=self.depth, width=8 * word, kind="weight_ring")
        m.submodules.gemm_reader = gemm_reader = GemmReader(address=ADDRESS, word=word)
        m.submodules.gemm_writer = gemm_writer = GemmWriter(address=ADDRESS, word=word)
        readers: list[Any] = [gemm_reader]
        writers: list[Any] = [gemm_writer]
        if config.st_os:
            m.submodules.stream_reader = StreamReader(address=ADDRESS, word=word, cols=config.cols)
            m.submodules.stream_writer = StreamWriter(address=ADDRESS, word=word)
            readers.append(m.submodules.stream_reader)
            writers.append(m.submodules.stream_writer)
        m.submodules.engine = engine = Engine(config=config, word=word)

        descriptor = Signal(8 * word * job_words(word), reset_less=True)
        per_block = parameter_words(config.rows, word)
        banks = [
            Signal(8 * word * per_block, name=f"parameters_{n}", reset_less=True) for n in range(2)
        ]
        job = View(JOB, descriptor[: JOB.size])
        index = Signal(16)
        left = Signal(range(max(job_words(word), per_block) + 1))
        # the job begins; it has not ended
        begin = Signal()
        running = Signal()
        # rounds: weights, parameters
        asked = Signal(16)
        loaded = Signal(16)
        finished = Signal(16)
        # the bank of the next round; of the job's first one
        odd = Signal()
        first_odd = Signal()
        ended = Signal()
        en = Signal()
        stream = Signal()
        combine = Signal()
        if config.st_os:
            m.d.comb += stream.eq(job.kind == Kind.STREAM)
        all_there = loaded == job.rounds
        m.d.comb += combine.eq((job.kind == Kind.COMBINE) & running & all_there)

        fill, idle = self._words(m, memory, readers, engine, job, stream, begin, en)
        self._commands(m, engine, job, stream, loaded, begin)
        round_ends, ends = self._results(m, memory, writers, engine, job, stream, begin)
        hold = combine & (job.combine.mode == Mode.HOLD)

        # A GEMM's operands are asked for, and all waits; those of ST-OS are offered.
        wants_weights = engine.o_beat & ~ring.o_valid
        wants_word = engine.o_take & ~fill
        m.d.comb += [
            program.i_push.eq(self.i_program),
            program.i_data.eq(self.i_program_data),
            self.o_program_room.eq(program.o_room),
            program.i_times.eq(1),
            ring.i_push.eq(self.i_push),
            ring.i_data.eq(self.i_data),
            self.o_room.eq(ring.o_room),
            ring.i_block.eq(running & (job.kind != Kind.COMBINE) & (asked != job.rounds)),
            ring.i_words.eq(job.depth),
            ring.i_times.eq(job.times),
            ring.i_pop.eq(engine.o_weights & en),
            engine.i_weights.eq(ring.o_data[: 8 * config.rows]),
            en.eq(~wants_weights & ~wants_word),
            engine.i_en.eq(en),
            engine.i_stream.eq(stream),
            engine.i_combine.eq(combine),
            engine.i_combiner.eq(job.combine.as_value()),
            engine.i_odd.eq(first_odd),
            engine.i_ready.eq(loaded),
            engine.i_emits.eq(job.emits),
            engine.i_weights_valid.eq(ring.o_valid),
            engine.i_word_valid.eq(fill),
            engine.i_parameters.eq(
                Cat(bank[72 * r : 72 * r + PARAMETERS.size]
                    for bank in banks for r in range(config.rows))
            ),
            engine.i_limits.eq(job.limits.as_value()),
            self.o_job.eq(job.as_value()),
            self.o_index.eq(index),
            self.o_weights.eq(wants_weights),
            self.o_activations.eq(~wants_weights & wants_word),
            self.o_array.eq(engine.o_weights & en),
        ]  # fmt: skip
        with m.If(ring.i_block & ring.o_block):
            m.d.sync += asked.eq(asked + 1)
        with m.If(round_ends):
            m.d.sync += finished.eq(finished + 1)
        with m.If(ends | (hold & idle)):
            m.d.sync += ended.eq(1)

        with m.FSM() as machine:
            with m.State("IDLE"):
                m.d.sync += running.eq(0)
                with m.If(self.i_start):
                    m.d.sync += index.eq(0)
                    m.next = "ASK JOB"
            with m.State("ASK JOB"):
                m.d.comb += [program.i_block.eq(1), program.i_words.eq(job_words(word))]
                m.d.sync += left.eq(job_words(word))
                with m.If(program.o_block):
                    m.next = "JOB"
            with m.State("JOB"):
                m.d.comb += program.i_pop.eq(1)
                with m.If(program.o_valid):
                    m.d.sync += [
                        descriptor.eq(Cat(descriptor, program.o_data)[8 * word :]),
                        left.eq(left - 1),
                    ]
                    with m.If(left == 1):
                        m.next = "DECODE"
            with m.State("DECODE"):
                m.d.sync += [
                    asked.eq(0), loaded.eq(0), finished.eq(0), ended.eq(0), first_odd.eq(odd),
                ]  # fmt: skip
                with m.Switch(job.kind):
                    with m.Case(Kind.GEMM, Kind.COMBINE, *[Kind.STREAM] * config.st_os):
                        m.d.comb += begin.eq(1)
                        m.d.sync += running.eq(1)
                        m.next = "ROUND"
                    with m.Case(Kind.LOAD, Kind.STORE):
                        m.next = "TRANSFER"
                    with m.Default():
                        m.d.comb += [
                            self.o_done.eq(1), self.o_illegal.eq(job.kind != Kind.END),
                        ]  # fmt: skip
                        m.next = "IDLE"
            with m.State("TRANSFER"):
                m.d.comb += self.o_transfer.eq(1)
                with m.If(self.i_transferred):
                    m.d.sync += index.eq(index + 1)
                    m.next = "ASK JOB"
            with m.State("ROUND"):
                m.d.sync += left.eq(per_block)
                with m.If(all_there):
                    with m.If(ended):
                        m.d.sync += [index.eq(index + 1), running.eq(0)]
                        m.next = "ASK JOB"
                with m.Elif(loaded - finished != 2):
                    m.d.comb += [program.i_block.eq(1), program.i_words.eq(per_block)]
                    with m.If(program.o_block):
                        m.next = "PARAMETERS"
            with m.State("PARAMETERS"):
                m.d.comb += program.i_pop.eq(1)
                with m.If(program.o_valid):
                    for n, bank in enumerate(banks):
                        with m.If(odd == n):
                            m.d.sync += bank.eq(Cat(bank, program.o_data)[8 * word :])
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.d.sync += [loaded.eq(loaded + 1), odd.eq(~odd)]
                        m.next = "ROUND"
        m.d.comb += self.o_busy.eq(~machine.ongoing("IDLE"))
        return m

    def _words(
        self, m: Module, memory: ActivationMemory, readers: list[Any], engine: Engine, job: Any,
        stream: Value, begin: Value, en: Value,
    ) -> tuple[Value, Value]:  # fmt: skip
        """Read words of activations ahead of the engine.

        Return whether one is there, and whether all of the job are taken.
        """
        gemm, other = readers[0], readers[-1]
        bits = len(gemm.o_first)
        address = Mux(stream, other.o_address, gemm.o_address)
        first = Mux(stream, 0, gemm.o_first)
        last = Mux(stream, other.o_bytes, gemm.o_bytes)
        ends = Mux(stream, other.o_last, gemm.o_last)
        jobs = (job.read.gemm.as_value(), job.read.stream.as_value())
        for index, (reader, own) in enumerate(zip(readers, jobs, strict=False)):
            m.d.comb += [reader.i_begin.eq(begin & (stream == index)), reader.i_job.eq(own)]
        reading = Signal()  # addresses are left
        count = Signal(range(_AHEAD + 1))  # words there, or on their way
        take = Signal()
        read = Signal()
        m.d.comb += [
            take.eq(engine.o_word & en & (count != 0)),
            read.eq(reading & (count - take < _AHEAD)),
            *(reader.i_next.eq(read & (stream == n)) for n, reader in enumerate(readers)),
            memory.i_read_en.eq(1),
            memory.i_read_address.eq(Mux(self.o_transfer | ~self.o_busy, self.i_store_address,
                                         address)),
            self.o_store.eq(memory.o_read),
        ]  # fmt: skip
        with m.If(begin):
            m.d.sync += reading.eq(1)
        with m.Elif(read & ends):
            m.d.sync += reading.eq(0)
        m.d.sync += count.eq(count + read - take)

        # Two cycles later the word is there; what is padding becomes the zero point.
        valid: Value = read
        for step in range(2):
            state = [
                Signal(name=f"read_{step}"),
                Signal(bits, name=f"first_{step}", reset_less=True),
                Signal(bits, name=f"bytes_{step}", reset_less=True),
            ]
            m.d.sync += [new.eq(old) for new, old in zip(state, (valid, first, last), strict=True)]
            valid, first, last = state
        pad = job.pad
        padded = Cat(
            Mux((n >= first) & (n < last), memory.o_read.word_select(n, 8), pad)
            for n in range(self.word)
        )
        queue = [Signal(8 * self.word, name=f"word_{n}", reset_less=True) for n in range(_AHEAD)]
        there = Signal(range(_AHEAD + 1))
        stays = there - take
        following = [*queue[1:], Const(0, 8 * self.word)]
        for n, (slot, behind) in enumerate(zip(queue, following, strict=True)):
            with m.If(valid & (stays == n)):
                m.d.sync += slot.eq(padded)
            with m.Elif(take):
                m.d.sync += slot.eq(behind)
        m.d.sync += there.eq(stays + valid)
        m.d.comb += engine.i_word.eq(queue[0])
        fill = Signal()
        m.d.comb += fill.eq(there != 0)
        return fill, ~reading & (count == 0)

    def _commands(
        self, m: Module, engine: Engine, job: Any, stream: Value, loaded: Value, begin: Value
    ) -> None:
        """Give the array its commands, and the engine a GEMM's beats once the first is there.

        A GEMM has a command per tile; an ST-OS signal one for all folds of its only pass, or one
        for every pass of every fold, of which the last one emits. A round begins once its
        parameters are there; a GEMM's beats see to that themselves.
        """
        gemm, passes = job.read.gemm, job.read.stream
        tile = Signal(16)
        number = Signal(8)
        giving = Signal()
        band = Signal(16)
        round_ = Signal(16)
        taken = Signal()  # the first command was taken in the cycle before
        give = Signal()
        first = (tile == 0) & (round_ == 0)
        m.d.comb += give.eq(giving & (~stream | (round_ != loaded)))
        m.d.sync += taken.eq(give & engine.o_cmd_ready & first & ~stream)
        single = passes.passes == 1
        last_pass = number + 1 == passes.passes
        last_fold = tile + 1 == passes.folds
        word = View(COMMAND, Signal(COMMAND.size, name="command"))
        m.d.comb += [
            word.depth.eq(Mux(stream, passes.depth, job.depth)),
            word.folds.eq(Mux(stream & single, passes.folds, 1)),
            word.emit.eq(gemm.pixels + (tile < gemm.large)),
            word.st_os.eq(stream),
            word.accumulate.eq(stream & (number != 0)),
            engine.i_cmd.eq(word.as_value()),
            engine.i_cmd_valid.eq(give),
            engine.i_begin.eq(taken),
            engine.i_pixels.eq(gemm.pixels),
            engine.i_job.eq(Cat(getattr(gemm, name) for name, _ in pace_job)),
        ]
        with m.If(stream):
            full = Mux(single | last_fold, passes.last, self.config.cols)
            m.d.comb += word.emit.eq(Mux(last_pass, full, 0))
        signal_ends = Mux(stream, last_pass & (single | last_fold), tile + 1 == gemm.tiles)
        round_ends = signal_ends & (~stream | (band + 1 == passes.bands))
        with m.If(begin):
            m.d.sync += [
                giving.eq(job.kind != Kind.COMBINE), tile.eq(0), number.eq(0), band.eq(0),
                round_.eq(0),
            ]  # fmt: skip
        with m.Elif(give & engine.o_cmd_ready):
            m.d.sync += number.eq(number + 1)
            with m.If(~stream | last_pass):
                m.d.sync += [number.eq(0), tile.eq(tile + 1)]
            with m.If(signal_ends):
                m.d.sync += [tile.eq(0), band.eq(band + 1)]
            with m.If(round_ends):
                m.d.sync += [band.eq(0), round_.eq(round_ + 1)]
                with m.If(round_ + 1 == job.rounds):
                    m.d.sync += giving.eq(0)

    def _results(
        self, m: Module, memory: ActivationMemory, writers: list[Any], engine: Engine, job: Any,
        stream: Value, begin: Value,
    ) -> tuple[Value, Value]:  # fmt: skip
        """Write results, or what is loaded.

        Return whether a result is the last one of a round, and of the job.
        """
        gemm, other = writers[0], writers[-1]
        jobs = (job.write.gemm.as_value(), job.write.stream.as_value())
        for index, (writer, own) in enumerate(zip(writers, jobs, strict=False)):
            m.d.comb += [
                writer.i_begin.eq(begin & (stream == index)), writer.i_job.eq(own),
                writer.i_next.eq(engine.o_valid & (stream == index)),
            ]  # fmt: skip
        width = 8 * (self.word - self.config.rows)
        result = Cat(engine.o_result, Const(0, width)) if width else engine.o_result
        valid = engine.o_valid
        mask, address, round_ends, last = (
            Mux(stream, two, one)
            for one, two in (
                (gemm.o_bytes, other.o_bytes), (gemm.o_address, other.o_address),
                (gemm.o_round, other.o_round), (gemm.o_last, other.o_last),
            )
        )  # fmt: skip
        m.d.comb += [
            memory.i_write.eq(Mux(valid, mask, self.i_load)),
            memory.i_write_address.eq(Mux(valid, address, self.i_load_address)),
            memory.i_write_data.eq(Mux(valid, result, self.i_load_data)),
        ]
        return valid & round_ends, valid & last
