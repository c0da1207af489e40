"""Addresses of what a GEMM reads: every word of every pixel of every tile, by nested counters."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib.data import StructLayout, View
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["GemmReader", "gemm_job"]


def gemm_job(address: int) -> StructLayout:
    """Return the layout of what a job says of its reads.

    A pixel's window is `rows` runs, one per row of the image; rows have `width` bytes and are
    `pitch` bytes apart. A run is `words` words, the first `long` of which, never all, have
    `length + 1` bytes, the others `length`; `skip` bytes lie between two words. The window is read
    `turns` times. Pixels follow each other in lines of `line` pixels, `step` bytes apart. Tiles
    have `pixels + 1` pixels (the first `large` of a round) or `pixels`; `tiles` of them are a round
    over the whole image, and there are `rounds` rounds, one for every block of output channels,
    `block` bytes apart.

    Parameters
    ----------
    address : int
        Bits of a byte address.
    """
    wide = signed(address + 1)
    return StructLayout(
        {
            "line": 16,
            "height": 16,
            "skip": 16,
            "words": 16,
            "block": 9,
            "rows": 8,
            "stride": 4,  # image rows from a line to the next
            "turns": 2,
            "base": wide,  # of byte 0 of the image row of the first pixel's first run
            "step": address,
            "jump": address,  # from an image row to that of the next line
            "pitch": address,
            "width": address,
            "x": wide,  # from `base` to the first pixel's window; negative in the padding
            "top": signed(10),  # image row of the first line's first run
            "runs": 8,  # in all: rows * turns
            "long": 16,
            "length": 9,
            "tiles": 16,
            "large": 16,
            "pixels": 9,
            "rounds": 16,
        }
    )


class GemmReader(SharedComponent):
    """One address after the other, in the order in which a GEMM reads.

    For every round, tile, run and word: a word of every pixel of the tile.

    Parameters
    ----------
    address : int
        Bits of a byte address.
    word : int
        Bytes of a word.

    Members
    -------
    i_begin : In(1)
        Begin with the job; its first address is there in the next cycle.
    i_job : In(gemm_job(address))
        The job, which is to stay until the last address was taken.
    i_next : In(1)
        The address is taken.
    o_address : Out(address)
        Of the word.
    o_first, o_bytes : Out(range(word + 1)) each
        Bytes of the word in front of the image row, and in it or in front: what is from the one to
        the other is read, all else is padding. None is in a row outside of the image.
    o_last : Out(1)
        It is the last address of the job.

    Latency: none; the counters are registers.
    """

    i_begin: Signal
    i_job: Signal
    i_next: Signal
    o_address: Signal
    o_first: Signal
    o_bytes: Signal
    o_last: Signal

    def __init__(self, *, address: int, word: int) -> None:
        bits = word.bit_length()
        signature: dict[str, Any] = {
            "i_begin": In(1),
            "i_job": In(gemm_job(address).size),
            "i_next": In(1),
            "o_address": Out(address),
            "o_first": Out(bits),
            "o_bytes": Out(bits),
            "o_last": Out(1),
        }
        super().__init__(kind="gemm_reader", parameters=(address, word), signature=signature)
        self.address, self.word = address, word

    def body(self, platform: object) -> Module:
        """Build the counters, from the innermost to the outermost, and the address."""
        m = Module()
        job = View(gemm_job(self.address), self.i_job)

        def place(name: str) -> dict[str, Signal]:
            """Return where a pixel is: its image row, its bytes in that, its number in the line."""
            return {
                "base": Signal(self.address, name=f"{name}_base"),
                "x": Signal(signed(self.address + 1), name=f"{name}_x"),
                # Modulo 2**17: what is above the image is far below it.
                "row": Signal(17, name=f"{name}_row"), "at": Signal(16, name=f"{name}_at"),
                "ends": Signal(name=f"{name}_ends"),  # it is the last one of its line
            }  # fmt: skip

        pixel, tile = place("pixel"), place("tile")  # this one, and the first one of the tile
        left = Signal(9)  # pixels of the tile after this one
        pixel_ends = Signal()  # there is none
        # Of the run, tile of the round, round: from 1. Of the window: from 0.
        word = Signal(16)
        number = Signal(16)
        round_ = Signal(16)
        run = Signal(8)
        offset = Signal(self.address)  # of the word in its run
        down = Signal(self.address)  # of the run, from the first one
        turn = Signal(2)
        origin = Signal(self.address)  # of the round: its first pixel's base
        first: dict[str, Value] = {
            "base": Mux(self.i_begin, job.base, origin + job.block), "x": job.x, "row": job.top,
            "at": Const(1), "ends": job.line == 1,
        }  # fmt: skip
        # It is the last word of its run, run of the image, turn, tile of its round, round.
        last_word, last_run, last_turn, last_tile, final = (
            Signal(name=name)
            for name in ("last_word", "last_run", "last_turn", "last_tile", "last_round")
        )

        line_ends = pixel["ends"]
        following: dict[str, Value] = {
            "base": Mux(line_ends, pixel["base"] + job.jump, pixel["base"]),
            "x": Mux(line_ends, job.x, pixel["x"] + job.step),
            "row": Mux(line_ends, pixel["row"] + job.stride, pixel["row"]),
            "at": Mux(line_ends, 1, pixel["at"] + 1),
            "ends": Mux(line_ends, job.line == 1, pixel["at"] + 1 == job.line),
        }
        length = job.length + (word <= job.long)
        word_ends = pixel_ends & last_word
        window_ends = word_ends & last_run
        run_ends = window_ends & last_turn
        tile_ends = run_ends & last_tile

        def fill(index: Value | int) -> list[Any]:
            """Return what begins a tile with its first pixel."""
            more = index <= job.large
            one = Mux(more, job.pixels == 0, job.pixels == 1)
            return [left.eq(job.pixels + more - 1), pixel_ends.eq(one)]

        with m.If(self.i_next):
            with m.If(~pixel_ends):
                m.d.sync += [left.eq(left - 1), pixel_ends.eq(left == 1)]
                m.d.sync += [signal.eq(following[key]) for key, signal in pixel.items()]
            with m.Else():
                m.d.sync += fill(number)
                m.d.sync += [signal.eq(tile[key]) for key, signal in pixel.items()]
                m.d.sync += [word.eq(word + 1), offset.eq(offset + length + job.skip)]
                m.d.sync += last_word.eq(word + 1 == job.words)
            with m.If(word_ends):
                m.d.sync += [word.eq(1), offset.eq(0), run.eq(run + 1), down.eq(down + job.pitch)]
                m.d.sync += [last_word.eq(job.words == 1), last_run.eq(run + 2 == job.rows)]
            with m.If(window_ends):
                m.d.sync += [run.eq(0), down.eq(0), turn.eq(turn + 1)]
                m.d.sync += [last_run.eq(job.rows == 1), last_turn.eq(turn + 2 == job.turns)]
            with m.If(run_ends):
                m.d.sync += [turn.eq(0), number.eq(number + 1)]
                m.d.sync += [last_turn.eq(job.turns == 1), last_tile.eq(number + 1 == job.tiles)]
                m.d.sync += fill(number + 1)
                for where in (pixel, tile):
                    m.d.sync += [signal.eq(following[key]) for key, signal in where.items()]
            with m.If(tile_ends):
                m.d.sync += [number.eq(1), round_.eq(round_ + 1)]
                m.d.sync += [last_tile.eq(job.tiles == 1), final.eq(round_ + 1 == job.rounds)]
        with m.If(self.i_begin):
            m.d.sync += [word.eq(1), offset.eq(0), run.eq(0), down.eq(0), number.eq(1)]
            m.d.sync += [round_.eq(1), turn.eq(0)]
            m.d.sync += [
                last_word.eq(job.words == 1), last_run.eq(job.rows == 1),
                last_turn.eq(job.turns == 1), last_tile.eq(job.tiles == 1),
                final.eq(job.rounds == 1),
            ]  # fmt: skip
        with m.If(self.i_begin | (self.i_next & tile_ends)):
            m.d.sync += [*fill(1), origin.eq(first["base"])]
            for where in (pixel, tile):
                m.d.sync += [signal.eq(first[key]) for key, signal in where.items()]

        x = Signal(signed(self.address + 2))
        row = Signal(17)
        inside = row < job.height
        before, rest = -x, job.width - x
        most = Mux(rest < 0, 0, Mux(rest < length, rest, length))
        m.d.comb += [
            x.eq(pixel["x"] + offset),
            row.eq(pixel["row"] + run),
            self.o_address.eq(pixel["base"] + down + x),
            self.o_first.eq(Mux(before < 0, 0, Mux(before < length, before, length))),
            self.o_bytes.eq(Mux(inside, most, 0)),
            self.o_last.eq(tile_ends & final),
        ]
        return m
