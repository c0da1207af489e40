"""Pacer, loader and corner turn together: every column gets the bytes of its pixels in time."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from hw.accelerator.corner_turn import CornerTurn
from hw.accelerator.loader import Loader
from hw.accelerator.pacer import GemmPacer, pace_job
from hw.layouts import encode
from hw.share import SharedComponent
from verif.lib.machines import SMALL
from verif.unit.stepper import Drive, Stepper
from verif.unit.test_pacer import even


class North(SharedComponent):
    """What stands between the words of pixels and the columns."""

    i_en: Signal
    i_begin: Signal
    i_job: Signal
    i_pixels: Signal
    i_word: Signal
    o_take: Signal
    o_next: Signal
    o_beat: Signal
    o_busy: Signal
    o_empty: Signal
    o: Signal

    def __init__(self, *, word: int, cols: int) -> None:
        signature: dict[str, Any] = {
            "i_en": In(1),
            "i_begin": In(1),
            "i_job": In(pace_job.size),
            "i_pixels": In(9),
            "i_word": In(8 * word),
            "o_take": Out(1),
            "o_next": Out(1),
            "o_beat": Out(1),
            "o_busy": Out(1),
            "o_empty": Out(1),
            "o": Out(8 * cols),
        }
        super().__init__(kind="north", parameters=(word, cols), signature=signature, resets=True)
        self.word, self.cols = word, cols

    def body(self, platform: object) -> Module:
        """Wire them together."""
        m = Module()
        m.submodules.pacer = pacer = GemmPacer(cols=self.cols)
        m.submodules.loader = loader = Loader(word=self.word, cols=self.cols)
        m.submodules.turn = turn = CornerTurn(word=self.word, cols=self.cols)
        m.d.comb += [
            pacer.i_en.eq(self.i_en),
            pacer.i_begin.eq(self.i_begin),
            pacer.i_job.eq(self.i_job),
            pacer.i_ready.eq(1),
            pacer.i_after.eq(0),
            loader.i_en.eq(self.i_en),
            loader.i_group.eq(pacer.o_beat & pacer.o_group),
            loader.i_large.eq(pacer.o_large),
            loader.i_pixels.eq(self.i_pixels),
            turn.i_en.eq(self.i_en),
            turn.i_word.eq(self.i_word),
            turn.i_phase.eq(loader.o_phase),
            turn.i_before.eq(loader.o_before),
            self.o_take.eq(loader.o_take),
            self.o_next.eq(loader.o_next),
            self.o_beat.eq(pacer.o_beat),
            self.o_busy.eq(pacer.o_busy),
            self.o_empty.eq(loader.o_empty),
            self.o.eq(turn.o),
        ]
        return m


#: Bytes of a word, and columns.
SHAPES = [(2, 2), (4, 3), (8, 8), (16, 5), *((one.word, one.array.cols) for one in SMALL)]


@pytest.mark.parametrize(("word", "cols"), SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_groups(word: int, cols: int, seed: int) -> None:
    """Words are taken in the right steps, and belong to the right groups, with pauses."""
    dice = random.Random(seed)
    most = 2 * word - 1

    def drive() -> Drive:
        for _ in range(30):
            pixels = dice.randint(1, cols)
            near = dice.choice([0, 0, 3, 3 * word])
            groups: list[tuple[int, int]] = []  # the step in which each enters, and its pixels
            for _ in range(dice.randint(1, 8)):
                size = pixels + dice.randint(0, int(pixels < cols))
                last = groups[-1][0] if groups else 0
                groups.append((last + size + dice.randint(0, near), size))
            first = {begun + cols - size + 1: n for n, (begun, size) in enumerate(groups)}
            takes = {
                step for begun, size in groups for step in range(begun + cols - size, begun + cols)
            }
            entering = dict(groups)
            step, newest = 0, -1
            yield {"i_en": 0, "i_group": None, "i_large": None, "i_pixels": pixels}
            while step <= groups[-1][0] + cols + 2:
                moves = int(dice.random() < 0.8)
                size = entering.get(step, 0)
                seen = yield {
                    "i_en": moves, "i_group": int(size > 0), "i_pixels": pixels,
                    "i_large": int(size > pixels) if size else None,
                }  # fmt: skip
                assert seen.o_take == (step - 1 in takes)
                assert seen.o_next == (step + moves - 1 in takes)
                assert seen.o_empty != any(begun < step <= begun + cols for begun, _ in groups)
                newest = first.get(step, newest)
                if newest >= 0:
                    assert seen.o_phase == min(step - groups[newest][0] - 1, most)
                if newest > 0:
                    apart = groups[newest][0] - groups[newest - 1][0]
                    if apart + cols - groups[newest][1] <= most:  # of use to the corner turn
                        assert seen.o_before == apart % word
                step += moves

    Stepper(Loader(word=word, cols=cols)).run(drive())


@pytest.mark.parametrize("seed", range(10))
def test_wave(seed: int) -> None:
    """Beat k of a tile is byte k of every pixel's window, in column c one and c steps later."""
    dice = random.Random(seed)
    word = dice.choice([2, 4, 8])
    cols = dice.randint(1, word)
    compared = 0

    def drive() -> Drive:
        nonlocal compared
        for _ in range(3):
            run = dice.randint(1, 20)
            lengths = even(run, -(-run // word))
            total = dice.randint(1, 20)
            tiles = even(total, -(-total // dice.randint(1, cols)))
            rows = dice.randint(1, 3)
            fields = {
                "runs": rows,
                "words": len(lengths),
                "length": lengths[-1],
                "pixels": tiles[-1],
                "long": lengths.count(lengths[0]) % len(lengths),
                "tiles": len(tiles),
                "large": tiles.count(tiles[0]) % len(tiles),
                "rounds": 1,
            }
            common = {
                "i_job": encode(pace_job, fields),
                "i_pixels": tiles[-1],
            }
            # The words in the order in which they are read, and the bytes of every beat and column.
            words: list[bytes] = []
            beats: list[dict[int, int]] = []
            for pixels in tiles:
                for length in lengths * rows:
                    group = [bytes(dice.getrandbits(8) for _ in range(word)) for _ in range(pixels)]
                    words += group
                    for k in range(length):
                        columns = range(cols - pixels, cols)
                        beats.append({c: one[k] for c, one in zip(columns, group, strict=True)})
            # The job is there a cycle before it begins.
            yield {"i_begin": 0, "i_en": 0, "i_word": None, **common}
            seen = yield {"i_begin": 1, "i_en": 1, "i_word": None, **common}
            takes = seen.o_next  # whether it takes a word in the next cycle
            entered: dict[int, int] = {}  # step of every beat
            step = taken = 0
            while len(entered) < len(beats) or step <= max(entered.values()) + cols + 1:
                moves = int(dice.random() < 0.8)
                following = words[taken] if taken < len(words) else bytes(word)
                seen = yield {
                    "i_begin": 0,
                    "i_en": moves,
                    "i_word": int.from_bytes(following, "little"),
                    **common,
                }
                if not moves:
                    continue
                for beat, at in entered.items():
                    c = step - at - 1
                    if c in beats[beat]:
                        assert seen.o >> 8 * c & 0xFF == beats[beat][c], (beat, c)
                        compared += 1
                assert seen.o_take == takes
                takes = seen.o_next
                taken += seen.o_take
                if seen.o_beat:
                    entered[len(entered)] = step
                step += 1
                assert step < 5000
            assert taken == len(words) and seen.o_empty and not seen.o_busy

    Stepper(North(word=word, cols=cols)).run(drive())
    assert compared > 10
