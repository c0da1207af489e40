"""When the corner turn takes words: a token per group passes the columns."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["Loader"]


class Loader(SharedComponent):
    """Steer a `CornerTurn`: which steps take a word, and how old the groups are.

    A group whose first beat enters in step s takes words in the last P of the steps ``s + 1`` to
    ``s + cols``, one for each of the last P columns.

    Parameters
    ----------
    word : int
        Bytes of a word, a power of two.
    cols : int

    Members
    -------
    i_en : In(1)
        The array moves in this step.
    i_group : In(1)
        The first beat of a group enters in this step.
    i_large : In(1)
        Its tile has one more pixel.
    i_pixels : In(range(cols + 1))
        Pixels of the other tiles. It is to be there in the cycle before `i_group`, and until
        `o_empty`.
    o_take, o_next : Out(1) each
        The corner turn takes a word in this step; and whether this will be so in the next cycle.
    o_phase, o_before : range(2 * word), range(word)
        As `CornerTurn` takes them.
    o_empty : Out(1)
        No group is on its way.

    Latency: none from the columns to `o_take`.
    """

    i_en: Signal
    i_group: Signal
    i_large: Signal
    i_pixels: Signal
    o_take: Signal
    o_next: Signal
    o_phase: Signal
    o_before: Signal
    o_empty: Signal

    def __init__(self, *, word: int, cols: int) -> None:
        bits = word.bit_length() - 1
        signature: dict[str, Any] = {
            "i_en": In(1),
            "i_group": In(1),
            "i_large": In(1),
            "i_pixels": In(range(cols + 1)),
            "o_take": Out(1),
            "o_next": Out(1),
            "o_phase": Out(bits + 1),
            "o_before": Out(bits),
            "o_empty": Out(1),
        }
        super().__init__(kind="loader", parameters=(word, cols), signature=signature, resets=True)
        self.word, self.cols = word, cols

    def body(self, platform: object) -> Module:
        """Build the lines of tokens, and the age of the newest group that has a word.

        What a step needs to know is in registers, as of the lines of that step: it is known early.
        """
        m = Module()
        cols = self.cols
        # a group of either kind is at a column
        small = Signal(cols)
        large = Signal(cols)
        # Pixels of both kinds of tiles, and the columns in front of them.
        sizes = [
            Signal(len(self.i_pixels) + 1, name=f"pixels_{kind}") for kind in ("small", "large")
        ]
        fronts = [Signal.like(self.o_phase, name=f"front_{kind}") for kind in ("small", "large")]
        for more, (pixels, front) in enumerate(zip(sizes, fronts, strict=True)):
            m.d.sync += [pixels.eq(self.i_pixels + more), front.eq(cols - self.i_pixels - more)]
        lines = (
            (Cat(self.i_group & ~self.i_large, small[:-1]), sizes[0]),
            (Cat(self.i_group & self.i_large, large[:-1]), sizes[1]),
        )
        # Columns cols - P and on have a pixel.
        some = Cat(line[c] & (pixels >= cols - c) for line, pixels in lines for c in range(cols))
        first = [
            Cat(line[c] & (pixels == cols - c) for c in range(cols)).any() for line, pixels in lines
        ]
        starts = first[0] | first[1]
        column = Mux(first[1], fronts[1], fronts[0])
        most = 2 * self.word - 1
        take = Signal()
        phase = Signal.like(self.o_phase)
        before = Signal.like(self.o_before)
        older = Mux(phase == most, most, phase + 1)
        with m.If(self.i_en):
            m.d.sync += [
                Cat(small, large).eq(Cat(lines[0][0], lines[1][0])),
                phase.eq(Mux(starts, column, older)),
                # The group before began as much earlier as its phase would be greater.
                before.eq(Mux(starts, older - column, before)),
            ]  # fmt: skip
        m.d.sync += take.eq(self.o_next)
        m.d.comb += [
            self.o_next.eq(Mux(self.i_en, some.any(), take)),
            self.o_take.eq(take),
            self.o_phase.eq(phase),
            self.o_before.eq(before),
            self.o_empty.eq(~(small | large).any()),
        ]
        return m
