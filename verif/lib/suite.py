"""What the core is put through: groups of runs, each compared with the models.

The tests run every group on every configuration; the mutation campaign runs them on cores with
planted faults. A run is a function of configuration, group, index and seed, so it can be repeated.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from golden import Tile, execute
from golden.machine.schedule import flush_cycles
from hw.config import ArrayConfig, Command, CommandError
from sim import cycles
from sim.rtl import Result, Simulator, Stalls
from verif.lib.tiles import gemm, random_tiles, tile

__all__ = ["CONFIGS", "GROUPS", "SEED", "Run", "check", "runs"]

#: Other seeds give other runs; `make soak` tries one after another.
SEED = int(os.environ.get("STOS_SEED", "0"))

SHAPES = [(1, 1), (1, 6), (5, 1), (3, 5), (5, 3), (8, 8)]
#: Every parameter of a core at its ends, and shapes that are wide, high, and one PE.
CONFIGS = [
    ArrayConfig(rows=rows, cols=cols, st_os=st_os, accumulators=accumulators)
    for (rows, cols), st_os, accumulators in itertools.product(SHAPES, (False, True), (1, 2))
    if st_os or (rows, cols) in ((1, 1), (3, 5))
] + [
    ArrayConfig(rows=3, cols=4, st_os=True, act_width=4, weight_width=4, acc_width=8),
    ArrayConfig(rows=2, cols=3, st_os=True, act_width=2, weight_width=2, acc_width=4),
    ArrayConfig(rows=4, cols=3, st_os=True, act_width=16, weight_width=16, acc_width=64),
    ArrayConfig(rows=4, cols=3, st_os=True, act_width=9, weight_width=5, acc_width=19),
    ArrayConfig(rows=16, cols=16, st_os=True),
    ArrayConfig(rows=1, cols=1, st_os=True, accumulators=1, mac_stages=2),
    ArrayConfig(rows=3, cols=5, accumulators=1, mac_stages=2),
    ArrayConfig(rows=5, cols=3, mac_stages=2),
    ArrayConfig(rows=3, cols=5, st_os=True, mac_stages=2),
    ArrayConfig(rows=5, cols=3, st_os=True, accumulators=1, mac_stages=2),
]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a core.

    Parameters
    ----------
    tiles : list of Tile
        The legal commands, with their operands.
    stalls : Stalls, optional
    seed : int
        See `Simulator.run`.
    words : list of int, optional
        All commands, if some are illegal.
    resets : (int, int)
        See `Simulator.run`.
    """

    tiles: list[Tile]
    stalls: Stalls | None = None
    seed: int = 1
    words: list[int] | None = None
    resets: tuple[int, int] = (0, 0)

    @property
    def illegal(self) -> bool:
        """Whether a command is one that the core has to report."""
        return self.words is not None and len(self.words) > len(self.tiles)

    @property
    def timed(self) -> bool:
        """Whether the cycle model says how long it takes."""
        return self.stalls is None and not self.illegal

    def __str__(self) -> str:
        """Return what happens, for a message."""
        commands = self.words or [one.command.encode() for one in self.tiles]
        shown = " ".join(f"{word:016x}" for word in commands[:12])
        more = f" and {len(commands) - 12} more" if len(commands) > 12 else ""
        return f"seed {self.seed}, {self.stalls}, resets {self.resets}, commands {shown}{more}"


def check(simulator: Simulator, run: Run, mutant: int = 0) -> Result:
    """Run it; compare every output beat, cmd_error, and without stalls the cycles.

    Raises
    ------
    AssertionError
        If something differs.
    sim.rtl.RtlError
        If the core breaks a rule of its streams, or hangs.
    """
    config = simulator.config
    expected = [beats for beats in execute(run.tiles, config) if len(beats)]
    result = simulator.run(
        run.tiles, stalls=run.stalls, seed=run.seed, words=run.words, resets=run.resets,
        mutant=mutant,
    )  # fmt: skip
    assert len(result.outputs) == len(expected), f"{len(result.outputs)} ends in {run}"
    for index, (got, want) in enumerate(zip(result.outputs, expected, strict=True)):
        if not np.array_equal(got, want):
            np.testing.assert_array_equal(got, want, f"command {index} that emits in {run}")
    assert result.cmd_error == run.illegal, f"cmd_error is {result.cmd_error} in {run}"
    if run.stalls is None and result.taken[0]:
        assert result.start == flush_cycles(config), f"first command in cycle {result.start}"
    if run.timed:
        predicted = cycles([one.command for one in run.tiles], config) if expected else 0
        assert result.cycles == predicted, f"{result.cycles} cycles, not {predicted}, in {run}"
    return result


def random_sequences(config: ArrayConfig, rng: np.random.Generator) -> Iterator[Run]:
    """Both modes interleaved, kept and dropped sums, at full speed."""
    for seed in range(1, 41):
        count = int(rng.integers(1, 12, endpoint=True))
        yield Run(tiles=random_tiles(rng, config, count), seed=seed)


def stalled(config: ArrayConfig, rng: np.random.Generator) -> Iterator[Run]:
    """Pauses of 0, 10, 50 and 90 % on inputs and output, crossed; on all inputs, and on one."""
    levels = (0.0, 0.1, 0.5, 0.9)
    for seed, (idle, pressure) in enumerate(itertools.product(levels, levels), start=1):
        stalls = Stalls(cmd=idle, act=idle, wgt=idle, out=pressure)
        yield Run(tiles=random_tiles(rng, config, 8), stalls=stalls, seed=seed)
        for one in ("cmd", "act", "wgt"):
            stalls = Stalls(**{one: idle}, out=pressure)
            yield Run(tiles=random_tiles(rng, config, 8), stalls=stalls, seed=seed)


def resets_in_traffic(config: ArrayConfig, rng: np.random.Generator) -> Iterator[Run]:
    """One-cycle resets at any time, also soon after one another; then a whole run."""
    for seed in range(1, 41):
        stalls = None if seed % 2 else Stalls(cmd=0.2, act=0.2, wgt=0.2, out=0.5)
        longest = int(rng.integers(1, 6 * (config.rows + config.cols), endpoint=True))
        yield Run(
            tiles=random_tiles(rng, config, 5),
            stalls=stalls,
            seed=seed,
            resets=(int(rng.integers(1, 4, endpoint=True)), longest),
        )


def short_reductions(config: ArrayConfig, rng: np.random.Generator) -> Iterator[Run]:
    """K from 1 to 40 with 2, 3 and 50 tiles back to back, without a single stall."""
    for k, count in itertools.product(range(1, 41), (2, 3, 50)):
        n = int(rng.integers(1, config.cols, endpoint=True))
        yield Run(tiles=[gemm(rng, config, config.rows, k, n) for _ in range(count)])


def near_legal_words(config: ArrayConfig, rng: np.random.Generator) -> Iterator[Run]:
    """One suspicious command word between legal ones; `Command.check` says whether it is legal."""
    for index, word in enumerate(_words(config, rng)):
        sequence = _Sequence(config, rng)
        for _ in range(index % 3):
            sequence.legal(keep=rng.random() < 0.6)
        for _ in range(2 if index % 7 == 3 else 1):
            sequence.word(word)
        for _ in range(int(rng.integers(1, 2, endpoint=True))):
            sequence.legal(keep=rng.random() < 0.3)
        sequence.legal(keep=False)
        stalls = Stalls(cmd=0.4, act=0.2, out=0.3) if index % 5 == 4 else None
        yield Run(tiles=sequence.tiles, words=sequence.words, seed=index + 1, stalls=stalls)


class _Sequence:
    """Builds command words and the tiles of those that are legal."""

    def __init__(self, config: ArrayConfig, rng: np.random.Generator) -> None:
        self.config, self.rng = config, rng
        self.tiles: list[Tile] = []
        self.words: list[int] = []

    @property
    def kept(self) -> bool:
        return bool(self.tiles) and self.tiles[-1].command.emit == 0

    def word(self, word: int) -> None:
        """Add a word, with a tile if it is legal."""
        self.words.append(word)
        try:
            command = Command.decode(word)
            command.check(self.config, kept=self.kept)
        except CommandError:
            return
        self.tiles.append(tile(self.rng, self.config, command))

    def legal(self, *, keep: bool) -> None:
        """Add a random legal command."""
        rng, cols = self.rng, self.config.cols
        mode = self.config.st_os and rng.random() < 0.5
        accumulate = self.kept and rng.random() < 0.7
        command = Command(
            depth=int(rng.integers(1, cols if mode else 6, endpoint=True)),
            emit=0 if keep else int(rng.integers(1, cols, endpoint=True)),
            folds=int(rng.integers(1, 3)) if mode and not keep and not accumulate else 1,
            st_os=bool(mode),
            accumulate=accumulate,
        )
        self.word(command.encode())


def _words(config: ArrayConfig, rng: np.random.Generator) -> Iterator[int]:
    """Yield words near the border of what is legal: limits, neighbours, single bits flipped."""
    cols = config.cols
    depths = [0, 1, 2, cols - 1, cols, cols + 1, 2 * cols, 256, 300]
    folds = [0, 1, 2, 3, 256, 257, 0x8000, 0xFFFF]
    emits = [0, 1, cols - 1, cols, cols + 1, 256, 256 + cols, 0x8000 + cols, 0xFFFF]
    reserved = [0] * 12 + [1, 0x2000, 0x3FFF]
    for _ in range(120):
        depth, fold, emit, rest = (int(rng.choice(v)) for v in (depths, folds, emits, reserved))
        flags = int(rng.integers(0, 4))
        if rng.random() < 0.6:  # most fields as they should be
            fold, rest = 1, 0
        if fold > 3 and emit <= cols and flags == 1 and 1 <= depth <= cols:
            fold = 7  # legal if ST-OS: keep it short
        yield depth | fold << 16 | emit << 32 | flags << 48 | rest << 50
    bases = [Command(depth=3, emit=1), Command(depth=1, emit=0), Command(depth=2, emit=cols)]
    if config.st_os:
        bases += [
            Command(depth=1, emit=1, folds=2, st_os=True),
            Command(depth=cols, emit=0, st_os=True),
            Command(depth=1, emit=cols, st_os=True, accumulate=True),
        ]
    for base in bases:
        for bit in range(64):
            word = base.encode() ^ 1 << bit
            if not (base.st_os and 19 <= bit <= 31 and base.emit and not base.accumulate):
                yield word  # many folds have a group of their own


def limits(config: ArrayConfig, rng: np.random.Generator) -> Iterator[Run]:
    """Counters of 16 bits at their ends: the deepest tiles, the longest passes, one after another.

    Only where that takes few beats; the counters are the same in all cores.
    """
    if config.rows * config.cols > 15:
        return
    deep = [
        Command(depth=0xFFFF, emit=1),
        Command(depth=0xFFFE, emit=0),
        Command(depth=0xFFFF, emit=config.cols, accumulate=True),
    ]
    yield Run(tiles=[tile(rng, config, command) for command in deep])
    half = [Command(depth=0x8000, emit=config.cols), Command(depth=0x8001, emit=config.cols)]
    stalls = Stalls(cmd=0.5, act=0.02, wgt=0.02, out=0.2)
    yield Run(tiles=[tile(rng, config, command) for command in half], stalls=stalls)
    if config.st_os:
        taps = (config.cols + 1) // 2
        long = [
            Command(depth=taps, emit=1, folds=0xFFFF, st_os=True),
            Command(depth=1, emit=config.cols, folds=2, st_os=True),
        ]
        yield Run(tiles=[tile(rng, config, command) for command in long])
        half = [
            Command(depth=1, emit=config.cols, folds=0x8000, st_os=True),
            Command(depth=taps, emit=1, folds=0x101, st_os=True),
        ]
        yield Run(tiles=[tile(rng, config, command) for command in half], stalls=stalls)


def changes_of_mode(config: ArrayConfig, rng: np.random.Generator) -> Iterator[Run]:
    """Every pair of short commands back to back: both modes, kept, dropped and continued sums."""
    modes = (False, True) if config.st_os else (False,)
    emits = sorted({0, 1, config.cols})
    kinds = [
        (mode, emit, depth)
        for mode in modes
        for emit in emits
        for depth in sorted({1, config.cols})
    ]
    for first, second in itertools.product(kinds, repeat=2):
        for accumulate in (False, True) if first[1] == 0 else (False,):
            one, two = (
                Command(depth=depth, emit=emit, st_os=mode, accumulate=more)
                for (mode, emit, depth), more in ((first, False), (second, accumulate))
            )
            last = Command(depth=1, emit=1, st_os=second[0], accumulate=second[1] == 0)
            yield Run(tiles=[tile(rng, config, command) for command in (one, two, last)])


def single_bits(config: ArrayConfig, rng: np.random.Generator) -> Iterator[Run]:
    """Depths and folds with one bit set, at once or a step or two later; and random long ones.

    In the longest tiles of `limits` a wrong carry can meet another one that undoes it, and a test
    for zero that overlooks a bit sees the others. Found by mutants that survived everything else.
    """
    if config.rows * config.cols > 15:
        return
    taps = (config.cols + 1) // 2
    powers = [1 << bit for bit in range(2, 15)]
    depths = [power + more for more in range(3) for power in powers] + rng.integers(
        3, 700, 6
    ).tolist()
    tiles = [tile(rng, config, Command(depth=depth, emit=1)) for depth in depths]
    yield Run(tiles=tiles)
    if config.st_os:
        folds = [power + more for more in range(3) for power in powers]
        folds += rng.integers(3, 700, 6).tolist()
        tiles = [
            tile(rng, config, Command(depth=taps, emit=1, folds=fold, st_os=True)) for fold in folds
        ]
        yield Run(tiles=tiles)


def narrow_and_wide(config: ArrayConfig, rng: np.random.Generator) -> Iterator[Run]:
    """Short reductions with few and many outputs in turn: only a wide one after a narrow one waits.

    What it waits for is counted in steps, so pauses come in the middle of the count.
    """
    pressures = (
        None,
        Stalls(out=0.3),
        Stalls(out=0.8),
        Stalls(act=0.4, out=0.6),
        Stalls(cmd=0.6, out=0.5),
    )
    modes = (False, True) if config.st_os else (False,)
    for seed, (stalls, depth) in enumerate(itertools.product(pressures, (1, 2)), start=1):
        for mode in modes:
            commands = [
                Command(
                    depth=min(depth, config.cols),
                    emit=emit,
                    folds=int(rng.integers(1, 2, endpoint=True)) if mode else 1,
                    st_os=mode,
                )
                for emit in [1, config.cols, 1, (config.cols + 1) // 2, config.cols] * 4
            ]
            tiles = [tile(rng, config, command) for command in commands]
            yield Run(tiles=tiles, stalls=stalls, seed=seed)
    # A command that comes when the core has just become idle finds the count in the middle, too.
    gaps = (Stalls(cmd=0.7), *[Stalls(cmd=0.8, out=0.5)] * 3)
    for seed, stalls in enumerate(gaps * 12, start=1):
        tiles = []
        for _ in range(30):
            mode = config.st_os and rng.random() < 0.3
            emit = 1 if rng.random() < 0.4 else int(rng.integers(1, config.cols, endpoint=True))
            depth = min(int(rng.integers(1, 2, endpoint=True)), config.cols)
            tiles.append(tile(rng, config, Command(depth=depth, emit=emit, st_os=mode)))
        yield Run(tiles=tiles, stalls=stalls, seed=seed)


Group = Callable[[ArrayConfig, np.random.Generator], Iterator[Run]]

GROUPS: dict[str, Group] = {
    function.__name__: function
    for function in (
        random_sequences, stalled, changes_of_mode, resets_in_traffic, near_legal_words,
        short_reductions, limits, single_bits, narrow_and_wide,
    )
}  # fmt: skip


def runs(config: ArrayConfig, group: str, seed: int = 0) -> Iterator[Run]:
    """Yield the runs of a group; other seeds give other runs of the same kind."""
    return GROUPS[group](config, np.random.default_rng([seed, *group.encode()]))
