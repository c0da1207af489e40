"""The activation memory is an array of bytes: words at any address, read and written."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.activation_memory import ActivationMemory
from verif.lib.machines import SMALL
from verif.unit.stepper import Drive, Stepper

SHAPES = [(4, 3), (8, 4), (16, 2), *((one.word, one.bank_rows) for one in SMALL)]


def word_at(memory: bytearray, address: int, word: int) -> int:
    return int.from_bytes(bytes(memory[(address + n) % len(memory)] for n in range(word)), "little")


@pytest.mark.parametrize(("word", "rows"), SHAPES)
def test_bytes(word: int, rows: int) -> None:
    """What is read is what was written in the cycles before, byte by byte; it can pause."""
    dice = random.Random(word)
    size = 2 * rows * word
    # All of it, or its ends and what begins at powers of two.
    parts = [range(size)]
    if size >= 1024:
        begins = {0, size - 256, *(1 << n for n in range(8, (size - 1).bit_length()))}
        parts = [range(begin, begin + 256) for begin in sorted(begins)]
    now = bytearray(size)
    compared = 0

    def drive() -> Drive:
        nonlocal compared
        for address in (address for part in parts for address in part[::word]):
            # From garbage to something known.
            now[address : address + word] = bytes(dice.getrandbits(8) for _ in range(word))
            data = int.from_bytes(now[address : address + word], "little")
            yield {"i_read_en": 0, "i_write_en": 1, "i_write_first": 0, "i_write_end": word,
                   "i_write_address": address, "i_write_data": data}  # fmt: skip
        coming: int | None = None
        wanted: int | None = None
        for _ in range(1500):
            before = bytes(now)
            writes, address = dice.randint(0, 1), dice.choice(dice.choice(parts)[: 1 - word])
            first, end = sorted((dice.randrange(word), dice.randint(0, word)))
            data, enable = dice.getrandbits(8 * word), dice.random() < 0.7
            reading = dice.choice(dice.choice(parts)[: 1 - word])
            touched = {(address + n) % size for n in range(first, end) if writes}
            # A word that is being written is anything.
            clash = any((reading + n) % size in touched for n in range(word))
            seen = yield {"i_read_en": int(enable), "i_read_address": reading,
                          "i_write_en": writes, "i_write_first": first, "i_write_end": end,
                          "i_write_address": address, "i_write_data": data}  # fmt: skip
            if wanted is not None:
                assert seen.o_read == wanted
                compared += 1
            # Words, the one that is read and its neighbour, some bytes of which may be written.
            words = 2 << (rows - 1).bit_length()  # that addresses have
            near = {reading // word, (reading // word + 1) % words}
            there = {address // word, (address // word + (address % word > 0)) % words}
            assert seen.o_clash == bool(writes and near & there)
            assert seen.o_clash or not clash
            if enable:
                wanted, coming = (
                    coming,
                    None if clash else word_at(bytearray(before), reading, word),
                )
            for n in range(first, end):
                if writes:
                    now[(address + n) % size] = data >> 8 * n & 0xFF

    Stepper(ActivationMemory(word=word, rows=rows)).run(drive())
    assert compared > 100


def test_words_are_powers_of_two() -> None:
    """Another word has no rows and columns, or no two halves of a rotator."""
    for word in (2, 6):
        with pytest.raises(ValueError, match=f"power of two .*, not {word}"):
            ActivationMemory(word=word, rows=4)
