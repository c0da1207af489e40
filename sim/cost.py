"""What a layer costs on a machine: exact cycles, what limits them, bytes, memory."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from golden.machine.schedule import Program, Repeat
from golden.mapping import Plan, map_workload
from golden.nets.layers import Layer, check_widths
from hw.config import ArrayConfig, Command

__all__ = ["BOUNDS", "LayerReport", "Memory", "layer_report", "limits", "show_bytes"]

#: What can limit a layer.
BOUNDS = ("compute", "west edge", "drain", "DRAM")


def _bandwidth(text: str) -> float:
    """Return the bandwidth of an option."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1e-3 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"must be a number from 0.001 to 1000000, not {text!r}")
    return value


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What feeds the array.

    Parameters
    ----------
    dram_bytes_per_cycle : float, optional
        Bandwidth; without it memory takes no time.
    activations_on_chip : bool
        Whether only weights come from DRAM.
    """

    dram_bytes_per_cycle: float | None = None
    activations_on_chip: bool = False

    @staticmethod
    def add_options(parser: argparse.ArgumentParser, default: float | None = None) -> None:
        """Add the options that `from_options` reads."""
        parser.add_argument(
            "--dram-bytes-per-cycle", type=_bandwidth, metavar="B",
            default=argparse.SUPPRESS if default is None else default,
            help="bandwidth of the memory; a layer takes the longer of its cycles and its bytes / B"
            + (" (default: memory takes no time)" if default is None else ""),
        )  # fmt: skip
        parser.add_argument(
            "--activations-on-chip", action="store_true", help="only weights come from DRAM"
        )

    @classmethod
    def from_options(cls, arguments: argparse.Namespace) -> Memory:
        """Return the memory that parsed options describe."""
        return cls(
            dram_bytes_per_cycle=getattr(arguments, "dram_bytes_per_cycle", None),
            activations_on_chip=arguments.activations_on_chip,
        )

    def __str__(self) -> str:
        """Return the memory in words."""
        what = "weights" if self.activations_on_chip else "all data"
        return f"DRAM {self.dram_bytes_per_cycle:g} bytes per cycle for {what}"


def _tally(program: Program, value: Callable[[Command], int]) -> int:
    """Return the sum of a value over all commands of a program."""
    return sum(
        part.count * _tally(part.parts, value) if isinstance(part, Repeat) else value(part)
        for part in program
    )


def limits(plan: Plan) -> dict[str, int]:
    """Return how many of a plan's cycles each limit takes.

    A GEMM tile of depth K that emits N outputs per row is limited by its operands if K >= N, by the
    drain otherwise. Operands are `compute` where every PE could use them, and `west edge` where the
    edges bring too few: streams, Toeplitz tiles, tiles with operands held on both edges. The way
    through the array to the last result is the drain's.
    """

    def beats(one: Command) -> int:
        if one.st_os:
            return one.act_beats(plan.config)
        return one.depth if one.depth >= one.emit else 0

    found: Counter[str] = Counter()
    for mapping in plan.parts:
        for part, bound in mapping.bounds:
            found[bound] += _tally([part], beats)
    found["drain"] += plan.cycles - found.total()
    return dict(found)


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """One layer on one machine.

    Parameters
    ----------
    layer : Layer
    plan : Plan
        Its mapping.
    time : float
        Cycles with DRAM: the longer of the two, as when every layer is double-buffered.
    stream_bytes : int
        Bytes of the beats that the core's streams take and give, idle lanes included.
    dram_bytes : int
        Bytes of weights and, unless they stay on the chip, of inputs and results (requantized to
        activations), each moved once.
    bound : str
        One of `BOUNDS`: what takes most of the time.
    """

    layer: Layer
    plan: Plan
    time: float
    stream_bytes: int
    dram_bytes: int
    bound: str

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the operator, whatever the mapping adds to them."""
        return self.layer.workload.macs

    @property
    def cycles(self) -> int:
        """Clock cycles of the core, exact."""
        return self.plan.cycles

    @property
    def pes(self) -> int:
        """Processing elements."""
        return self.plan.config.rows * self.plan.config.cols

    @property
    def tiles(self) -> int:
        """Number of commands."""
        return _tally(self.plan.program, lambda one: 1)

    @property
    def utilisation(self) -> float:
        """Share of the PEs' cycles that multiply operands of the operator."""
        return self.macs / (self.pes * self.time)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return self.layer.to_dict() | {
            "lowering": self.plan.name,
            "mapping": str(self.plan),
            "tiles": self.tiles,
            "macs": self.macs,
            "cycles": self.cycles,
            "time": self.time,
            "utilisation": self.utilisation,
            "stream_bytes": self.stream_bytes,
            "dram_bytes": self.dram_bytes,
            "bound": self.bound,
        }


def layer_report(
    layer: Layer,
    config: ArrayConfig,
    *,
    mapping: str = "best",
    memory: Memory | None = None,
    batch: int = 1,
) -> LayerReport:
    """Return one layer on one machine.

    Parameters
    ----------
    layer : Layer
    config : ArrayConfig
    mapping : str
        One of `golden.mapping.MAPPINGS`.
    memory : Memory, optional
        Without it memory takes no time.
    batch : int
        Images that share the weights; all counts are for all of them.

    Raises
    ------
    UserError
        If a sum could overflow the accumulators.
    """
    check_widths([layer], config)
    memory = memory or Memory()
    work = replace(layer.workload, batch=batch)
    plan = map_workload(work, config, mapping)

    def moved(one: Command) -> int:
        act = one.act_beats(config) * config.rows * config.act_bytes
        weights = one.weight_beats * config.weight_lanes * config.weight_bytes
        return act + weights + one.out_beats(config) * config.rows * config.acc_bytes

    dram = work.weights * config.weight_bytes
    if not memory.activations_on_chip:
        dram += (work.inputs + work.outputs) * config.act_bytes
    waiting = dram / memory.dram_bytes_per_cycle if memory.dram_bytes_per_cycle else 0.0
    share = limits(plan)
    return LayerReport(
        layer=replace(layer, workload=work),
        plan=plan,
        time=max(float(plan.cycles), waiting),
        stream_bytes=_tally(plan.program, moved),
        dram_bytes=dram,
        bound="DRAM" if waiting > plan.cycles else max(share, key=lambda name: share[name]),
    )


def show_bytes(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
