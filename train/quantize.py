"""Quantize a trained network to int8: ``python -m train quantize RUN``.

Without ``--epochs`` after training alone; with them the network is trained on with fake
quantization: weights and activations take the values that int8 has for them, by the formulas of
`train.export`, and gradients pass through the rounding.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

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
from sim.rtl import Simulator
from sim.run import run as run_graph

from .data import Pictures
from .export import RELU6_RANGE, Range, calibrate, quantization, to_graph
from .loop import End, carry_out, evaluate, held_out, prepare, processes
from .networks import ACTIVATIONS, Net
from .options import add_data, add_recipe, check_data, config, load_data, load_net, recipe_of
from .runs import Run

__all__ = ["COMMAND", "FakeQuantized", "Judged", "judge_int8", "main", "on_rtl"]

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
            y = self._layer(step.layer, sources[0], self._quantization(step.sources[0])[0])
            y = ACTIVATIONS[step.activation](y)
        elif step.activation == "HARD_SIGMOID":  # two operators in the graph
            moved = functional.relu6(sources[0] + 3)
            y = _rounded(moved, RELU6_RANGE.quantization) / 6
        else:
            y = self.net.result(step, sources)
        return _rounded(y, self._quantization(index))

    def _quantization(self, index: int) -> tuple[float, int]:
        return quantization(self.net.steps, self.ranges, index)

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


def _rounded(x: torch.Tensor, to: tuple[float, int]) -> torch.Tensor:
    """Return the nearest values that int8 has with some scale and zero point."""
    return torch.fake_quantize_per_tensor_affine(x, *to, -128, 127)


@dataclass(frozen=True)
class Judged:
    """How well an int8 network does in the golden model.

    Parameters
    ----------
    accuracy : float
        Percent.
    pictures : int
    cpu_seconds : float
        Of all processes.
    """

    accuracy: float
    pictures: int
    cpu_seconds: float


def _right(graph: Graph, pictures: Pictures) -> tuple[int, float]:
    cpu = time.process_time()
    values = (pictures.pixels ^ 128).view(np.int8)
    right = int((run_batch(graph, values).argmax(1) == pictures.labels).sum())
    return right, time.process_time() - cpu


def judge_int8(graph: Graph, pictures: Pictures, arguments: argparse.Namespace) -> Judged:
    """Return how well an int8 network does on some pictures.

    Parameters
    ----------
    graph : Graph
    pictures : Pictures
    arguments : Namespace
        As `report.jobs.executor` takes them.
    """
    firsts = range(0, len(pictures), _CHUNK)
    chunks = [(graph, pictures.take(slice(first, first + _CHUNK))) for first in firsts]
    with executor(arguments) as pool:
        names = [f"int8, pictures from {first:,}" for first in firsts]
        found = run_jobs(pool, _right, chunks, names)
    right = sum(one for one, _ in found)
    return Judged(100 * right / len(pictures), len(pictures), round(sum(t for _, t in found), 2))


def on_rtl(graph: Graph, pictures: Pictures, config: ArrayConfig) -> dict[str, int]:
    """Run pictures with every multiply-accumulate on the RTL.

    Returns
    -------
    dict
        How many pictures, sums that were compared with golden's, and clock cycles.

    Raises
    ------
    Mismatch
        If a sum or the number of cycles differs.
    """
    simulator, sums, cycles = Simulator(config), 0, 0
    for pixels in pictures.pixels:
        value = (pixels ^ 128).view(np.int8)[None]
        for ran in run_graph(graph, [value], config, simulator=simulator):
            sums, cycles = sums + ran.compared, cycles + (ran.cycles or 0)
    return {"pictures": len(pictures), "sums": sums, "cycles": cycles}


def _options(parser: OneLineParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run")
    parser.add_argument(
        "--rows", type=int, default=16, metavar="R", help="of the arrays for cycles"
    )
    parser.add_argument(
        "--cols", type=int, default=16, metavar="C", help="of the arrays for cycles"
    )
    parser.add_argument(
        "--rtl", type=int, default=0, metavar="N",
        help="test pictures to run with every multiply-accumulate on the RTL of the ST-OS array",
    )  # fmt: skip
    add_data(parser)
    add_recipe(parser, epochs=0, rate=0.005)
    add_executor_options(parser)


def _report(arguments: argparse.Namespace) -> Run:
    prepare(arguments.threads, arguments.device)
    source = Run.open(arguments.run)
    if "scaffold" in source.config["network"]:
        raise UserError(f"{source.folder} is a supernet: train one of its networks (train fit)")
    data = load_data(arguments)
    check_data([source], data)
    if not 0 <= arguments.rtl <= len(data.test):
        raise UserError(f"--rtl must be from 0 to {len(data.test)}, not {arguments.rtl}")
    recipe = recipe_of(arguments, data, 1.0, least=0)
    configs = {
        name: ArrayConfig(rows=arguments.rows, cols=arguments.cols, st_os=name == "st_os")
        for name in ("plain", "st_os")
    }
    net = load_net(source)
    absorbed = net.absorbed()
    ranges = calibrate(absorbed, data.train)
    settings = config(arguments, "quantize", source.config["network"], recipe, data, start=source)
    settings["array"] = {"rows": arguments.rows, "cols": arguments.cols}
    folder = getattr(
        arguments, "out", source.folder.with_name(f"{source.folder.resolve().name}_int8")
    )
    with processes(arguments.device) as work:
        run = work.first(lambda: Run.create(folder, settings))

        def end() -> End:
            absorbed.to("cpu")
            graph = to_graph(absorbed, ranges)
            content = to_tflite(graph)
            write_atomically({run.folder / "int8.tflite": content})
            begun = time.monotonic()
            judged = {"test_int8": judge_int8(graph, data.test, arguments)}
            seconds = time.monotonic() - begun
            if len(data.held_out):
                judged["held_out_int8"] = judge_int8(graph, data.held_out, arguments)
            more: dict[str, Any] = {name: vars(one) for name, one in judged.items()}
            more["cpu_seconds_elsewhere"] = sum(one.cpu_seconds for one in judged.values())
            more["int8_pictures_per_second"] = round(len(data.test) / seconds, 1)
            more["bytes"], network = len(content), graph.network("")
            more["sha256"] = hashlib.sha256(content).hexdigest()
            more["cycles"] = {name: network_cycles(network, one) for name, one in configs.items()}
            if arguments.rtl:
                some = data.test.sample(arguments.rtl)
                more["rtl"] = on_rtl(graph, some, configs["st_os"])
            floating = {f"{name}_float": s for name, s in held_out(net, data).items()}
            return End(absorbed, {"test_float": evaluate(net, data.test), **floating}, more)

        carry_out(
            run, FakeQuantized(absorbed, ranges), data, recipe, end, teacher=net.absorbed(),
            device=arguments.device, work=work,
        )  # fmt: skip
    return run


def _page(run: Run) -> Page:
    end = run.end
    assert end is not None
    rows: list[tuple[str, ...]] = []
    lost = 0.0
    for name in ("test", "held_out"):
        if f"{name}_int8" in end:
            floating, int8 = (end[f"{name}_{kind}"]["accuracy"] for kind in ("float", "int8"))
            lost = floating - int8
            title = f"accuracy, %, {name.replace('_', ' ')}"
            rows.append((title, f"{floating:.2f}", f"{int8:.2f}", f"{lost:.2f}"))
    sheet = Sheet(
        title=f"{run.folder}: {run.config['data']['name']}",
        columns=("", "float", "int8", "lost"),
        rows=rows,
    )
    array = run.config["array"]
    size = f"{array['rows']} x {array['cols']}"
    plain, st_os = (f"{end['cycles'][name]:,}" for name in ("plain", "st_os"))
    notes = [f"{plain} cycles on a plain {size} array, {st_os} with ST-OS"]
    if "rtl" in end:
        notes.append("{pictures} pictures on the RTL: {sums:,} sums equal to golden's, {cycles:,} "
                     "cycles".format(**end["rtl"]))  # fmt: skip
    notes.append(f"wrote {run.folder / 'int8.tflite'}, {end['bytes']:,} bytes")
    if lost > 0.5 and not run.epochs:  # of the held-out pictures, if there are any
        notes.append("more than 0.5 points are lost: --epochs 3 --out FOLDER trains on for int8")
    return Page(tables=[sheet], notes=notes, data={"config": run.config, "log": run.log})


COMMAND = Command(
    name="train quantize", about="Quantize a trained network to int8.", options=_options,
    report=_report, page=_page, outputs=("json",),
)  # fmt: skip
main = COMMAND.main
