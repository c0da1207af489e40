"""Beats of a GEMM enter as early as the corner turn and the drain allow."""

from __future__ import annotations

import bisect
import itertools
import random

import pytest

from hw.accelerator.pacer import GemmPacer, pace_job
from hw.layouts import encode
from verif.unit.stepper import LONG, Drive, Stepper


def even(total: int, parts: int) -> list[int]:
    each, more = divmod(total, parts)
    return [each + 1] * more + [each] * (parts - more)


@pytest.mark.parametrize("every", [1, 2, 4])
@pytest.mark.parametrize("seed", range(30 + 96 * LONG))
def test_steps(seed: int, every: int) -> None:
    """The steps of all beats are those of the two rules, over several jobs, with freezes."""
    dice = random.Random(seed)
    cols = dice.choice([1, 3, 6, 8]) if seed < 30 else (3, 6)[seed % 2]
    jobs = []
    for _ in range(6):  # some of a word per tile, which may follow a longer one
        lengths = even(run := dice.randint(1, dice.choice([4, 8, 20])), -(-run // 8))
        tiles = even(total := dice.randint(1, 20), -(-total // dice.randint(1, cols)))
        jobs.append((lengths, tiles, dice.choice([1, 1, 2, 3]), dice.randint(1, 2)))

    if 30 <= seed < 46:  # many words, tiles, runs, rounds
        lengths, tiles = even(run := dice.randint(1, 20), -(-run // 8)), [1]
        way, (many, some) = (seed - 30) // 2 % 8, (dice.randint(1, 1 << 14) for _ in range(2))
        size = dice.randint(1, 510)
        jobs = [
            [([2] * many + [1] * some, tiles, 1, 1)], [([1] * many * 2, tiles, 1, 1)],
            [([1], [2] * many + [1] * some, 1, 1)], [([1], [1] * many * 2, 1, 1)],
            [(lengths, tiles, dice.randint(128, 255), 2)], [([1], tiles, 1, many * 2)],
            [([size + 1] * 3 + [size], [2, 1], 2, 3)],
            [([size], [dice.randint(1, cols)] * 3, 3, 2)],
        ][way]  # fmt: skip

    def drive() -> Drive:
        step, begun, ended, before = 0, -100, -100, 0
        for lengths, tiles, rows, rounds in jobs:
            fields = {
                "runs": rows, "words": len(lengths), "length": lengths[-1], "pixels": tiles[-1],
                "long": lengths.count(lengths[0]) % len(lengths), "tiles": len(tiles),
                "large": tiles.count(tiles[0]) % len(tiles), "rounds": rounds,
            }  # fmt: skip
            job = encode(pace_job, fields)
            after = dice.randint(0, 1)
            quiet = {"i_begin": 0, "i_job": job, "i_en": 0, "i_after": None, "i_ready": 0}
            yield quiet  # the job is there a cycle before it begins
            late = dice.choice([0, 40])
            opens = [step + 1 + dice.randint(0, late) for _ in range(rounds)]  # rounds may begin
            opens = list(itertools.accumulate(opens, max))
            ready = bisect.bisect(opens, step + 1)
            seen = yield {
                "i_begin": 1, "i_job": job, "i_en": 1, "i_after": after, "i_ready": ready,
            }  # fmt: skip
            beat = seen.o_next  # of the next cycle
            step += 1
            if after:
                ended, before = step, cols
            wanted: dict[int, tuple[int, int, int]] = {}
            at = step
            for opened in opens:
                at = max(at, opened)
                for pixels in tiles:
                    words = lengths * rows
                    for index, length in enumerate(words):
                        final = index == len(words) - 1
                        at = max(at, begun + pixels)
                        if final:
                            at = max(at, ended + max(every * before, pixels, 2) - length + 1)
                        begun = at
                        for k in range(length):
                            wanted[at + k] = (int(k == 0), int(final and k == length - 1),
                                              int(pixels > tiles[-1]))  # fmt: skip
                        at += length
                    ended, before = at - 1, pixels
            last = max(wanted)
            while step <= last:
                moves = int(dice.random() < 0.8)
                ready = bisect.bisect(opens, step + moves)  # in the next cycle
                seen = yield {
                    "i_begin": 0,
                    "i_after": None,
                    "i_job": job,
                    "i_en": moves,
                    "i_ready": ready,
                }
                assert seen.o_busy == 1
                assert seen.o_beat == (step in wanted) == beat, step
                beat = seen.o_next
                if step in wanted:
                    group, tile, large = wanted[step]
                    assert (seen.o_group, seen.o_tile, seen.o_large) == (group, tile, large)
                    assert seen.o_last == (step == last)
                step += moves

    Stepper(GemmPacer(cols=cols, every=every)).run(drive())
