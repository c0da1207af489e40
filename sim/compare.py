"""Where the gains come from: ``python -m sim.compare --rows 64 --cols 64``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from golden.networks import FUSE_NETWORKS, FUSE_VARIANTS, build
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
from hw.config import ArrayConfig

from . import paper
from .network import network_cycles

__all__ = ["MACHINES", "Comparison", "compare", "figure", "main", "sheets"]

#: The machines that are compared: name, ST-OS, mapping.
MACHINES = (
    ("plain, textbook", False, "textbook"),
    ("plain, best", False, "best"),
    ("ST-OS, textbook", True, "textbook"),
    ("ST-OS, best", True, "best"),
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Cycles of one network in all variants: in the paper's model and on our machines.

    Parameters
    ----------
    network : str
    config : ArrayConfig
        `st_os` does not matter.
    paper : dict
        Cycles of the paper's model by variant.
    ours : dict
        Cycles by name of the machine (`MACHINES`) and variant.
    """

    network: str
    config: ArrayConfig
    paper: dict[str, int]
    ours: dict[str, dict[str, int]]

    def gain(self, before: tuple[str, str], after: tuple[str, str]) -> float:
        """Return the speed-up from one machine and variant to another."""
        return self.ours[before[0]][before[1]] / self.ours[after[0]][after[1]]

    def parts(self, variant: str) -> dict[str, float]:
        """Return what the speed-up over the textbook baseline is made of.

        From the unmodified network on a plain core with block-diagonal depthwise layers to a
        variant on an ST-OS core: first the better mapping of the unmodified network, ``mapping``;
        then either the operator on the plain core and ST-OS under it, or ST-OS with the unmodified
        network and the operator on it. Both ways the product is ``all``.
        """
        first, plain, last = "plain, textbook", "plain, best", "ST-OS, best"
        return {
            "mapping": self.gain((first, "baseline"), (plain, "baseline")),
            "operator": self.gain((plain, "baseline"), (plain, variant)),
            "then ST-OS": self.gain((plain, variant), (last, variant)),
            "ST-OS": self.gain((plain, "baseline"), (last, "baseline")),
            "then operator": self.gain((last, "baseline"), (last, variant)),
            "all": self.gain((first, "baseline"), (last, variant)),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self) | {"parts": {variant: self.parts(variant) for variant in FUSE_VARIANTS}}


def compare(name: str, config: ArrayConfig, resolution: int | None = None) -> Comparison:
    """Return the cycles of a network on all machines.

    Parameters
    ----------
    name : str
        One of `golden.networks.FUSE_NETWORKS`.
    config : ArrayConfig
        `st_os` does not matter.
    resolution : int, optional
    """
    networks = {variant: build(name, variant, resolution) for variant in FUSE_VARIANTS}
    return Comparison(
        network=name,
        config=config,
        paper={
            variant: paper.network_cycles(network, config.rows, config.cols)
            for variant, network in networks.items()
        },
        ours={
            machine: {
                variant: network_cycles(network, config.replace(st_os=st_os), mapping)
                for variant, network in networks.items()
            }
            for machine, st_os, mapping in MACHINES
        },
    )


def sheets(found: Sequence[Comparison]) -> list[Sheet]:
    """Return the tables: cycles, speed-ups, and what they are made of."""
    config = found[0].config
    size = f"{config.rows} x {config.cols}, {config.accumulators} accumulator"
    size += "s" * (config.accumulators > 1)
    cycles: list[tuple[str, ...]] = []
    gains: list[tuple[str, ...]] = []
    parts: list[tuple[str, ...]] = []
    for one in found:
        for name, by_variant in (("paper's model", one.paper), *one.ours.items()):
            cycles.append(
                (f"{one.network}, {name}", *(f"{by_variant[v]:,}" for v in FUSE_VARIANTS))
            )
        first, plain, last = ("plain, textbook", "plain, best", "ST-OS, best")
        gains.append(
            (
                one.network,
                f"{one.paper['baseline'] / one.paper['full']:.2f}",
                f"{one.paper['baseline'] / one.paper['half']:.2f}",
                f"{one.gain((first, 'baseline'), (first, 'half')):.2f}",
                f"{one.gain((plain, 'baseline'), (plain, 'half')):.2f}",
                f"{one.gain((first, 'baseline'), ('ST-OS, textbook', 'baseline')):.2f}",
                f"{one.gain((plain, 'baseline'), (last, 'baseline')):.2f}",
                f"{one.gain((plain, 'baseline'), (last, 'full')):.2f}",
                f"{one.gain((plain, 'baseline'), (last, 'half')):.2f}",
            )
        )
        for variant in ("half", "full"):
            values = one.parts(variant)
            parts.append(
                (f"{one.network}, {variant}", *(f"{value:.2f}" for value in values.values()))
            )
    return [
        Sheet(
            title=f"Cycles, {size}", columns=("network and machine", *FUSE_VARIANTS), rows=cycles
        ),
        Sheet(
            title=f"Speed-ups, {size}",
            columns=(
                "network", "paper: full", "paper: half", "plain textbook: half",
                "plain best: half", "ST-OS, unmodified (textbook)", "ST-OS, unmodified (best)",
                "ST-OS and full (best)", "ST-OS and half (best)",
            ),
            rows=gains,
        ),
        Sheet(
            title=f"What the gain over a plain core, textbook, is made of, {size}",
            columns=(
                "network", "mapping", "operator", "then ST-OS", "or first ST-OS", "then operator",
                "all",
            ),
            rows=parts,
        ),
    ]  # fmt: skip


def figure(found: Sequence[Comparison], file_format: str) -> bytes:
    """Return a picture: speed-ups of the core, and of the paper's model over its own baseline."""
    plt = pyplot()
    drawing, (ours, papers) = plt.subplots(
        1, 2, figsize=(10, 3.8), layout="constrained", width_ratios=(2.6, 1.4)
    )
    names = [one.network.replace("_", "\n", 1) for one in found]
    bars = [
        ("plain, unmodified", "plain, best", "baseline", PALETTE[5], ""),
        ("ST-OS, unmodified", "ST-OS, best", "baseline", PALETTE[0], ""),
        ("plain, FuSe half", "plain, best", "half", PALETTE[1], "//"),
        ("ST-OS, FuSe half", "ST-OS, best", "half", PALETTE[3], "//"),
    ]
    width = 0.21
    for index, (label, machine, variant, colour, hatch) in enumerate(bars):
        values = [one.gain(("plain, textbook", "baseline"), (machine, variant)) for one in found]
        places = [x + (index - 1.5) * width for x in range(len(found))]
        ours.bar(places, values, width, color=colour, label=label, hatch=hatch, edgecolor="white")
        for place, value in zip(places, values, strict=True):
            ours.text(place, value + 0.04, f"{value:.1f}", ha="center", fontsize="x-small")
    ours.set_xticks(range(len(found)), names, fontsize="x-small")
    config = found[0].config
    ours.set_title(
        f"This core, best mappings, {config.rows} x {config.cols}\n"
        "over a plain core with block-diagonal depthwise layers, unmodified",
        fontsize="small", loc="left",
    )  # fmt: skip
    ours.set_ylabel("speed-up")
    ours.set_ylim(top=ours.get_ylim()[1] * 1.22)
    ours.legend(fontsize="x-small", ncols=4, frameon=False, loc="upper center", columnspacing=1)

    values = [one.paper["baseline"] / one.paper["half"] for one in found]
    papers.bar(range(len(found)), values, 0.6, color=PALETTE[8])
    for x, value in enumerate(values):
        papers.text(x, value + 0.08, f"{value:.1f}", ha="center", fontsize="x-small")
    papers.set_xticks(range(len(found)), names, fontsize="xx-small")
    papers.set_title(
        "FuSeConv paper's model: half\nover its own baseline (another scale)",
        fontsize="small", loc="left",
    )  # fmt: skip
    papers.set_ylim(top=papers.get_ylim()[1] * 1.08)
    for axes in (ours, papers):
        axes.axhline(1, color="#000000", linewidth=0.8, linestyle=":")
        axes.spines[["top", "right"]].set_visible(False)
    return picture(drawing, file_format)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = config_parser(
        "sim.compare",
        "Compare networks in the paper's model, on a plain and on an ST-OS core (always both, "
        "whatever --st-os says).",
    )
    parser.add_argument(
        "--networks", nargs="+", choices=FUSE_NETWORKS, metavar="NAME",
        default=[name for name in FUSE_NETWORKS if name != "resnet50"],
        help=f"some of {', '.join(FUSE_NETWORKS)}",
    )  # fmt: skip
    parser.add_argument(
        "--resolution", type=int, metavar="N", default=224, help="height and width of the input"
    )
    add_outputs(parser, "json", "markdown", "plot")
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_args(words)
    try:
        paths = outputs(arguments)
        config = config_from(arguments)
        found = [compare(name, config, arguments.resolution) for name in arguments.networks]
    except ValueError as error:
        parser.error(str(error))
    publish(
        parser,
        paths,
        sheets(found),
        {"comparisons": [one.to_dict() for one in found]},
        notes=[
            "textbook: pixels on rows, channels on columns, depthwise block-diagonal or as streams",
            "best: every mapping of golden.mapping, by least cycles",
            "speed-ups: over the unmodified network, in the paper's model or on the plain core",
        ],
        plot=lambda kind: figure(found, kind),
        words=words,
    )
    return 0


if __name__ == "__main__":
    run(main, "sim.compare")
