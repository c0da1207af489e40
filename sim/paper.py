"""The papers' numbers beside ours: ``python -m sim.paper fuseconv`` and ``... abconv``.

The analytical model here is that of the FuSeConv paper (DATE 2021, arXiv 2105.13434, and the code
its authors released), kept for reproduction; our own machine is in `sim.network`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from golden.abconv import intensity, select_groups
from golden.networks import (
    ABCONV_STEPS,
    FUSE_VARIANTS,
    Layer,
    Network,
    abconv_layers,
    build,
    counted,
)
from hw.cli import OneLineParser, Sheet, add_outputs, outputs, publish, run
from hw.config import ArrayConfig

from . import published
from .network import layer_report, network_report

__all__ = [
    "Item",
    "abconv_items",
    "fuseconv_items",
    "gemm_cycles",
    "layer_cycles",
    "main",
    "network_cycles",
    "notes",
    "sheets",
    "stream_cycles",
]


def gemm_cycles(pixels: float, depth: int, filters: int, rows: int, cols: int) -> int:
    """Return the cycles of a GEMM: ``depth + r + c - 1`` for every fold of r x c outputs."""
    full_r, rest_r = divmod(pixels, rows)
    full_c, rest_c = divmod(filters, cols)
    cycles = full_r * full_c * (depth + rows + cols - 1)
    if rest_r:
        cycles += full_c * (depth + rest_r + cols - 1)
    if rest_c:
        cycles += full_r * (depth + rows + rest_c - 1)
    if rest_r and rest_c:
        cycles += depth + rest_r + rest_c - 1
    return int(cycles)


def stream_cycles(
    lines: int, length: int, k: int, stride: int, channels: int, rows: int, cols: int
) -> int:
    """Return the cycles of 1-D convolutions on ST-OS: `lines` signals of a padded `length`."""
    folds = math.ceil(lines * channels / rows)
    return math.ceil(folds / stride * (cols + k) * math.ceil(length / cols))


def layer_cycles(layer: Layer, rows: int, cols: int, *, released: bool = False) -> int:
    """Return the cycles of a layer in the paper's model.

    Parameters
    ----------
    layer : Layer
    rows, cols : int
    released : bool
        Divide as the released code does, in integers. The published numbers come from real
        division: a layer of stride 2 has fractional output sizes then.
    """
    (height, width), k, stride = layer.size, layer.kernel, layer.stride
    if layer.kind in ("fuse_half", "fuse_full"):
        pad, each = 2 * layer.padding, layer.c_out // 2
        row = stream_cycles(height, width + pad, k, stride, each, rows, cols)
        return row + stream_cycles(width, height + pad, k, stride, each, rows, cols)
    pixels = 1.0
    for size in (height, width):
        reach = size + 2 * layer.padding - k + stride
        pixels *= reach // stride if released else reach / stride
    if layer.kind == "depthwise":
        return layer.c_in * gemm_cycles(pixels, k * k, 1, rows, cols)
    return gemm_cycles(pixels, k * k * layer.c_in, layer.c_out, rows, cols)


def network_cycles(network: Network, rows: int, cols: int, *, released: bool = False) -> int:
    """Return the cycles of a network in the paper's model."""
    return sum(layer_cycles(layer, rows, cols, released=released) for layer in network.layers)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One published number and ours.

    Parameters
    ----------
    table, row, quantity : str
        Where it stands.
    published : str
        As printed.
    ours : float
    basis : str
        What `published` is: ``"printed"``; ``"formula"``, a formula of the paper;
        ``"reconstructed"`` from what is printed; or ``"latency"`` of another machine.
    """

    table: str
    row: str
    quantity: str
    published: str
    ours: float
    basis: str = "printed"

    @property
    def digits(self) -> int:
        """Digits behind the point, as printed."""
        return len(self.published.partition(".")[2])

    @property
    def verdict(self) -> str:
        """Whether ours is the same at the printed digits, or by how much it differs.

        ``match``; ``match (cut off)``, as if printed without rounding; ``last digit``, less than
        one of it away; or the difference in percent.
        """
        unit = 10**self.digits
        printed = round(float(self.published) * unit)
        if self.basis != "latency":
            if f"{self.ours:.{self.digits}f}" == self.published:
                return "match"
            if math.floor(self.ours * unit) == printed:
                return "match (cut off)"
            if abs(self.ours * unit - printed) < 1:
                return "last digit"
        return f"{100 * (self.ours / float(self.published) - 1):+.1f} %"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self) | {"verdict": self.verdict}


def fuseconv_items() -> list[Item]:
    """Return every number of the FuSeConv paper that the model gives, and the released code's."""
    items: list[Item] = []
    networks = {
        (ours, variant): build(ours, variant)
        for ours in published.FUSECONV_NAMES.values()
        for variant in FUSE_VARIANTS
    }
    table = "Table I, 64 x 64"
    for (name, variant), (macs, parameters, cycles, gain) in published.FUSECONV_TABLE1.items():
        ours = published.FUSECONV_NAMES[name]
        network, row = networks[ours, variant], f"{name} {variant}"
        count = network_cycles(network, 64, 64)
        base = network_cycles(networks[ours, "baseline"], 64, 64)
        found: list[tuple[str, str, float]] = [
            ("MMACs", macs, network.macs / 1e6),
            ("Mparams", parameters, network.parameters / 1e6),
            ("cycles", str(cycles), count),
            ("speed-up", gain, base / count),
        ]
        items += [
            Item(table=table, row=row, quantity=quantity, published=text, ours=value)
            for quantity, text, value in found
            if text
        ]
    table = "Array sizes, speed-up of full"
    for name, gains in published.FUSECONV_SPEEDUPS.items():
        ours = published.FUSECONV_NAMES[name]
        for size, text in zip(published.ARRAY_SIZES, gains, strict=True):
            base, full = (
                network_cycles(networks[ours, variant], size, size)
                for variant in ("baseline", "full")
            )
            items.append(
                Item(
                    table=table, row=name, quantity=f"{size} x {size}", published=text,
                    ours=base / full,
                )
            )  # fmt: skip
    table = "Released code"
    for (name, variant), (at_32, at_64, macs_now, held) in published.FUSECONV_RELEASED.items():
        network = networks[published.FUSECONV_NAMES[name], variant]
        exact: list[tuple[str, int, int]] = [
            ("cycles at 32", at_32, network_cycles(network, 32, 32, released=True)),
            ("cycles at 64", at_64, network_cycles(network, 64, 64, released=True)),
            ("MACs", macs_now, network.macs),
            ("parameters", held, network.parameters),
        ]
        items += [
            Item(
                table=table, row=f"{name} {variant}", quantity=quantity, published=str(number),
                ours=value,
            )
            for quantity, number, value in exact
        ]  # fmt: skip
    return items


#: The machine that stands beside the ABConv paper's latencies: as many multipliers as its
#: Ethos-U65-256; only weights come from memory, as much per cycle as its pointwise layer needs.
ABCONV_MACHINE = ArrayConfig(rows=16, cols=16)
ABCONV_BANDWIDTH = 2.32  # bytes per cycle
ABCONV_CLOCK = 1e9  # Hz
FIXED_GROUPS = 32  # of the rows of Table 2 without group selection


def abconv_items() -> list[Item]:
    """Return every number of the ABConv paper but accuracies: nothing is trained here."""
    memory: dict[str, Any] = {
        "dram_bytes_per_cycle": ABCONV_BANDWIDTH, "activations_on_chip": True,
    }  # fmt: skip
    items: list[Item] = []
    for size, c_in, c_out, k, g in ((4, 1024, 1024, 1, 8), (8, 256, 512, 3, 4)):
        for kind in ("conv", "group", "abconv", "abconv_exp"):
            groups = 1 if kind == "conv" else g
            layers = abconv_layers(size, c_in, c_out, k, kind, groups)
            formula, count = intensity(c_in, c_out, k, size, kind, groups), counted(layers)
            row = f"{kind}, {size}x{size}, {c_in} to {c_out}, {k}x{k}, g = {groups}"
            for quantity in ("macs", "weights", "activations"):
                items.append(
                    Item(
                        table="Table 1: its formulas, and counts of the layers", row=row,
                        quantity=quantity, published=str(getattr(formula, quantity)),
                        ours=getattr(count, quantity), basis="formula",
                    )
                )  # fmt: skip
    table = "Table 2: 4 x 4, 1024 to 1024"
    for (
        kind,
        g,
        macs,
        weights,
        of_weights,
        of_activations,
        whole,
        latency,
    ) in published.ABCONV_TABLE2:
        layers = abconv_layers(4, 1024, 1024, 1, kind, g)
        ours = counted(layers)
        time = sum(layer_report(layer, ABCONV_MACHINE, **memory).time for layer in layers)
        found: list[tuple[str, str, float]] = [
            ("MACs", str(macs), ours.macs),
            ("params", str(weights), ours.weights),
            ("weight AI", of_weights, ours.weight),
            ("act. AI", of_activations, ours.activation),
            ("whole AI", whole, ours.whole),
            ("us", latency, 1e6 * time / ABCONV_CLOCK),
        ]
        if kind != "conv" and g != FIXED_GROUPS:
            selected = select_groups(1024, 1024, 1, 4, *ABCONV_STEPS, kind == "abconv_exp")
            found.insert(0, ("g", str(g), selected.g))
        items += [
            Item(
                table=table, row=f"{kind} g = {g}", quantity=quantity, published=text, ours=value,
                basis="latency" if quantity == "us" else "printed",
            )
            for quantity, text, value in found
        ]  # fmt: skip
    for number, name, row, pattern, mega, parameters, latency in published.ABCONV_MODELS:
        network = build(name, pattern)
        time = network_report(network, ABCONV_MACHINE, **memory).time
        values: list[tuple[str, str, float]] = [
            ("MMACs", mega, network.macs / 1e6),
            ("Mparams", parameters, (network.parameters + network.statistics) / 1e6),
        ]
        if number != "5":  # those latencies are a GPU's
            values.append(("ms", latency, 1e3 * time / ABCONV_CLOCK))
        items += [
            Item(
                table=f"Table {number}: CIFAR-100", row=f"{name} {row}", quantity=quantity,
                published=text, ours=value, basis="latency" if quantity == "ms" else "printed",
            )
            for quantity, text, value in values
            if text
        ]  # fmt: skip
    for name, pattern, layer_name, g, c_mid in published.SELECTED_GROUPS:
        by_name = {layer.name: layer for layer in build(name, pattern).layers}
        layer = by_name[layer_name]
        found = [("g", str(g), layer.groups)]
        if c_mid:
            found.append(("c_mid", str(c_mid), layer.c_in // layer.groups))
        items += [
            Item(
                table="Selected groups", row=f"{name} {pattern} {layer_name}", quantity=quantity,
                published=text, ours=value, basis="reconstructed",
            )
            for quantity, text, value in found
        ]  # fmt: skip
    return items


def sheets(items: Sequence[Item]) -> list[Sheet]:
    """Return one table per published table, one column group per quantity."""
    found: list[Sheet] = []
    for table in dict.fromkeys(item.table for item in items):
        mine = {(item.row, item.quantity): item for item in items if item.table == table}
        quantities = list(dict.fromkeys(quantity for _, quantity in mine))
        rows = []
        for row in dict.fromkeys(row for row, _ in mine):
            cells = [row]
            for quantity in quantities:
                item = mine.get((row, quantity))
                if item is None:
                    cells += ["", "", ""]
                    continue
                whole = item.digits == 0
                paper = f"{int(item.published):,}" if whole else item.published
                digits = 1 if whole and item.ours % 1 else item.digits
                cells += [paper, f"{item.ours:,.{digits}f}", item.verdict]
            rows.append(tuple(cells))
        columns = [word for quantity in quantities for word in (f"{quantity}, paper", "ours", "")]
        found.append(Sheet(title=table, columns=("row", *columns), rows=rows))
    return found


def _count(items: Sequence[Item]) -> str:
    """Return how many numbers match, and how many nearly."""
    verdicts = [item.verdict for item in items]
    text = f"{verdicts.count('match')} of {len(items)} match at the printed digits"
    for verdict, words in (
        ("match (cut off)", "if cut off there instead of rounded"),
        ("last digit", "but for the last digit"),
    ):
        if verdict in verdicts:
            text += f", {verdicts.count(verdict)} more {words}"
    return text


def notes(items: Sequence[Item], which: str) -> list[str]:
    """Return how many numbers match, and why the others do not."""
    by_basis = {
        basis: [item for item in items if item.basis == basis]
        for basis in ("printed", "formula", "reconstructed")
    }
    if which == "fuseconv":
        return [
            f"{_count(by_basis['printed'])}.",
            "MMACs differ: the paper's tool counts more than convolutions and linear layers.",
            "The counts of the released code agree exactly.",
        ]
    machine = f"{ABCONV_MACHINE.rows} x {ABCONV_MACHINE.cols}, {ABCONV_CLOCK / 1e9:.0f} GHz"
    return [
        f"Printed numbers: {_count(by_basis['printed'])} (46.447 as 46.5, 36.747 as 36.8).",
        f"Table 1's formulas: {_count(by_basis['formula'])} of our layers.",
        f"Groups, reconstructed from the printed counts: {_count(by_basis['reconstructed'])}.",
        "Parameters include the stored means and variances of batch normalization.",
        "Latencies differ because the paper's are those of an Ethos-U65-256.",
        f"Ours: exact cycles, {machine}, weights from DRAM, activations on chip.",
        f"Its {ABCONV_BANDWIDTH} bytes per cycle are fitted to the first row of Table 2, no other.",
        "Not reproduced: ABConv-exp slower with 32 groups than with 8. Here both fill the array.",
        "Not here: accuracies (nothing is trained), and Table 5's latencies (a GPU's).",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = OneLineParser("sim.paper", "Print every published number of a paper next to ours.")
    papers = {"fuseconv": fuseconv_items, "abconv": abconv_items}
    parser.add_argument("paper", choices=papers, help="which paper")
    add_outputs(parser, "json", "markdown")
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_args(words)
    try:
        paths = outputs(arguments)
    except ValueError as error:
        parser.error(str(error))
    items = papers[arguments.paper]()
    publish(
        parser,
        paths,
        sheets(items),
        {"items": [item.to_dict() for item in items]},
        notes=notes(items, arguments.paper),
        words=words,
    )
    return 0


if __name__ == "__main__":
    run(main, "sim.paper")
