"""The memory image of a network: a header, the program, and the weights in the order of use."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.header import HEADER, MAGIC
from hw.accelerator.registers import VERSION

from .jobs import Job

__all__ = ["image"]

#: What the weights are aligned to, so that bursts are.
_ALIGNED = 256


def image(jobs: Sequence[Job], config: AcceleratorConfig) -> bytes:
    """Return the image of some jobs, the last of which ends the run.

    Behind the weights lie the constants, whose jobs are told where.
    """
    length = sum(job.program_bytes(config.word) for job in jobs)
    weights = b"".join(job.weights.tobytes() for job in jobs)
    place = -(-(HEADER + length) // _ALIGNED) * _ALIGNED
    constants = b""
    for job in jobs:
        if job.constant:
            constants = constants.ljust(-(-len(constants) // _ALIGNED) * _ALIGNED, b"\0")
            behind = -(-(place + len(weights)) // _ALIGNED) * _ALIGNED
            job.own["offset"] = behind + len(constants)
            constants += job.constant
    program = b"".join(job.program(config.word) for job in jobs)
    major, minor, patch = VERSION
    fields = [
        MAGIC, major << 16 | minor << 8 | patch, config.fingerprint, len(program), place,
        len(weights),
    ]  # fmt: skip
    fields.append(functools.reduce(operator.xor, fields))
    header = b"".join(one.to_bytes(4, "little") for one in fields).ljust(HEADER, b"\0")
    found = (header + program).ljust(place, b"\0") + weights
    if constants:
        found = found.ljust(-(-len(found) // _ALIGNED) * _ALIGNED, b"\0") + constants
    return found
