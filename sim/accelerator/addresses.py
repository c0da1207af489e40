"""What a job reads and writes, word by word, as its generators do; and whether two may overlap."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.accelerator.combiner import Mode
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.jobs import Kind
from hw.accelerator.requantizer import lane_steps

from .jobs import Job

__all__ = ["may_overlap", "overwrites", "reads", "writes"]

Fields = dict[str, Any]


def reads(job: Job, config: AcceleratorConfig) -> Iterator[tuple[int, int, int]]:
    """Yield the address of every word that a job reads, and the first and last byte that counts."""
    if job.kind == Kind.STREAM:
        yield from _stream_reads(job.own["read"], job.fields["rounds"], config)
    elif job.kind in (Kind.GEMM, Kind.COMBINE):
        yield from _gemm_reads(job.own["read"], config)


def _gemm_reads(read: Fields, config: AcceleratorConfig) -> Iterator[tuple[int, int, int]]:
    get = read.get
    step, line, jump = read["step"], read["line"], read["jump"]
    sizes = [read["pixels"] + (n < get("large", 0)) for n in range(read["tiles"])]
    for round_ in range(read["rounds"]):
        begun = 0
        for size in sizes:
            for run in [*range(read["rows"])] * get("turns", 1):
                offset = 0
                for word in range(read["words"]):
                    length = read["length"] + (word < get("long", 0))
                    for p in range(begun, begun + size):
                        down, along = divmod(p, line)
                        row = get("top", 0) + down * get("stride", 0) + run
                        x = get("x", 0) + along * step + offset
                        address = read["base"] + down * jump + run * read["pitch"] + x
                        address += round_ * get("block", 0)
                        inside = 0 <= row < read["height"]
                        last = max(0, min(read["width"] - x, length)) if inside else 0
                        yield address % (1 << config.local_bits), max(0, min(-x, length)), last
                    offset += length + get("skip", 0)
            begun += size


def _stream_reads(
    read: Fields, rounds: int, config: AcceleratorConfig
) -> Iterator[tuple[int, int, int]]:
    cols = config.array.cols
    single = read["passes"] == 1
    groups = [(0, read["folds"])] if single else [(n, 1) for n in range(read["folds"])]
    signals = itertools.product(range(rounds), range(read["bands"]))
    for (round_, band), (fold, count) in itertools.product(signals, groups):
        base = read["base"] + round_ * read["block"] + band * read["band"]
        left = read["x"] + band * read["band_x"]
        for number in (n % read["kernel"] for n in range(read["passes"])):
            for beat in range(cols - 1 + read["depth"] + (count - 1) * cols):
                line, at = divmod(fold * cols + beat, read["pitch"])
                row, x = read["top"] + line * read["step"] + number, left + at
                inside = 0 <= row < read["height"] and 0 <= x < read["width"]
                address = base + line * read["line"] + at * read["pixel"] + number * read["row"]
                yield address % (1 << config.local_bits), 0, config.word * inside


def writes(job: Job) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the address of every result of a job, in order, and how many bytes it has."""
    if job.kind == Kind.STREAM:
        return _stream_writes(job.own["write"])
    if job.kind == Kind.GEMM or (
        job.kind == Kind.COMBINE and job.own["combine"]["mode"] != Mode.HOLD
    ):
        return _gemm_writes(job.own["write"])
    none = np.zeros(0, np.int64)
    return none, none


def _gemm_writes(write: Fields) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    sizes = np.full(write["tiles"], write["pixels"])
    sizes[: write.get("large", 0)] += 1
    ends = np.cumsum(sizes)
    # The last pixel of a tile comes first.
    order = np.arange(ends[-1])
    tile = np.searchsorted(ends, order, side="right")
    pixel = 2 * ends[tile] - sizes[tile] - 1 - order
    rounds = np.arange(write["rounds"])[:, None]
    address = write["base"] + rounds * write["rows"] + pixel * write["step"]
    count = np.where(rounds == write["rounds"] - 1, write["rest"], write["rows"])
    return address.ravel(), np.broadcast_to(count, address.shape).ravel()


def _stream_writes(write: Fields) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    line, at = np.divmod(np.arange(write["count"]), write["pitch"])
    band = np.arange(write["bands"])[:, None]
    rounds = np.arange(write["rounds"])[:, None, None]
    width = np.where(band == write["bands"] - 1, write["last_width"], write["width"])
    kept = (at % write["across"] == 0) & (line % write["down"] == 0)
    kept = kept & (at // write["across"] < width)
    address = write["base"] + band * write["band"] + line // write["down"] * write["line"]
    address = address + at // write["across"] * write["pixel"] + rounds * write["block"]
    count = np.where(rounds == write["rounds"] - 1, write["rest"], write["rows"]) * kept
    return address.ravel(), np.broadcast_to(count, address.shape).ravel()


def may_overlap(before: Job, job: Job, config: AcceleratorConfig) -> bool:
    """Return whether a job may begin as soon as all operands of the one before are in the array.

    Behind a LOAD every job that computes may: its words wait for what is loaded (but see
    `overwrites`).

    Behind another one at most so many results are still to come as there are steps from the array's
    edge to the memory. A word is read at most a few steps before the step in which it could be
    there at the earliest, one per step, if nothing were waited for; so none of the first ones may
    be touched by these results.
    """
    array = config.array
    plain = (Kind.GEMM, Kind.STREAM)
    if before.kind == Kind.LOAD:
        return job.kind in (*plain, Kind.COMBINE)
    if before.kind not in plain or job.kind not in plain:
        return False
    every = config.rows_per_lane
    late = (every + 1) * (array.cols + 1) + array.rows + 14
    late += array.mac_stages + lane_steps(array.mac_stages)
    address, count = writes(before)
    spans = [(a, a + n) for a, n in zip(address[-late:], count[-late:], strict=True) if n]
    for at, first, last in itertools.islice(reads(job, config), late):
        # A word may begin in the padding before address 0.
        here = (at + first) % (1 << config.local_bits)
        if first < last and any(begin < here + last - first and here < end for begin, end in spans):
            return False
    return True


def overwrites(job: Job, load: Job) -> bool:
    """Return whether a job writes what a LOAD, which may still be on its way, brings."""
    address, count = writes(job)
    begin, length = load.own["local"], load.own["bytes"]
    return bool(((count > 0) & (address < begin + length) & (begin < address + count)).any())
