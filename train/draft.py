"""Write a network that is not trained: ``python -m train draft --network mobilenet_v2 -o FILE``.

Its weights are random, so that it says nothing but what it costs: cycles, bytes, area.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch

from golden.int8.graph import Graph
from golden.int8.writer import to_tflite
from golden.nets.networks import NETWORKS, build
from report.command import Command, OneLineParser, Page
from report.tables import Sheet

from .export import Range, to_graph
from .networks import Net

__all__ = ["COMMAND", "Draft", "draft", "main"]

#: What every activation reaches.
_RANGE = Range(-4.0, 4.0)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A network with random weights.

    Parameters
    ----------
    graph : Graph
    path : Path
        Where it goes.
    """

    graph: Graph
    path: Path

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data."""
        network = self.graph.network(self.path.stem)
        return {"file": str(self.path), "macs": network.macs, "layers": len(network.layers)}


def draft(
    name: str, variant: str | None = None, *, width: float = 1.0, resolution: int | None = None,
    seed: int = 0,
) -> Graph:  # fmt: skip
    """Return a network of `golden.nets.networks` as an int8 graph with random weights.

    Parameters
    ----------
    name, variant, width, resolution
        As of `golden.nets.networks.build`.
    seed : int
        Of the weights.

    Raises
    ------
    UserError
        If there is no such network, or it has what int8 graphs have not.
    """
    torch.manual_seed(seed)
    network = build(name, variant, resolution, width=width, padding="same")
    net = Net(network).absorbed()
    return to_graph(net, [_RANGE] * len(net.steps))


def _options(parser: OneLineParser) -> None:
    parser.add_argument("--network", default="mobilenet_v2", choices=NETWORKS, help="its family")
    parser.add_argument(
        "--variant", default=argparse.SUPPRESS,
        help="baseline, half, full, half50 or full50; of *_cifar100 a pattern like A-P-P",
    )  # fmt: skip
    parser.add_argument("--width", type=float, default=1.0, help="what channels are multiplied by")
    parser.add_argument(
        "--resolution", type=int, default=argparse.SUPPRESS,
        help="of the pictures (default: 224; of *_cifar100 32)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the .tflite file"
    )


def _report(arguments: argparse.Namespace) -> Draft:
    graph = draft(
        arguments.network, getattr(arguments, "variant", None), width=arguments.width,
        resolution=getattr(arguments, "resolution", None), seed=arguments.seed,
    )  # fmt: skip
    return Draft(graph=graph, path=arguments.output)


def _page(found: Draft) -> Page:
    content = to_tflite(found.graph)
    facts = found.to_dict()
    sheet = Sheet(
        title="A network that is not trained", columns=("file", "bytes", "layers", "MACs"),
        rows=[(str(found.path), f"{len(content):,}", f"{facts['layers']:,}", f"{facts['macs']:,}")],
    )  # fmt: skip
    return Page(tables=[sheet], data=facts, files={found.path: content})


COMMAND = Command(
    name="train draft", about="Write a network that is not trained, to see what it costs.",
    options=_options, report=_report, page=_page, outputs=("json",),
)  # fmt: skip
main = COMMAND.main
