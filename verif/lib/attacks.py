"""What is done to a run of the accelerator, and what must hold after it."""

from __future__ import annotations

import random

import numpy as np

from hw.accelerator.registers import COUNTERS
from sim.accelerator.compiler import Program
from sim.accelerator.rtl import AcceleratorSimulator
from sim.accelerator.run import Placed

__all__ = ["good", "kept", "mutated"]

#: Codes of a run whose image was changed: it may compute something else, or be refused.
_CODES = (0, 2, 3)


def good(core: AcceleratorSimulator, program: Program, placed: Placed, reset: int = 0) -> bytes:
    """Run without a fault; return the memory after it."""
    result = core.run(placed.memory, placed.addresses, reset=reset)
    assert (result.done, result.code) == (True, 0)
    assert result.job == len(program.jobs) - 1
    assert result.cycles == program.timing().cycles
    assert sum(result.counters[name] for name in COUNTERS) == result.cycles
    return result.memory


def kept(program: Program, placed: Placed, before: bytes, after: bytes) -> bool:
    """Return whether nothing but the outputs, and what is behind SCRATCH, was written."""
    where = np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8))
    _, _, output, scratch = placed.addresses
    length = program.offsets(program.outputs)[-1] + int(np.prod(program.outputs[-1].shape))
    inside = (where >= output) & (where < output + length)
    inside |= (where >= scratch) & (where < scratch + program.scratch_bytes)
    return bool(inside.all())


def mutated(
    core: AcceleratorSimulator, program: Program, placed: Placed, seed: int, limit: int = 100_000
) -> int:
    """Run an image with a few bytes changed, or cut off; return the code.

    Raises
    ------
    AssertionError
        If the run does not end, or writes where it must not.
    """
    dice = random.Random(seed)
    size = len(program.image)
    changed = bytearray(placed.memory)
    for _ in range(dice.choice([1, 1, 3, 20])):
        changed[dice.randrange(size)] = dice.randrange(256)
    if dice.random() < 0.1:
        cut = dice.randrange(size)
        changed[cut:size] = bytes(size - cut)
    found = core.run(bytes(changed), placed.addresses, limit=limit, seed=seed)
    assert found.done, f"image {seed}: the run does not end"
    assert kept(program, placed, bytes(changed), found.memory), f"image {seed}: a stray write"
    assert found.code in _CODES, f"image {seed}: code {found.code}"
    return found.code
