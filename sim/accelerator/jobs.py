"""Layers as jobs: what the machine reads, in which order, and what it makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.arith import quant
from golden.arith.window import Window
from golden.arith.wrap import IntArray, wrap
from golden.mapping.streams import Stream, candidates
from golden.workload import Branch
from hw.accelerator.combiner import ENTRIES, Mode
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.jobs import (
    ADDRESS,
    JOB,
    PARAMETER_BYTES,
    Base,
    Kind,
    job_words,
    parameter_block,
)
from hw.accelerator.requantizer import PARAMETERS
from hw.layouts import encode
from report.errors import UserError

__all__ = [
    "Job",
    "Place",
    "Requantization",
    "combine",
    "end",
    "gemm",
    "image_shape",
    "pixel_reads",
    "pixel_writes",
    "stream",
    "streams",
    "transfer",
    "word_writes",
    "words",
]


def _even(total: int, parts: int) -> tuple[int, int, int]:
    """Return how many parts there are, how many of them are one larger, and the smaller size."""
    return parts, total % parts, total // parts


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return height, width and channels: of what is no image, one pixel per row of elements."""
    if len(shape) == 4 and shape[0] == 1:
        return shape[1], shape[2], shape[3]
    *rest, channels = shape or (1,)
    return math.prod(rest), 1, channels


@dataclass(frozen=True, kw_only=True)
class Place:
    """An image in the activation memory, or some of its channels.

    Parameters
    ----------
    address : int
        Of the first byte.
    size : (int, int)
        Height and width.
    channels : int
    pixel, row : int
        Bytes from a pixel to the next, and from a row to the next.
    """

    address: int
    size: tuple[int, int]
    channels: int
    pixel: int
    row: int

    @classmethod
    def dense(cls, address: int, shape: Sequence[int]) -> Place:
        """Return that of a tensor (H, W, C)."""
        height, width, channels = shape
        return cls(
            address=address, size=(height, width), channels=channels, pixel=channels,
            row=width * channels,
        )  # fmt: skip

    @property
    def gapless(self) -> bool:
        """Whether its elements lie end to end."""
        (height, width), line = self.size, self.size[1] * self.channels
        return (self.pixel == self.channels or width == 1) and (self.row == line or height == 1)

    @property
    def addresses(self) -> IntArray:
        """Those of all elements, in order."""
        height, width = self.size
        rows, pixels = np.arange(height) * self.row, np.arange(width) * self.pixel
        found = rows[:, None, None] + pixels[:, None] + np.arange(self.channels)
        return self.address + found.ravel()

    def window(self, y: int, x: int, size: tuple[int, int]) -> Place:
        """Return that of some rows and columns."""
        return replace(self, address=self.address + y * self.row + x * self.pixel, size=size)

    def part(self, first: int, count: int) -> Place:
        """Return that of some channels."""
        return replace(self, address=self.address + first, channels=count)


@dataclass(frozen=True, kw_only=True)
class Requantization:
    """What the lanes do with sums.

    Parameters
    ----------
    bias, multiplier, shift : int64 arrays (channels,)
        ``(sum + bias) * multiplier * 2**(shift - 31)``.
    zero : int
        Zero point of the result.
    limits : (int, int)
    """

    bias: IntArray
    multiplier: IntArray
    shift: IntArray
    zero: int
    limits: tuple[int, int] = quant.INT8

    def part(self, channels: Sequence[int] | NDArray[np.int64]) -> Requantization:
        """Return that of some channels."""
        index = np.asarray(channels)
        return Requantization(
            bias=self.bias[index], multiplier=self.multiplier[index], shift=self.shift[index],
            zero=self.zero, limits=self.limits,
        )  # fmt: skip

    @property
    def fields(self) -> dict[str, int]:
        """Those of the job."""
        low, high = self.limits
        return {"zero": self.zero, "low": low, "high": high}

    def encode(self, config: AcceleratorConfig) -> bytes:
        """Return the parameters of up to as many channels as rows, as the program has them.

        Those of the first row of every lane come first, where `every` rows share one.
        """
        rows, every = config.array.rows, config.rows_per_lane
        found = []
        for bias, multiplier, shift in zip(
            wrap(self.bias, 32).tolist(), self.multiplier.tolist(), self.shift.tolist(), strict=True
        ):
            bits = encode(
                PARAMETERS,
                {"bias": bias, "multiplier": multiplier, "shift": 30 - shift, "twice": shift < 0},
            )
            found.append(bits.to_bytes(PARAMETER_BYTES, "little"))
        assert len(found) <= rows
        size = parameter_block(rows, config.word, every) * config.word
        return b"".join(b"".join(found[n::every]).ljust(size, b"\0") for n in range(every))


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job, its parameters and its weights.

    Parameters
    ----------
    kind : Kind
    fields : dict
        Of `JOB`, but for the kind.
    parameters : list of bytes
        Of every round, padded to words.
    weights : int8 array (rounds, depth, word)
    constant : bytes
        Of a LOAD: what the image has for it.
    text : str
        How the layer is mapped.
    """

    kind: Kind
    fields: dict[str, Any] = field(default_factory=dict)
    parameters: list[bytes] = field(default_factory=list)
    weights: NDArray[np.int8] = field(default_factory=lambda: np.zeros((0, 0, 0), np.int8))
    constant: bytes = b""
    text: str = ""

    def __post_init__(self) -> None:
        """Refuse what the job's fields cannot say.

        Raises
        ------
        UserError
            If a field does not fit.
        """
        try:
            encode(JOB, {"kind": self.kind, **self.fields})
        except ValueError as error:
            raise UserError(f"no job says that {error}") from None

    @property
    def own(self) -> dict[str, Any]:
        """The fields that only its kind has. An END has none."""
        (found,) = self.fields["own"].values()
        own: dict[str, Any] = found
        return own

    def program(self, word: int) -> bytes:
        """Return its words of the program: the job, then the parameters of its rounds."""
        count = job_words(word) * word
        bits = encode(JOB, {"kind": self.kind, **self.fields})
        # Where the check lies among the 16-bit pieces depends on the layout.
        pieces = np.frombuffer(bits.to_bytes(count, "little"), "<u2")
        total, place = int(np.bitwise_xor.reduce(pieces)), JOB["check"].offset
        check = (total >> place % 16 | total << (16 - place % 16)) & 0xFFFF
        return (bits | check << place).to_bytes(count, "little") + b"".join(self.parameters)

    def program_bytes(self, word: int) -> int:
        """Return how long that is."""
        return job_words(word) * word + sum(map(len, self.parameters))


def end() -> Job:
    """Return the job that ends a run."""
    return Job(kind=Kind.END)


def transfer(
    kind: Kind, base: Base, offset: int, local: int, count: int, *, flip: bool = False
) -> Job:
    """Return a job that loads bytes from memory, or stores them.

    Parameters
    ----------
    kind : Kind
        LOAD or STORE.
    base : Base
        What `offset` is relative to.
    offset, local, count : int
        In memory; in the activation memory; bytes.
    flip : bool
        Invert the sign of every byte: uint8 in memory.
    """
    own = {"base": base, "offset": offset, "local": local, "bytes": count, "flip": int(flip)}
    return Job(kind=kind, fields={"own": {"transfer": own}}, text=f"{count:,} bytes")


def constant(data: bytes, local: int) -> Job:
    """Return a job that loads bytes of the image itself."""
    own = {"base": Base.IMAGE, "offset": 0, "local": local, "bytes": len(data)}
    return Job(
        kind=Kind.LOAD, fields={"own": {"transfer": own}}, constant=data,
        text=f"{len(data):,} constants",
    )  # fmt: skip


def _blocks(values: NDArray[np.int8], config: AcceleratorConfig) -> NDArray[np.int8]:
    """Return weights (depth, channels) as blocks of words, (rounds, depth, word)."""
    rows, word = config.array.rows, config.word
    depth, channels = values.shape
    rounds = -(-channels // rows)
    padded = np.zeros((depth, rounds * rows), np.int8)
    padded[:, :channels] = values
    found = np.zeros((rounds, depth, word), np.int8)
    found[:, :, :rows] = padded.reshape(depth, rounds, rows).transpose(1, 0, 2)
    return found


def _rounds(
    requantization: Requantization, channels: int, config: AcceleratorConfig
) -> list[bytes]:
    """Return the parameters of every block of channels."""
    rows = config.array.rows
    return [
        requantization.part(range(first, min(first + rows, channels))).encode(config)
        for first in range(0, channels, rows)
    ]


def gemm(
    config: AcceleratorConfig,
    window: Window,
    source: Place,
    target: Place,
    weights: NDArray[np.int8],
    requantization: Requantization,
    pad: int,
    *,
    pixels: int = 1,
    diagonal: bool = False,
) -> Job:
    """Return a convolution as a GEMM: a block of output channels on rows, pixels on columns.

    Parameters
    ----------
    config : AcceleratorConfig
    window : Window
        Over the source.
    source, target : Place
        `target` is dense but for its pixels.
    weights : int8 array (turns, kh, kw, c_in, c_out), or (turns, kh, kw, c) if diagonal
        All turns are added up.
    requantization : Requantization
        Of the output channels, for sums of raw values.
    pad : int
        What the source is padded with.
    pixels : int
        Neighbouring pixels that lie on the rows, a divisor of the output's width; 1 unless
        ``pixels * c_out <= rows``.
    diagonal : bool
        A depthwise convolution: every block reads its own channels only, a word of them per tap.

    Raises
    ------
    UserError
        If a count is beyond the job's.
    """
    rows, cols, word = config.array.rows, config.array.cols, config.word
    kh, kw = window.kernel
    stride_y, stride_x = window.stride
    (top, _), (left, _) = window.padding
    (height, width), (out_h, out_w) = window.size, window.output
    c_out, turns = weights.shape[-1], len(weights)
    if diagonal:
        width_of_block = min(rows, c_out)
        wide = -(-c_out // rows) * rows
        padded = np.zeros((turns, kh, kw, wide), np.int8)
        padded[..., :c_out] = weights
        cross = np.zeros((turns, kh, kw, width_of_block, wide), np.int8)
        lane = np.arange(wide)
        inside = lane % rows < width_of_block
        cross[..., (lane % rows)[inside], lane[inside]] = padded[..., inside]
        spread = cross.reshape(-1, wide)
        count, large, length = kw, 0, width_of_block
        skip, block = source.pixel - width_of_block, rows
    else:
        c_in = source.channels
        if source.pixel == c_in or kw == pixels == 1:
            run = (kw + (pixels - 1) * stride_x) * c_in
            count, large, length = _even(run, -(-run // word))
            skip = 0
        elif c_in <= word and pixels == 1:
            run = kw * c_in
            count, large, length, skip = kw, 0, c_in, source.pixel - c_in
        else:
            raise UserError(f"{c_in} channels of pixels of {source.pixel} bytes are no word")
        shifted = np.zeros((turns * kh, run, pixels, c_out), np.int8)
        for n in range(pixels):
            begin = n * stride_x * c_in
            shifted[:, begin : begin + kw * c_in, n] = weights.reshape(-1, kw * c_in, c_out)
        spread = shifted.reshape(turns * kh * run, pixels * c_out)
        block = 0
    lanes = pixels * c_out
    rounds = -(-lanes // rows)
    line = out_w // pixels
    if out_h > 1 and target.row != out_w * target.pixel:
        raise UserError("a GEMM writes all columns of a row")
    total = out_h * line
    tiles, large_tiles, size = _even(total, -(-total // cols))
    shape = {"tiles": tiles, "large": large_tiles, "pixels": size, "rounds": rounds}
    read = {
        "base": source.address - top * source.row, "x": -left * source.pixel,
        "step": pixels * stride_x * source.pixel, "line": line, "jump": stride_y * source.row,
        "pitch": source.row, "width": width * source.pixel, "skip": skip, "block": block,
        "top": -top, "stride": stride_y, "height": height, "rows": kh,
        "turns": turns, "runs": turns * kh, "words": count, "long": large, "length": length,
        **shape,
    }  # fmt: skip
    step = pixels * target.pixel
    write = {
        "base": target.address, "step": step, "reach": size * step, **shape,
        "rows": rows, "rest": lanes - (rounds - 1) * rows,
    }  # fmt: skip
    blocks = _blocks(spread, config)
    depth = blocks.shape[1]
    if depth >= 1 << 16 or (depth > config.largest_block and tiles > 1):
        raise UserError(f"blocks of {depth} words of weights do not fit the ring")
    repeated = requantization.part(np.tile(np.arange(c_out), pixels))
    return Job(
        kind=Kind.GEMM,
        fields={
            "pad": pad & 0xFF, "depth": depth, "times": tiles, "emits": tiles, "rounds": rounds,
            "limits": requantization.fields, "own": {"gemm": {"read": read, "write": write}},
        },
        parameters=_rounds(repeated, lanes, config), weights=blocks,
        text=f"gemm {rounds} x {tiles} x {depth}" + f", {pixels} pixels on rows" * (pixels > 1)
        + ", diagonal" * diagonal,
    )  # fmt: skip


def streams(window: Window, channels: int, config: AcceleratorConfig) -> list[Stream]:
    """Return the ways to stream an image that the machine has."""
    return [
        one
        for one in candidates(Branch(window, channels), config.array, True)
        if (one.joined or one.window.kernel[1] <= config.array.cols)
        and (one.bands - 1) * one.width < one.window.output[1]
        and max(one.depths) < 512
    ]


def stream(
    config: AcceleratorConfig,
    way: Stream,
    source: Place,
    target: Place,
    weights: NDArray[np.int8],
    requantization: Requantization,
    pad: int,
) -> Job:
    """Return a depthwise convolution by ST-OS: a block of channels on rows.

    Parameters
    ----------
    config : AcceleratorConfig
    way : Stream
        One of `streams`.
    source, target : Place
        Of the channels.
    weights : int8 array (turns, kh, kw, c)
        All turns are added up.
    requantization, pad
        As of `gemm`.
    """
    rows, cols = config.array.rows, config.array.cols
    win = way.window
    (top, _), (left, _) = win.padding
    kh, kw = win.kernel
    out_w = win.output[1]
    step = 1 if way.joined else win.stride[0]
    near, far, out_near, out_far = source.pixel, source.row, target.pixel, target.row
    if way.turned:
        near, far, out_near, out_far = far, near, out_far, out_near
        weights = weights.transpose(0, 2, 1, 3)
    turns, channels = len(weights), weights.shape[3]
    if turns > 1 and len(way.depths) == 1:
        raise UserError("one pass has all taps once")
    if way.joined:
        taps = np.zeros((way.depths[0], channels), np.int8)
        for i in range(kh):
            taps[i * way.pitch : i * way.pitch + kw] = weights[0, i]
    else:
        taps = weights.reshape(-1, channels)
    folds = -(-way.length // cols)
    rounds = -(-channels // rows)
    span = way.width * win.stride[1]
    again = 1 if len(way.depths) == 1 else folds
    common = {"bands": way.bands, "block": rows}
    read = {
        "base": source.address - top * far - left * near, "pixel": near, "line": step * far,
        "row": far, "pitch": way.pitch, "x": -left, "width": win.size[1], "top": -top,
        "step": step, "height": win.size[0], "passes": turns * len(way.depths),
        "kernel": len(way.depths), "depth": way.depths[0],
        "folds": folds, "last": way.length - (folds - 1) * cols, "band_x": span,
        "band": span * near, **common,
    }  # fmt: skip
    write = {
        "base": target.address, "pixel": out_near, "line": out_far, "pitch": way.pitch,
        "across": win.stride[1], "width": way.width, "down": win.stride[0] if way.joined else 1,
        "count": way.length, "rows": rows, "rest": channels - (rounds - 1) * rows,
        "band": way.width * out_near, "last_width": out_w - (way.bands - 1) * way.width,
        "rounds": rounds, **common,
    }  # fmt: skip
    text = f"stream{' turned' * way.turned}{' joined' * way.joined}"
    return Job(
        kind=Kind.STREAM,
        fields={
            "pad": pad & 0xFF, "depth": len(taps), "times": folds * way.bands,
            "emits": again * way.bands, "rounds": rounds, "limits": requantization.fields,
            "own": {"stream": {"read": read, "write": write}},
        },
        parameters=_rounds(requantization, channels, config), weights=_blocks(taps, config),
        text=f"{text}, {rounds} x {way.bands} x {folds} folds",
    )  # fmt: skip


#: Multiplier and shift that leave a value as it is, and that leave half of a product of operands.
IDENTITY, HALF = (1 << 30, 1), (0, 30)


def combine(
    config: AcceleratorConfig,
    mode: Mode,
    *,
    read: dict[str, int],
    write: dict[str, int] | None = None,
    first: tuple[int, int] = IDENTITY,
    second: tuple[int, int] = IDENTITY,
    zeros: tuple[int, int, int] = (0, 0, 0),
    limits: tuple[int, int] = quant.INT8,
    pad: int = 0,
    table: NDArray[np.int8] | None = None,
    text: str = "",
    **fields: int,
) -> Job:
    """Return a job that combines words element by element.

    Parameters
    ----------
    config : AcceleratorConfig
    mode : Mode
    read, write : dict
        As of a GEMM with tiles of one pixel.
    first, second : (int, int)
        Multiplier and shift of both passes, as of `Requantization`.
    zeros : (int, int, int)
        Zero points of both operands and of the result.
    limits, pad
        As of `Requantization` and `gemm`.
    table : int8 array (256, 1) or (256, channels), optional
        What -128 to 127 become, in all rows or in each.
    **fields : int
        Others of `COMBINE`.
    """
    rows = config.array.rows
    weights = np.zeros((0, 0, 0), np.int8)
    if table is not None:  # in the order of the bytes without a sign
        entries = np.roll(table, ENTRIES // 2, axis=0)
        weights = _blocks(np.repeat(entries, rows, 1) if table.shape[1] == 1 else entries, config)
    parameters = []
    for multiplier, shift in (first, second) if mode != Mode.HOLD else ():
        one = Requantization(
            bias=np.zeros(rows, np.int64), multiplier=np.full(rows, multiplier),
            shift=np.full(rows, shift), zero=0,
        )  # fmt: skip
        parameters.append(one.encode(config))
    return Job(
        kind=Kind.COMBINE,
        fields={
            "pad": pad & 0xFF, "rounds": len(parameters), "depth": weights.shape[1],
            "times": len(weights),
            "limits": {"zero": zeros[2], "low": limits[0], "high": limits[1]},
            "own": {
                "gemm": {
                    "read": read, "write": write or {},
                    "combine": {
                        "mode": mode, "zero_first": zeros[0], "zero_second": zeros[1], **fields,
                    },
                }
            },
        },
        parameters=parameters, weights=weights, text=text,
    )  # fmt: skip


def words(
    source: int, apart: int, target: int, count: int, rows: int, *, pair: bool = True
) -> tuple[dict[str, int], dict[str, int]]:
    """Return what `combine` reads and writes: words of `rows` bytes, end to end.

    Parameters
    ----------
    source, apart : int
        Address of the second operand, or of the only one; bytes from there to the first one.
    target : int
    count : int
        Bytes, in less than 2**16 words.
    rows : int
    pair : bool
        Whether there are two operands.
    """
    number = -(-count // rows)
    read = pixel_reads(
        base=source, step=rows, line=number, pitch=apart, height=0xFFFF, rows=1 + pair,
        length=rows, tiles=number,
    )  # fmt: skip
    return read, word_writes(target, rows, count)


def pixel_reads(**fields: int) -> dict[str, int]:
    """Return the reads of `combine`: a word per pixel, all of it inside, unless `fields` say else.

    Pixels lie in one line if no other fields than `line`, `step` and `tiles` say where. `jump` and
    `pitch` may be negative.
    """
    plain = {
        "x": 0, "step": 0, "line": 1, "jump": 0, "pitch": 0, "width": (1 << ADDRESS) - 1, "skip": 0,
        "top": 0, "stride": 0, "height": 1, "rows": 1, "turns": 1, "words": 1, "pixels": 1,
        "rounds": 1,
    }  # fmt: skip
    found = {**plain, **fields}
    return found | {name: found[name] % (1 << ADDRESS) for name in ("jump", "pitch")}


def word_writes(target: int, rows: int, count: int) -> dict[str, int]:
    """Return the writes of `combine`: `count` bytes, end to end, in words of `rows`."""
    number = -(-count // rows)
    # A round for every word, so that the last one has as many bytes as there are left.
    write = pixel_writes(target, rows, 1, rows)
    return write | {"rounds": number, "rest": count - (number - 1) * rows}


def pixel_writes(target: int, step: int, count: int, rows: int) -> dict[str, int]:
    """Return the writes of `combine`: `rows` bytes of every one of `count` pixels."""
    return {
        "base": target, "step": step, "reach": step, "tiles": count, "pixels": 1, "rounds": 1,
        "rows": rows, "rest": rows,
    }  # fmt: skip
