"""Run tiles on the generated Verilog."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golden.arith.wrap import IntArray
from golden.machine.tile import Tile
from hw.config import ArrayConfig, integer
from hw.emit import emit_verilog
from report.errors import Failure

from .process import Ended, Process, cached

__all__ = ["Result", "RtlError", "Simulator", "Stalls"]

_TOP = "stos_core"
_HARNESS = Path(__file__).with_name("harness.cpp")
#: Faults that the harness reports, by bit.
_FAULTS = (
    "m_axis_out payload changed while it waited",
    "m_axis_out_tvalid was withdrawn",
    "the core did not finish in {limit} cycles: {report}",
    "m_axis_out depends on m_axis_out_tready in the same cycle",
    "m_axis_out_tvalid or cmd_error was high before any command was taken",
    "cmd_error fell without a reset",
)


class RtlError(Failure):
    """The core broke a rule of its streams, or did not come to an end."""


@dataclass(frozen=True, kw_only=True)
class Stalls:
    """How often each stream pauses.

    Parameters
    ----------
    cmd, act, wgt : float
        Probability that a source does not offer its next beat in a cycle, 0 to below 1.
    out : float
        Probability that the sink is not ready in a cycle, 0 to below 1.
    """

    cmd: float = 0.0
    act: float = 0.0
    wgt: float = 0.0
    out: float = 0.0

    def __post_init__(self) -> None:
        """Check the probabilities."""
        for name, value in vars(self).items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be from 0 to below 1, not {value}")

    @property
    def any(self) -> bool:
        """Whether any stream stalls at all."""
        return any(vars(self).values())

    @property
    def _thresholds(self) -> list[int]:
        return [int(p * 2**32) for p in (self.cmd, self.act, self.wgt, self.out)]

    @property
    def _patience(self) -> float:
        """Cycles that a step may take on average, some times over: a core that hangs ends soon."""
        return 5 * sum(2**32 / (2**32 - threshold) for threshold in self._thresholds)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run gave.

    Parameters
    ----------
    outputs : list of int64 arrays (beats, rows)
        Output beats, split by `tlast`: one array per command that emits.
    cycles : int
        Clock cycles from the first accepted command to the last output beat; 0 without output.
    cmd_error : bool
        Whether the core reported an illegal command.
    taken : tuple of int
        Beats taken from the command, activation and weight streams.
    start : int
        Clock cycles after reset before the first command was taken.
    """

    outputs: list[IntArray]
    cycles: int
    cmd_error: bool
    taken: tuple[int, int, int]
    start: int


@dataclass(eq=False)
class Simulator:
    """A core of one configuration, built once and cached by content.

    The program stays alive from run to run, with new registers' values each time.

    Parameters
    ----------
    config : ArrayConfig
        The machine.
    verilog : str
        The core's text; by default the generated one. Its top module is ``stos_core``.
    cache : Path, optional
        Where builds are kept; by default `sim.rtl.toolchain.cache_folder`.
    mutants : bool
        Whether the core has an input `mutant` (32 bits) that chooses one of its planted faults.
    coverage : Path, optional
        Build with coverage, and write what was covered to a new file in this folder at the end.

    Raises
    ------
    Failure
        If Verilator or the compiler fails, or no cache can be written.
    """

    config: ArrayConfig
    verilog: str = ""
    cache: Path | None = None
    mutants: bool = False
    coverage: Path | None = None

    def __post_init__(self) -> None:
        """Build the simulator unless the cache has it, whole."""
        config = self.config
        self.verilog = self.verilog or emit_verilog(config)
        # Rows as functions of their own: by far the fastest build and run of what is larger than
        # 8 x 8, and of high or wide arrays. Of arrays that are larger still, they are built once:
        # 64 x 64 in a quarter of the time, to run at twice the speed.
        large = config.rows > 8 or config.cols > 8
        rows = 'no_inline -module "*_row"\n' * large
        sources = {"core.vlt": f"`verilator_config\n{rows}", "core.v": self.verilog}
        once = config.rows > 8 and config.rows * config.cols >= 1024 and self.coverage is None
        shared = [f"{_TOP}_row"] * (once and f"\nmodule {_TOP}_row (" in self.verilog)
        harness = _HARNESS.read_text()
        defines = {
            "ROWS": config.rows,
            "COLS": config.cols,
            "ACT_BYTES": config.rows * config.act_bytes,
            "WGT_BYTES": config.weight_lanes * config.weight_bytes,
            "OUT_BYTES": config.rows * config.acc_bytes,
        }
        if self.mutants:
            defines["MUTANTS"] = 1
        self.binary = cached(
            "core", sources, top=_TOP, harness=harness, defines=defines, shared=shared,
            cache=self.cache, coverage=self.coverage is not None,
        )  # fmt: skip
        self._process = Process(self.binary, self.coverage)

    def close(self) -> None:
        """End the program, if it runs."""
        self._process.close()

    def _ask(self, request: bytes) -> tuple[tuple[int, ...], bytes]:
        """Return the eight numbers of an answer and its output beats."""
        size = self.config.rows * self.config.acc_bytes + 1
        found: list[tuple[tuple[int, ...], bytes]] = []

        def read(take: Callable[[int], bytes]) -> bool:
            head = take(64)
            if len(head) < 64:
                return False
            answer = struct.unpack("<8Q", head)
            beats = take(answer[1] * size)
            found.append((answer, beats))
            return len(beats) == answer[1] * size

        try:
            self._process.ask(request, read)
        except Ended as error:
            raise RtlError(str(error)) from None
        return found[0]

    def run(
        self,
        tiles: Iterable[Tile],
        *,
        stalls: Stalls | None = None,
        seed: int = 1,
        words: Sequence[int] | None = None,
        resets: tuple[int, int] = (0, 0),
        mutant: int = 0,
    ) -> Result:
        """Send the tiles through the core.

        What the core must ignore is garbage: data while a stream is not valid, pad bits, and
        lanes that a command does not use.

        Parameters
        ----------
        tiles : iterable of Tile
            Commands and operand beats.
        stalls : Stalls
            Probabilities of pauses; none by default.
        seed : int
            Of the pauses, of garbage, and of the registers' values before reset; 0 to 2**63 - 1.
        words : sequence of int
            Command words to send instead of those of the tiles, for tests of illegal ones.
        resets : (int, int)
            How many one-cycle resets interrupt the run, and the greatest number of cycles before
            each. The run starts anew after each; what is returned is the last, whole one.
        mutant : int
            Planted fault to switch on, if the core has some.

        Raises
        ------
        ValueError
            If a tile does not fit the machine, or an argument is out of its range.
        RtlError
            If the core breaks a rule of AXI4-Stream, or some beat is never taken or sent.
        """
        config = self.config
        tiles = list(tiles)
        seed = integer("seed", seed, 0, 2**63 - 1)
        count, longest = (integer("resets", number, 0, 2**32) for number in resets)
        mutant = integer("mutant", mutant, 0, 2**32 - 1)
        kept = False
        for tile in tiles:
            tile.check(config, kept=kept)
            kept = tile.command.emit == 0
        stalls = stalls or Stalls()
        if words is None:
            words = [tile.command.encode() for tile in tiles]
        words = [integer("words", word, 0, 2**64 - 1) for word in words]
        beats = [sum(len(t.act) for t in tiles), sum(len(t.wgt) for t in tiles)]
        expected = sum(tile.command.out_beats(config) for tile in tiles)
        steps = sum(beats) + expected + (len(words) + 4) * 4 * (config.rows + config.cols)
        limit = min(int(stalls._patience * steps) + 1000, 2**63)
        head = struct.pack(
            "<13Q", len(words), *beats, expected, *stalls._thresholds, seed, limit, count, longest,
            mutant,
        )  # fmt: skip
        answer, raw = self._ask(
            head + np.asarray(words, "<u8").tobytes() + self._beats(tiles, seed)
        )
        cycles, count, error, faults, *taken, start = answer
        report = f"{count} of {expected} output beats, taken {taken} of {[len(words), *beats]}"
        for bit, text in enumerate(_FAULTS):
            if faults >> bit & 1:
                raise RtlError(text.format(limit=limit, report=report))
        if count != expected:
            raise RtlError(f"the core sent too much: {report}")
        return Result(
            outputs=self._split(raw, count),
            cycles=cycles,
            cmd_error=bool(error),
            taken=(taken[0], taken[1], taken[2]),
            start=start,
        )

    def _beats(self, tiles: Sequence[Tile], seed: int) -> bytes:
        """Return the operand beats as the program takes them, garbage where nothing matters."""
        config, rng = self.config, np.random.default_rng(seed)
        act = _pack([tile.act for tile in tiles], config.rows, config.act_width, rng)
        wgt = [_garbage(tile, config, rng) for tile in tiles]
        return act + _pack(wgt, config.weight_lanes, config.weight_width, rng)

    def _split(self, raw: bytes, count: int) -> list[IntArray]:
        """Return the output beats, one array per `tlast`."""
        rows, width = self.config.rows, self.config.acc_bytes
        lines = np.frombuffer(raw, np.uint8).reshape(count, rows * width + 1)
        values = _unpack(lines[:, :-1].reshape(count, rows, width))
        *outputs, rest = np.split(values, np.flatnonzero(lines[:, -1]) + 1)
        if len(rest):
            raise RtlError("the last output beat has no tlast")
        return outputs


def _garbage(tile: Tile, config: ArrayConfig, rng: np.random.Generator) -> IntArray:
    """Return the weight beats with random values on the lanes that the command does not use."""
    used = config.rows if tile.command.st_os else config.cols
    if used == config.weight_lanes:
        return tile.wgt
    beats = tile.wgt.copy()
    beats[:, used:] = rng.integers(0, 1 << config.weight_width, beats[:, used:].shape)
    return beats


def _pack(beats: list[IntArray], lanes: int, width: int, rng: np.random.Generator) -> bytes:
    """Return beats as bytes, whole ones per lane, with random pad bits."""
    values = np.concatenate(beats) if beats else np.zeros((0, lanes), np.int64)
    pitch = (width + 7) // 8
    if width % 8:
        pad = rng.integers(0, 1 << 8 * pitch - width, values.shape) << width
        values = values & (1 << width) - 1 | pad
    return np.ascontiguousarray(values, "<i8").view(np.uint8).reshape(-1, 8)[:, :pitch].tobytes()


def _unpack(lanes: np.ndarray) -> IntArray:
    """Return int64 values of signed little-endian lanes; the last axis is bytes."""
    width = lanes.shape[-1]
    wide = np.zeros((*lanes.shape[:-1], 8), np.uint8)
    wide[..., :width] = lanes
    wide[..., width:] = np.where(lanes[..., -1:] & 0x80, 0xFF, 0)
    return wide.view("<i8")[..., 0].astype(np.int64)
