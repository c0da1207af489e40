"""What a run of a network shows: every operator, the totals, and the outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from golden.int8.array_operators import ArrayOperator, Conv2D, DepthwiseConv2D, FuseConv2D
from golden.int8.graph import Graph
from golden.int8.operators import Operator
from golden.int8.tensor import extent
from hw.config import ArrayConfig
from report.tables import Sheet

from .cost import LayerReport
from .network import NetworkReport
from .results import Result

__all__ = ["Ran", "Report", "notes", "sheet"]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One operator of a run.

    Parameters
    ----------
    name : str
        As in ``op03_ADD``.
    operator : Operator
    cost : LayerReport, optional
        Of an operator with multiply-accumulates: its mapping, and so the predicted cycles.
    cycles : int, optional
        Clock cycles of the RTL, if it ran there: then all sums were compared and equal.
    compared : int
        Number of sums that were compared.
    output : int8 or float32 array
        Batch included, as inside the graph.
    """

    name: str
    operator: Operator
    cost: LayerReport | None
    cycles: int | None
    compared: int
    output: NDArray[Any] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        one, cost = self.operator, self.cost
        known = cost.to_dict() if cost else {}
        names = (
            "lowering", "mapping", "utilisation", "time", "bound", "stream_bytes", "dram_bytes",
        )  # fmt: skip
        return {
            "name": self.name,
            "operator": one.kind,
            "detail": one.detail,
            "inputs": [tensor.shape for tensor in one.inputs],
            "output": one.output.shape,
            "macs": known.get("macs", 0),
            "host_operations": one.host_operations,
            "rtl_cycles": self.cycles,
            "predicted_cycles": known.get("cycles"),
            **{name: known.get(name) for name in names},
            "compared": self.compared,
            "exact": None if self.cycles is None else True,
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """A network that ran.

    Parameters
    ----------
    cost : NetworkReport
        The layers with multiply-accumulates, by the model.
    source : str
        The inputs in words.
    graph, original : Graph
        What ran, and what is in the file.
    ran : tuple of Ran
        Every operator.
    results : tuple of Result
        The network's outputs.
    left : dict of str to str
        Depthwise layers that --fuse left as they are, and why.
    folded : Graph, optional
        With --fold, what is in the file without its constant channels.
    output : Path, optional
        Where the outputs go.
    """

    cost: NetworkReport
    source: str
    graph: Graph
    original: Graph
    ran: tuple[Ran, ...]
    results: tuple[Result, ...]
    left: dict[str, str]
    folded: Graph | None
    output: Path | None = None

    @property
    def on_rtl(self) -> tuple[Ran, ...]:
        """The operators that ran on the RTL."""
        return tuple(one for one in self.ran if one.cycles is not None)

    @property
    def changed(self) -> bool:
        """Whether the network is another one, for its outputs, too."""
        return self.graph is not (self.folded or self.original)

    @property
    def cycles(self) -> int | None:
        """Clock cycles of the RTL; None unless all layers ran there."""
        if len(self.on_rtl) < len(self.cost.layers):
            return None
        return sum(one.cycles or 0 for one in self.on_rtl)

    def predict(self, graph: Graph, config: ArrayConfig, *kinds: type[Operator]) -> int:
        """Return the cycles of a graph's operators of some kinds, by the model."""
        return sum(
            one.plan(config, self.cost.mapping).cycles
            for one in graph.operators
            if isinstance(one, ArrayOperator) and isinstance(one, kinds)
        )

    @property
    def depthwise(self) -> tuple[int, int, int] | None:
        """Depthwise and FuSe layers: how many, their cycles, and those on a plain core."""
        kinds = DepthwiseConv2D, FuseConv2D
        count = sum(isinstance(one, kinds) for one in self.graph.operators)
        if not (count and self.cost.config.st_os):
            return None
        plain = self.cost.config.replace(st_os=False)
        return (
            count,
            self.predict(self.graph, self.cost.config, *kinds),
            self.predict(self.graph, plain, *kinds),
        )

    @property
    def on_host(self) -> tuple[Ran, ...]:
        """The operators that are golden's."""
        return tuple(one for one in self.ran if one.cost is None)

    @property
    def host_operations(self) -> int:
        """Elements that golden computed or moved."""
        return sum(one.operator.host_operations for one in self.ran)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        depthwise, cost = self.depthwise, self.cost
        return {
            "model": cost.network.name,
            "input": self.source,
            "config": asdict(cost.config),
            "mapping": cost.mapping,
            "dram_bytes_per_cycle": cost.memory.dram_bytes_per_cycle,
            "activations_on_chip": cost.memory.activations_on_chip,
            "macs": cost.macs,
            "rtl_cycles": self.cycles,
            "predicted_cycles": cost.cycles,
            "time": cost.time,
            "unmodified_predicted_cycles": self.predict(self.original, cost.config, ArrayOperator),
            "utilisation": cost.utilisation,
            "depthwise": depthwise
            and dict(zip(("layers", "cycles", "plain_cycles"), depthwise, strict=True)),
            "host_operations": self.host_operations,
            "not_fused": self.left,
            "folded": self.folded
            and {
                "macs": self.folded.network("").macs,
                "predicted_cycles": self.predict(self.folded, cost.config, ArrayOperator),
            },
            "compared": sum(one.compared for one in self.ran),
            "output": self.results[0].value.tolist(),
            "classes": [
                {"class": index, self.results[0].tensor.dtype: value, "score": score}
                for index, value, score in self.results[0].classes
            ],
            "outputs": [one.to_dict() for one in self.results],
            "layers": [one.to_dict() for one in self.ran],
        }


def sheet(report: Report) -> Sheet:
    """Return the table of a run."""
    cost, on_rtl = report.cost, bool(report.on_rtl)
    dram = cost.memory.dram_bytes_per_cycle is not None
    rows: list[tuple[str, ...]] = []
    for ran in report.ran:
        one, layer, done = ran.operator, ran.cost, ran.cycles is not None
        row = [
            ran.name,
            one.detail,
            _extents([extent(tensor.shape) for tensor in one.inputs]),
            extent(one.output.shape),
        ]
        if layer:
            row += [layer.plan.name, f"{layer.macs:,}"]
            row += [f"{ran.cycles:,}" if done else "-"] * on_rtl
            row += [f"{layer.cycles:,}"] + [f"{layer.time:,.0f}"] * dram
            row += [f"{100 * layer.utilisation:.1f} %", layer.bound]
            row += ["yes" if done else "-"] * on_rtl
        else:
            row += ["host", *[""] * (4 + dram + 2 * on_rtl)]
        rows.append(tuple(row))
    whole = report.cycles is not None
    used = f"{100 * cost.utilisation:.1f} %" if cost.layers else ""
    rows.append(
        (
            "total", "", "", "", "", f"{cost.macs:,}",
            *([f"{report.cycles:,}" if whole else "-"] * on_rtl),
            f"{cost.cycles:,}", *([f"{cost.time:,.0f}"] * dram), used, "",
            *(["yes" if whole else "-"] * on_rtl),
        )
    )  # fmt: skip
    columns = (
        "layer", "window", "input", "output", "lowering", "MACs", *(["RTL cycles"] * on_rtl),
        "predicted", *(["with DRAM"] * dram), "used", "bound", *(["exact"] * on_rtl),
    )  # fmt: skip
    return Sheet(title=cost.title, columns=columns, rows=rows)


def _extents(found: list[str]) -> str:
    """Return shapes for people, those that are the same together."""
    if len(found) > 2 and len(set(found)) == 1:
        return f"{len(found)} x {found[0]}"
    return " + ".join(found)


def notes(report: Report) -> Iterator[str]:
    """Yield the lines under the table."""
    yield f"input: {report.source}"
    if report.on_rtl:
        compared = sum(one.compared for one in report.ran)
        count = len(report.on_rtl)
        yield (
            f"RTL: {count} layer{'s' * (count > 1)}, {compared:,} sums compared with golden, all "
            "equal; cycles as predicted in every layer"
        )
    else:
        yield "golden only: nothing ran on the RTL, cycles are the exact model's"
    if report.on_host:
        kinds = Counter(one.operator.kind for one in report.on_host)
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        count = len(report.on_host)
        yield (
            f"host: {count} operator{'s' * (count > 1)} of {len(report.ran)} in golden, "
            f"{report.host_operations:,} elements computed or moved, in no cycle count: {listed}"
        )
    summed = sum(one.operator.host_operations for one in report.ran if one.cost)
    if summed:
        yield f"{summed:,} of the host's elements are summed up for the zero points of weights"
    if report.folded:
        yield from _folding(report)
    if report.changed:
        before = report.predict(report.original, report.cost.config, ArrayOperator)
        yield (
            f"unmodified network, same array: {before:,} cycles; changed {report.cost.cycles:,}, "
            f"{_times(before / report.cost.cycles)} (without training: exact, but not accurate)"
        )
        points, left = (
            sum(isinstance(one, Conv2D) and one.kernel == (1, 1) for one in graph.operators)
            for graph in (report.original, report.graph)
        )
        if left < points:
            yield f"{points - left} of {points} 1x1 convolutions are ABConv"
    for name, why in report.left.items():
        yield f"{name} stays depthwise: {why}"
    depthwise = report.depthwise
    if depthwise:
        count, cycles, plain = depthwise
        fused = any(isinstance(one, FuseConv2D) for one in report.graph.operators)
        kind = "FuSe" if fused else "depthwise"
        yield (
            f"{count} {kind} layer{'s' * (count > 1)}: {cycles:,} cycles; on the plain array, "
            f"{report.cost.mapping} mapping, {plain:,}: ST-OS is {_times(plain / cycles)}"
        )
    for number, one in enumerate(report.results):
        if len(report.results) > 1:
            yield f"output {number}: {extent(one.value.shape)} {one.tensor.dtype}"
        elif not one.is_row:
            yield f"output: {extent(one.value.shape)}"
        yield from one.lines()


def _folding(report: Report) -> Iterator[str]:
    """Yield what folding has brought."""
    assert report.folded
    pairs = [
        (graph.network("").macs, report.predict(graph, report.cost.config, ArrayOperator))
        for graph in (report.original, report.folded)
    ]  # fmt: skip
    (macs, cycles), (less_macs, less_cycles) = pairs
    yield (
        f"folded: channels that are the same for every input, or read by nothing, are left out: "
        f"{macs:,} to {less_macs:,} MACs, {cycles:,} to {less_cycles:,} cycles; every output stays "
        "the same"
    )


def _times(ratio: float) -> str:
    return f"{ratio:.2f} times as fast"
