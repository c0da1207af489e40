"""How long a network takes: ``python -m sim.network --network NAME --rows 64 --cols 64``."""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from golden.int8.transform import fuse, recognize
from golden.mapping import MAPPINGS, map_workload
from golden.nets.layers import Network, check_widths
from golden.nets.networks import NETWORKS, build
from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page
from report.errors import UserError
from report.plots import PALETTE, picture, pyplot
from report.tables import Sheet

from .cost import LayerReport, Memory, layer_report, show_bytes
from .inputs import read_model

__all__ = [
    "COMMAND",
    "NetworkReport",
    "add_mapping",
    "add_network",
    "load_network",
    "main",
    "network_cycles",
    "network_from",
    "network_report",
    "sheets",
    "timeline",
]


@dataclass(frozen=True, kw_only=True)
class NetworkReport:
    """A network on one machine, layer after layer.

    Parameters
    ----------
    network : Network
    config : ArrayConfig
    layers : tuple of LayerReport
    mapping, memory, batch
        As in `sim.cost.layer_report`.
    """

    network: Network
    config: ArrayConfig
    layers: tuple[LayerReport, ...]
    mapping: str = "best"
    memory: Memory = Memory()
    batch: int = 1

    @property
    def title(self) -> str:
        """What was reported, on what."""
        words = [self.network.title, f"on {self.config}"]
        if self.mapping != "best":
            words.append(f"{self.mapping} mapping")
        if self.batch > 1:
            words.append(f"batch {self.batch}")
        if self.memory.dram_bytes_per_cycle:
            words.append(str(self.memory))
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
        whole = self.config.rows * self.config.cols * self.time
        return self.macs / whole if whole else 0.0

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
            "size": network.size,
            "config": asdict(self.config),
            "mapping": self.mapping,
            "batch": self.batch,
            "dram_bytes_per_cycle": self.memory.dram_bytes_per_cycle,
            "activations_on_chip": self.memory.activations_on_chip,
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
    """Return a network on one machine; the options are those of `sim.cost.layer_report`."""
    layers = tuple(layer_report(layer, config, **options) for layer in network.layers)
    options["memory"] = options.get("memory") or Memory()
    return NetworkReport(network=network, config=config, layers=layers, **options)


def network_cycles(network: Network, config: ArrayConfig, mapping: str = "best") -> int:
    """Return the clock cycles of a network's layers, one after the other.

    Raises
    ------
    UserError
        If a sum could overflow the accumulators.
    """
    check_widths(network.layers, config)
    return sum(map_workload(layer.workload, config, mapping).cycles for layer in network.layers)


def _shape(*sizes: int) -> str:
    return "x".join(map(str, sizes))


def sheets(report: NetworkReport) -> list[Sheet]:
    """Return the tables of a network."""
    dram = report.memory.dram_bytes_per_cycle is not None
    rows: list[tuple[str, ...]] = []

    for one in report.layers:
        work = one.layer.workload
        row = [
            one.layer.name,
            str(work),
            _shape(*work.window.size, work.c_in),
            _shape(*work.output, work.c_out),
            one.plan.name,
            f"{one.tiles:,}",
            f"{one.macs:,}",
            f"{one.cycles:,}",
            *([f"{one.time:,.0f}"] if dram else []),
            f"{100 * one.utilisation:.1f} %",
            show_bytes(one.stream_bytes),
            show_bytes(one.dram_bytes),
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
            show_bytes(sum(one.stream_bytes for one in report.layers)),
            show_bytes(sum(one.dram_bytes for one in report.layers)),
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
            # op06_CONV_2D would be longer than most bars; above a high bar is the title.
            label = re.sub(r"^(op\d+)_.*", r"\1", one.layer.name)
            inside = one.utilisation > 0.8
            axes.text(
                start + one.time / 2, 100 * one.utilisation + (-2 if inside else 2), label,
                rotation=90, ha="center", va="top" if inside else "bottom", fontsize="x-small",
                color="white" if inside else "black",
                bbox=None if inside else {"facecolor": "white", "edgecolor": "none", "pad": 0.5},
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


def load_network(path: Path, variant: str | None = None) -> Network:
    """Return the network of a .tflite file.

    Parameters
    ----------
    path : Path
    variant : str, optional
        ``baseline``, or ``half`` or ``full``: its depthwise layers become FuSe layers.

    Raises
    ------
    UserError
        If the file cannot be read, or has no such variant.
    """
    variant = variant or "baseline"
    if variant not in ("baseline", "half", "full"):
        raise UserError(f"variant of {path} must be one of baseline, half, full, not {variant!r}")
    graph = recognize(read_model(path, str(path)))
    if variant != "baseline":
        graph = fuse(graph, variant)
    if not graph.layers:
        raise UserError(f"{path}: no layer has multiply-accumulates")
    return graph.network(path.name, variant)


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which network."""
    parser.add_argument(
        "--network", required=True, metavar="NAME", default=argparse.SUPPRESS,
        help=f"one of {', '.join(NETWORKS)}; or an int8 model, FILE.tflite",
    )  # fmt: skip
    parser.add_argument(
        "--variant", metavar="NAME", default=argparse.SUPPRESS,
        help="baseline (unmodified); full or half (depthwise layers become FuSe layers, with all "
        "channels or half of them each way); full50 or half50 (in some blocks; no file). For CIFAR "
        "networks a pattern like A-P-P, over and over for the layers worth replacing: P keeps the "
        "convolution, A is ABConv, E ABConv-exp (default: the unmodified network)",
    )  # fmt: skip
    parser.add_argument(
        "--resolution", type=int, metavar="N", default=argparse.SUPPRESS,
        help="height and width of the input, 32 or more (default: 224, CIFAR-100: 32)",
    )  # fmt: skip


def add_mapping(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how layers are laid onto the array."""
    parser.add_argument(
        "--mapping", choices=MAPPINGS, default="best",
        help="textbook: pixels on rows, channels on columns, depthwise layers block-diagonal or as "
        "ST-OS streams; best: also every other mapping of golden.mapping",
    )  # fmt: skip


def network_from(arguments: argparse.Namespace) -> Network:
    """Return the network that the options name.

    Raises
    ------
    UserError
        If there is none.
    """
    name, variant = arguments.network, getattr(arguments, "variant", None)
    resolution = getattr(arguments, "resolution", None)
    if not name.endswith(".tflite"):
        return build(name, variant, resolution)
    if resolution is not None:
        raise UserError(f"--resolution is for networks by name; {name} has its own")
    return load_network(Path(name), variant)


def _options(parser: OneLineParser) -> None:
    ArrayConfig.add_options(parser)
    add_network(parser)
    Memory.add_options(parser)
    add_mapping(parser)
    parser.add_argument(
        "--batch", type=int, metavar="N", default=1, help="images that share the weights"
    )


def _report(arguments: argparse.Namespace) -> NetworkReport:
    config = ArrayConfig.from_options(arguments)
    network = network_from(arguments)
    if not 1 <= arguments.batch <= 65536:
        raise UserError(f"--batch must be from 1 to 65536, not {arguments.batch}")
    return network_report(
        network, config, mapping=arguments.mapping, memory=Memory.from_options(arguments),
        batch=arguments.batch,
    )  # fmt: skip


def _notes(report: NetworkReport) -> Iterable[str]:
    for name, time in report.by_lowering().items():
        yield f"{name}: {time:,.0f} cycles, {100 * time / report.time:.1f} %"


def _page(report: NetworkReport) -> Page:
    return Page(
        tables=sheets(report), notes=list(_notes(report)), data=report.to_dict(),
        plot=lambda kind: timeline(report, kind),
    )  # fmt: skip


COMMAND = Command(
    name="sim.network",
    about="Report the exact cycles of a network, layer by layer.",
    options=_options,
    report=_report,
    page=_page,
    reads=("network",),
    epilog="Columns: tiles are commands of the core; used is the share of PEs and cycles that "
    "multiply operands of the operator; streams are bytes through the core's ports (results 4 "
    "bytes, idle lanes included); DRAM is one byte per weight, input and result; time is the "
    "share of the total; bound is what takes most of it: compute (operands of GEMM tiles, "
    "full or not), west edge (operands where the edges bring too few), drain (results, and "
    "the way through the array) or DRAM. --json also has the mapping of every layer.",
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
