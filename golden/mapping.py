"""How a layer is laid onto the array: which operands share a tile, in which order.

A mapping knows shapes only. It gives the layer's commands in closed form (`program`), and so its
exact cycles, before there is any data; `golden.lower` adds the data. Of the mappings of a layer
the few best in the steady state have their exact cycles counted, and the best of these wins.

Two ways are open to every core. A *GEMM* tile holds pixels on the rows and channels on the
columns, or the reverse, or some of both on each edge (`Strip`). A *Toeplitz* tile computes a patch
of neighbouring outputs of one depthwise channel per row, the taps shifted from column to column
(`PatchMapping`); with patches of one pixel it is the block-diagonal GEMM. *ST-OS* streams
(`StreamMapping`) need a core built for them: a channel's rows end to end through one row of the
array, with the taps of one kernel row, or of all of them and zeros in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from heapq import nsmallest
from itertools import chain, product
from typing import Any

from hw.config import ArrayConfig, Command

from .networks import Layer
from .operators import Window, fuse_windows
from .schedule import Repeat, cycles, unroll
from .tile import sum_width

__all__ = [
    "MAPPINGS",
    "Branch",
    "GemmMapping",
    "PatchMapping",
    "Plan",
    "Stream",
    "StreamMapping",
    "Strip",
    "check_sums",
    "map_depthwise",
    "map_gemm",
    "map_layer",
]

#: ``best``: everything below. ``textbook``: pixels on rows and channels on columns, depthwise
#: layers as block-diagonal GEMM, or as ST-OS streams, a kernel row at a time, on a core for them.
MAPPINGS = ("best", "textbook")

_DEEPEST = 0xFFFF
_FEW = 8  # So many candidates, the best in the steady state, have their exact cycles counted.
Span = tuple[int, int]


def _check(mapping: str) -> None:
    if mapping not in MAPPINGS:
        raise ValueError(f"mapping must be one of {', '.join(MAPPINGS)}, not {mapping!r}")


def depth_spans(depth: int) -> list[Span]:
    """Return the parts of a reduction that one command each can take."""
    return [(k, min(k + _DEEPEST, depth)) for k in range(0, depth, _DEEPEST)]


def _tile(depth: int, emit: int) -> tuple[Command, ...]:
    """Return the commands of a GEMM tile."""
    spans = depth_spans(depth)
    return tuple(
        Command(depth=stop - start, emit=emit if stop == depth else 0, accumulate=start > 0)
        for start, stop in spans
    )


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _even(start: int, stop: int, parts: int) -> Iterator[Span]:
    """Yield spans that differ by one at most, the larger ones first."""
    each, more = divmod(stop - start, parts)
    for part in range(parts):
        first = start + part * each + min(part, more)
        yield first, first + each + (part < more)


def _even_sizes(total: int, parts: int) -> list[tuple[int, int]]:
    """Return the sizes of even spans, and how many have each."""
    each, more = divmod(total, parts)
    return [run for run in ((each + 1, more), (each, parts - more)) if run[1]]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Tiles that share one operand: a part of the result of a GEMM.

    Every tile holds all of `span` of the `held` operand, and the next few elements of `moving` of
    the other one: `on_rows` of them on the rows, against the held ones on the columns, and
    `on_cols` of them on the columns, against the held ones on the rows. With both, the two
    corners of the tile where pixels meet pixels and channels channels are not used.

    Parameters
    ----------
    held : str
        ``"pixels"`` or ``"channels"``.
    span, moving : (int, int)
        First and last element, exclusive.
    on_rows, on_cols : int
        At most so many moving elements per tile.
    blocks : int
        Even parts of `span` that are held one after the other; more than 1 only if ``on_cols = 0``.
    """

    held: str
    span: Span
    moving: Span
    on_rows: int
    on_cols: int
    blocks: int = 1

    @property
    def _tiles(self) -> int:
        """Tiles of a block."""
        return _ceil(self.moving[1] - self.moving[0], self.on_rows + self.on_cols)

    @property
    def _moving_on_cols(self) -> int:
        return max(0, self.moving[1] - self.moving[0] - self._tiles * self.on_rows)

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.blocks * self._tiles

    @property
    def emits(self) -> list[tuple[int, int]]:
        """Outputs per row of a tile, and how many tiles in a row have as many."""
        held = self.span[1] - self.span[0]
        if self.on_cols:
            beside = held if self.on_rows else 0
            runs = _even_sizes(self._moving_on_cols, self._tiles)
            return [(beside + size, count) for size, count in runs]
        return [(size, count * self._tiles) for size, count in _even_sizes(held, self.blocks)]

    def parts(self) -> Iterator[tuple[Span, Span, Span]]:
        """Yield the held and the moving elements of every tile: held, on rows, on columns."""
        start, stop = self.moving
        middle = stop - self._moving_on_cols
        for held in _even(*self.span, self.blocks):
            for tile, on_cols in enumerate(_even(middle, stop, self._tiles)):
                row = start + tile * self.on_rows
                yield held, (row, min(row + self.on_rows, middle)), on_cols


@dataclass(frozen=True, kw_only=True)
class GemmMapping:
    """``Y[M, N] = A[M, K] @ B[K, N]`` as strips; M pixels, N channels.

    Parameters
    ----------
    pixels, depth, channels : int
        M, K, N.
    strips : tuple of Strip
    """

    pixels: int
    depth: int
    channels: int
    strips: tuple[Strip, ...]

    name = "GEMM"

    @property
    def program(self) -> list[Repeat]:
        """The commands."""
        return [part for part, _ in self.bounds]

    @property
    def bounds(self) -> list[tuple[Repeat, str]]:
        """The commands, and what limits them as long as results leave fast enough.

        Tiles that hold operands on both edges leave two corners of the array unused, since the
        edges bring too few operands for more.
        """
        return [
            (
                Repeat(_tile(self.depth, emit), count),
                "west edge" if strip.on_rows and strip.on_cols else "compute",
            )
            for strip in self.strips
            for emit, count in strip.emits
        ]

    def __str__(self) -> str:
        """Say which operand is held where, and what moves past it."""
        words = []
        for strip in self.strips:
            size = _ceil(strip.span[1] - strip.span[0], strip.blocks)
            where = (
                "columns" if not strip.on_cols else "rows" if not strip.on_rows else "both edges"
            )
            other = "channels" if strip.held == "pixels" else "pixels"
            held = strip.held[: None if size > 1 else -1]
            tiles = f"{strip.tiles} tile{'s' * (strip.tiles > 1)}"
            words.append(f"{size} {held} on {where}, {tiles} of {other}")
        return "; ".join(words)


def _left_over(held: str, span: Span, moving: Span, config: ArrayConfig) -> list[Strip]:
    """Return the strips that hold less than a full block: on either edge, and on both."""
    size, (rows, cols) = span[1] - span[0], (config.rows, config.cols)
    sides = [
        (rows, 0) if size <= cols else None,
        (0, cols) if size <= rows else None,
        (rows - size, cols - size) if size < min(rows, cols) else None,
    ]
    return [
        Strip(held=held, span=span, moving=moving, on_rows=side[0], on_cols=side[1])
        for side in sides
        if side
    ]


def _tile_steps(depth: int, emit: int, config: ArrayConfig) -> int:
    """Return the cycles of a GEMM tile in the steady state."""
    return max(depth, emit) if config.accumulators == 2 else depth + emit - 1


def covers(
    pixels: int, channels: int, config: ArrayConfig, mapping: str
) -> Iterator[tuple[Strip, ...]]:
    """Yield ways to cover the result: full blocks, and what they leave over on both sides."""
    rows, cols = config.rows, config.cols
    # With other widths on the two edges, operands cannot change sides.
    free = mapping == "best" and config.act_width == config.weight_width
    sizes = {"channels": channels, "pixels": pixels}

    def counts(size: int, block: int) -> list[int]:
        return sorted({size // block, _ceil(size, block)}) if free else [_ceil(size, block)]

    for held, other in (("channels", "pixels"), ("pixels", "channels"))[: 2 if free else 1]:
        wide, tall = sizes[held], sizes[other]
        for across, down in product(counts(wide, cols), counts(tall, rows)):
            width, height = min(wide, across * cols), min(tall, down * rows)
            choices = []
            if width and height:
                full = Strip(
                    held=held, span=(0, width), moving=(0, height), on_rows=rows, on_cols=0,
                    blocks=across,
                )  # fmt: skip
                choices.append([full])
            if width < wide and height:
                choices.append(_left_over(held, (width, wide), (0, height), config))
            if height < tall:
                choices.append(_left_over(other, (height, tall), (0, wide), config))
            for strips in product(*choices):
                # The widest first: results of falling width leave without a gap.
                yield tuple(sorted(strips, key=lambda strip: -strip.emits[0][0]))


@lru_cache(maxsize=4096)
def map_gemm(
    pixels: int, depth: int, channels: int, config: ArrayConfig, mapping: str = "best"
) -> GemmMapping:
    """Map ``Y[M, N] = A[M, K] @ B[K, N]``.

    Parameters
    ----------
    pixels, depth, channels : int
        M, K, N.
    config : ArrayConfig
    mapping : str
        One of `MAPPINGS`.

    Raises
    ------
    ValueError
        If the mapping is unknown.
    """
    _check(mapping)

    def steps(strips: tuple[Strip, ...]) -> int:
        runs = (run for strip in strips for run in strip.emits)
        return sum(count * _tile_steps(depth, emit, config) for emit, count in runs)

    few = nsmallest(_FEW, covers(pixels, channels, config, mapping), key=steps)
    if mapping == "best":
        few += covers(pixels, channels, config, "textbook")
    mappings = [
        GemmMapping(pixels=pixels, depth=depth, channels=channels, strips=strips) for strips in few
    ]
    return min(mappings, key=lambda found: cycles(found.program, config))


@dataclass(frozen=True)
class Branch:
    """One depthwise convolution: what its window sees, on how many channels."""

    window: Window
    channels: int


@dataclass(frozen=True, kw_only=True)
class PatchMapping:
    """A depthwise convolution by patches of neighbouring outputs.

    A row of the array holds the input under one patch, a column the taps of one output of the
    patch, shifted to where that output is. `together` channels share a tile side by side: each
    uses its own rows and columns, and where the rows of one meet the columns of another the
    results are not used.

    Parameters
    ----------
    branch : int
        Which branch of the layer.
    window : Window
    channels : int
    patch : (int, int)
        Outputs of a patch, down and across.
    together : int
        Channels per tile.
    rows : int
        Rows of the array.
    """

    branch: int
    window: Window
    channels: int
    patch: Span
    together: int
    rows: int

    @property
    def name(self) -> str:
        """What the tile is: one pixel per row, or a patch."""
        return "block-diagonal" if self.patch == (1, 1) else "Toeplitz"

    @property
    def grid(self) -> Span:
        """Patches of a channel, down and across."""
        (h, w), (ph, pw) = self.window.output, self.patch
        return _ceil(h, ph), _ceil(w, pw)

    @property
    def patches(self) -> int:
        """Patches of a channel."""
        return self.grid[0] * self.grid[1]

    @property
    def reach(self) -> Span:
        """Height and width of the input under a patch."""
        (kh, kw), (sv, sh), (ph, pw) = self.window.kernel, self.window.stride, self.patch
        return (ph - 1) * sv + kh, (pw - 1) * sh + kw

    @property
    def depth(self) -> int:
        """Depth of a tile."""
        return self.reach[0] * self.reach[1]

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Outputs per row of a tile, and how many tiles in a row have as many."""
        size = self.patch[0] * self.patch[1]
        if self.together == 1:
            return [(size, self.channels * _ceil(self.patches, self.rows))]
        full, rest = divmod(self.channels, self.together)
        runs = [(self.together * size, full), (rest * size, rest > 0)]
        return [run for run in runs if run[1]]

    @property
    def program(self) -> list[Repeat]:
        """The commands."""
        return [Repeat(_tile(self.depth, emit), count) for emit, count in self.runs]

    @property
    def bounds(self) -> list[tuple[Repeat, str]]:
        """The commands, and what limits them: every row waits for its own inputs."""
        return [(part, "west edge") for part in self.program]

    def __str__(self) -> str:
        """Say what a tile holds."""
        shape = f"{self.patch[0]} x {self.patch[1]}"
        channels = f"{self.together} channel{'s' * (self.together > 1)}"
        return f"{shape} outputs per row, {channels} per tile"


@lru_cache(maxsize=4096)
def _patches(
    index: int, branch: Branch, config: ArrayConfig, mapping: str
) -> tuple[PatchMapping, ...]:
    """Return the few patches that are best in the steady state."""
    rows, cols = config.rows, config.cols
    outputs, channels = branch.window.output, branch.channels
    (height, width), (kh, kw), (sv, sh) = outputs, branch.window.kernel, branch.window.stride
    if mapping == "textbook":
        height = width = 1  # of a patch, at most

    def ways() -> Iterator[tuple[int, int, int, int, int]]:
        for ph in range(1, min(height, cols) + 1):
            for pw in range(1, min(width, cols // ph) + 1):
                size, depth = ph * pw, ((ph - 1) * sv + kh) * ((pw - 1) * sh + kw)
                patches = _ceil(outputs[0], ph) * _ceil(outputs[1], pw)
                most = max(1, min(rows // patches, cols // size, channels))
                for together in range(1, most + 1):
                    tiles = _ceil(channels, together) * _ceil(together * patches, rows)
                    steps = tiles * _tile_steps(depth, together * size, config)
                    yield steps, tiles, ph, pw, together

    return tuple(
        PatchMapping(
            branch=index, window=branch.window, channels=channels, patch=(ph, pw),
            together=together, rows=rows,
        )
        for _, _, ph, pw, together in nsmallest(_FEW, ways())
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stream:
    """An image channel as one signal: its rows end to end.

    Padding between two rows is shared by both, and the outputs that fall on it are dropped. A
    kernel row is a pass of its own that accumulates (and so is every `cols` taps of a long one).
    Or all kernel rows are *joined* into one pass: between the taps of two of them lie as many zeros
    as between two rows of the image. A pass has `cols` taps at most, so a wide image is cut into
    bands of columns for it.

    Parameters
    ----------
    window : Window
        Of the image as it is streamed.
    turned : bool
        Whether columns are streamed; `window` is that of the transposed image then.
    bands : int
        Bands that the image is cut into, each a signal of its own.
    joined : bool
        Whether one pass has all kernel rows.
    cols : int
        Columns of the array.
    """

    window: Window
    turned: bool
    bands: int
    joined: bool
    cols: int

    @property
    def width(self) -> int:
        """Outputs of a row of a band."""
        return _ceil(self.window.output[1], self.bands)

    @property
    def lines(self) -> int:
        """Rows of outputs, those included that a vertical stride drops."""
        rows, stride = self.window.output[0], self.window.stride[0]
        return (rows - 1) * stride + 1 if self.joined else rows

    @property
    def pitch(self) -> int:
        """Elements from one row to the next."""
        taps, stride = self.window.kernel[1], self.window.stride[1]
        span = (self.width - 1) * stride + taps
        if self.bands == 1:
            before = self.window.padding[1][0]
            after = span - before - self.window.size[1]
            # No more than taps - 1: an output that reads nothing but padding is not shared.
            span -= max(0, min(before, after, taps - 1))
        return max(span, taps) if self.joined else span

    @cached_property
    def length(self) -> int:
        """Outputs of a signal, dropped ones included."""
        return self.pitch * (self.lines - 1) + (self.width - 1) * self.window.stride[1] + 1

    @cached_property
    def passes(self) -> list[tuple[int, slice]]:
        """Kernel row and taps of every pass; joined, row 0 and all taps, zeros included."""
        kh, kw = self.window.kernel
        if self.joined:
            return [(0, slice(0, (kh - 1) * self.pitch + kw))]
        return [
            (i, slice(k, min(k + self.cols, kw)))
            for i in range(kh)
            for k in range(0, kw, self.cols)
        ]

    @property
    def depths(self) -> list[int]:
        """Taps of every pass."""
        return [taps.stop - taps.start for _, taps in self.passes]

    def steps(self, channels: int, pieces: int, config: ArrayConfig) -> int:
        """Return the cycles in the steady state, `pieces` lanes per signal."""
        groups = _ceil(channels * self.bands * pieces, config.rows)
        folds = _ceil(_ceil(self.length, pieces), self.cols)
        if len(self.depths) == 1 and config.accumulators == 2:
            return groups * (folds * self.cols + self.depths[0] - 1)
        return groups * folds * sum(self.cols + depth - 1 for depth in self.depths)

    def best_pieces(self, channels: int, config: ArrayConfig) -> tuple[int, int]:
        """Return the fewest steps, and the lanes per signal that give them."""
        # Other numbers of lanes have as many folds as one of these, and more lanes.
        folds = _ceil(self.length, self.cols)
        few = range(1, math.isqrt(folds) + 2)
        choices = {*few, *(_ceil(self.length, count * self.cols) for count in few)}
        # A command counts folds in 16 bits.
        choices = {n for n in choices if _ceil(_ceil(self.length, n), self.cols) <= _DEEPEST}
        return min((self.steps(channels, pieces, config), pieces) for pieces in choices)


@dataclass(frozen=True, kw_only=True)
class StreamMapping:
    """Depthwise convolutions as ST-OS streams.

    Every signal is cut into pieces of equal length, wherever the cut falls, one per lane;
    ``depth - 1`` elements at a cut are streamed twice.

    Parameters
    ----------
    branches : tuple of int
        Which branches of the layer; they share commands, so their signals are equally long.
    streams : tuple of Stream
        One per branch.
    channels : tuple of int
        Per branch.
    pieces : int
        Lanes per signal.
    rows, cols : int
        Of the array.
    """

    branches: tuple[int, ...]
    streams: tuple[Stream, ...]
    channels: tuple[int, ...]
    pieces: int
    rows: int
    cols: int

    name = "ST-OS"

    @property
    def lanes(self) -> int:
        """Lanes of all branches."""
        return sum(self.channels) * self.streams[0].bands * self.pieces

    @property
    def piece(self) -> int:
        """Outputs of a lane, dropped ones included."""
        return _ceil(self.streams[0].length, self.pieces)

    @property
    def program(self) -> list[Repeat]:
        """The commands."""
        depths = self.streams[0].depths
        folds = _ceil(self.piece, self.cols)
        last = self.piece - (folds - 1) * self.cols
        groups = _ceil(self.lanes, self.rows)
        if len(depths) == 1:
            return [Repeat((Command(depth=depths[0], folds=folds, emit=last, st_os=True),), groups)]

        def fold(emit: int) -> tuple[Command, ...]:
            return tuple(
                Command(
                    depth=depth, emit=emit if index == len(depths) - 1 else 0, st_os=True,
                    accumulate=index > 0,
                )
                for index, depth in enumerate(depths)
            )  # fmt: skip

        full = [Repeat(fold(self.cols), folds - 1)] if folds > 1 else []
        return [Repeat((*full, *fold(last)), groups)]

    @property
    def bounds(self) -> list[tuple[Repeat, str]]:
        """The commands, and what limits them: every row waits for its own inputs."""
        return [(part, "west edge") for part in self.program]

    def __str__(self) -> str:
        """Say what a lane holds."""
        stream = self.streams[0]
        count = len(stream.depths)
        passes = f"{count} passes" if count > 1 else f"1 pass of {stream.depths[0]} taps"
        bands = f"{stream.bands} bands, " if stream.bands > 1 else ""
        return f"{passes}, {bands}{self.pieces} lane{'s' * (self.pieces > 1)} per signal"


def candidates(branch: Branch, config: ArrayConfig, joined: bool) -> Iterator[Stream]:
    """Yield ways to stream a branch."""
    cols = config.cols
    both = ((branch.window, False), (branch.window.transposed, True))
    for window, turned in both[: 1 if both[0][0] == both[1][0] else 2]:
        one = Stream(window=window, turned=turned, bands=1, joined=False, cols=cols)
        yield one
        if not joined or window.kernel[0] == 1:
            continue
        across = window.output[1]
        for bands in sorted({_ceil(across, width) for width in range(1, across + 1)}):
            banded = replace(one, bands=bands, joined=True)
            if banded.depths[0] <= cols:
                yield banded


def _streams(
    branches: tuple[Branch, ...], config: ArrayConfig, joined: bool
) -> list[StreamMapping]:
    """Map branches to streams, together where their commands agree."""
    groups: dict[tuple[Any, ...], list[tuple[int, int, Stream]]] = {}
    for index, branch in enumerate(branches):
        channels = branch.channels
        stream = min(
            candidates(branch, config, joined),
            key=lambda one: one.best_pieces(channels, config)[0],
        )
        key = (stream.length, stream.bands, stream.window.kernel, *stream.depths)
        groups.setdefault(key, []).append((index, channels, stream))
    found = []
    for group in groups.values():
        together = tuple(channels for _, channels, _ in group)
        streams = tuple(stream for _, _, stream in group)
        found.append(
            StreamMapping(
                branches=tuple(index for index, _, _ in group),
                streams=streams,
                channels=together,
                pieces=streams[0].best_pieces(sum(together), config)[1],
                rows=config.rows,
                cols=config.cols,
            )
        )
    return found


@dataclass(frozen=True)
class Plan:
    """The mapping of a layer: parts that run one after the other.

    Parameters
    ----------
    parts : tuple of GemmMapping, PatchMapping or StreamMapping
    config : ArrayConfig
    """

    parts: tuple[GemmMapping | PatchMapping | StreamMapping, ...]
    config: ArrayConfig

    @property
    def name(self) -> str:
        """Name of the mapping."""
        return " + ".join(dict.fromkeys(part.name for part in self.parts))

    @property
    def program(self) -> list[Repeat]:
        """The commands in closed form."""
        return list(chain.from_iterable(part.program for part in self.parts))

    @property
    def commands(self) -> list[Command]:
        """Every command."""
        return list(unroll(self.program))

    @cached_property
    def cycles(self) -> int:
        """Clock cycles, exact: `golden.schedule.cycles` of all commands."""
        return cycles(self.program, self.config)

    def __str__(self) -> str:
        """Say how."""
        return "; ".join(str(part) for part in self.parts)


@lru_cache(maxsize=4096)
def map_depthwise(branches: tuple[Branch, ...], config: ArrayConfig, mapping: str = "best") -> Plan:
    """Map depthwise convolutions that make up one layer.

    Parameters
    ----------
    branches : tuple of Branch
        One, or two for FuSeConv.
    config : ArrayConfig
    mapping : str
        One of `MAPPINGS`.

    Raises
    ------
    ValueError
        If the mapping is unknown.
    """
    _check(mapping)
    plans = []
    if config.st_os:
        for joined in (False, True)[: 1 if mapping == "textbook" else 2]:
            plans.append(Plan(tuple(_streams(branches, config, joined)), config))
    for way in MAPPINGS if mapping == "best" else () if config.st_os else (mapping,):
        patches = [_patches(index, branch, config, way) for index, branch in enumerate(branches)]
        plans += [Plan(parts, config) for parts in product(*patches)]
    return min(plans, key=lambda plan: plan.cycles)


def check_sums(layers: Iterable[Layer], config: ArrayConfig) -> None:
    """Refuse accumulators that the worst operands of a layer would overflow.

    `Layer` has no weights, so all of them count as ``-2**(weight_width - 1)``. A network whose
    weights are known may need less: `golden.graph.ArrayOperator.acc_width`.

    Raises
    ------
    ValueError
        With the layer and the bits that its sums need.
    """
    for layer in layers:
        least = sum_width(layer.depth << config.weight_width - 1, config.act_width)
        if least > config.acc_width:
            raise ValueError(
                f"{layer.name or layer.kind}: sums of {layer.depth} products need {least} bits in "
                f"the worst case, and accumulators have {config.acc_width} (for known weights "
                "sim.run may need fewer)"
            )


def map_layer(layer: Layer, config: ArrayConfig, mapping: str = "best", batch: int = 1) -> Plan:
    """Map one layer of a network.

    Parameters
    ----------
    layer : Layer
    config : ArrayConfig
    mapping : str
        One of `MAPPINGS`.
    batch : int
        Images that share the weights.
    """
    window = layer.window
    if layer.kind == "depthwise":
        return map_depthwise((Branch(window, batch * layer.c_in),), config, mapping)
    if layer.kind in ("fuse_half", "fuse_full"):
        each = batch * layer.c_out // 2
        branches = tuple(Branch(branch, each) for branch in fuse_windows(window))
        return map_depthwise(branches, config, mapping)
    groups = layer.groups if layer.kind == "abconv" else 1
    pixels = batch * groups * window.output[0] * window.output[1]
    depth = layer.kernel**2 * layer.c_in // groups
    return Plan((map_gemm(pixels, depth, layer.c_out // groups, config, mapping),), config)
