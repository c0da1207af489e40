"""The numbers of the ABConv paper (MLSys 2023 on-device intelligence workshop), and ours."""

from __future__ import annotations

from collections.abc import Iterator

from golden.nets.abconv import intensity, select_groups
from golden.nets.networks import ABCONV_STEPS, abconv_layers, build, counted
from hw.config import ArrayConfig

from ..cost import Memory, layer_report
from ..network import network_report
from . import published
from .item import Item

__all__ = ["BANDWIDTH", "CLOCK", "MACHINE", "items"]

#: The machine that stands beside the paper's latencies: as many multipliers as its Ethos-U65-256;
#: only weights come from memory, as much per cycle as its pointwise layer needs.
MACHINE = ArrayConfig(rows=16, cols=16)
BANDWIDTH = 2.32  # bytes per cycle
CLOCK = 1e9  # Hz
_MEMORY = Memory(dram_bytes_per_cycle=BANDWIDTH, activations_on_chip=True)
_FIXED_GROUPS = 32  # of the rows of Table 2 without group selection


def _formulas() -> Iterator[Item]:
    """Yield Table 1's formulas against counts of the layers."""
    for size, c_in, c_out, k, g in ((4, 1024, 1024, 1, 8), (8, 256, 512, 3, 4)):
        for kind in ("conv", "group", "abconv", "abconv_exp"):
            groups = 1 if kind == "conv" else g
            layers = abconv_layers(size, c_in, c_out, k, kind, groups)
            formula, count = intensity(c_in, c_out, k, size, kind, groups), counted(layers)
            for quantity in ("macs", "weights", "activations"):
                yield Item(
                    table="Table 1: its formulas, and counts of the layers",
                    row=f"{kind}, {size}x{size}, {c_in} to {c_out}, {k}x{k}, g = {groups}",
                    quantity=quantity, published=str(getattr(formula, quantity)),
                    ours=getattr(count, quantity), basis="formula",
                )  # fmt: skip


def _layers() -> Iterator[Item]:
    """Yield Table 2: one layer and what takes its place."""
    for kind, g, macs, weights, *printed in published.ABCONV_TABLE2:
        of_weights, of_activations, whole, latency = map(str, printed)
        layers = abconv_layers(4, 1024, 1024, 1, kind, g)
        ours = counted(layers)
        time = sum(layer_report(layer, MACHINE, memory=_MEMORY).time for layer in layers)
        found: list[tuple[str, str, float]] = [
            ("MACs", str(macs), ours.macs),
            ("params", str(weights), ours.weights),
            ("weight AI", of_weights, ours.weight),
            ("act. AI", of_activations, ours.activation),
            ("whole AI", whole, ours.whole),
            ("us", latency, 1e6 * time / CLOCK),
        ]
        if kind != "conv" and g != _FIXED_GROUPS:
            selected = select_groups(1024, 1024, 1, 4, *ABCONV_STEPS, kind == "abconv_exp")
            found.insert(0, ("g", str(g), selected.g))
        for quantity, text, value in found:
            yield Item(
                table="Table 2: 4 x 4, 1024 to 1024", row=f"{kind} g = {g}", quantity=quantity,
                published=text, ours=value, basis="latency" if quantity == "us" else "printed",
            )  # fmt: skip


def _networks() -> Iterator[Item]:
    """Yield Tables 3 to 5: whole networks."""
    for number, name, row, pattern, mega, parameters, latency in published.ABCONV_MODELS:
        network = build(name, pattern)
        time = network_report(network, MACHINE, memory=_MEMORY).time
        values: list[tuple[str, str, float]] = [
            ("MMACs", mega, network.macs / 1e6),
            ("Mparams", parameters, (network.parameters + network.statistics) / 1e6),
        ]
        if number != "5":  # those latencies are a GPU's
            values.append(("ms", latency, 1e3 * time / CLOCK))
        for quantity, text, value in values:
            if text:
                yield Item(
                    table=f"Table {number}: CIFAR-100", row=f"{name} {row}", quantity=quantity,
                    published=text, ours=value, basis="latency" if quantity == "ms" else "printed",
                )  # fmt: skip


def _groups() -> Iterator[Item]:
    """Yield the groups that the printed counts imply."""
    for name, pattern, layer_name, g, c_mid in published.SELECTED_GROUPS:
        layers = {layer.name: layer.workload for layer in build(name, pattern).layers}
        work = layers[layer_name]
        found = [("g", str(g), work.groups)]
        if c_mid:
            found.append(("c_mid", str(c_mid), work.c_in // work.groups))
        for quantity, text, value in found:
            yield Item(
                table="Selected groups", row=f"{name} {pattern} {layer_name}", quantity=quantity,
                published=text, ours=value, basis="reconstructed",
            )  # fmt: skip


def items() -> list[Item]:
    """Return every number of the paper but accuracies: nothing is trained here."""
    return [*_formulas(), *_layers(), *_networks(), *_groups()]
