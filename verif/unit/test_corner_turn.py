"""The corner turn gives every column the bytes of its pixel, one step after the column before."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.corner_turn import CornerTurn
from verif.lib.machines import SMALL
from verif.unit.stepper import Stepper

SHAPES = [(2, 1), (4, 4), (8, 5), (16, 16), *((one.word, one.array.cols) for one in SMALL)]


@pytest.mark.parametrize(("word", "cols"), SHAPES)
def test_waves(word: int, cols: int) -> None:
    """Words of any lengths, for any number of pixels, one group after the other, with pauses."""
    dice = random.Random(word)
    words: dict[int, int] = {}  # by step
    groups: list[tuple[int, int]] = []  # first word, and s
    expected: dict[tuple[int, int], int] = {}  # byte by step and column
    sizes = [(dice.randint(1, word), dice.randint(1, cols)) for _ in range(41)]
    begun = 0
    for (length, pixels), (_, following) in zip(sizes, sizes[1:], strict=False):
        groups.append((begun + cols - pixels, begun))
        for c in range(cols - pixels, cols):
            data = [dice.getrandbits(8) for _ in range(word)]
            words[begun + c] = int.from_bytes(bytes(data), "little")
            for k in range(length):
                expected[begun + c + k, c] = data[k]
        begun += max(length, following)
    phases, befores = [], []
    for step in range(begun):
        index = max((i for i, (first, _) in enumerate(groups) if first <= step), default=0)
        phases.append(max(step - groups[index][1], 0))
        befores.append(groups[index][1] - groups[max(index - 1, 0)][1])
    steps: list[dict[str, int | None]] = []
    places = []
    step = 0
    while step < len(phases):
        moves = dice.random() < 0.8
        if moves:
            places.append(len(steps))
        steps.append(
            {"i_en": int(moves), "i_word": words.get(step), "i_phase": phases[step],
             "i_before": befores[step] % word}
        )  # fmt: skip
        step += moves
    trace = Stepper(CornerTurn(word=word, cols=cols)).run(steps)
    compared = 0
    for step, place in enumerate(places):
        for c in range(cols):
            if (step, c) in expected:
                assert trace[place].o >> 8 * c & 0xFF == expected[step, c]
                compared += 1
    assert compared > 50


def test_words_hold_a_byte_per_column() -> None:
    """A word that is shorter than the columns, or no power of two, is refused."""
    for word, cols in ((4, 5), (6, 5), (1, 1)):
        with pytest.raises(ValueError, match="a word must be a power of two"):
            CornerTurn(word=word, cols=cols)
