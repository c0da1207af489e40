"""Addresses of ST-OS: what a signal reads of an image, and where its outputs go."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib.data import StructLayout, View
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["StreamReader", "StreamWriter", "stream_job", "stream_write_job"]


def stream_job(address: int) -> StructLayout:
    """Return the layout of what a job says of its reads.

    A signal is lines of `pitch` elements, end to end. Element 0 of a line is pixel `x` (maybe left
    of the image), the first line image row `top` (maybe above it); a line is `step` image rows
    below the line before, and `line` bytes behind it; an element is `pixel` bytes behind the one
    before. A pass reads `depth` taps; there are `passes` of them for every fold, each an image row,
    `row` bytes, below the one before; after `kernel` of them it is the first row again. One pass
    has all `folds` at once. The last fold has `last` outputs.

    There are `bands` signals, each `band_x` elements, `band` bytes, to the right of the one before,
    and all of them once for every block of channels, `block` bytes apart.

    Parameters
    ----------
    address : int
        Bits of a byte address.
    """
    wide = signed(address + 1)
    return StructLayout(
        {
            "base": wide, "pixel": address, "line": address, "row": address, "band": address,
            "pitch": 16,
            "x": signed(17), "width": 16, "top": signed(10), "step": 4, "height": 16, "passes": 8,
            "kernel": 8, "depth": 9, "folds": 16, "last": 9,
            "bands": 16, "band_x": 16, "block": 9,
        }
    )  # fmt: skip


class StreamReader(SharedComponent):
    """One address after the other, in the order in which ST-OS passes read.

    Parameters
    ----------
    address : int
        Bits of a byte address.
    word : int
        Bytes of a word.
    cols : int
        Columns of the array.

    Members
    -------
    i_begin, i_job, i_next, o_address, o_last
        As of `GemmReader`, with `stream_job`.
    i_rounds : In(16)
        Blocks of channels.
    o_bytes : Out(range(word + 1))
        All bytes of the word, or none, which is padding.

    Latency: none; the counters are registers.
    """

    i_begin: Signal
    i_job: Signal
    i_rounds: Signal
    i_next: Signal
    o_address: Signal
    o_bytes: Signal
    o_last: Signal

    def __init__(self, *, address: int, word: int, cols: int) -> None:
        signature: dict[str, Any] = {
            "i_begin": In(1),
            "i_job": In(stream_job(address).size),
            "i_rounds": In(16),
            "i_next": In(1),
            "o_address": Out(address),
            "o_bytes": Out(word.bit_length()),
            "o_last": Out(1),
        }
        parameters = (address, word, cols)
        super().__init__(kind="stream_reader", parameters=parameters, signature=signature)
        self.address, self.word, self.cols = address, word, cols

    def body(self, platform: object) -> Module:
        """Build the place in the signal, where the next fold begins, and the counters."""
        m = Module()
        job = View(stream_job(self.address), self.i_job)

        def place(name: str) -> dict[str, Signal]:
            return {
                "line": Signal(self.address, name=f"{name}_line"),
                # These two modulo 2**17: what is left of the image, or above it, is far behind it.
                "x": Signal(17, name=f"{name}_x"), "row": Signal(17, name=f"{name}_row"),
                "in": Signal(self.address, name=f"{name}_in"), "at": Signal(16, name=f"{name}_at"),
                "ends": Signal(name=f"{name}_ends"),  # it is the last one of its line
            }  # fmt: skip

        here, fold, later = place("here"), place("fold"), place("later")
        first: dict[str, Value] = {
            "line": job.base, "x": job.x, "in": Const(0), "at": Const(1), "row": job.top,
            "ends": job.pitch == 1,
        }  # fmt: skip
        # Of the signal: byte and element that its lines begin with. Of the block: that byte.
        origin = Signal(self.address)
        left = Signal(17)
        corner = Signal(self.address)
        # From 1: the band of the block, the block.
        band = Signal(16)
        round_ = Signal(16)
        ends_line = here["ends"]
        following: dict[str, Value] = {
            "line": Mux(ends_line, here["line"] + job.line, here["line"]),
            "x": Mux(ends_line, left, here["x"] + 1),
            "in": Mux(ends_line, 0, here["in"] + job.pixel),
            "at": Mux(ends_line, 1, here["at"] + 1),
            "row": Mux(ends_line, here["row"] + job.step, here["row"]),
            "ends": Mux(ends_line, job.pitch == 1, here["at"] + 1 == job.pitch),
        }
        # From 1: the beat of the fold or the fill, the fold of the pass; the pass, the fold.
        beat = Signal(10)
        piece = Signal(16)
        number = Signal(8)
        done = Signal(16)
        down = Signal(self.address)  # of the pass
        kernel = Signal(8)  # its row of the kernel
        single = Signal()  # there is one pass
        # A pass takes cols - 1 beats, one for every tap, and cols more for every further fold.
        long = self.cols - 1 + job.depth
        # It is the last beat of a fold, the last fold of its pass, pass of its fold, row of the
        # kernel, fold of its signal, band of its block, block.
        last_beat, last_piece, last_pass, last_row, last_fold, last_band, final = (
            Signal(name=f"last_{name}")
            for name in ("beat", "piece", "pass", "row", "fold", "band", "round")
        )
        pass_ends = last_beat & (~single | last_piece)
        wraps = single & last_beat
        fold_ends = pass_ends & last_pass
        signal_ends = fold_ends & (single | last_fold)
        marks = (beat == self.cols) & (number == 1)
        after: dict[str, Value] = {
            key: Mux(marks, following[key], signal) for key, signal in later.items()
        }

        with m.If(self.i_next):
            m.d.sync += [signal.eq(following[key]) for key, signal in here.items()]
            m.d.sync += [beat.eq(beat + 1), last_beat.eq(beat + 1 == long)]
            with m.If(marks):
                m.d.sync += [signal.eq(following[key]) for key, signal in later.items()]
            with m.If(wraps):
                m.d.sync += [beat.eq(long - self.cols + 1), piece.eq(piece + 1)]
                m.d.sync += [last_beat.eq(self.cols == 1), last_piece.eq(piece + 1 == job.folds)]
            with m.If(pass_ends):
                m.d.sync += [beat.eq(1), number.eq(number + 1)]
                m.d.sync += [last_beat.eq(long == 1), last_pass.eq(number + 1 == job.passes)]
                m.d.sync += [kernel.eq(kernel + 1), down.eq(down + job.row)]
                m.d.sync += last_row.eq(kernel + 2 == job.kernel)
                with m.If(last_row):
                    m.d.sync += [kernel.eq(0), down.eq(0), last_row.eq(job.kernel == 1)]
                m.d.sync += [signal.eq(fold[key]) for key, signal in here.items()]
            with m.If(fold_ends):
                m.d.sync += [number.eq(1), kernel.eq(0), down.eq(0), done.eq(done + 1)]
                m.d.sync += [
                    last_pass.eq(single), last_row.eq(job.kernel == 1),
                    last_fold.eq(done + 1 == job.folds),
                ]  # fmt: skip
                for where in (here, fold):
                    m.d.sync += [signal.eq(after[key]) for key, signal in where.items()]
        with m.If(self.i_next & signal_ends):
            below = corner + job.block
            begin = Mux(last_band, below, origin + job.band)
            x = Mux(last_band, job.x, left + job.band_x)
            m.d.sync += [piece.eq(1), done.eq(1), origin.eq(begin), left.eq(x)]
            m.d.sync += [
                band.eq(Mux(last_band, 1, band + 1)),
                last_band.eq(Mux(last_band, job.bands == 1, band + 1 == job.bands)),
                last_piece.eq(job.folds == 1), last_fold.eq(job.folds == 1),
            ]  # fmt: skip
            with m.If(last_band):
                m.d.sync += [
                    corner.eq(below), round_.eq(round_ + 1), final.eq(round_ + 1 == self.i_rounds),
                ]  # fmt: skip
            for where in (here, fold):
                start = {**first, "line": begin, "x": x}
                m.d.sync += [signal.eq(start[key]) for key, signal in where.items()]
        with m.If(self.i_begin):
            m.d.sync += [beat.eq(1), piece.eq(1), number.eq(1), done.eq(1), down.eq(0)]
            m.d.sync += [
                kernel.eq(0), band.eq(1), round_.eq(1), origin.eq(job.base), corner.eq(job.base),
            ]  # fmt: skip
            m.d.sync += [
                left.eq(job.x), last_beat.eq(long == 1), last_piece.eq(job.folds == 1),
                last_pass.eq(job.passes == 1), single.eq(job.passes == 1),
                last_row.eq(job.kernel == 1), last_fold.eq(job.folds == 1),
                last_band.eq(job.bands == 1), final.eq(self.i_rounds == 1),
            ]  # fmt: skip
            for where in (here, fold):
                m.d.sync += [signal.eq(first[key]) for key, signal in where.items()]

        row = Signal(17)
        inside = (row < job.height) & (here["x"] < job.width)
        m.d.comb += [
            row.eq(here["row"] + kernel),
            self.o_address.eq(here["line"] + here["in"] + down),
            self.o_bytes.eq(Mux(inside, self.word, 0)),
            self.o_last.eq(signal_ends & last_band & final),
        ]
        return m


def stream_write_job(address: int) -> StructLayout:
    """Return the layout of what a job says of its writes.

    Outputs come in lines of `pitch`, `count` in all. The first of every `across` of a line is one
    of the image, up to `width` of them, `pixel` bytes apart; so is the first of every `down` lines,
    `line` bytes apart. There are `bands` signals for each of `rounds` blocks, as of the reads; the
    last one of a block has lines of up to `last_width`. `rows` bytes of a word are written, `rest`
    in the last block.

    Parameters
    ----------
    address : int
        Bits of a byte address.
    """
    return StructLayout(
        {
            "base": address, "pixel": address, "line": address, "band": address, "pitch": 16,
            "across": 4,
            "width": 16, "down": 4, "count": 24, "rows": 9,
            "rest": 9, "bands": 16, "last_width": 16, "rounds": 16, "block": 9,
        }
    )  # fmt: skip


class StreamWriter(SharedComponent):
    """One address after the other, in the order in which ST-OS results leave the array.

    Parameters
    ----------
    address : int
        Bits of a byte address.
    word : int
        Bytes of a word.

    Members
    -------
    i_begin, i_new, i_job, i_next, o_address, o_count, o_round, o_last
        As of `GemmWriter`, with `stream_write_job`.
    o_kept : Out(1)
        The output is written; others are dropped.

    Latency: none; the counters are registers.
    """

    i_begin: Signal
    i_new: Signal
    i_job: Signal
    i_next: Signal
    o_address: Signal
    o_count: Signal
    o_kept: Signal
    o_round: Signal
    o_last: Signal

    def __init__(self, *, address: int, word: int) -> None:
        signature: dict[str, Any] = {
            "i_begin": In(1),
            "i_new": In(stream_write_job(address).size),
            "i_job": In(stream_write_job(address).size),
            "i_next": In(1),
            "o_address": Out(address),
            "o_count": Out(range(word + 1)),
            "o_kept": Out(1),
            "o_round": Out(1),
            "o_last": Out(1),
        }
        super().__init__(kind="stream_writer", parameters=(address, word), signature=signature)
        self.address, self.word = address, word

    def body(self, platform: object) -> Module:
        """Build the place in the line, and the phases of both strides."""
        m = Module()
        job = View(stream_write_job(self.address), self.i_job)
        new = View(stream_write_job(self.address), self.i_new)
        line = Signal(self.address)
        here = Signal(self.address)
        # of the signal, of the block
        origin = Signal(self.address)
        corner = Signal(self.address)
        at = Signal(16)
        column = Signal(16)
        left = Signal(24)
        across = Signal(4)
        down = Signal(4)
        # From 1: the band of the block, the block.
        band = Signal(16)
        round_ = Signal(16)
        ends_line = at + 1 == job.pitch
        steps = across + 1 == job.across
        below = down + 1 == job.down
        # It is the last output of its signal, the last band of its block, the last block.
        signal_ends, last_band = Signal(name="signal_ends"), Signal(name="last_band")
        final = Signal(name="last_round")
        count = Signal.like(self.o_count)
        with m.If(self.i_next):
            m.d.sync += [at.eq(at + 1), left.eq(left - 1), across.eq(Mux(steps, 0, across + 1))]
            m.d.sync += signal_ends.eq(left == 1)
            with m.If(steps):
                m.d.sync += [column.eq(column + 1), here.eq(here + job.pixel)]
            with m.If(ends_line):
                following = Mux(below, line + job.line, line)
                m.d.sync += [
                    at.eq(0), across.eq(0), column.eq(0), down.eq(Mux(below, 0, down + 1)),
                    line.eq(following), here.eq(following),
                ]  # fmt: skip
            with m.If(signal_ends):
                m.d.sync += [band.eq(band + 1), last_band.eq(band + 1 == job.bands)]
                with m.If(last_band):
                    m.d.sync += [
                        band.eq(1), last_band.eq(job.bands == 1), round_.eq(round_ + 1),
                        final.eq(round_ + 1 == job.rounds), corner.eq(corner + job.block),
                        count.eq(Mux(round_ + 1 == job.rounds, job.rest, job.rows)),
                    ]  # fmt: skip
        begin = Mux(last_band, corner + job.block, origin + job.band)
        with m.If(self.i_next & self.i_begin):
            m.d.sync += [
                corner.eq(new.base), band.eq(1), round_.eq(1), last_band.eq(new.bands == 1),
                final.eq(new.rounds == 1), count.eq(Mux(new.rounds == 1, new.rest, new.rows)),
            ]  # fmt: skip
        with m.If(self.i_next & (self.i_begin | signal_ends)):
            start = Mux(self.i_begin, new.base, begin)
            m.d.sync += [
                at.eq(0), across.eq(0), column.eq(0), down.eq(0), line.eq(start), here.eq(start),
                origin.eq(start), left.eq(Mux(self.i_begin, new.count - 1, job.count - 1)),
                signal_ends.eq(Mux(self.i_begin, new.count == 1, job.count == 1)),
            ]  # fmt: skip
        width = Mux(last_band, job.last_width, job.width)
        m.d.comb += [
            self.o_address.eq(here),
            self.o_round.eq(signal_ends & last_band),
            self.o_last.eq(signal_ends & last_band & final),
            self.o_kept.eq((across == 0) & (down == 0) & (column < width)),
            self.o_count.eq(count),
        ]
        return m
