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
        Bytes of a word, as `hw.accelerator.engine.word_bytes` says.
    rows : int
        Of a bank of the activation memory.
    depth : int
        Words of the ring, a power of two.

    Members
    -------
    i_start : In(1)
        Begin with the first job.
    i_push, i_data, o_room : 1, 8 * word, range(depth + 1)
        Words of the image for the ring.
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

    def __init__(self, *, config: ArrayConfig, word: int, rows: int, depth: int) -> None:
        signature: dict[str, Any] = {
            "i_start": In(1), "i_push": In(1), "i_data": In(8 * word),
            "o_room": Out(range(depth + 1)), "i_load": In(word), "i_load_address": In(ADDRESS),
            "i_load_data": In(8 * word), "i_store": In(1), "i_store_address": In(ADDRESS),
            "o_store": Out(8 * word), "o_job": Out(JOB.size), "o_transfer": Out(1),
            "i_transferred": In(1), "o_done": Out(1), "o_illegal": Out(1), "o_index": Out(16),
            "o_busy": Out(1), "o_array": Out(1), "o_weights": Out(1), "o_activations": Out(1),
        }  # fmt: skip
        parameters = (config, word, rows, depth)
        super().__init__(kind="machine", parameters=parameters, signature=signature, resets=True)
        self.config, self.word, self.rows, self.depth = config, word, rows, depth

    def body(self, platform: object) -> Module:
        """Wire memory, ring, generators and engine, and build the sequence of a job."""
        config, word, m = self.config, self.word, Module()
        m.submodules.memory = memory = ActivationMemory(word=word, rows=self.rows)
        m.submodules.ring = ring = Ring(depth=self.depth, width=8 * word)
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
        parameters = Signal(8 * word * parameter_words(config.rows, word), reset_less=True)
        job = View(JOB, descriptor[: JOB.size])
        index, left = Signal(16), Signal(16)
        begin = Signal()  # the job's operands begin
        en = Signal()
        stream = Signal()
        if config.st_os:
            m.d.comb += stream.eq(job.kind == Kind.STREAM)

        fill = self._words(m, memory, readers, engine, job, stream, begin, en)
        self._commands(m, engine, job, stream, begin)
        ends = self._results(m, memory, writers, engine, job, stream, begin)

        # A GEMM's operands are asked for, and all waits; those of ST-OS are offered.
        wants_weights = ~stream & engine.o_weights & ~ring.o_valid
        wants_word = ~stream & engine.o_word & ~fill
        m.d.comb += [
            ring.i_push.eq(self.i_push),
            ring.i_data.eq(self.i_data),
            self.o_room.eq(ring.o_room),
            engine.i_weights.eq(ring.o_data[: 8 * config.rows]),
            en.eq(~wants_weights & ~wants_word),
            engine.i_en.eq(en),
            engine.i_stream.eq(stream),
            engine.i_weights_valid.eq(ring.o_valid),
            engine.i_word_valid.eq(fill),
            engine.i_parameters.eq(
                Cat(parameters[72 * r : 72 * r + PARAMETERS.size] for r in range(config.rows))
            ),
            engine.i_limits.eq(job.limits.as_value()),
            self.o_job.eq(job.as_value()),
            self.o_index.eq(index),
            self.o_weights.eq(wants_weights),
            self.o_activations.eq(~wants_weights & wants_word),
            self.o_array.eq(engine.o_weights & en),
        ]

        with m.FSM() as machine:
            with m.State("IDLE"):
                with m.If(self.i_start):
                    m.d.sync += index.eq(0)
                    m.next = "ASK JOB"
            with m.State("ASK JOB"):
                self._ask(m, ring, job_words(word), 1)
                m.d.sync += left.eq(job_words(word))
                with m.If(ring.o_block):
                    m.next = "JOB"
            with m.State("JOB"):
                m.d.comb += ring.i_pop.eq(1)
                with m.If(ring.o_valid):
                    m.d.sync += [
                        descriptor.eq(Cat(descriptor, ring.o_data)[8 * word :]), left.eq(left - 1),
                    ]  # fmt: skip
                    with m.If(left == 1):
                        m.next = "DECODE"
            with m.State("DECODE"):
                with m.Switch(job.kind):
                    with m.Case(Kind.GEMM, *[Kind.STREAM] * config.st_os):
                        m.next = "ASK PARAMETERS"
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
            with m.State("ASK PARAMETERS"):
                self._ask(m, ring, parameter_words(config.rows, word), 1)
                m.d.sync += left.eq(parameter_words(config.rows, word))
                with m.If(ring.o_block):
                    m.next = "PARAMETERS"
            with m.State("PARAMETERS"):
                m.d.comb += ring.i_pop.eq(1)
                with m.If(ring.o_valid):
                    m.d.sync += [
                        parameters.eq(Cat(parameters, ring.o_data)[8 * word :]), left.eq(left - 1),
                    ]  # fmt: skip
                    with m.If(left == 1):
                        m.next = "ASK WEIGHTS"
            with m.State("ASK WEIGHTS"):
                times = Mux(stream, job.read.stream.folds, job.read.gemm.tiles)
                self._ask(m, ring, job.depth, times)
                with m.If(ring.o_block):
                    m.d.comb += begin.eq(1)
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += ring.i_pop.eq(engine.o_weights & en)
                with m.If(ends):
                    m.d.sync += index.eq(index + 1)
                    m.next = "ASK JOB"
        m.d.comb += self.o_busy.eq(~machine.ongoing("IDLE"))
        return m

    def _ask(self, m: Module, ring: Ring, words: Any, times: Any) -> None:
        m.d.comb += [ring.i_block.eq(1), ring.i_words.eq(words), ring.i_times.eq(times)]

    def _words(
        self, m: Module, memory: ActivationMemory, readers: list[Any], engine: Engine, job: Any,
        stream: Value, begin: Value, en: Value,
    ) -> Value:  # fmt: skip
        """Read words of activations ahead of the engine; return whether one is there."""
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
        return fill

    def _commands(self, m: Module, engine: Engine, job: Any, stream: Value, begin: Value) -> None:
        """Give the array its commands, and the engine a GEMM's beats once the first is there.

        A GEMM has a command per tile; an ST-OS job one for all folds of its only pass, or one for
        every pass of every fold, of which the last one emits.
        """
        gemm, passes = job.read.gemm, job.read.stream
        tile, number, giving = Signal(16), Signal(8), Signal()
        taken = Signal()  # the first command was taken in the cycle before
        m.d.sync += taken.eq(giving & engine.o_cmd_ready & (tile == 0) & ~stream)
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
            engine.i_cmd_valid.eq(giving),
            engine.i_begin.eq(taken),
            engine.i_pixels.eq(gemm.pixels),
            engine.i_job.eq(Cat(getattr(gemm, name) for name, _ in pace_job)),
        ]
        with m.If(stream):
            full = Mux(single | last_fold, passes.last, self.config.cols)
            m.d.comb += word.emit.eq(Mux(last_pass, full, 0))
        ends = Mux(stream, last_pass & (single | last_fold), tile + 1 == gemm.tiles)
        with m.If(begin):
            m.d.sync += [giving.eq(1), tile.eq(0), number.eq(0)]
        with m.Elif(giving & engine.o_cmd_ready):
            m.d.sync += [number.eq(number + 1), giving.eq(~ends)]
            with m.If(~stream | last_pass):
                m.d.sync += [number.eq(0), tile.eq(tile + 1)]

    def _results(
        self, m: Module, memory: ActivationMemory, writers: list[Any], engine: Engine, job: Any,
        stream: Value, begin: Value,
    ) -> Value:  # fmt: skip
        """Write results, or what is loaded; return whether it is the last of the job."""
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
        mask, address, last = (
            Mux(stream, two, one)
            for one, two in (
                (gemm.o_bytes, other.o_bytes), (gemm.o_address, other.o_address),
                (gemm.o_last, other.o_last),
            )
        )  # fmt: skip
        m.d.comb += [
            memory.i_write.eq(Mux(valid, mask, self.i_load)),
            memory.i_write_address.eq(Mux(valid, address, self.i_load_address)),
            memory.i_write_data.eq(Mux(valid, result, self.i_load_data)),
        ]
        return valid & last
