"""Run an int8 network on the RTL, layer by layer: ``python -m sim.run MODEL.tflite --input X``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from golden import transform
from golden.graph import (
    ArrayOperator,
    Conv2D,
    DepthwiseConv2D,
    FuseConv2D,
    Graph,
    Operator,
    Step,
    extent,
)
from golden.mapping import MAPPINGS, Plan
from golden.quant import Int8Array
from golden.tile import IntArray
from hw.cli import (
    Sheet,
    add_outputs,
    config_from,
    config_parser,
    outputs,
    publish,
    without,
)
from hw.cli import run as run_command
from hw.config import ArrayConfig

from .inputs import read_input
from .rtl import RtlError, Simulator

__all__ = ["Layer", "Mismatch", "Report", "main", "run"]


class Mismatch(RuntimeError):
    """The RTL did something else than the model of it; the text names the layer."""

    def __init__(self, index: int, text: str) -> None:
        super().__init__(text)
        self.index = index


def _share(macs: int, config: ArrayConfig, cycles: int) -> float:
    """Return the share of the PEs' cycles that multiply operands."""
    return macs / (config.rows * config.cols * cycles) if cycles else 0.0


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operator of a run.

    Parameters
    ----------
    name : str
        As in ``op03_ADD``.
    operator : Operator
    plan : Plan, optional
        Mapping of an operator with multiply-accumulates, and so the predicted cycles.
    cycles : int, optional
        Clock cycles of the RTL, if it ran there: then all sums were compared and equal.
    compared : int
        Number of sums that were compared.
    output : int8 array
        Batch included.
    """

    name: str
    operator: Operator
    plan: Plan | None
    cycles: int | None
    compared: int
    output: Int8Array = field(repr=False)

    @property
    def macs(self) -> int:
        """Multiply-accumulates; padding counts."""
        return self.operator.macs if isinstance(self.operator, ArrayOperator) else 0

    @property
    def predicted(self) -> int:
        """Clock cycles by the model."""
        return self.plan.cycles if self.plan else 0

    @property
    def utilisation(self) -> float:
        """Share of the PEs' cycles that multiply operands of the operator."""
        return _share(self.macs, self.plan.config, self.predicted) if self.plan else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        one = self.operator
        return {
            "name": self.name,
            "operator": one.kind,
            "detail": one.detail,
            "inputs": [tensor.shape for tensor in one.inputs],
            "output": one.output.shape,
            "lowering": self.plan.name if self.plan else None,
            "mapping": str(self.plan) if self.plan else None,
            "macs": self.macs,
            "rtl_cycles": self.cycles,
            "predicted_cycles": self.predicted if self.plan else None,
            "utilisation": self.utilisation if self.plan else None,
            "compared": self.compared,
            "exact": None if self.cycles is None else True,
        }


def run(
    graph: Graph,
    x: Int8Array,
    config: ArrayConfig,
    *,
    simulator: Simulator | None = None,
    chosen: Collection[int] | None = None,
    mapping: str = "best",
) -> Iterator[Layer]:
    """Run a network operator by operator, its multiply-accumulates on the RTL.

    The sums of every layer on the RTL are compared with golden's, and its cycles with the model's,
    before the next layer starts; requantization and all other operators are golden's.

    Parameters
    ----------
    graph : Graph
    x : int8 array
        The network's input.
    config : ArrayConfig
    simulator : Simulator, optional
        The RTL; without it everything is golden's.
    chosen : collection of int, optional
        Operators that run on the RTL; all with multiply-accumulates if left out.
    mapping : str
        One of `golden.mapping.MAPPINGS`.

    Raises
    ------
    Mismatch
        If a sum or the number of cycles differs, or the core breaks a rule of its streams.
    ValueError
        If the simulator is one of another array, or as `Graph.steps`.
    """
    if simulator and simulator.config != config:
        raise ValueError(f"the simulator is one of {simulator.config}, not of {config}")
    for index, step in enumerate(graph.steps(x)):
        one, output, plan, cycles, compared = step.operator, step.output, None, None, 0
        if isinstance(one, ArrayOperator):
            plan = one.plan(config, mapping)
            if simulator and (chosen is None or index in chosen):
                sums, cycles = _on_rtl(index, step, plan, simulator, mapping)
                output, compared = one.finish(sums), sums.size
        yield Layer(
            name=step.name, operator=one, plan=plan, cycles=cycles, compared=compared, output=output
        )


def _on_rtl(
    index: int, step: Step, plan: Plan, simulator: Simulator, mapping: str
) -> tuple[IntArray, int]:
    """Return one layer's sums and cycles from the RTL, after comparing both."""
    one = step.operator
    assert isinstance(one, ArrayOperator)
    wanted = step.sums
    assert wanted is not None
    lowering = one.lower(step.inputs[0], plan.config, mapping)
    try:
        result = simulator.run(lowering.tiles)
        sums = lowering.collect(result.outputs)
    except (RtlError, ValueError) as error:
        raise Mismatch(index, f"{step.name}: {error}") from None
    different = np.argwhere(sums != wanted)
    if len(different):
        first = tuple(different[0].tolist())
        raise Mismatch(
            index,
            f"{step.name}: sum {list(first)} is {sums[first]} on the RTL and {wanted[first]} in "
            f"golden; {len(different):,} of {sums.size:,} differ",
        )
    if result.cycles != plan.cycles:
        raise Mismatch(
            index,
            f"{step.name}: {result.cycles:,} cycles on the RTL, {plan.cycles:,} by the cycle model",
        )
    return sums, result.cycles


@dataclass(frozen=True, kw_only=True)
class Report:
    """A network that ran.

    Parameters
    ----------
    model : str
        The file's name, and what was changed.
    source : str
        The input in words.
    graph, original : Graph
        What ran, and what is in the file.
    config : ArrayConfig
    mapping : str
    layers : tuple of Layer
    """

    model: str
    source: str
    graph: Graph
    original: Graph
    config: ArrayConfig
    mapping: str
    layers: tuple[Layer, ...]

    @property
    def title(self) -> str:
        """What ran, on what."""
        mapping = f", {self.mapping} mapping" if self.mapping != "best" else ""
        return f"{self.model} on {self.config}{mapping}"

    @property
    def on_rtl(self) -> tuple[Layer, ...]:
        """The layers that ran on the RTL."""
        return tuple(one for one in self.layers if one.cycles is not None)

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(one.macs for one in self.layers)

    @property
    def predicted(self) -> int:
        """Clock cycles by the model."""
        return sum(one.predicted for one in self.layers)

    @property
    def cycles(self) -> int | None:
        """Clock cycles of the RTL; None unless all layers ran there."""
        if len(self.on_rtl) < sum(one.plan is not None for one in self.layers):
            return None
        return sum(one.cycles or 0 for one in self.layers)

    @property
    def utilisation(self) -> float:
        """Share of the PEs' cycles that multiply operands of the operators."""
        return _share(self.macs, self.config, self.predicted)

    def predict(self, graph: Graph, config: ArrayConfig, *kinds: type[Operator]) -> int:
        """Return the cycles of a graph's operators of some kinds, by the model."""
        return sum(
            one.plan(config, self.mapping).cycles
            for one in graph.operators
            if isinstance(one, ArrayOperator) and isinstance(one, kinds)
        )

    @property
    def depthwise(self) -> tuple[int, int, int] | None:
        """Depthwise and FuSe layers: how many, their cycles, and those on a plain core."""
        kinds = DepthwiseConv2D, FuseConv2D
        count = sum(isinstance(one, kinds) for one in self.graph.operators)
        if not (count and self.config.st_os):
            return None
        plain = self.config.replace(st_os=False)
        return (
            count,
            self.predict(self.graph, self.config, *kinds),
            self.predict(self.graph, plain, *kinds),
        )

    @property
    def output(self) -> Int8Array:
        """The network's output, batch included."""
        found = [one for one in self.layers if one.operator.output is self.graph.output]
        return found[0].output

    @property
    def classes(self) -> list[tuple[int, int, float]]:
        """Class, int8 score and its real value, the best first; empty if the output is no row."""
        target, value = self.graph.output, self.output
        if value.size != value.shape[-1]:
            return []
        row = value.reshape(-1)
        order = np.argsort(-row.astype(int), kind="stable")
        return [
            (int(i), int(row[i]), target.scale * (int(row[i]) - target.zero_point)) for i in order
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        depthwise = self.depthwise
        return {
            "model": self.model,
            "input": self.source,
            "config": asdict(self.config),
            "mapping": self.mapping,
            "macs": self.macs,
            "rtl_cycles": self.cycles,
            "predicted_cycles": self.predicted,
            "unmodified_predicted_cycles": self.predict(self.original, self.config, ArrayOperator),
            "utilisation": self.utilisation,
            "depthwise": depthwise
            and dict(zip(("layers", "cycles", "plain_cycles"), depthwise, strict=True)),
            "compared": sum(one.compared for one in self.layers),
            "output": self.output.tolist(),
            "classes": [
                {"class": index, "int8": value, "score": score}
                for index, value, score in self.classes
            ],
            "layers": [one.to_dict() for one in self.layers],
        }


def sheet(report: Report) -> Sheet:
    """Return the table of a run."""
    on_rtl = bool(report.on_rtl)
    rows: list[tuple[str, ...]] = []
    for layer in report.layers:
        one, ran = layer.operator, layer.cycles is not None
        rows.append(
            (
                layer.name,
                one.detail,
                " + ".join(extent(tensor.shape) for tensor in one.inputs),
                extent(one.output.shape),
                *(
                    (
                        layer.plan.name,
                        f"{layer.macs:,}",
                        *([f"{layer.cycles:,}" if ran else "-"] if on_rtl else []),
                        f"{layer.predicted:,}",
                        f"{100 * layer.utilisation:.1f} %",
                        *(["yes" if ran else "-"] if on_rtl else []),
                    )
                    if layer.plan
                    else ("golden", *[""] * (5 if on_rtl else 3))
                ),
            )
        )
    cycles = "-" if report.cycles is None else f"{report.cycles:,}"
    rows.append(
        (
            "total", "", "", "", "", f"{report.macs:,}", *([cycles] if on_rtl else []),
            f"{report.predicted:,}", f"{100 * report.utilisation:.1f} %",
            *(["-" if report.cycles is None else "yes"] if on_rtl else []),
        )
    )  # fmt: skip
    columns = (
        "layer", "window", "input", "output", "lowering", "MACs",
        *(["RTL cycles"] if on_rtl else []), "predicted", "used", *(["exact"] if on_rtl else []),
    )  # fmt: skip
    return Sheet(title=report.title, columns=columns, rows=rows)


def notes(report: Report) -> Iterator[str]:
    """Yield the lines under the table."""
    yield f"input: {report.source}"
    if report.on_rtl:
        compared = sum(one.compared for one in report.layers)
        count = len(report.on_rtl)
        yield (
            f"RTL: {count} layer{'s' * (count > 1)}, {compared:,} sums compared with golden, all "
            "equal; cycles as predicted in every layer"
        )
    else:
        yield "golden only: nothing ran on the RTL, cycles are the exact model's"
    if report.graph is not report.original:
        before = report.predict(report.original, report.config, ArrayOperator)
        yield (
            f"unmodified network, same array: {before:,} cycles; changed {report.predicted:,}, "
            f"{_times(before / report.predicted)} (without training: exact, but not accurate)"
        )
        points, left = (
            sum(isinstance(one, Conv2D) and one.kernel == (1, 1) for one in graph.operators)
            for graph in (report.original, report.graph)
        )
        if left < points:
            yield f"{points - left} of {points} 1x1 convolutions are ABConv"
    depthwise = report.depthwise
    if depthwise:
        count, cycles, plain = depthwise
        fused = any(isinstance(one, FuseConv2D) for one in report.graph.operators)
        kind = "FuSe" if fused else "depthwise"
        yield (
            f"{count} {kind} layer{'s' * (count > 1)}: {cycles:,} cycles; on the plain array, "
            f"{report.mapping} mapping, {plain:,}: ST-OS is {_times(plain / cycles)}"
        )
    best = report.classes[:5]
    for index, value, score in best:
        yield f"class {index}: {score:.4f} (int8 {value})"
    if not best:
        yield f"output: {extent(report.output.shape)}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f} times as fast"


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
    ValueError
        If one is not in the network, or none has multiply-accumulates.
    """
    count = len(graph.operators)
    if max(wanted) >= count:
        raise ValueError(f"--layers must be from 0 to {count - 1}, not {max(wanted)}")
    chosen = [index for index in wanted if isinstance(graph.operators[index], ArrayOperator)]
    if not chosen:
        names = ", ".join(graph.names[index] for index in wanted)
        raise ValueError(f"--layers has no layer with multiply-accumulates: {names}")
    return chosen


def _check_widths(graph: Graph, config: ArrayConfig) -> None:
    """Raise `ValueError` if int8 operands or the sums of a layer do not fit the array."""
    for name, width in (("act", config.act_width), ("weight", config.weight_width)):
        if width < 8:
            raise ValueError(f"--{name}-width must be at least 8 for int8 models, not {width}")
    some = [one for one in graph.operators if isinstance(one, ArrayOperator)]
    least = max((one.acc_width for one in some), default=0)
    if least > config.acc_width:
        raise ValueError(
            f"--acc-width must be at least {least} for this network, not {config.acc_width}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = config_parser(
        "sim.run",
        "Run an int8 TensorFlow Lite model on the generated RTL, bit for bit: multiply-accumulates "
        "on the Verilated core, everything else in the golden model.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL.tflite", help="the network")
    parser.add_argument(
        "--input", type=Path, required=True, metavar="FILE", default=argparse.SUPPRESS,
        help="a picture (cropped in the middle, resized, quantized), or int8 values as .npy",
    )  # fmt: skip
    parser.add_argument(
        "--layers", type=_layers, metavar="3,5-7", default=argparse.SUPPRESS,
        help="run only these on the RTL, the others in golden; as numbered in the table "
        "(default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--golden-only", action="store_true", help="no RTL: results and predicted cycles"
    )
    parser.add_argument(
        "--mapping", choices=MAPPINGS, default="best",
        help="how layers are laid onto the array; see sim.network",
    )  # fmt: skip
    change = parser.add_argument_group("changes to the network (accuracy is not kept)")
    change.add_argument(
        "--fuse", choices=("half", "full"), default=argparse.SUPPRESS,
        help="replace every depthwise layer by FuSe half or full",
    )  # fmt: skip
    blocks = change.add_mutually_exclusive_group()
    for name, what in (("abconv", "ABConv"), ("abconv-exp", "ABConv-exp")):
        blocks.add_argument(
            f"--{name}", type=_groups, nargs="?", const=2, metavar="GROUPS",
            default=argparse.SUPPRESS,
            help=f"replace every 1x1 convolution whose channels GROUPS (2 if not given) divides by "
            f"{what}",
        )  # fmt: skip
    add_outputs(parser, "json", "markdown")
    return parser


def _changed(graph: Graph, arguments: argparse.Namespace) -> tuple[Graph, str]:
    """Return the network with the changes that the options ask for, and these in words."""
    words = ""
    if hasattr(arguments, "fuse"):
        graph = transform.fuse(graph, arguments.fuse)
        words += f", FuSe {arguments.fuse}"
    for name, what, expand in (("abconv", "ABConv", False), ("abconv_exp", "ABConv-exp", True)):
        if hasattr(arguments, name):
            groups = getattr(arguments, name)
            graph = transform.abconv(graph, groups, expand=expand)
            words += f", {what} g={groups}"
    return graph, words


def _alone(words: Sequence[str], index: int) -> str:
    """Return the command line that runs one layer."""
    kept = without(words, "--layers", "--json", "--markdown")
    return shlex.join(["python", "-m", "sim.run", *kept, "--layers", str(index)])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = _parser()
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_args(words)
    try:
        from golden import tflite  # extra sim

        paths = outputs(arguments, arguments.model, arguments.input)
        config = config_from(arguments)
        if arguments.golden_only and hasattr(arguments, "layers"):
            raise ValueError("--layers is about the RTL, and --golden-only uses none")
        original = tflite.load(arguments.model)
        graph, changes = _changed(original, arguments)
        _check_widths(graph, config)
        chosen = _chosen(graph, arguments.layers) if hasattr(arguments, "layers") else None
        x, source = read_input(arguments.input, graph.input)
    except ImportError as error:
        parser.error(f"needs pip install -e '.[sim]' ({error})")
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"cannot read {error.filename or arguments.input}: {error.strerror or error}")
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    simulator, layers = None, []
    try:
        if not arguments.golden_only:
            with console.status(f"building the core: {config}"):
                simulator = Simulator(config)
        with Progress(
            *columns, TimeElapsedColumn(), console=console, transient=True,
            disable=not console.is_terminal,
        ) as bar:  # fmt: skip
            task = bar.add_task("", total=len(graph.operators))
            running = run(
                graph, x, config, simulator=simulator, chosen=chosen, mapping=arguments.mapping
            )
            for name in graph.names:
                bar.update(task, description=name)
                layers.append(next(running))
                bar.advance(task)
    except Mismatch as error:
        print(f"sim.run: {error}", file=sys.stderr)
        print(f"sim.run: that layer alone: {_alone(words, error.index)}", file=sys.stderr)
        return 1
    except RuntimeError as error:  # of Verilator
        print(f"sim.run: {error}", file=sys.stderr)
        return 1
    except ValueError as error:  # of an operator that cannot take its input
        parser.error(str(error))
    except OSError as error:
        parser.error(f"cannot write {error.filename}: {error.strerror}")
    report = Report(
        model=arguments.model.name + changes, source=source, graph=graph, original=original,
        config=config, mapping=arguments.mapping, layers=tuple(layers),
    )  # fmt: skip
    publish(
        parser, paths, [sheet(report)], report.to_dict(), notes=list(notes(report)), words=words
    )
    return 0


if __name__ == "__main__":
    run_command(main, "sim.run")
