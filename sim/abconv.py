"""ABConv on this array, for every number of groups: ``python -m sim.abconv ...``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

from golden.machine.schedule import cycles
from golden.mapping.gemm import map_gemm
from golden.nets.abconv import RULES, Intensity, check_groups, divisors, select_groups
from golden.nets.networks import ABCONV_STEPS, abconv_layers, counted
from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page, integers
from report.errors import UserError
from report.plots import PALETTE, picture, pyplot
from report.tables import Sheet

from .cost import Memory, layer_report

__all__ = [
    "COMMAND",
    "BlockReport",
    "block_report",
    "figure",
    "main",
    "rows",
    "select_on_array",
    "sheet",
]

NAMES = {"conv": "convolution", "abconv": "ABConv", "abconv_exp": "ABConv-exp"}


@dataclass(frozen=True, kw_only=True)
class BlockReport:
    """A convolution, or what takes its place, on one machine.

    Parameters
    ----------
    kind : str
        ``conv``, ``abconv`` or ``abconv_exp``.
    g : int
    c_in, c_out, kernel, size : int
    intensity : Intensity
    cycles : int
        Clock cycles of the core, exact.
    dram : float
        Cycles of the memory.
    time : float
        Cycles with double buffering: layer by layer, the longer of the two.
    """

    kind: str
    g: int
    c_in: int
    c_out: int
    kernel: int
    size: int
    intensity: Intensity
    cycles: int
    dram: float
    time: float

    @property
    def bound(self) -> str:
        """Whether memory or the core takes longer."""
        return "DRAM" if self.dram > self.cycles else "core"

    @property
    def rate(self) -> float:
        """Multiply-accumulates per cycle."""
        return self.intensity.macs / self.time

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        counts = self.intensity
        return vars(self) | {
            "intensity": {
                "weight": counts.weight, "activation": counts.activation, "whole": counts.whole,
            },
            "macs": counts.macs, "weights": counts.weights, "bound": self.bound,
        }  # fmt: skip


@lru_cache(maxsize=4096)  # selection and table ask for the same ones
def block_report(
    kind: str,
    g: int,
    c_in: int,
    c_out: int,
    kernel: int,
    size: int,
    config: ArrayConfig,
    memory: Memory,
) -> BlockReport:
    """Return one convolution, or what takes its place, on one machine.

    Raises
    ------
    UserError
        If g does not divide the channels, or the kind is unknown.
    """
    layers = abconv_layers(size, c_in, c_out, kernel, kind, g)
    reports = [layer_report(layer, config, memory=memory) for layer in layers]
    return BlockReport(
        kind=kind,
        g=g,
        c_in=c_in,
        c_out=c_out,
        kernel=kernel,
        size=size,
        intensity=counted(layers),
        cycles=sum(one.cycles for one in reports),
        dram=sum(one.dram_bytes for one in reports) / (memory.dram_bytes_per_cycle or math.inf),
        time=sum(one.time for one in reports),
    )


def select_on_array(
    c_in: int,
    c_out: int,
    kernel: int,
    size: int,
    expand: bool,
    config: ArrayConfig,
    memory: Memory,
) -> int:
    """Select the number of groups from exact cycles and the memory's bandwidth.

    ABConv-exp keeps its multiply-accumulates, so it takes the g of least time. ABConv loses some
    with every group, so it takes the smallest g at which memory no longer takes longer than the
    core (the g of least time if there is none). Either may keep the convolution.

    Parameters
    ----------
    c_in, c_out, kernel, size : int
        The convolution; `size` is height and width of its result.
    expand : bool
        Whether it becomes ABConv-exp.
    config : ArrayConfig
    memory : Memory

    Returns
    -------
    int
        A common divisor of c_in and c_out; 1 keeps the convolution.
    """
    kind = "abconv_exp" if expand else "abconv"
    found = [
        block_report(kind if g > 1 else "conv", g, c_in, c_out, kernel, size, config, memory)
        for g in divisors(math.gcd(c_in, c_out))
    ]
    if not expand:
        for one in found:
            if one.bound == "core":
                return one.g
    return min(found, key=lambda one: (one.time, one.g)).g


def rows(
    c_in: int,
    c_out: int,
    kernel: int,
    size: int,
    config: ArrayConfig,
    memory: Memory,
    groups: Sequence[int] = (),
) -> list[tuple[BlockReport, str]]:
    """Return the convolution and its replacements with all `groups`, and who selects them.

    Raises
    ------
    UserError
        If one of `groups` does not divide both numbers of channels.
    """
    shape = (c_in, c_out, kernel, size)
    for g in groups:
        check_groups(c_in, c_out, g, "abconv")
    found = [(block_report("conv", 1, *shape, config, memory), "")]
    for kind in ("abconv", "abconv_exp"):
        expand = kind == "abconv_exp"
        chosen = selections(*shape, expand, config, memory)
        for g in groups or divisors(math.gcd(c_in, c_out)):
            if g > 1:
                by = ", ".join(who for who, theirs in chosen.items() if theirs == g)
                found.append((block_report(kind, g, *shape, config, memory), by))
    return found


def selections(
    c_in: int, c_out: int, kernel: int, size: int, expand: bool, config: ArrayConfig, memory: Memory
) -> dict[str, int]:
    """Return who selects how many groups: the paper's machine, by both rules, and this one."""
    shape = (c_in, c_out, kernel, size)
    rules = {
        f"paper ({rule})": select_groups(*shape, *ABCONV_STEPS, expand, rule).g for rule in RULES
    }
    return rules | {"this machine": select_on_array(*shape, expand, config, memory)}


def sheet(found: Sequence[tuple[BlockReport, str]], config: ArrayConfig, memory: Memory) -> Sheet:
    """Return the table of a layer's blocks."""
    first = found[0][0]
    lines: list[tuple[str, ...]] = [
        (
            f"{NAMES[one.kind]}" + (f", g = {one.g}" if one.kind != "conv" else ""),
            f"{one.intensity.macs:,}",
            f"{one.intensity.weights:,}",
            f"{one.intensity.weight:.1f}",
            f"{one.intensity.activation:.1f}",
            f"{one.intensity.whole:.1f}",
            f"{one.cycles:,}",
            f"{one.dram:,.0f}",
            f"{one.time:,.0f}",
            f"{100 * one.rate / (config.rows * config.cols):.1f} %",
            one.bound,
            by,
        )
        for one, by in found
    ]
    what = "weights" if memory.activations_on_chip else "weights and activations"
    return Sheet(
        title=(
            f"{first.size} x {first.size}, {first.c_in} to {first.c_out}, {first.kernel} x "
            f"{first.kernel} on {config.rows} x {config.cols}, DRAM "
            f"{memory.dram_bytes_per_cycle:g} bytes per cycle for {what}"
        ),
        columns=(
            "block", "MACs", "weights", "AI of weights", "of activations", "whole", "core cycles",
            "DRAM cycles", "time", "used", "bound", "selected by",
        ),
        rows=lines,
    )  # fmt: skip


#: Channels in and out of the layers in the picture.
CHANNELS = range(128, 1281, 128)


def figure(config: ArrayConfig, memory: Memory, file_format: str) -> bytes:
    """Return a picture: roofline, staircase, and time against channels."""
    plt = pyplot()
    drawing, (roof, steps, latency) = plt.subplots(1, 3, figsize=(13, 4.4), layout="constrained")
    pes, limit = config.rows * config.cols, memory.dram_bytes_per_cycle or math.inf

    limits = [4.0, pes / limit, max(256.0, 4 * pes / limit)]
    roof.plot(
        limits, [min(pes, x * limit) for x in limits], color="#000000", linewidth=1, label="roof"
    )
    # Large and open under small: where layers coincide, all of them are seen.
    styles = {"conv": ("o", 10, "-"), "abconv": ("^", 7, "--"), "abconv_exp": ("s", 3.5, ":")}
    for (kind, (marker, points, line)), size in product(styles.items(), (4, 8)):
        found = []
        for channels in CHANNELS:
            expand = kind == "abconv_exp"
            g = 1
            if kind != "conv":
                g = select_groups(channels, channels, 1, size, *ABCONV_STEPS, expand).g
            found.append(block_report(kind, g, channels, channels, 1, size, config, memory))
        style = {
            "color": PALETTE[0 if size == 4 else 3], "marker": marker, "markersize": points,
            "markerfacecolor": "none", "label": f"{NAMES[kind]}, {size} x {size}",
        }  # fmt: skip
        intensities = [one.intensity.macs / _moved(one, memory) for one in found]
        roof.plot(intensities, [one.rate for one in found], linestyle="", **style)
        times = [one.time for one in found]
        latency.plot(CHANNELS, times, linestyle=line, linewidth=1, **style)
    moved = "weight" if memory.activations_on_chip else "byte moved"
    roof.set_xlabel(f"multiply-accumulates per {moved}")
    roof.set_ylabel("multiply-accumulates per cycle")
    roof.set_xscale("log", base=2)
    roof.set_yscale("log", base=2)
    roof.set_title(
        f"Roofline, 1 x 1, {CHANNELS[0]} to {CHANNELS[-1]} channels, {limit:g} bytes per cycle",
        fontsize="medium", loc="left",
    )  # fmt: skip
    latency.set_xlabel("channels in and out")
    latency.set_ylabel("cycles, memory included")
    latency.set_yscale("log")
    latency.set_xticks(CHANNELS[1::2])
    latency.set_title("Time of the same layers", fontsize="medium", loc="left")

    def core(pixels: int, c_in: int, c_out: int) -> int:
        return cycles(map_gemm(pixels, c_in, c_out, config).program, config)

    fixed, wide = 64, 128
    counts = list(range(2, 8 * config.cols + 1, 2))
    for label, values, colour, line, thick in (
        ("output channels", [core(wide, fixed, n) for n in counts], PALETTE[5], "-", 5),
        ("pixels (g * S * S)", [core(n, fixed, wide) for n in counts], PALETTE[7], "-", 1),
        ("input channels", [core(wide, n, fixed) for n in counts], PALETTE[3], "--", 1.5),
    ):
        steps.plot(counts, values, color=colour, linestyle=line, linewidth=thick, label=label)
    steps.set_xlabel("how many; the others are 128 pixels or outputs, 64 inputs", fontsize="small")
    steps.set_ylabel("cycles of the core")
    steps.set_ylim(bottom=0)
    steps.set_title("Staircase, 1 x 1", fontsize="medium", loc="left")
    for axes in (roof, latency, steps):
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.legend(fontsize="small", frameon=False, loc="upper left" if axes is steps else "best")
    roof.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    return picture(drawing, file_format)


def _moved(one: BlockReport, memory: Memory) -> int:
    counts = one.intensity
    return counts.weights + (0 if memory.activations_on_chip else counts.activations)


def _notes(
    c_in: int, c_out: int, kernel: int, size: int, config: ArrayConfig, memory: Memory
) -> list[str]:
    both = [
        selections(c_in, c_out, kernel, size, expand, config, memory) for expand in (False, True)
    ]
    return [
        f"{who} selects ABConv g = {both[0][who]}, ABConv-exp g = {both[1][who]}" for who in both[0]
    ] + ["g = 1 keeps the convolution; time is the longer of core and DRAM, layer by layer"]


def _options(parser: OneLineParser) -> None:
    ArrayConfig.add_options(parser)
    layer = parser.add_argument_group("layer", "the default is that of the paper's Table 2")
    for name, default, what in (
        ("c-in", 1024, "input channels"), ("c-out", 1024, "output channels"),
        ("kernel", 1, "kernel size"), ("size", 4, "height and width of input and result"),
    ):  # fmt: skip
        layer.add_argument(f"--{name}", type=int, metavar="N", default=default, help=what)
    layer.add_argument(
        "--groups", type=integers, metavar="N,N,...", default=argparse.SUPPRESS,
        help="numbers of groups g, divisors of both channels (default: all of them)",
    )  # fmt: skip
    Memory.add_options(parser, default=2.32)


@dataclass(frozen=True, kw_only=True)
class _Report:
    """The rows of a layer, with what they are of."""

    shape: tuple[int, int, int, int]
    config: ArrayConfig
    memory: Memory
    rows: list[tuple[BlockReport, str]]


def _report(arguments: argparse.Namespace) -> _Report:
    memory, config = Memory.from_options(arguments), ArrayConfig.from_options(arguments)
    shape = (arguments.c_in, arguments.c_out, arguments.kernel, arguments.size)
    for name, value in zip(("c-in", "c-out", "kernel", "size"), shape, strict=True):
        if not 1 <= value <= 65536:
            raise UserError(f"--{name} must be from 1 to 65536, not {value}")
    found = rows(*shape, config, memory, getattr(arguments, "groups", ()))
    return _Report(shape=shape, config=config, memory=memory, rows=found)


def _page(report: _Report) -> Page:
    config, memory = report.config, report.memory
    return Page(
        tables=[sheet(report.rows, config, memory)],
        data={
            "config": vars(config),
            "memory": vars(memory),
            "blocks": [one.to_dict() | {"selected_by": by} for one, by in report.rows],
        },
        notes=_notes(*report.shape, config, memory),
        plot=lambda kind: figure(config, memory, kind),
    )


COMMAND = Command(
    name="sim.abconv",
    about="Report a convolution, ABConv and ABConv-exp on one machine, for every g.",
    options=_options,
    report=_report,
    page=_page,
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
