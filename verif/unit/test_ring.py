"""The ring gives every block the asked number of times, in order, and never loses a word."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.ring import Ring
from verif.lib.machines import SMALL
from verif.unit.stepper import LONG, Drive, Stepper

#: Words, their bits, and whether blocks are read again.
SHAPES = [
    (2, 16, True), (4, 16, True), (16, 16, True), (2, 16, False), (16, 16, False),
    *((one.ring_words, 8 * one.word, True) for one in SMALL),
    *((one.program_words, 8 * one.word, False) for one in SMALL),
]  # fmt: skip


@pytest.mark.parametrize(("depth", "width", "again"), SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_blocks(seed: int, depth: int, width: int, again: bool) -> None:
    """Blocks of any size and number of readings, pushes, pops and blocks at any time."""
    dice = random.Random(f"{seed} {depth}")
    few = 4 if depth > 16 else 25  # blocks: there are enough words in them
    blocks = [(dice.randint(1, depth), dice.randint(1, 4) if again else 1) for _ in range(few)]
    blocks += [(dice.randint(1, 3 * depth), 1) for _ in range(min(few // 2, 4))]
    if LONG and not seed:
        blocks += [(dice.randint(1 << 12, (1 << 16) - 1), 1) for _ in range(2)]
        blocks += [(dice.randint(1, 3), dice.randint(1 << 12, 1 << 14))] * again
    dice.shuffle(blocks)
    words = [dice.getrandbits(width) for _ in range(sum(count for count, _ in blocks))]
    wanted, begun = [], 0
    for count, times in blocks:
        wanted += words[begun : begun + count] * times
        begun += count
    found: list[int] = []
    pace = dice.choice([0.3, 1.0])

    def drive() -> Drive:
        pushed = asked = there = 0
        room = depth
        for _ in range(60 * 1000 + 8 * len(wanted)):
            if len(found) == len(wanted):
                break
            push = int(pushed < len(words) and room > 0 and dice.random() < pace)
            block = int(asked < len(blocks) and dice.random() < pace)
            pop = int(dice.random() < pace)
            count, times = blocks[asked] if block else (None, None)
            seen = yield {
                "i_push": push, "i_data": words[pushed] if push else None, "i_block": block,
                "i_words": count, "i_pop": pop, **({"i_times": times} if again else {}),
            }  # fmt: skip
            assert seen.o_valid == there
            there = seen.o_next
            pushed += push
            asked += block & seen.o_block
            if pop and seen.o_valid:
                found.append(seen.o_data)
            # In the cycle after, the room is at least what is known now.
            room = seen.o_room - push

    Stepper(Ring(depth=depth, width=width, again=again)).run(drive())
    assert found == wanted


def test_a_word_per_cycle() -> None:
    """Once the words are there, none of them waits: within blocks, again, and across blocks."""
    blocks = [(3, 2), (1, 3), (4, 1)]
    gaps: list[int] = []

    def drive() -> Drive:
        asked = 0
        for cycle in range(40):
            push = int(cycle < 8)
            block = int(asked < len(blocks))
            count, times = blocks[asked] if block else (None, None)
            seen = yield {"i_push": push, "i_data": cycle, "i_block": block, "i_words": count,
                          "i_times": times, "i_pop": int(cycle > 10)}  # fmt: skip
            asked += block & seen.o_block
            if cycle > 10:
                gaps.append(seen.o_valid)

    Stepper(Ring(depth=8, width=8)).run(drive())
    total = sum(count * times for count, times in blocks)
    assert gaps == [1] * total + [0] * (len(gaps) - total)
