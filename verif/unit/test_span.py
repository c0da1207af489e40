"""Every byte of a range belongs to one beat, at its address."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.span import Span
from verif.lib.machines import SMALL
from verif.unit.stepper import Drive, Stepper

#: Bytes of a beat, and bits of an address on the other side.
SHAPES = [
    (4, 10), (16, 10), (64, 10), *((one.axi_bytes, one.local_bits) for one in SMALL),
]  # fmt: skip


@pytest.mark.parametrize(("size", "bits"), SHAPES)
def test_ranges(size: int, bits: int) -> None:
    """Ranges that begin and end anywhere in a beat, with pauses; one that is given up."""
    dice = random.Random(size)
    lengths = [1, 2, size - 1, size, size + 1, 2 * size, 256]
    lengths += [dice.randint(1, 900) for _ in range(3)]
    ranges = [(inside, count) for count in lengths for inside in {0, 1, size - 1}]

    def drive() -> Drive:
        quiet = {"i_begin": 0, "i_inside": 0, "i_bytes": 0, "i_local": None, "i_next": 0,
                 "i_end": 0}  # fmt: skip
        for inside, count in ranges:
            local = dice.randrange(1 << bits)
            yield quiet | {"i_begin": 1, "i_inside": inside, "i_bytes": count, "i_local": local}
            for first in range(-inside, count, size):
                for _ in range(dice.randrange(3)):
                    yield quiet
                seen = yield quiet | {"i_next": 1}
                assert seen.o_local == (local + first) % (1 << bits)
                assert seen.o_left == count - first
                assert seen.o_more
                assert first + seen.o_first == max(first, 0)
                assert first + seen.o_end == min(first + size, count)
            seen = yield quiet
            assert (seen.o_more, seen.o_left) == (0, 0)
        for _ in range(40):  # long ones, that are given up after a few beats
            count = dice.randint(3 * size, 1 << bits)
            yield quiet | {"i_begin": 1, "i_inside": 0, "i_bytes": count, "i_local": 0}
            for n in range(3):
                seen = yield quiet | {"i_next": 1}
                assert (seen.o_more, seen.o_left) == (1, count - n * size)
            yield quiet | {"i_end": 1}
            seen = yield quiet
            assert (seen.o_more, seen.o_left) == (0, 0)

    Stepper(Span(axi_bytes=size, local=bits)).run(drive())
