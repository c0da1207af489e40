"""Where the gains come from: ``python -m sim.compare --rows 64 --cols 64``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from golden.nets.layers import Network
from golden.nets.networks import FUSE_NETWORKS, FUSE_VARIANTS, build
from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page
from report.errors import UserError
from report.plots import PALETTE, picture, pyplot
from report.tables import Sheet

from .network import load_network, network_cycles
from .papers import fuseconv

__all__ = ["COMMAND", "MACHINES", "Comparison", "compare", "figure", "main", "sheets"]

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
    missing : dict
        Why a model of the user's has no such variant, by variant.
    """

    network: str
    config: ArrayConfig
    paper: dict[str, int]
    ours: dict[str, dict[str, int]]
    missing: dict[str, str]

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
        return asdict(self) | {"parts": {variant: self.parts(variant) for variant in self.paper}}


def _variants(name: str, resolution: int | None) -> tuple[dict[str, Network], dict[str, str]]:
    """Return a network in all variants that it has, and why it has no others."""
    if not name.endswith(".tflite"):
        return {variant: build(name, variant, resolution) for variant in FUSE_VARIANTS}, {}
    if resolution is not None:
        raise UserError(f"--resolution is for networks by name; {name} has its own")
    found, missing = {"baseline": load_network(Path(name))}, {}
    for variant in ("full", "half"):
        try:
            found[variant] = load_network(Path(name), variant)
        except UserError as error:
            missing[variant] = str(error)
    return found, missing


def compare(name: str, config: ArrayConfig, resolution: int | None = None) -> Comparison:
    """Return the cycles of a network on all machines.

    Parameters
    ----------
    name : str
        One of `golden.networks.FUSE_NETWORKS`, or a .tflite file.
    config : ArrayConfig
        `st_os` does not matter.
    resolution : int, optional
        Of a network by name.

    Raises
    ------
    UserError
        If there is no such network, or a sum could overflow the accumulators.
    """
    networks, missing = _variants(name, resolution)
    return Comparison(
        network=networks["baseline"].name,
        config=config,
        paper={
            variant: fuseconv.network_cycles(network, config.rows, config.cols)
            for variant, network in networks.items()
        },
        ours={
            machine: {
                variant: network_cycles(network, config.replace(st_os=st_os), mapping)
                for variant, network in networks.items()
            }
            for machine, st_os, mapping in MACHINES
        },
        missing=missing,
    )


def _speed_up(before: dict[str, int], after: dict[str, int], variant: str) -> float:
    """Return the speed-up from the unmodified network to a variant; 0 if there is no such."""
    return before["baseline"] / after[variant] if variant in after else 0.0


def _shown(speed_up: float, digits: int) -> str:
    return f"{speed_up:.{digits}f}" if speed_up else "-"


def sheets(found: Sequence[Comparison]) -> list[Sheet]:
    """Return the tables: cycles, speed-ups, and what they are made of."""
    config = found[0].config
    size = f"{config.rows} x {config.cols}, {config.accumulators} accumulator"
    size += "s" * (config.accumulators > 1)
    cycles: list[tuple[str, ...]] = []
    gains: list[tuple[str, ...]] = []
    parts: list[tuple[str, ...]] = []
    for one in found:
        for name, counts in (("paper's model", one.paper), *one.ours.items()):
            cells = (f"{counts[v]:,}" if v in counts else "-" for v in FUSE_VARIANTS)
            cycles.append((f"{one.network}, {name}", *cells))
        first, plain, first_st_os, last = (one.ours[machine] for machine, *_ in MACHINES)
        ways = (
            (one.paper, one.paper, "full"),
            (one.paper, one.paper, "half"),
            (first, first, "half"),
            (plain, plain, "half"),
            (first, first_st_os, "baseline"),
            (plain, last, "baseline"),
            (plain, last, "full"),
            (plain, last, "half"),
        )
        gains.append((one.network, *(_shown(_speed_up(*way), 2) for way in ways)))
        for variant in ("half", "full"):
            if variant in one.paper:
                values = (f"{value:.2f}" for value in one.parts(variant).values())
                parts.append((f"{one.network}, {variant}", *values))
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
        values = [
            _speed_up(one.ours["plain, textbook"], one.ours[machine], variant) for one in found
        ]
        places = [x + (index - 1.5) * width for x in range(len(found))]
        ours.bar(places, values, width, color=colour, label=label, hatch=hatch, edgecolor="white")
        for place, value in zip(places, values, strict=True):
            ours.text(place, value + 0.04, _shown(value, 1), ha="center", fontsize="x-small")
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

    values = [_speed_up(one.paper, one.paper, "half") for one in found]
    papers.bar(range(len(found)), values, 0.6, color=PALETTE[8])
    for x, value in enumerate(values):
        papers.text(x, value + 0.08, _shown(value, 1), ha="center", fontsize="x-small")
    papers.set_xticks(range(len(found)), names, fontsize="xx-small")
    papers.set_title(
        "FuSeConv paper's model: half\nover its own baseline (another scale)",
        fontsize="small", loc="left",
    )  # fmt: skip
    papers.set_ylim(0, max(1.2, papers.get_ylim()[1]) * 1.08)
    for axes in (ours, papers):
        axes.axhline(1, color="#000000", linewidth=0.8, linestyle=":")
        axes.spines[["top", "right"]].set_visible(False)
    return picture(drawing, file_format)


def _name(text: str) -> str:
    if text not in FUSE_NETWORKS and not text.endswith(".tflite"):
        legal = ", ".join(FUSE_NETWORKS)
        raise argparse.ArgumentTypeError(f"must be one of {legal}, or FILE.tflite, not {text!r}")
    return text


def _options(parser: OneLineParser) -> None:
    ArrayConfig.add_options(parser)
    parser.add_argument(
        "--networks", nargs="+", type=_name, metavar="NAME",
        default=[name for name in FUSE_NETWORKS if name != "resnet50"],
        help=f"some of {', '.join(FUSE_NETWORKS)}, or int8 models, FILE.tflite",
    )  # fmt: skip
    parser.add_argument(
        "--resolution", type=int, metavar="N", default=argparse.SUPPRESS,
        help="height and width of the input (default: 224)",
    )  # fmt: skip


def _report(arguments: argparse.Namespace) -> list[Comparison]:
    config = ArrayConfig.from_options(arguments)
    resolution = getattr(arguments, "resolution", None)
    return [compare(name, config, resolution) for name in arguments.networks]


def _page(found: list[Comparison]) -> Page:
    return Page(
        tables=sheets(found),
        data={"comparisons": [one.to_dict() for one in found]},
        notes=[
            "textbook: pixels on rows, channels on columns, depthwise block-diagonal or as streams",
            "best: every mapping of golden.mapping, by least cycles",
            "speed-ups: over the unmodified network, in the paper's model or on the plain core",
            *(
                f"{one.network} has no variant {variant}: {why}"
                for one in found
                for variant, why in one.missing.items()
            ),
        ],
        plot=lambda kind: figure(found, kind),
    )


COMMAND = Command(
    name="sim.compare",
    about="Compare networks in the paper's model, on a plain and on an ST-OS core (always both, "
    "whatever --st-os says).",
    options=_options,
    report=_report,
    page=_page,
    reads=("networks",),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
