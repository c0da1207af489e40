"""Jobs: what the accelerator does one after the other, as the image has it."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from amaranth.hdl import Cat, Value
from amaranth.lib.data import StructLayout, UnionLayout

from .combiner import COMBINE
from .reader import gemm_job
from .requantizer import LIMITS, PARAMETERS
from .streams import stream_job, stream_write_job
from .writer import write_job

__all__ = [
    "ADDRESS", "JOB", "PARAMETER_BYTES", "TRANSFER", "Base", "Kind", "job_words", "narrow",
    "parameter_block", "parameter_words",
]  # fmt: skip

#: Bits of an address in the largest activation memory: images of all machines agree.
ADDRESS = 23


class Kind(IntEnum):
    """What a job is."""

    END = 0
    GEMM = 1
    STREAM = 2
    LOAD = 3
    STORE = 4
    COMBINE = 5


class Base(IntEnum):
    """What an address in memory is relative to."""

    IMAGE = 0
    INPUT = 1
    OUTPUT = 2
    SCRATCH = 3


#: Of a GEMM, and of a COMBINE.
_GEMM = StructLayout({"write": write_job(ADDRESS), "read": gemm_job(ADDRESS), "combine": COMBINE})

#: Of ST-OS. Its addresses are at the places of a GEMM's: no register has the bits of them that a
#: small memory does not need.
_STREAM = StructLayout({"write": stream_write_job(ADDRESS), "read": stream_job(ADDRESS)})

#: Of a LOAD or a STORE: `bytes` bytes at `offset` from the base, and at `local` in the activation
#: memory. `flip`: their signs are inverted on the way.
TRANSFER = StructLayout({"base": 2, "flip": 1, "offset": 32, "bytes": 32, "local": ADDRESS})

#: A job. A block of output channels, or of channels, is a round: its parameters, and `depth` words
#: of weights that are read `times` times; `emits` commands have its results. The two rounds of a
#: COMBINE are the parameters of its two passes; its weights are tables. `overlap`: it may begin
#: while results of the job before are on their way. `check` makes all 16-bit pieces of a job's
#: words 0, combined by exclusive or: what is none of the compiler's jobs is refused before it moves
#: anything.
JOB = StructLayout(
    {
        "kind": 4,
        "overlap": 1,
        "pad": 8,
        "depth": 16,
        "times": 16,
        "emits": 16,
        "rounds": 16,
        "limits": LIMITS,
        "check": 16,
        "own": UnionLayout({"gemm": _GEMM, "stream": _STREAM, "transfer": TRANSFER}),
    }
)


def narrow(job: Any, layout: StructLayout) -> Value:
    """Return a part of a job with fields of fewer bits: those that its machine's addresses have."""
    return Cat(Value.cast(getattr(job, name))[: field.width] for name, field in layout)


def job_words(word: int) -> int:
    """Return the words of the ring that a job takes."""
    return -(-JOB.size // (8 * word))


#: Bytes of the parameters of a row.
PARAMETER_BYTES = -(-PARAMETERS.size // 8)


def parameter_block(rows: int, word: int, every: int) -> int:
    """Return the words of the ring that the parameters of one row of every lane take."""
    return -(-PARAMETER_BYTES * (rows // every) // word)


def parameter_words(rows: int, word: int, every: int) -> int:
    """Return those of all rows: a block for the first row of every lane, one for the second, ..."""
    return every * parameter_block(rows, word, every)
