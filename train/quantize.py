"""Quantize a trained network to int8: ``python -m train quantize RUN``.

Without ``--epochs`` after training alone; with them the network is trained on with fake
quantization: weights and activations take the values that int8 has for them, by the formulas of
`train.export`, and gradients pass through the rounding.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from golden.int8.batch import run_batch
from golden.int8.graph import Graph
from golden.int8.writer import to_tflite
from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page
from report.errors import UserError
from report.files import write_atomically
from report.jobs import add_executor_options, executor, run_jobs
from report.tables import Sheet
from sim.network import network_cycles

from .data import Data, Pictures
from .export import INPUT_SCALE, Range, calibrate, to_graph
from .fit import add_data, add_recipe, config, load_data, load_net, recipe_of
from .loop import Score, evaluate, finish, prepare, train
from .networks import ACTIVATIONS, Net
from .runs import Run

__all__ = ["COMMAND", "FakeQuantized", "int8_accuracy", "main"]

#: Pictures that a job runs through an int8 network.
_CHUNK = 250


class FakeQuantized(nn.Module):
    """A network whose weights and activations take values that int8 has for them.

    Parameters
    ----------
    net : Net
        Without normalizations.
    ranges : list of Range
        Of the result of every step.
    """

    def __init__(self, net: Net, ranges: list[Range]) -> None:
        super().__init__()
        self.net, self.ranges = net, ranges

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        values = [x]
        for index, step in enumerate(self.net.steps):
            values.append(self.result(index, [values[source + 1] for source in step.sources]))
        return values[-1]

    def result(self, index: int, sources: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the result of one step."""
        step = self.net.steps[index]
        if step.kind == "layer":
            y = self._layer(step.layer, sources[0], self.quantization(step.sources[0])[0])
            y = ACTIVATIONS[step.activation](y)
        else:
            y = self.net.result(step, sources)
        return torch.fake_quantize_per_tensor_affine(y, *self.quantization(index), -128, 127)

    def quantization(self, index: int) -> tuple[float, int]:
        """Return scale and zero point of the result of a step; that of a mean is its input's."""
        if index < 0:
            return INPUT_SCALE, 0
        step = self.net.steps[index]
        if step.kind in ("mean", "pool"):
            return self.quantization(step.sources[0])
        return self.ranges[index].quantization

    def _layer(self, name: str, x: torch.Tensor, source: float) -> torch.Tensor:
        """Return the result of a layer with the weights and biases that int8 has for its own."""
        one = self.net.layer(name).operator
        kernel = one.kernel()
        most = kernel.detach().abs().flatten(1).amax(1)
        scale = torch.where(most > 0, most / 127, torch.ones_like(most))
        zero = torch.zeros_like(scale, dtype=torch.int32)
        weights = torch.fake_quantize_per_channel_affine(kernel, scale, zero, 0, -127, 127)
        unit = scale * source
        bias: torch.Tensor | None = one.bias
        if bias is not None:
            bias = bias + (torch.round(bias / unit) * unit - bias).detach()
        return one.compute(x, weights, bias)


def _right(graph: Graph, pictures: Pictures) -> int:
    values = (pictures.pixels ^ 128).view(np.int8)
    return int((run_batch(graph, values).argmax(1) == pictures.labels).sum())


def int8_accuracy(graph: Graph, pictures: Pictures, arguments: argparse.Namespace) -> float:
    """Return the accuracy, percent, of an int8 network in the golden model.

    Parameters
    ----------
    graph : Graph
    pictures : Pictures
    arguments : Namespace
        As `report.jobs.executor` takes them.
    """
    chunks = [
        (graph, pictures.take(slice(first, first + _CHUNK)))
        for first in range(0, len(pictures), _CHUNK)
    ]
    with executor(arguments) as pool:
        names = [f"int8, {index * _CHUNK:,} pictures" for index in range(len(chunks))]
        return 100 * sum(run_jobs(pool, _right, chunks, names)) / len(pictures)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What quantization gave.

    Parameters
    ----------
    run : Run
        Its folder has ``int8.tflite``.
    floating, int8 : float
        Accuracy on the test pictures, percent.
    size : int
        Bytes of the file.
    cycles : dict of str to int
        By array.
    """

    run: Run
    floating: float
    int8: float
    size: int
    cycles: dict[str, int]


def _options(parser: OneLineParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run")
    parser.add_argument(
        "--rows", type=int, default=16, metavar="R", help="of the arrays for cycles"
    )
    parser.add_argument(
        "--cols", type=int, default=16, metavar="C", help="of the arrays for cycles"
    )
    add_data(parser)
    add_recipe(parser, epochs=0, rate=0.005)
    add_executor_options(parser)


def _report(arguments: argparse.Namespace) -> Report:
    prepare(arguments.threads)
    source = Run.open(arguments.run)
    if "scaffold" in source.config["network"]:
        raise UserError(f"{source.folder} is a supernet: train one of its networks (train fit)")
    data = load_data(arguments)
    recipe = recipe_of(arguments, data, 1.0, least=0)
    configs = [
        ArrayConfig(rows=arguments.rows, cols=arguments.cols, st_os=st_os)
        for st_os in (False, True)
    ]
    net = load_net(source)
    _check(source, data)
    settings = config(arguments, "quantize", source.config["network"], recipe, data)
    settings["start"] = source.folder.name
    folder = source.folder.with_name(f"{source.folder.name}_int8")
    run = Run.create(getattr(arguments, "out", folder), settings)
    absorbed = net.absorbed()
    ranges = calibrate(absorbed, data.train)
    if recipe.epochs and run.end is None:
        train(FakeQuantized(absorbed, ranges), data, recipe, run, teacher=net.absorbed())
    if run.end is None:
        graph = to_graph(absorbed, ranges)
        content = to_tflite(graph)
        write_atomically({run.folder / "int8.tflite": content})
        float_score = evaluate(net, data.test)
        quantized = int8_accuracy(graph, data.test, arguments)
        held_out = int8_accuracy(graph, data.held_out, arguments) if len(data.held_out) else None
        network = graph.network("")
        finish(
            run, absorbed, {"test_float": float_score, **_held_out(net, data)},
            test_int8={"accuracy": quantized, "pictures": len(data.test)},
            held_out_int8={"accuracy": held_out, "pictures": len(data.held_out)},
            bytes=len(content),
            cycles={str(one): network_cycles(network, one) for one in configs},
        )  # fmt: skip
    end = run.end
    assert end is not None
    return Report(
        run=run, floating=end["test_float"]["accuracy"], int8=end["test_int8"]["accuracy"],
        size=end["bytes"], cycles=end["cycles"],
    )  # fmt: skip


def _held_out(net: Net, data: Data) -> dict[str, Score]:
    return {"held_out_float": evaluate(net, data.held_out)} if len(data.held_out) else {}


def _check(run: Run, data: Data) -> None:
    network = run.config["network"]
    if network["classes"] != len(data.classes) or network["resolution"] != data.size:
        raise UserError(f"{run.folder} was trained on other pictures than {data.name}")


def _page(report: Report) -> Page:
    lost = report.floating - report.int8
    sheet = Sheet(
        title=f"{report.run.folder}: {report.run.config['data']['name']}",
        columns=("", "float", "int8", "lost"),
        rows=[("accuracy, %", f"{report.floating:.2f}", f"{report.int8:.2f}", f"{lost:.2f}")],
    )
    notes = [f"{cycles:,} cycles on {array}" for array, cycles in report.cycles.items()]
    notes.append(f"wrote {report.run.folder / 'int8.tflite'}, {report.size:,} bytes")
    if lost > 0.5 and not report.run.epochs:
        notes.append("more than 0.5 points are lost: --epochs 3 --out FOLDER trains on for int8")
    data: dict[str, Any] = {"config": report.run.config, "log": report.run.log}
    return Page(tables=[sheet], notes=notes, data=data)


COMMAND = Command(
    name="train quantize", about="Quantize a trained network to int8.", options=_options,
    report=_report, page=_page, outputs=("json",),
)  # fmt: skip
main = COMMAND.main
