"""Which shape of array suits a network: ``python -m sim.explore --network NAME --pes 1024``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.progress import Progress

from golden.nets.abconv import divisors
from golden.nets.layers import Network, check_widths
from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page, integers
from report.errors import UserError, needs_extra
from report.plots import PALETTE, picture, pyplot
from report.tables import Sheet

from .network import add_network, network_cycles, network_from

__all__ = ["COMMAND", "Shape", "area", "explore", "figure", "front", "main", "sheet", "splits"]

_LARGEST = 256


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One shape of array and what it means for a network.

    Parameters
    ----------
    config : ArrayConfig
    cycles : int
        Clock cycles of the network.
    macs : int
    area : float, optional
        Gate equivalents of the core.
    """

    config: ArrayConfig
    cycles: int
    macs: int
    area: float | None

    @property
    def name(self) -> str:
        """Rows x columns."""
        return f"{self.config.rows} x {self.config.cols}"

    @property
    def edge(self) -> int:
        """Elements per cycle at the two edges of a GEMM: R activations and C weights."""
        return self.config.rows + self.config.cols

    @property
    def utilisation(self) -> float:
        """Share of the PEs' cycles that multiply operands of the operators."""
        return self.macs / (self.config.rows * self.config.cols * self.cycles)

    @property
    def cost(self) -> float:
        """What is weighed against cycles: area, or the bandwidth of the edges."""
        return self.edge if self.area is None else self.area

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self) | {"edge": self.edge, "utilisation": self.utilisation}


def splits(pes: int) -> list[tuple[int, int]]:
    """Return all R x C = pes with legal R and C.

    Raises
    ------
    UserError
        If there is none.
    """
    if not 1 <= pes <= _LARGEST**2:
        raise UserError(f"--pes must be from 1 to {_LARGEST**2}, not {pes}")
    found = [(r, pes // r) for r in divisors(pes) if max(r, pes // r) <= _LARGEST]
    if not found:
        raise UserError(f"--pes {pes} has no R x C with both at most {_LARGEST}")
    return found


def area(config: ArrayConfig) -> float:
    """Return the gate equivalents of a core, as `synth.area` counts them on target gates.

    Raises
    ------
    UserError, synth.tools.ToolError
        If Yosys is not installed, or fails.
    """
    with needs_extra("synth", "--area"):
        from synth.netlist import count
        from synth.targets import gates

    return count(config, gates(), False)[0].unit["GE"]


def explore(network: Network, configs: Sequence[ArrayConfig], *, areas: bool) -> list[Shape]:
    """Return every shape with its cycles, and with its area if asked for."""
    console = Console(stderr=True)
    found = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(configs))
        for config in configs:
            bar.update(task, description=f"{config.rows} x {config.cols}")
            found.append(
                Shape(
                    config=config,
                    cycles=network_cycles(network, config),
                    macs=network.macs,
                    area=area(config) if areas else None,
                )
            )
            bar.advance(task)
    return found


def front(shapes: Sequence[Shape]) -> list[Shape]:
    """Return the shapes that no other beats in both cycles and cost, by cost."""
    best: list[Shape] = []
    for shape in sorted(shapes, key=lambda one: (one.cost, one.cycles)):
        if not best or shape.cycles < best[-1].cycles:
            best.append(shape)
    return best


def sheet(network: Network, shapes: Sequence[Shape]) -> Sheet:
    """Return the table of all shapes."""
    best = front(shapes)
    areas = shapes[0].area is not None
    rows: list[tuple[str, ...]] = []
    for shape in shapes:
        row = [
            shape.name,
            f"{shape.config.rows * shape.config.cols:,}",
            f"{shape.cycles:,}",
            f"{100 * shape.utilisation:.1f} %",
            f"{shape.edge}",
            *(
                [f"{shape.area:,.0f}", f"{shape.cycles * shape.area / 1e9:,.1f}"]
                if shape.area
                else []
            ),
            "yes" if shape in best else "",
        ]
        rows.append(tuple(row))
    kind = "ST-OS" if shapes[0].config.st_os else "plain"
    return Sheet(
        title=f"{network.title}, {kind}",
        columns=(
            "array", "PEs", "cycles", "used", "edge, elements/cycle",
            *(["area, GE", "cycles x GE / 1e9"] if areas else []), "Pareto",
        ),
        rows=rows,
    )  # fmt: skip


def figure(network: Network, shapes: Sequence[Shape], file_format: str) -> bytes:
    """Return a picture: cycles against area, or against the bandwidth of the edges."""
    plt = pyplot()
    drawing, axes = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
    budgets = sorted({shape.config.rows * shape.config.cols for shape in shapes})
    for index, pes in enumerate(budgets):
        some = [one for one in shapes if one.config.rows * one.config.cols == pes]
        axes.plot(
            [one.cost for one in some], [one.cycles for one in some], linestyle="",
            color=PALETTE[index % len(PALETTE)], marker="os^Dv"[index % 5], label=f"{pes} PEs",
        )  # fmt: skip
    best = front(shapes)
    axes.plot(
        [one.cost for one in best], [one.cycles for one in best], color="#000000", linewidth=0.8,
        drawstyle="steps-post", label="Pareto front",
    )  # fmt: skip
    for shape in shapes:
        axes.annotate(
            shape.name, (shape.cost, shape.cycles), (4, 4), textcoords="offset points",
            fontsize="x-small",
        )  # fmt: skip
    axes.set_xlabel("elements per cycle at the edges" if shapes[0].area is None else "area, GE")
    axes.set_ylabel("cycles")
    axes.margins(x=0.12)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(sheet(network, shapes).title, fontsize="medium", loc="left")
    axes.legend(fontsize="small", frameon=False)
    return picture(drawing, file_format)


def _shapes(text: str) -> list[tuple[int, int]]:
    try:
        pairs = [tuple(int(side) for side in word.split("x")) for word in text.split(",")]
        return [(rows, cols) for rows, cols in pairs]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be shapes like 16x64,32x32, not {text!r}") from None


def _options(parser: OneLineParser) -> None:
    ArrayConfig.add_options(parser, sizes="absent")
    add_network(parser)
    parser.add_argument(
        "--pes", type=integers, metavar="N,N,...", default=argparse.SUPPRESS,
        help="budgets of PEs: all R x C = N",
    )  # fmt: skip
    parser.add_argument(
        "--shapes", type=_shapes, metavar="RxC,RxC,...", default=argparse.SUPPRESS,
        help="these shapes instead, or besides",
    )  # fmt: skip
    parser.add_argument(
        "--area", action="store_true",
        help="synthesize every shape (target gates; minutes; pip install -e '.[synth]'), for the "
        "Pareto front of cycles against area; without it the front is against the bandwidth of the "
        "edges, R + C elements per cycle",
    )  # fmt: skip


def _report(arguments: argparse.Namespace) -> tuple[Network, list[Shape]]:
    network = network_from(arguments)
    pairs = [pair for pes in getattr(arguments, "pes", []) for pair in splits(pes)]
    pairs += getattr(arguments, "shapes", [])
    if not pairs:
        raise UserError("--pes or --shapes is required")
    configs = [
        ArrayConfig.from_options(arguments, rows=rows, cols=cols)
        for rows, cols in dict.fromkeys(pairs)
    ]
    check_widths(network.layers, configs[0])  # all have the same widths
    return network, explore(network, configs, areas=arguments.area)


def _page(found: tuple[Network, list[Shape]]) -> Page:
    network, shapes = found
    return Page(
        tables=[sheet(network, shapes)],
        data={
            "network": network.name,
            "variant": network.variant,
            "size": network.size,
            "shapes": [one.to_dict() for one in shapes],
            "pareto": [shape.name for shape in front(shapes)],
        },
        plot=lambda kind: figure(network, shapes, kind),
    )


COMMAND = Command(
    name="sim.explore",
    about="Report a network on every shape of array with a number of PEs.",
    options=_options,
    report=_report,
    page=_page,
    reads=("network",),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
