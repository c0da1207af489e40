"""Jobs: what the accelerator does one after the other, as the image has it."""

from __future__ import annotations

from enum import IntEnum

from amaranth.lib.data import StructLayout, UnionLayout

from .combiner import COMBINE
from .reader import gemm_job
from .requantizer import LIMITS, PARAMETERS
from .streams import stream_job, stream_write_job
from .writer import write_job

__all__ = ["ADDRESS", "JOB", "Base", "Kind", "job_words", "parameter_words"]

#: Bits of an address in the activation memory, whatever its size: images of all machines agree.
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
_GEMM = StructLayout({"read": gemm_job(ADDRESS), "write": write_job(ADDRESS), "combine": COMBINE})

#: Of ST-OS.
_STREAM = StructLayout({"read": stream_job(ADDRESS), "write": stream_write_job(ADDRESS)})

#: Of a LOAD or a STORE: `bytes` bytes at `offset` from the base, and at `local` in the activation
#: memory. `flip`: their signs are inverted on the way.
_TRANSFER = StructLayout({"base": 2, "flip": 1, "offset": 32, "bytes": 32, "local": ADDRESS})

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
        "own": UnionLayout({"gemm": _GEMM, "stream": _STREAM, "transfer": _TRANSFER}),
    }
)


def job_words(word: int) -> int:
    """Return the words of the ring that a job takes."""
    return -(-JOB.size // (8 * word))


def parameter_words(rows: int, word: int) -> int:
    """Return the words of the ring that the parameters of all rows take: 9 bytes for each."""
    assert PARAMETERS.size <= 72
    return -(-9 * rows // word)
