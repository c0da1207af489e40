"""Every byte of a range belongs to one beat, at its address."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.span import Span
from verif.unit.stepper import Drive, Stepper


@pytest.mark.parametrize("size", [4, 16, 64])
def test_ranges(size: int) -> None:
    """Ranges that begin and end anywhere in a beat, with pauses; one that is given up."""
    dice = random.Random(size)
    lengths = [1, 2, size - 1, size, size + 1, 2 * size, 256, *(dice.randint(1, 900),) * 3]
    ranges = [(inside, count) for count in lengths for inside in {0, 1, size - 1}]

    def drive() -> Drive:
        quiet = {"i_begin": 0, "i_inside": 0, "i_bytes": 0, "i_local": None, "i_next": 0,
                 "i_end": 0}  # fmt: skip
        for inside, count in ranges:
            local = dice.randrange(1024)
            yield quiet | {"i_begin": 1, "i_inside": inside, "i_bytes": count, "i_local": local}
            for first in range(-inside, count, size):
                for _ in range(dice.randrange(3)):
                    yield quiet
                seen = yield quiet | {"i_next": 1}
                assert seen.o_local == (local + first) % 1024
                assert seen.o_left == count - first
                assert seen.o_more
                assert first + seen.o_first == max(first, 0)
                assert first + seen.o_end == min(first + size, count)
            seen = yield quiet
            assert (seen.o_more, seen.o_left) == (0, 0)
        yield quiet | {"i_begin": 1, "i_inside": 0, "i_bytes": 900, "i_local": 0}
        yield quiet | {"i_next": 1}
        yield quiet | {"i_end": 1}
        seen = yield quiet
        assert (seen.o_more, seen.o_left) == (0, 0)

    Stepper(Span(axi_bytes=size, local=10)).run(drive())
