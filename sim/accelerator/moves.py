"""Copies of bytes from anywhere to anywhere, as few jobs as possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from golden.arith.wrap import IntArray
from hw.accelerator.combiner import Mode
from hw.accelerator.config import AcceleratorConfig

from . import jobs
from .jobs import Job

__all__ = ["ALONE", "LONGEST", "moves"]

#: About what a job costs, in cycles, that nothing overlaps with.
ALONE = 30

#: Words of one job, at most.
LONGEST = 32_768


@dataclass(frozen=True, kw_only=True)
class _Runs:
    """Runs of `length` bytes: `lines` lines of `count`.

    The first one goes from `source` to `target`. From one to the next are `step` bytes where they
    come from, `apart` where they go; from the first of a line to that of the next one `jump` where
    they come from.
    """

    source: int
    target: int
    length: int
    count: int = 1
    step: int = 0
    apart: int = 0
    lines: int = 1
    jump: int = 0


def moves(
    config: AcceleratorConfig, source: IntArray, target: IntArray, channels: int = 0
) -> list[Job]:
    """Return jobs that copy bytes of the activation memory.

    Parameters
    ----------
    config : AcceleratorConfig
    source, target : int64 arrays (n,)
        Addresses: where every byte comes from, and where it goes. No byte is in both.
    channels : int, optional
        Bytes after which it may be good to begin anew, although there is no gap.
    """
    order = np.argsort(target, kind="stable")
    ways: list[list[Job]] = []
    source, target = source[order], target[order]

    def add(parts: Sequence[tuple[IntArray, IntArray]], unit: int) -> None:
        made: list[Job] = []
        for part in parts:
            for runs in _planes(list(_lines(*part, unit))):
                for one in _words(runs, config.array.rows):
                    made += _copies(config, one)
        ways.append(made)

    add([(source, target)], 0)
    if channels:
        add([(source, target)], channels)
    if 1 < channels <= config.array.rows and len(ways[0]) > channels:
        # Channel by channel: what lies in another order.
        add([(source[n::channels], target[n::channels]) for n in range(channels)], 0)
    return min(ways, key=lambda way: sum(job.own["write"]["tiles"] + ALONE for job in way))


def _lines(source: IntArray, target: IntArray, unit: int) -> Iterator[_Runs]:
    """Yield lines of runs of one length and distance."""
    ends = np.flatnonzero((np.diff(source) != 1) | (np.diff(target) != 1)) + 1
    if unit:
        ends = np.union1d(ends, np.arange(unit, len(source), unit))
    starts = np.concatenate([[0], ends])
    lengths = np.diff(np.concatenate([starts, [len(source)]]))
    first, to = source[starts], target[starts]
    step, apart = np.diff(first), np.diff(to)
    # Where the third of three runs does not go on as the second did.
    uneven = np.flatnonzero(
        (np.diff(step) != 0) | (np.diff(apart) != 0) | (lengths[2:] != lengths[1:-1])
    )
    at = 0
    while at < len(starts):
        last = at
        if at + 1 < len(starts) and lengths[at + 1] == lengths[at]:
            turn = int(np.searchsorted(uneven, at))
            last = int(uneven[turn]) + 1 if turn < len(uneven) else len(starts) - 1
        several = last > at
        yield _Runs(
            source=int(first[at]), target=int(to[at]), length=int(lengths[at]),
            count=last - at + 1, step=int(step[at]) if several else 0,
            apart=int(apart[at]) if several else 0,
        )  # fmt: skip
        at = last + 1


def _planes(lines: Sequence[_Runs]) -> Iterator[_Runs]:
    """Yield lines that follow each other as one."""
    now: _Runs | None = None
    for line in lines:
        alike = now and (now.length, now.count, now.step, now.apart) == (
            line.length, line.count, line.step, line.apart,
        )  # fmt: skip
        if now and alike and line.count > 1 and line.step >= 0:
            jump = line.source - now.source - (now.lines - 1) * now.jump
            goes_on = line.target == now.target + now.lines * now.count * now.apart
            if goes_on and (now.lines == 1 or jump == now.jump):
                now = replace(now, lines=now.lines + 1, jump=jump)
                continue
        if now:
            yield now
        now = line
    if now:
        yield now


def _words(runs: _Runs, rows: int) -> Iterator[_Runs]:
    """Yield runs of at most `rows` bytes instead of longer ones."""
    length = runs.length
    if length <= rows:
        yield runs
        return
    total = runs.count * runs.lines
    offsets = [*range(0, length - rows, rows), length - rows]  # the last two may overlap
    if total >= len(offsets):
        for offset in offsets:
            yield replace(
                runs, source=runs.source + offset, target=runs.target + offset, length=rows
            )
        return
    for n in range(total):
        line, at = divmod(n, runs.count)
        source = runs.source + line * runs.jump + at * runs.step
        target = runs.target + n * runs.apart
        whole = length // rows
        yield _Runs(source=source, target=target, length=rows, count=whole, step=rows, apart=rows)
        if length % rows:
            yield _Runs(source=source + length - rows, target=target + length - rows, length=rows)


def _copies(config: AcceleratorConfig, runs: _Runs) -> list[Job]:
    """Return the jobs for runs of at most a word."""
    if runs.count > LONGEST and runs.lines > 1:
        return [
            job
            for n in range(runs.lines)
            for job in _copies(
                config,
                replace(
                    runs, lines=1, source=runs.source + n * runs.jump,
                    target=runs.target + n * runs.count * runs.apart,
                ),
            )
        ]  # fmt: skip
    # Words of a line, or whole lines.
    single = runs.lines == 1
    total = runs.count if single else runs.lines
    most = LONGEST if single else LONGEST // runs.count
    found = []
    for first in range(0, total, most):
        count = min(most, total - first)
        words = count if single else count * runs.count
        base = runs.source + first * (runs.step if single else runs.jump)
        target = runs.target + first * runs.apart * (1 if single else runs.count)
        if single and runs.step < 0:
            read = jobs.pixel_reads(base=base, line=1, jump=runs.step, tiles=words)
        else:
            read = jobs.pixel_reads(
                base=base, line=runs.count if runs.lines > 1 else count, step=runs.step,
                jump=runs.jump, tiles=words,
            )  # fmt: skip
        read["length"] = runs.length
        found.append(
            jobs.combine(
                config, Mode.ONE, read=read, text=f"{words:,} words",
                write=jobs.pixel_writes(target, runs.apart, words, runs.length),
            )
        )  # fmt: skip
    return found
