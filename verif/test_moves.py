"""Copies of bytes: what the jobs read and write, word by word, is what was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hw.accelerator.config import AcceleratorConfig
from hw.config import ArrayConfig
from sim.accelerator.addresses import reads, writes
from sim.accelerator.jobs import Place
from sim.accelerator.moves import moves

MACHINE = AcceleratorConfig(array=ArrayConfig(rows=8, cols=8, st_os=True))
SHAPE = 5, 6, 21

#: Elements of a tensor, in the order in which they are wanted, and how many jobs that may take.
WANTED: dict[str, tuple[Any, int]] = {
    "all": (lambda x: x, 2),
    "rows in reverse": (lambda x: x[::-1], 3),
    "a column": (lambda x: x[:, 2], 3),
    "channels": (lambda x: x[:, :, 4:9], 1),
    "channels of some pixels": (lambda x: x[1:4, ::2, 3:20], 3),
    "transposed": (lambda x: x.transpose(2, 0, 1), 1),
    "columns first": (lambda x: x.transpose(1, 0, 2), 3),
    "every other channel": (lambda x: x[:, :, ::2], 1),
    "channels in reverse": (lambda x: x[:, :, ::-1], 30),
    "every pixel twice": (lambda x: x[:, np.arange(12) // 2], 3),
    "one for all": (lambda x: np.broadcast_to(x[:1, :1, :1], SHAPE), 1),
    "anything": (lambda x: np.random.default_rng(1).permutation(x.ravel())[:50], 50),
}


@pytest.mark.parametrize("pixel", [21, 40])
@pytest.mark.parametrize("what", WANTED)
def test_moves(what: str, pixel: int) -> None:
    """Every byte comes from the right place, and no other is written."""
    pick, most = WANTED[what]
    row = pixel * SHAPE[1] + pixel - SHAPE[2]
    place = Place(address=3, size=SHAPE[:2], channels=SHAPE[2], pixel=pixel, row=row)
    picked = pick(place.addresses.reshape(SHAPE))
    source = picked.ravel()
    memory = np.random.default_rng(2).integers(0, 256, 8192)
    wanted = memory.copy()
    wanted[5000 : 5000 + len(source)] = memory[source]
    made = moves(MACHINE, source, 5000 + np.arange(len(source)), picked.shape[-1])
    for job in made:
        addresses, counts = writes(job)
        words = list(reads(job, MACHINE))
        assert len(words) == len(addresses)
        for (at, first, last), to, count in zip(words, addresses, counts, strict=True):
            assert first == 0 and last >= count
            memory[to : to + count] = memory[at : at + count]
    assert np.array_equal(memory, wanted)
    if pixel == 21:
        assert len(made) <= most, [job.text for job in made]
