"""Every byte of a range is written once, and no other, in legal bursts."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.config import BURST
from hw.accelerator.storer import Storer
from verif.unit.stepper import Drive, Stepper


@pytest.mark.parametrize("size", [4, 16, 64])
@pytest.mark.parametrize("seed", range(4))
def test_ranges(size: int, seed: int) -> None:
    """Lengths and offsets of any kind, and a bus that takes its time on every channel."""
    dice = random.Random(seed)
    ranges = [
        (dice.randrange(4096), dice.choice([1, size, dice.randint(1, 900)])) for _ in range(8)
    ]
    pace = dice.choice([0.3, 1.0])

    def drive() -> Drive:
        for address, count in ranges:
            source = bytes(dice.getrandbits(8) for _ in range(count))
            target: dict[int, int] = {}
            quiet = {"i_begin": 0, "i_address": None, "i_bytes": None, "i_stop": 0, "i_aw_ready": 0,
                     "i_w_ready": 0, "i_b": 0}  # fmt: skip
            yield quiet | {"i_begin": 1, "i_address": address, "i_bytes": count}
            way = [0, 0]  # what is read, in both steps of the memory
            bursts: list[int] = []  # addresses of the beats of the bursts that are open
            lengths: list[int] = []
            beats = answers = 0
            for _ in range(4000):
                aw, w = (int(dice.random() < pace) for _ in range(2))
                b = int(answers > 0 and dice.random() < pace)
                answers -= b
                seen = yield quiet | {"i_aw_ready": aw, "i_w_ready": w, "i_b": b}
                data = way[1]
                if seen.o_read:
                    offset = seen.o_offset - (1 << 12) * (seen.o_offset >> 11)
                    part = [source[offset + n] if 0 <= offset + n < count else dice.getrandbits(8)
                            for n in range(size)]  # fmt: skip
                    way = [int.from_bytes(bytes(part), "little"), way[0]]
                if seen.o_aw_valid and aw:
                    length = seen.o_aw_len + 1
                    first = seen.o_aw_address
                    assert first % size == 0
                    assert first // BURST == (first + length * size - 1) // BURST
                    bursts += [first + size * n for n in range(length)]
                    lengths.append(length)
                if seen.o_w_valid and w:
                    where = bursts.pop(0)
                    beats += 1
                    assert seen.o_w_last == (beats == lengths[0])
                    if seen.o_w_last:
                        answers, beats = answers + 1, 0
                        lengths.pop(0)
                    for n in range(size):
                        if seen.o_w_strobe >> n & 1:
                            assert where + n not in target
                            target[where + n] = data >> 8 * n & 0xFF
                if not seen.o_busy:
                    break
            else:
                raise AssertionError("it does not end")
            assert target == {address + n: byte for n, byte in enumerate(source)}

    Stepper(Storer(axi_bytes=size, address=16, offset=12)).run(drive())
