"""Run a quantized network on the RTL: ``python -m sim.run MODEL.tflite --input X``."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from golden.arith.wrap import IntArray
from golden.int8 import transform
from golden.int8.array_operators import ArrayOperator
from golden.int8.graph import Graph, Step
from golden.nets.layers import check_int8
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.registers import COUNTERS
from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page, without
from report.errors import Failure, UserError

from .accelerator.run import AcceleratorRun
from .accelerator.run import run as run_accelerator
from .cost import LayerReport, Memory, layer_report
from .inputs import add_inputs, inputs_of, labels_of, read_model
from .network import NetworkReport, add_mapping, timeline
from .results import Result, npz, place_sheet
from .rtl import RtlError, Simulator
from .run_report import Ran, Report, notes, sheet

__all__ = ["COMMAND", "Mismatch", "main", "run"]


class Mismatch(Failure):
    """The RTL did something else than the model of it; the text names the layer."""

    def __init__(self, index: int, text: str) -> None:
        super().__init__(text)
        self.index = index


def run(
    graph: Graph,
    inputs: Sequence[NDArray[Any]],
    config: ArrayConfig,
    *,
    simulator: Simulator | None = None,
    chosen: Collection[int] | None = None,
    mapping: str = "best",
    memory: Memory | None = None,
) -> Iterator[Ran]:
    """Run a network operator by operator, its multiply-accumulates on the RTL.

    The sums of every layer on the RTL are compared with golden's, and its cycles with the model's,
    before the next layer starts; requantization and all other operators are golden's.

    Parameters
    ----------
    graph : Graph
    inputs : sequence of arrays
        The network's inputs.
    config : ArrayConfig
    simulator : Simulator, optional
        The RTL; without it everything is golden's.
    chosen : collection of int, optional
        Operators that run on the RTL; all with multiply-accumulates if left out.
    mapping : str
        One of `golden.mapping.MAPPINGS`.
    memory : Memory, optional
        For the time with DRAM.

    Raises
    ------
    Mismatch
        If a sum or the number of cycles differs, or the core breaks a rule of its streams.
    UserError
        If the simulator is one of another array, or as `Graph.steps`.
    """
    if simulator and simulator.config != config:
        raise UserError(f"the simulator is one of {simulator.config}, not of {config}")
    layers = {layer.name: layer for layer in graph.layers}
    for index, step in enumerate(graph.steps(*inputs)):
        one, output, cost, cycles, compared = step.operator, step.output, None, None, 0
        if isinstance(one, ArrayOperator):
            cost = layer_report(layers[step.name], config, mapping=mapping, memory=memory)
            if simulator and (chosen is None or index in chosen):
                sums, cycles = _on_rtl(index, step, cost, simulator)
                output, compared = one.finish(sums, step.inputs[0]), sums.size
        yield Ran(
            name=step.name, operator=one, cost=cost, cycles=cycles, compared=compared, output=output
        )


def _on_rtl(
    index: int, step: Step, cost: LayerReport, simulator: Simulator
) -> tuple[IntArray, int]:
    """Return one layer's sums and cycles from the RTL, after comparing both."""
    one, wanted = step.operator, step.sums
    assert isinstance(one, ArrayOperator) and wanted is not None
    lowering = cost.plan.tiles(one.operands(step.inputs[0]))
    try:
        result = simulator.run(lowering.tiles)
    except RtlError as error:
        raise Mismatch(index, f"{step.name}: {error}") from None
    beats, wanted_beats = map(len, result.outputs), map(len, lowering.places)
    if list(beats) != list(wanted_beats):
        raise Mismatch(index, f"{step.name}: tlast is not on the last beat of every command")
    sums = lowering.collect(result.outputs)
    different = np.argwhere(sums != wanted)
    if len(different):
        first = tuple(different[0].tolist())
        raise Mismatch(
            index,
            f"{step.name}: sum {list(first)} is {sums[first]} on the RTL and {wanted[first]} in "
            f"golden; {len(different):,} of {sums.size:,} differ",
        )
    if result.cycles != cost.cycles:
        raise Mismatch(
            index,
            f"{step.name}: {result.cycles:,} cycles on the RTL, {cost.cycles:,} by the cycle model",
        )
    return sums, result.cycles


def _layers(text: str) -> list[int]:
    try:
        found: list[int] = []
        for word in text.split(","):
            first, dash, last = word.partition("-")
            span = range(int(first), int(last if dash else first) + 1)
            if not 0 <= span.start < span.stop <= 1 << 16:
                raise ValueError
            found += span
        return found
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be layers like 3,5-7, not {text!r}") from None


def _groups(text: str) -> int:
    try:
        groups = int(text)
    except ValueError:
        groups = 0
    if not 2 <= groups <= 65536:
        raise argparse.ArgumentTypeError(
            f"must be a number of groups, 2 to 65536, not {text!r} (the model comes before it)"
        )
    return groups


def _chosen(graph: Graph, wanted: Sequence[int]) -> list[int]:
    """Return the layers to run on the RTL.

    Raises
    ------
    UserError
        If one is not in the network, or none has multiply-accumulates.
    """
    count = len(graph.operators)
    if max(wanted) >= count:
        raise UserError(f"--layers must be from 0 to {count - 1}, not {max(wanted)}")
    chosen = [index for index in wanted if isinstance(graph.operators[index], ArrayOperator)]
    if not chosen:
        names = ", ".join(graph.names[index] for index in wanted)
        raise UserError(f"--layers has no layer with multiply-accumulates: {names}")
    return chosen


def _check_widths(graph: Graph, config: ArrayConfig) -> None:
    """Raise `UserError` if int8 operands or the sums of a layer do not fit the array."""
    check_int8(config)
    some = [one for one in graph.operators if isinstance(one, ArrayOperator)]
    least = max((one.acc_width for one in some), default=0)
    if least > config.acc_width:
        raise UserError(
            f"--acc-width must be at least {least} for this network, not {config.acc_width}"
        )


def _changed(graph: Graph, arguments: argparse.Namespace) -> tuple[Graph, str]:
    """Return the network with the changes that the options ask for, and these in words."""
    words = ["folded"] if arguments.fold else []
    if hasattr(arguments, "fuse"):
        graph = transform.fuse(graph, arguments.fuse)
        words.append(f"FuSe {arguments.fuse}")
    for name, what, expand in (("abconv", "ABConv", False), ("abconv_exp", "ABConv-exp", True)):
        if hasattr(arguments, name):
            groups = getattr(arguments, name)
            graph = transform.abconv(graph, groups, expand=expand)
            words.append(f"{what} g={groups}")
    return graph, ", ".join(words)


def _alone(words: Sequence[str], index: int) -> str:
    """Return the command line that runs one layer."""
    kept = without(words, "--layers", "--json", "--markdown", "--plot", "--output")
    return shlex.join(["python", "-m", "sim.run", *kept, "--layers", str(index)])


def _options(parser: OneLineParser) -> None:
    ArrayConfig.add_options(parser)
    parser.add_argument(
        "--accelerator", action="store_true",
        help="run all of it on the accelerator, from memory to memory, not on the array alone",
    )  # fmt: skip
    AcceleratorConfig.add_options(parser, "with --accelerator only")
    memory = parser.add_argument_group("memory of the accelerator", "with --accelerator only")
    memory.add_argument(
        "--memory-latency", type=int, default=argparse.SUPPRESS, metavar="CYCLES",
        help="from a read's address to its data, then a beat per cycle (default: 40)",
    )  # fmt: skip
    memory.add_argument(
        "--memory-stall", type=float, default=argparse.SUPPRESS, metavar="P",
        help="probability that a handshake pauses in a cycle (default: 0)",
    )  # fmt: skip
    parser.add_argument("model", type=Path, metavar="MODEL.tflite", help="the network")
    add_inputs(parser)
    parser.add_argument(
        "--output", type=Path, metavar="FILE.npz", default=argparse.SUPPRESS,
        help="write all outputs of the network, output0 and so on",
    )  # fmt: skip
    parser.add_argument(
        "--layers", type=_layers, metavar="3,5-7", default=argparse.SUPPRESS,
        help="run only these on the RTL, the others in golden; as numbered in the table "
        "(default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--golden-only", action="store_true", help="no RTL: results and predicted cycles"
    )
    add_mapping(parser)
    Memory.add_options(parser)
    parser.add_argument(
        "--fold", action="store_true",
        help="leave out channels that are the same for every input: fewer MACs, the same outputs",
    )  # fmt: skip
    change = parser.add_argument_group("changes to the network (accuracy is not kept)")
    change.add_argument(
        "--fuse", choices=("half", "full"), default=argparse.SUPPRESS,
        help="replace every depthwise layer that it fits by FuSe half or full",
    )  # fmt: skip
    blocks = change.add_mutually_exclusive_group()
    for name, what in (("abconv", "ABConv"), ("abconv-exp", "ABConv-exp")):
        blocks.add_argument(
            f"--{name}", type=_groups, nargs="?", const=2, metavar="GROUPS",
            default=argparse.SUPPRESS,
            help=f"replace every 1x1 convolution whose channels GROUPS (2 if not given) divides by "
            f"{what}",
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A run on the accelerator, for its report.

    Parameters
    ----------
    ran : AcceleratorRun
    results : tuple of Result
    source, model : str
        The inputs, in words, and the name of the file.
    output : Path, optional
        Where the outputs are written.
    """

    ran: AcceleratorRun
    results: tuple[Result, ...]
    source: str
    model: str
    output: Path | None


def _on_accelerator(
    graph: Graph, inputs: list[NDArray[Any]], config: ArrayConfig, labels: list[str],
    sources: list[str], arguments: argparse.Namespace,
) -> Whole:  # fmt: skip
    """Run a network on the accelerator."""
    machine = AcceleratorConfig.from_options(config, arguments)
    latency = getattr(arguments, "memory_latency", 40)
    stall = getattr(arguments, "memory_stall", 0.0)
    if not 0 <= latency <= 10_000:
        raise UserError(f"--memory-latency must be 0 to 10000, not {latency}")
    if not 0 <= stall < 1:
        raise UserError(f"--memory-stall must be 0 to below 1, not {stall}")
    for name in ("layers", "golden_only"):
        if getattr(arguments, name, False):
            raise UserError(f"--{name.replace('_', '-')} is not for --accelerator")
    with Console(stderr=True).status(f"building and running the accelerator: {config}"):
        ran = run_accelerator(graph, inputs, machine, latency=latency, stall=stall)
    results = tuple(
        Result(tensor=tensor, value=value, labels=labels)
        for tensor, value in zip(graph.outputs, graph.results(ran.outputs), strict=True)
    )
    return Whole(
        ran=ran, results=results, source="; ".join(sources), model=arguments.model.name,
        output=getattr(arguments, "output", None),
    )  # fmt: skip


def _report(arguments: argparse.Namespace) -> Report | Whole:
    config, memory = ArrayConfig.from_options(arguments), Memory.from_options(arguments)
    AcceleratorConfig.refuse_without(arguments, arguments.accelerator)
    for name in ("memory_latency", "memory_stall"):
        if hasattr(arguments, name) and not arguments.accelerator:
            raise UserError(f"--{name.replace('_', '-')} is for --accelerator only")
    if arguments.golden_only and hasattr(arguments, "layers"):
        raise UserError("--layers is about the RTL, and --golden-only uses none")
    loaded = read_model(arguments.model)
    original = transform.recognize(loaded)
    folded = transform.recognize(transform.fold(loaded)) if arguments.fold else None
    graph, changes = _changed(folded or original, arguments)
    left = transform.unfit(folded or original, arguments.fuse) if hasattr(arguments, "fuse") else {}
    _check_widths(graph, config)
    chosen = _chosen(graph, arguments.layers) if hasattr(arguments, "layers") else None
    inputs, sources = inputs_of(graph, arguments)
    labels = labels_of(graph, arguments)
    if getattr(arguments, "output", Path("x.npz")).suffix != ".npz":
        raise UserError(f"--output FILE must end in .npz, not {arguments.output}")
    if arguments.accelerator:
        return _on_accelerator(graph, inputs, config, labels, sources, arguments)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    simulator, ran = None, []
    if not arguments.golden_only:
        with console.status(f"building the core: {config}"):
            simulator = Simulator(config)
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True,
        disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=len(graph.operators))
        running = run(
            graph, inputs, config, simulator=simulator, chosen=chosen, mapping=arguments.mapping,
            memory=memory,
        )  # fmt: skip
        try:
            for name in graph.names:
                bar.update(task, description=name)
                ran.append(next(running))
                bar.advance(task)
        except Mismatch as error:
            again = _alone(arguments.words, error.index)
            raise Failure(f"{error}\nsim.run: that layer alone: {again}") from None
    costs = tuple(one.cost for one in ran if one.cost)
    cost = NetworkReport(
        network=graph.network(arguments.model.name, changes),
        config=config,
        layers=costs,
        mapping=arguments.mapping,
        memory=memory,
    )
    computed = graph.values(inputs) | {one.operator.output: one.output for one in ran}
    results = tuple(
        Result(tensor=tensor, value=value, labels=labels)
        for tensor, value in zip(graph.outputs, graph.results(computed), strict=True)
    )
    return Report(
        cost=cost, source="; ".join(sources), graph=graph, original=original, ran=tuple(ran),
        results=results, left=left, folded=folded, output=getattr(arguments, "output", None),
    )  # fmt: skip


def _whole_page(report: Whole) -> Page:
    """Return the page of a run on the accelerator."""
    ran = report.ran
    counters, cycles = ran.result.counters, ran.result.cycles
    same = "as predicted" if ran.timing else "with random stalls"
    shares = ", ".join(
        f"{100 * counters[name] / cycles:.1f} % {text}" for name, text in COUNTERS.items()
    )
    told = [
        f"{report.model}, {report.source}",
        *(line for one in report.results if one.is_row for line in one.lines()),
        f"{cycles:,} cycles from start to done, {same}, memory latency {ran.latency}: {shares}",
        f"{counters['BYTES_READ']:,} bytes read, {counters['BYTES_WRITTEN']:,} written",
        "every tensor equals the golden model's, and nothing else in memory was written",
    ]
    if ran.program.after:
        told.append(f"the host did {', '.join(one.kind for one in ran.program.after)} after it")
    tables = [ran.sheet()]
    if any(not one.is_row for one in report.results):
        tables.append(place_sheet(report.results))
    data = ran.to_dict() | {"results": [one.to_dict() for one in report.results]}
    return Page(
        tables=tables, notes=told, data=data,
        files={report.output: npz(report.results)} if report.output else {},
    )  # fmt: skip


def _page(report: Report | Whole) -> Page:
    if isinstance(report, Whole):
        return _whole_page(report)
    tables = [sheet(report)]
    wide = [one for one in report.results if not one.is_row]
    if wide:
        tables.append(place_sheet(report.results))
    return Page(
        tables=tables, notes=list(notes(report)), data=report.to_dict(),
        plot=lambda kind: timeline(report.cost, kind),
        files={report.output: npz(report.results)} if report.output else {},
    )  # fmt: skip


COMMAND = Command(
    name="sim.run",
    about="Run a quantized TensorFlow Lite model on the generated RTL, bit for bit: "
    "multiply-accumulates on the Verilated core, everything else in the golden model.",
    options=_options,
    report=_report,
    page=_page,
    reads=("model", "input", "labels"),
    writes=("output",),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
