"""Addresses of what a GEMM writes: a word of every pixel, the last pixel of a tile first."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.data import StructLayout, View
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["GemmWriter", "write_job"]


def write_job(address: int) -> StructLayout:
    """Return the layout of what a job says of its writes.

    Pixels are `step` bytes apart, `reach` bytes are those of `pixels` pixels. Tiles are those of
    `hw.accelerator.reader.gemm_job`. Every round writes `rows` bytes of all pixels, and the next
    one those behind; the last one `rest` of them.

    Parameters
    ----------
    address : int
        Bits of a byte address.
    """
    return StructLayout(
        {
            "base": address, "step": address, "reach": address, "tiles": 16, "large": 16,
            "pixels": 9, "rounds": 16,
            "rows": 9, "rest": 9,
        }
    )  # fmt: skip


class GemmWriter(SharedComponent):
    """One address after the other, in the order in which a GEMM's results leave the array.

    Parameters
    ----------
    address : int
        Bits of a byte address.
    word : int
        Bytes of a word.

    Members
    -------
    i_next : In(1)
        The address is taken; the next one is there in the next cycle.
    i_begin : In(1)
        It is the first one of a new job.
    i_new : In(write_job(address))
        The job that begins.
    i_job : In(write_job(address))
        The same from the next cycle on, until the last address was taken.
    o_address : Out(address)
        Of the word.
    o_count : Out(range(word + 1))
        Bytes of it that are written.
    o_round, o_last : Out(1) each
        It is the last address of a round; of the job.

    Latency: none; the counters are registers.
    """

    i_begin: Signal
    i_new: Signal
    i_job: Signal
    i_next: Signal
    o_address: Signal
    o_count: Signal
    o_round: Signal
    o_last: Signal

    def __init__(self, *, address: int, word: int) -> None:
        signature: dict[str, Any] = {
            "i_begin": In(1),
            "i_new": In(write_job(address).size),
            "i_job": In(write_job(address).size),
            "i_next": In(1),
            "o_address": Out(address),
            "o_count": Out(range(word + 1)),
            "o_round": Out(1),
            "o_last": Out(1),
        }
        super().__init__(kind="gemm_writer", parameters=(address, word), signature=signature)
        self.address, self.word = address, word

    def body(self, platform: object) -> Module:
        """Build the counters of pixels, tiles and rounds."""
        m = Module()
        job = View(write_job(self.address), self.i_job)
        new = View(write_job(self.address), self.i_new)
        left = Signal(9)  # pixels of the tile after this one, which lie in front of it
        # From 1: the tile of the round, the round.
        number = Signal(16)
        round_ = Signal(16)
        here = Signal(self.address)
        # The last pixel of this tile: the next tile ends its own size behind it.
        top = Signal(self.address)
        start = Signal(self.address)  # of the round: one pixel before the first

        def size(index: Value | int, of: Any = job) -> Value:
            return of.pixels + (index <= of.large)

        def reach(index: Value | int, of: Any = job) -> Value:
            """Return the bytes of a tile."""
            wide = Mux(index <= of.large, of.step, 0)
            return (of.reach + wide)[: self.address]

        # It is the last pixel of its tile, the last tile of its round, the last round.
        tile_ends, last_tile = Signal(name="tile_ends"), Signal(name="last_tile")
        final = Signal(name="last_round")
        count = Signal.like(self.o_count)
        round_ends = tile_ends & last_tile
        next_start = start + job.rows
        with m.If(self.i_next):
            m.d.sync += [left.eq(left - 1), tile_ends.eq(left == 1), here.eq(here - job.step)]
            with m.If(tile_ends):
                end = top + reach(number + 1)
                m.d.sync += [number.eq(number + 1), left.eq(size(number + 1) - 1)]
                m.d.sync += [
                    last_tile.eq(number + 1 == job.tiles), tile_ends.eq(size(number + 1) == 1),
                ]  # fmt: skip
                m.d.sync += [here.eq(end), top.eq(end)]
            with m.If(round_ends):
                end = next_start + reach(1)
                m.d.sync += [number.eq(1), round_.eq(round_ + 1), left.eq(size(1) - 1)]
                m.d.sync += [here.eq(end), top.eq(end), start.eq(next_start)]
                m.d.sync += [
                    last_tile.eq(job.tiles == 1), tile_ends.eq(size(1) == 1),
                    final.eq(round_ + 1 == job.rounds),
                    count.eq(Mux(round_ + 1 == job.rounds, job.rest, job.rows)),
                ]  # fmt: skip
        with m.If(self.i_next & self.i_begin):
            before = new.base - new.step
            end = before + reach(1, new)
            m.d.sync += [number.eq(1), round_.eq(1), left.eq(size(1, new) - 1)]
            m.d.sync += [here.eq(end), top.eq(end), start.eq(before)]
            m.d.sync += [
                last_tile.eq(new.tiles == 1), tile_ends.eq(size(1, new) == 1),
                final.eq(new.rounds == 1), count.eq(Mux(new.rounds == 1, new.rest, new.rows)),
            ]  # fmt: skip

        m.d.comb += [
            self.o_address.eq(here),
            self.o_round.eq(round_ends),
            self.o_last.eq(round_ends & final),
            self.o_count.eq(count),
        ]
        return m
