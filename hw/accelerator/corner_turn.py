"""The corner turn: words of pixels become a wave of bytes, one pixel per column."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..array import Skew
from ..share import SharedComponent
from .rotator import Rotator

__all__ = ["CornerTurn"]


class CornerTurn(SharedComponent):
    """Byte k of the pixel of column c in step ``s + c + k``, of a word that is there in ``s + c``.

    One word comes per step, round the columns: that is what the memory gives, and the skew that
    the array needs. A triangle delays byte k of every word by k steps: in step t its lane k holds
    byte k of the word of step ``t - k``. So column c takes lane ``t - s - c`` of the words of group
    s, or, where its word has not come yet, lane ``T + t - s - c`` of the group before, which began
    T steps earlier. Seen from the columns both are rotations of the lanes.

    A group has a word for each of the last P columns, so its first word comes in ``s + cols - P``;
    the words of two groups must not overlap.

    Parameters
    ----------
    word : int
        Bytes of a word, a power of two, at least the columns.
    cols : int

    Members
    -------
    i_en : In(1)
        The array moves in this step.
    i_word : In(8 * word)
        The word that comes in this step, if one does.
    i_phase : In(range(2 * word))
        ``t - s`` of the newest group whose first word has come.
    i_before : In(range(word))
        T of the group before, modulo the word.
    o : Out(8 * cols)
        A byte for every column, column 0 in the low bits; anything where a column has none.

    Latency: none from a word to its byte 0; the triangle has the rest.
    """

    i_en: Signal
    i_word: Signal
    i_phase: Signal
    i_before: Signal
    o: Signal

    def __init__(self, *, word: int, cols: int) -> None:
        if word & (word - 1) or word < max(2, cols):
            raise ValueError(f"a word must be a power of two of at least {cols} bytes, not {word}")
        bits = word.bit_length() - 1
        signature: dict[str, Any] = {
            "i_en": In(1),
            "i_word": In(8 * word),
            "i_phase": In(bits + 1),
            "i_before": In(bits),
            "o": Out(8 * cols),
        }
        super().__init__(kind="corner_turn", parameters=(word, cols), signature=signature)
        self.word, self.cols = word, cols

    def body(self, platform: object) -> Module:
        """Build the triangle, and two rotators of its lanes in reverse order."""
        m = Module()
        m.submodules.skew = skew = Skew(kind="turn_skew", lanes=self.word, width=8)
        m.d.comb += [skew.i_en.eq(self.i_en), skew.i.eq(self.i_word)]
        # Lane -j, so that column c sees lane `shift - c` after a rotation by `-shift`.
        back = Cat(skew.o.word_select((-j) % self.word, 8) for j in range(self.word))
        now, before = (Rotator(lanes=self.word, width=8) for _ in range(2))
        m.submodules.turn_now, m.submodules.turn_before = now, before
        m.d.comb += [
            now.i_by.eq(-self.i_phase), now.i.eq(back),
            before.i_by.eq(-(self.i_phase + self.i_before)), before.i.eq(back),
        ]  # fmt: skip
        for c in range(self.cols):
            new, old = (word.word_select(c, 8) for word in (now.o, before.o))
            m.d.comb += self.o.word_select(c, 8).eq(Mux(self.i_phase >= c, new, old) if c else new)
        return m
