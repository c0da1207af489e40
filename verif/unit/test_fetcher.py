"""Every beat of a range is asked for once, in legal bursts, never beyond the room."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.config import BURST
from hw.accelerator.fetcher import OUTSTANDING, Fetcher
from verif.lib.machines import SMALL
from verif.unit.stepper import LONG, Drive, Stepper

#: Bytes of a beat, bits of an address, and beats that there is room for at most.
SHAPES = [
    *((size, 16, 3 * BURST // size) for size in (4, 16, 64)),
    *((one.axi_bytes, one.axi_addr_width, room * one.word // one.axi_bytes)
      for one in SMALL for room in (one.program_words, one.ring_words)),
    *((one.axi_bytes, one.axi_addr_width, OUTSTANDING * BURST // one.axi_bytes) for one in SMALL),
]  # fmt: skip


@pytest.mark.parametrize(("size", "bits", "most"), SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_ranges(size: int, bits: int, most: int, seed: int) -> None:
    """Lengths and offsets of any kind, a slow memory, and room that comes and goes."""
    dice = random.Random(seed)
    ranges = [
        (dice.randrange((1 << bits) - 1024), dice.choice([1, size, dice.randint(1, 900)]))
        for _ in range(8 * (1 + 3 * LONG))
    ]
    if LONG and bits > 20:
        ranges.append((dice.randrange(1 << 31), dice.randint(1 << 16, 1 << 18)))

    def drive() -> Drive:
        for address, count in ranges:
            pace = 0.5 if count < 1000 else 1
            quiet = {"i_begin": 0, "i_address": None, "i_bytes": None, "i_stop": 0, "i_ready": 0,
                     "i_beat": 0, "i_room": 0}  # fmt: skip
            yield quiet | {"i_begin": 1, "i_address": address, "i_bytes": count}
            coming: list[int] = []  # addresses of beats
            asked: list[int] = []
            used = 0  # beats that have come and not been taken away
            for _ in range(3000 + 2 * count):
                used -= int(used > 0 and dice.random() < max(pace, 0.7))
                ready = int(dice.random() < pace)
                beat = int(bool(coming) and dice.random() < pace)
                # Room beside what is on its way.
                room = most - used - len(coming)
                seen = yield quiet | {"i_ready": ready, "i_beat": beat, "i_room": max(room, 0)}
                assert seen.o_waiting == len(coming)
                if beat:
                    coming.pop(0)
                    used += 1
                if seen.o_valid and ready:
                    beats = seen.o_len + 1
                    assert seen.o_address % size == 0
                    assert seen.o_address // BURST == (seen.o_address + beats * size - 1) // BURST
                    burst = [seen.o_address + size * n for n in range(beats)]
                    coming, asked = coming + burst, asked + burst
                    assert used + len(coming) <= most
                if not seen.o_busy:
                    break
            assert asked == list(range(address // size * size, address + count, size))

    Stepper(Fetcher(axi_bytes=size, address=bits, room=most)).run(drive())


def test_stop() -> None:
    """After a stop nothing more is asked for, and what was asked for is waited for."""
    asked: list[int] = []

    def drive() -> Drive:
        quiet = {"i_begin": 0, "i_address": 0, "i_bytes": 0, "i_stop": 0, "i_ready": 1, "i_beat": 0,
                 "i_room": 100}  # fmt: skip
        yield quiet | {"i_begin": 1, "i_address": 0, "i_bytes": 4096}
        for cycle in range(200):
            stop = int(cycle >= 6)
            waiting = sum(asked)
            beat = int(cycle > 12 and waiting > 0)
            seen = yield quiet | {"i_stop": stop, "i_beat": beat}
            if seen.o_valid:
                asked.append(seen.o_len + 1)
            if beat:
                asked.append(-1)
            if cycle > 12 and sum(asked) == 0 and not seen.o_busy:
                return
        raise AssertionError("it is still busy")

    Stepper(Fetcher(axi_bytes=16, address=16, room=127)).run(drive())
    assert 0 < sum(count for count in asked if count > 0) < 256
