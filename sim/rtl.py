"""Run tiles on the generated Verilog: Verilator, and a C++ harness that feeds it from memory."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from golden.tile import IntArray, Tile
from hw.config import ArrayConfig
from hw.verilog import emit_verilog

from .toolchain import verilator_environment, verilator_version

__all__ = ["Result", "RtlError", "Simulator", "Stalls"]

_HARNESS = Path(__file__).with_name("harness.cpp")


class RtlError(RuntimeError):
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


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run gave.

    Parameters
    ----------
    outputs : list of int64 arrays (beats, rows)
        Output beats, split by `tlast`: one array per command that emits.
    cycles : int
        Clock cycles from the first accepted command to the last output beat.
    cmd_error : bool
        Whether the core reported an illegal command.
    taken : tuple of int
        Beats taken from the command, activation and weight streams.
    """

    outputs: list[IntArray]
    cycles: int
    cmd_error: bool
    taken: tuple[int, int, int]


@dataclass
class Simulator:
    """A core of one configuration, built once and cached by content.

    Parameters
    ----------
    config : ArrayConfig
        The machine.
    verilog : str
        The core's text; by default the generated one.
    cache : Path
        Where builds are kept.

    Raises
    ------
    RuntimeError
        If Verilator or the compiler fails.
    """

    config: ArrayConfig
    verilog: str = ""
    cache: Path = field(default_factory=lambda: Path("build/rtl"))

    def __post_init__(self) -> None:
        """Build the simulator unless the cache has it."""
        self.verilog = self.verilog or emit_verilog(self.config)
        parts = (self.verilog, _HARNESS.read_text(), verilator_version())
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        self.binary = self.cache / key / "Vcore"
        if not self.binary.exists():
            self._build(self.binary.parent)

    def _build(self, target: Path) -> None:
        config = self.config
        self.cache.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self.cache, prefix="building-")).resolve()
        try:
            (folder / "core.v").write_text(self.verilog)
            # Rows as functions of their own: by far the fastest build and run from 8 x 8 on.
            (folder / "core.vlt").write_text(
                '`verilator_config\nno_inline -module "*_row"\n'
                if config.cols > 8
                else "`verilator_config\n"
            )
            sizes = {
                "ROWS": config.rows,
                "COLS": config.cols,
                "ACT_BYTES": config.rows * config.act_bytes,
                "WGT_BYTES": config.weight_lanes * config.weight_bytes,
                "OUT_BYTES": config.rows * config.acc_bytes,
            }
            defines = " ".join(f"-D{name}={value}" for name, value in sizes.items())
            environment = verilator_environment()
            verilator = shutil.which("verilator", path=environment["PATH"])
            command = [
                str(verilator), "--cc", "--exe", "--build", "-j", "1", "--prefix", "Vcore",
                "--top-module", "stos_core", "-Wno-fatal", "-Wno-lint", "-O3",
                "--x-assign", "fast", "--x-initial", "unique", "-CFLAGS", f"-O2 {defines}",
                "core.vlt", "core.v", str(_HARNESS.resolve()),
            ]  # fmt: skip
            run = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            if run.returncode:
                log = self.cache / f"{target.name}.log"
                log.write_text(run.stdout + run.stderr)
                tail = "\n".join((run.stdout + run.stderr).splitlines()[-10:])
                raise RuntimeError(f"verilator failed (log in {log}):\n{tail}")
            ready = folder / "ready"
            ready.mkdir()
            shutil.copy2(folder / "obj_dir" / "Vcore", ready / "Vcore")
            (ready / "core.v").write_text(self.verilog)
            try:
                os.rename(ready, target)
            except OSError:  # another process was faster
                if not self.binary.exists():
                    raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def run(
        self,
        tiles: Iterable[Tile],
        *,
        stalls: Stalls | None = None,
        seed: int = 1,
        words: Sequence[int] | None = None,
    ) -> Result:
        """Send the tiles through the core.

        Parameters
        ----------
        tiles : iterable of Tile
            Commands and operand beats.
        stalls : Stalls
            Probabilities of pauses; none by default.
        seed : int
            Of the pauses, and of the registers' values before reset.
        words : sequence of int
            Command words to send instead of those of the tiles, for tests of illegal ones.

        Raises
        ------
        RtlError
            If the core breaks a rule of AXI4-Stream, or some beat is never taken or sent.
        """
        config = self.config
        tiles = list(tiles)
        stalls = stalls or Stalls()
        if words is None:
            words = [tile.command.encode() for tile in tiles]
        act = _pack([tile.act for tile in tiles], config.rows, config.act_bytes)
        wgt = _pack([tile.wgt for tile in tiles], config.weight_lanes, config.weight_bytes)
        beats = [sum(len(t.act) for t in tiles), sum(len(t.wgt) for t in tiles)]
        expected = sum(tile.command.out_beats(config) for tile in tiles)
        steps = sum(beats) + expected + (len(words) + 4) * 4 * (config.rows + config.cols)
        worst = max(vars(stalls).values())
        limit = int(20 * steps / (1 - worst) ** 4) + 1000
        thresholds = [int(p * 2**32) for p in (stalls.cmd, stalls.act, stalls.wgt, stalls.out)]
        head = struct.pack("<10Q", len(words), *beats, expected, *thresholds, seed, limit)
        with tempfile.TemporaryDirectory() as folder:
            source, sink = Path(folder, "in"), Path(folder, "out")
            source.write_bytes(head + np.asarray(words, "<u8").tobytes() + act + wgt)
            ended = subprocess.run([self.binary.resolve(), source, sink], check=False)
            if ended.returncode:
                raise RtlError(f"the simulator ended with status {ended.returncode}")
            raw = sink.read_bytes()
        cycles, count, error, flags, *taken = struct.unpack_from("<7Q", raw)
        report = f"{count} of {expected} output beats, taken {taken} of {[len(words), *beats]}"
        for bit, text in (
            (1, "m_axis_out payload changed while it waited"),
            (2, "m_axis_out_tvalid was withdrawn"),
            (4, f"the core did not finish in {limit} cycles: {report}"),
        ):
            if flags & bit:
                raise RtlError(text)
        if count != expected:
            raise RtlError(f"the core sent too much: {report}")
        width = config.acc_bytes
        lines = np.frombuffer(raw, np.uint8, offset=56).reshape(count, config.rows * width + 1)
        values = _unpack(lines[:, :-1].reshape(count, config.rows, width))
        ends = np.flatnonzero(lines[:, -1]) + 1
        outputs = np.split(values, ends)
        if len(outputs[-1]):
            raise RtlError("the last output beat has no tlast")
        return Result(
            outputs=outputs[:-1],
            cycles=cycles,
            cmd_error=bool(error),
            taken=(taken[0], taken[1], taken[2]),
        )


def _pack(beats: list[IntArray], lanes: int, width: int) -> bytes:
    """Return beats as bytes, `width` per lane."""
    values = np.concatenate(beats) if beats else np.zeros((0, lanes), np.int64)
    return np.ascontiguousarray(values, "<i8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()


def _unpack(lanes: np.ndarray) -> IntArray:
    """Return int64 values of signed little-endian lanes; the last axis is bytes."""
    width = lanes.shape[-1]
    wide = np.zeros((*lanes.shape[:-1], 8), np.uint8)
    wide[..., :width] = lanes
    wide[..., width:] = np.where(lanes[..., -1:] & 0x80, 0xFF, 0)
    return wide.view("<i8")[..., 0].astype(np.int64)
