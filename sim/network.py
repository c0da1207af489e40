"""How long a network takes: ``python -m sim.network --network NAME --rows 64 --cols 64``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from golden.mapping import MAPPINGS, Plan, check_sums, map_layer
from golden.networks import NETWORKS, Layer, Network, build
from golden.schedule import Program, Repeat
from hw.cli import (
    PALETTE,
    Sheet,
    add_outputs,
    config_from,
    config_parser,
    outputs,
    picture,
    publish,
    pyplot,
    run,
)
from hw.config import ArrayConfig, Command

__all__ = [
    "BOUNDS",
    "LayerReport",
    "NetworkReport",
    "layer_report",
    "main",
    "network_cycles",
    "network_report",
    "timeline",
]

#: What can limit a layer.
BOUNDS = ("compute", "west edge", "drain", "DRAM")


def tally(program: Program, value: Callable[[Command], int]) -> int:
    """Return the sum of a value over all commands of a program."""
    return sum(
        part.count * tally(part.parts, value) if isinstance(part, Repeat) else value(part)
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
            found[bound] += tally([part], beats)
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
    macs : int
        Multiply-accumulates of the operator, whatever the mapping adds to them.
    cycles : int
        Clock cycles of the core, exact.
    time : float
        Cycles with DRAM: the longer of the two, as when every layer is double-buffered.
    pes : int
        Processing elements.
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
    macs: int
    cycles: int
    time: float
    pes: int
    stream_bytes: int
    dram_bytes: int
    bound: str

    @property
    def tiles(self) -> int:
        """Number of commands."""
        return tally(self.plan.program, lambda one: 1)

    @property
    def utilisation(self) -> float:
        """Share of the PEs' cycles that multiply operands of the operator."""
        return self.macs / (self.pes * self.time)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self.layer) | {
            "output": self.layer.output,
            "operator": operator(self.layer),
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
    dram_bytes_per_cycle: float | None = None,
    activations_on_chip: bool = False,
    batch: int = 1,
) -> LayerReport:
    """Return one layer on one machine.

    Parameters
    ----------
    layer : Layer
    config : ArrayConfig
    mapping : str
        One of `golden.mapping.MAPPINGS`.
    dram_bytes_per_cycle : float, optional
        Bandwidth of the memory; without it memory takes no time.
    activations_on_chip : bool
        Whether only weights come from DRAM.
    batch : int
        Images that share the weights; all counts are for all of them.

    Raises
    ------
    ValueError
        If a sum could overflow the accumulators.
    """
    check_sums([layer], config)
    plan = map_layer(layer, config, mapping, batch)

    def moved(one: Command) -> int:
        act = one.act_beats(config) * config.rows * config.act_bytes
        weights = one.weight_beats * config.weight_lanes * config.weight_bytes
        return act + weights + one.out_beats(config) * config.rows * config.acc_bytes

    dram = layer.weights * config.weight_bytes
    if not activations_on_chip:
        dram += batch * (layer.inputs + layer.outputs) * config.act_bytes
    waiting = dram / dram_bytes_per_cycle if dram_bytes_per_cycle else 0.0
    share = limits(plan)
    return LayerReport(
        layer=layer,
        plan=plan,
        macs=batch * layer.macs,
        cycles=plan.cycles,
        time=max(float(plan.cycles), waiting),
        pes=config.rows * config.cols,
        stream_bytes=tally(plan.program, moved),
        dram_bytes=dram,
        bound="DRAM" if waiting > plan.cycles else max(share, key=lambda name: share[name]),
    )


@dataclass(frozen=True, kw_only=True)
class NetworkReport:
    """A network on one machine, layer after layer.

    Parameters
    ----------
    network : Network
    config : ArrayConfig
    layers : tuple of LayerReport
    mapping, dram_bytes_per_cycle, activations_on_chip, batch
        As in `layer_report`.
    """

    network: Network
    config: ArrayConfig
    layers: tuple[LayerReport, ...]
    mapping: str = "best"
    dram_bytes_per_cycle: float | None = None
    activations_on_chip: bool = False
    batch: int = 1

    @property
    def title(self) -> str:
        """What was reported, on what."""
        network, config = self.network, self.config
        words = [
            f"{network.name}, {network.variant}, {network.resolution} x {network.resolution}",
            f"on {config}",
        ]
        if self.mapping != "best":
            words.append(f"{self.mapping} mapping")
        if self.batch > 1:
            words.append(f"batch {self.batch}")
        if self.dram_bytes_per_cycle:
            what = "weights" if self.activations_on_chip else "all data"
            words.append(f"DRAM {self.dram_bytes_per_cycle:g} bytes per cycle for {what}")
        return ", ".join(words)

    @property
    def cycles(self) -> int:
        """Clock cycles of the core: every layer from its first command to its last result."""
        return sum(one.cycles for one in self.layers)

    @property
    def time(self) -> float:
        """Cycles with DRAM."""
        return sum(one.time for one in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(one.macs for one in self.layers)

    @property
    def utilisation(self) -> float:
        """Share of the PEs' cycles that multiply operands of the operators."""
        return self.macs / (self.config.rows * self.config.cols * self.time)

    def by_lowering(self) -> dict[str, float]:
        """Return the time of every kind of lowering."""
        found: defaultdict[str, float] = defaultdict(float)
        for one in self.layers:
            found[one.plan.name] += one.time
        return dict(found)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        network = self.network
        return {
            "network": network.name,
            "variant": network.variant,
            "resolution": network.resolution,
            "config": asdict(self.config),
            "mapping": self.mapping,
            "batch": self.batch,
            "dram_bytes_per_cycle": self.dram_bytes_per_cycle,
            "activations_on_chip": self.activations_on_chip,
            "parameters": network.parameters,
            "macs": self.macs,
            "cycles": self.cycles,
            "time": self.time,
            "utilisation": self.utilisation,
            "stream_bytes": sum(one.stream_bytes for one in self.layers),
            "dram_bytes": sum(one.dram_bytes for one in self.layers),
            "time_by_lowering": self.by_lowering(),
            "layers": [one.to_dict() | {"share": one.time / self.time} for one in self.layers],
        }


def network_report(network: Network, config: ArrayConfig, **options: Any) -> NetworkReport:
    """Return a network on one machine; the options are those of `layer_report`."""
    layers = tuple(layer_report(layer, config, **options) for layer in network.layers)
    return NetworkReport(network=network, config=config, layers=layers, **options)


def network_cycles(network: Network, config: ArrayConfig, mapping: str = "best") -> int:
    """Return the clock cycles of a network's layers, one after the other.

    Raises
    ------
    ValueError
        If a sum could overflow the accumulators.
    """
    check_sums(network.layers, config)
    return sum(map_layer(layer, config, mapping).cycles for layer in network.layers)


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def operator(layer: Layer) -> str:
    """Return the operator of a layer in a few words."""
    words = {"pointwise": "1x1", "linear": "linear"}
    if layer.kind in words:
        return words[layer.kind]
    k = layer.kernel
    size = f"1x{k} + {k}x1" if layer.kind.startswith("fuse") else f"{k}x{k}"
    name = layer.kind.replace("_", " ") if layer.kind != "conv" else ""
    groups = f"g={layer.groups}" if layer.kind == "abconv" else ""
    stride = f"/{layer.stride}" if layer.stride > 1 else ""
    return " ".join(word for word in (name, size + stride, groups) if word)


def sheets(report: NetworkReport) -> list[Sheet]:
    """Return the tables of a network."""
    dram = report.dram_bytes_per_cycle is not None
    rows: list[tuple[str, ...]] = []

    def shape(size: tuple[int, int], channels: int) -> str:
        return f"{size[0]}x{size[1]}x{channels}"

    for one in report.layers:
        layer = one.layer
        row = [
            layer.name,
            operator(layer),
            shape(layer.size, layer.c_in),
            shape(layer.output, layer.c_out),
            one.plan.name,
            f"{one.tiles:,}",
            f"{one.macs:,}",
            f"{one.cycles:,}",
            *([f"{one.time:,.0f}"] if dram else []),
            f"{100 * one.utilisation:.1f} %",
            _bytes(one.stream_bytes),
            _bytes(one.dram_bytes),
            f"{100 * one.time / report.time:.1f} %",
            one.bound,
        ]
        rows.append(tuple(row))
    rows.append(
        (
            "total", "", "", "", "",
            f"{sum(one.tiles for one in report.layers):,}",
            f"{report.macs:,}",
            f"{report.cycles:,}",
            *([f"{report.time:,.0f}"] if dram else []),
            f"{100 * report.utilisation:.1f} %",
            _bytes(sum(one.stream_bytes for one in report.layers)),
            _bytes(sum(one.dram_bytes for one in report.layers)),
            "100.0 %",
            "",
        )
    )  # fmt: skip
    columns = (
        "layer", "operator", "input", "output", "lowering", "tiles", "MACs", "cycles",
        *(["with DRAM"] if dram else []), "used", "streams", "DRAM", "time", "bound",
    )  # fmt: skip
    return [Sheet(title=report.title, columns=columns, rows=rows)]


def timeline(report: NetworkReport, file_format: str) -> bytes:
    """Return a picture: every layer as a bar, as wide as its time, as high as its utilisation."""
    plt = pyplot()
    drawing, axes = plt.subplots(figsize=(10, 3.6), layout="constrained")
    names = list(dict.fromkeys(one.plan.name for one in report.layers))
    start = 0.0
    shown: set[str] = set()
    for one in report.layers:
        name = one.plan.name
        axes.bar(
            start, 100 * one.utilisation, one.time, align="edge", color=PALETTE[names.index(name)],
            edgecolor="white", linewidth=0.4, label=None if name in shown else name,
        )  # fmt: skip
        shown.add(name)
        if one.time > 0.035 * report.time:
            axes.text(
                start + one.time / 2, 100 * one.utilisation + 2, one.layer.name, rotation=90,
                ha="center", va="bottom", fontsize="x-small",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            )  # fmt: skip
        start += one.time
    mean = 100 * report.utilisation
    axes.axhline(
        mean, color="#000000", linewidth=0.8, linestyle="--", label=f"mean, {mean:.0f} percent",
        zorder=0,
    )  # fmt: skip
    axes.set_xlim(0, start)
    axes.set_ylim(0, 100)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel("cycles")
    axes.set_ylabel("PEs used, percent")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_title(report.title, fontsize="medium", loc="left")
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=len(names) + 1, fontsize="small",
        frameon=False, borderaxespad=0.2,
    )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    return picture(drawing, file_format)


def bandwidth(text: str) -> float:
    """Return the bandwidth of an option."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1e-3 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"must be a number from 0.001 to 1000000, not {text!r}")
    return value


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which network."""
    parser.add_argument(
        "--network", required=True, metavar="NAME", default=argparse.SUPPRESS,
        help=f"one of {', '.join(NETWORKS)}",
    )  # fmt: skip
    parser.add_argument(
        "--variant", metavar="NAME", default=argparse.SUPPRESS,
        help="baseline (unmodified); full or half (depthwise layers become FuSe layers, with all "
        "channels or half of them each way); full50 or half50 (in some blocks). For CIFAR-100 "
        "networks a pattern like A-P-P, over and over for the layers worth replacing: P keeps the "
        "convolution, A is ABConv, E ABConv-exp (default: the unmodified network)",
    )  # fmt: skip
    parser.add_argument(
        "--resolution", type=int, metavar="N", default=argparse.SUPPRESS,
        help="height and width of the input, 32 or more (default: 224, CIFAR-100: 32)",
    )  # fmt: skip


def network_from(arguments: argparse.Namespace) -> Network:
    """Return the network that the options name.

    Raises
    ------
    ValueError
        If there is none.
    """
    variant = getattr(arguments, "variant", None)
    return build(arguments.network, variant, getattr(arguments, "resolution", None))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = config_parser("sim.network", "Report the exact cycles of a network, layer by layer.")
    parser.epilog = (
        "Columns: tiles are commands of the core; used is the share of PEs and cycles that "
        "multiply operands of the operator; streams are bytes through the core's ports (results 4 "
        "bytes, idle lanes included); DRAM is one byte per weight, input and result; time is the "
        "share of the total; bound is what takes most of it: compute (operands of GEMM tiles, "
        "full or not), west edge (operands where the edges bring too few), drain (results, and "
        "the way through the array) or DRAM. --json also has the mapping of every layer."
    )
    add_network(parser)
    parser.add_argument(
        "--dram-bytes-per-cycle", type=bandwidth, metavar="B", default=argparse.SUPPRESS,
        help="bandwidth of the memory; a layer takes the longer of its cycles and its bytes / B "
        "(default: memory takes no time)",
    )  # fmt: skip
    parser.add_argument(
        "--activations-on-chip", action="store_true", help="only weights come from DRAM"
    )
    parser.add_argument(
        "--mapping", choices=MAPPINGS, default="best",
        help="textbook: pixels on rows, channels on columns, depthwise layers block-diagonal or as "
        "ST-OS streams; best: also every other mapping of golden.mapping",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=int, metavar="N", default=1, help="images that share the weights"
    )
    add_outputs(parser, "json", "markdown", "plot")
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_args(words)
    limit = getattr(arguments, "dram_bytes_per_cycle", None)
    try:
        paths = outputs(arguments)
        config = config_from(arguments)
        network = network_from(arguments)
        if not 1 <= arguments.batch <= 65536:
            raise ValueError(f"--batch must be from 1 to 65536, not {arguments.batch}")
        check_sums(network.layers, config)
    except ValueError as error:
        parser.error(str(error))
    report = network_report(
        network, config, mapping=arguments.mapping, dram_bytes_per_cycle=limit,
        activations_on_chip=arguments.activations_on_chip, batch=arguments.batch,
    )  # fmt: skip
    publish(
        parser,
        paths,
        sheets(report),
        report.to_dict(),
        notes=list(_notes(report)),
        plot=lambda kind: timeline(report, kind),
        words=words,
    )  # fmt: skip
    return 0


def _notes(report: NetworkReport) -> Iterable[str]:
    for name, time in report.by_lowering().items():
        yield f"{name}: {time:,.0f} cycles, {100 * time / report.time:.1f} %"


if __name__ == "__main__":
    run(main, "sim.network")
