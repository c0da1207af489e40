"""The activation memory: words at any byte address, one read and one written per cycle."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent
from .ram import Ram
from .rotator import Rotator

__all__ = ["ActivationMemory"]


class ActivationMemory(SharedComponent):
    """Two banks of even and odd words: a word at any byte address is a row of each, rotated.

    Parameters
    ----------
    word : int
        Bytes of a word, a power of two of at least 4.
    rows : int
        Of a bank: ``2 * rows * word`` bytes in all. What lies outside is read as anything, and is
        not to be written.

    Members
    -------
    i_read_en : In(1)
        A word is read in this cycle, and the one before it comes out.
    i_read_address : In(range(bytes))
        Of the word to be read.
    o_read : Out(8 * word)
        The word that was read last but one, its first byte in the low bits.
    o_clash : Out(1)
        The word to be read may be in a row of a bank that is written in this cycle: what would be
        read may be anything, in the bytes that are not written, too.
    i_write_en, i_write_first, i_write_end : 1, range(word), range(word + 1)
        Bytes of a word are written, from the first one to the one in front of the end.
    i_write_address, i_write_data : range(bytes), 8 * word

    Latency: two reads, with a register between the halves of the rotator. What is written is read
    from the next cycle on.
    """

    i_read_en: Signal
    i_read_address: Signal
    o_read: Signal
    o_clash: Signal
    i_write_en: Signal
    i_write_first: Signal
    i_write_end: Signal
    i_write_address: Signal
    i_write_data: Signal

    def __init__(self, *, word: int, rows: int) -> None:
        if word < 4 or word & (word - 1):
            raise ValueError(f"a word must be a power of two of bytes, at least 4, not {word}")
        address = (2 * rows * word - 1).bit_length()
        signature: dict[str, Any] = {
            "i_read_en": In(1),
            "i_read_address": In(address),
            "o_read": Out(8 * word),
            "o_clash": Out(1),
            "i_write_en": In(1),
            "i_write_first": In(range(word)),
            "i_write_end": In(range(word + 1)),
            "i_write_address": In(address),
            "i_write_data": In(8 * word),
        }
        super().__init__(kind="activations", parameters=(word, rows), signature=signature)
        self.word, self.rows = word, rows

    def body(self, platform: object) -> Module:
        """Build the banks, and a rotator on the way to them and one on the way from them."""
        m = Module()
        bits = self.word.bit_length() - 1
        banks = [
            Ram(kind="activation_bank", depth=self.rows, width=8 * self.word) for _ in range(2)
        ]
        m.submodules.even, m.submodules.odd = banks

        # Byte 0 of the word goes to byte `offset` of a row: rotate the other way.
        def split(address: Value) -> tuple[Value, Value, list[Value]]:
            """Return the offset, whether the word begins in the odd bank, and a row per bank."""
            number = address[bits:]
            first = number[1:]
            return address[:bits], number[0], [(first + number[0])[: len(first)], first]

        offset, odd, rows = split(self.i_write_address)
        m.submodules.turn_data = turn_data = Rotator(lanes=self.word, width=8)
        m.d.comb += [turn_data.i_by.eq(-offset), turn_data.i.eq(self.i_write_data)]
        # Of the row in which the word begins, and of the next one.
        begin, end = Signal(bits + 1, name="write_begin"), Signal(bits + 2, name="write_end")
        m.d.comb += [begin.eq(offset + self.i_write_first), end.eq(offset + self.i_write_end)]
        mask = Cat((n >= begin) & (n < end) for n in range(2 * self.word - 1))
        near, far = mask[: self.word], Cat(mask[self.word :], Const(0, 1))
        for bank, row, own in zip(banks, rows, (~odd, odd), strict=True):
            m.d.comb += [
                bank.i_write.eq(Mux(own, near, far) & self.i_write_en.replicate(self.word)),
                bank.i_write_address.eq(row), bank.i_write_data.eq(turn_data.o),
            ]  # fmt: skip

        offset, odd, rows = split(self.i_read_address)
        for bank, row in zip(banks, rows, strict=True):
            m.d.comb += [bank.i_read.eq(self.i_read_en), bank.i_read_address.eq(row)]
        # A word is in the row that has its number and, unless it is aligned, in the next one.
        behind = (self.i_write_address[bits:] - self.i_read_address[bits:])[: len(rows[0]) + 1]
        spills = self.i_write_address[:bits].any()
        m.d.comb += self.o_clash.eq(
            self.i_write_en & ((behind == 0) | (behind == 1) | (spills & behind.all()))
        )
        # Byte n of a row is one of the next row if the word begins behind it; the last never is.
        offset_q = Signal(bits, reset_less=True)
        from_odd = Signal(self.word, reset_less=True)
        even_data, odd_data = (bank.o_read_data for bank in banks)
        both = Cat(
            Mux(from_odd[n], odd_data.word_select(n, 8), even_data.word_select(n, 8))
            for n in range(self.word)
        )
        # A memory's output comes late: the large steps of the rotation first.
        small = bits // 2
        turned = Signal(8 * self.word, reset_less=True)
        offset_qq = Signal(small, reset_less=True)
        coarse = Rotator(lanes=self.word, width=8, step=1 << small)
        fine = Rotator(lanes=self.word, width=8, steps=1 << small)
        m.submodules.coarse, m.submodules.fine = coarse, fine
        m.d.comb += [
            coarse.i_by.eq(offset_q[small:]), coarse.i.eq(both),
            fine.i_by.eq(offset_qq), fine.i.eq(turned),
            self.o_read.eq(fine.o),
        ]  # fmt: skip
        with m.If(self.i_read_en):
            m.d.sync += [
                offset_q.eq(offset), offset_qq.eq(offset_q), turned.eq(coarse.o),
                from_odd.eq(Cat(*(odd ^ (offset > n) for n in range(self.word - 1)), odd)),
            ]  # fmt: skip
        return m
