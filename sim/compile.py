"""Compile a network for the accelerator: ``python -m sim.compile MODEL.tflite --rows R ...``."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden.int8 import transform
from hw.accelerator.config import AcceleratorConfig
from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page
from report.errors import UserError
from report.tables import Sheet

from .accelerator.compiler import Program, compile_graph
from .inputs import read_model

__all__ = ["COMMAND", "Compiled", "main"]


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A compiled network.

    Parameters
    ----------
    program : Program
    facts : dict
        Its side-car.
    output : Path
        Where the image goes.
    """

    program: Program
    facts: dict[str, Any]
    output: Path


def _sheet(compiled: Compiled) -> Sheet:
    """Return the table of the layers."""
    return Sheet(
        title=f"{compiled.output.stem} on {compiled.program.config.array}",
        columns=("layer", "mapping", "jobs", "cycles", "bytes of the image"),
        rows=[
            (one["name"], one["mapping"], str(one["jobs"]), f"{one['cycles']:,}",
             f"{one['bytes']:,}")
            for one in compiled.facts["layers"]
        ],
    )  # fmt: skip


def _options(parser: OneLineParser) -> None:
    ArrayConfig.add_options(parser)
    AcceleratorConfig.add_options(parser)
    parser.add_argument("model", type=Path, metavar="MODEL.tflite", help="the network")
    parser.add_argument(
        "-o", dest="output", type=Path, metavar="PATH.bin", default=argparse.SUPPRESS,
        help="the image; PATH.json beside it is its side-car (default: build/MODEL.bin)",
    )  # fmt: skip
    parser.add_argument(
        "--memory-latency", type=int, default=40, metavar="CYCLES",
        help="of the memory for which cycles are predicted: from a read's address to its data",
    )  # fmt: skip
    parser.add_argument(
        "--fold", action="store_true",
        help="leave out channels that are the same for every input: fewer MACs, the same outputs",
    )  # fmt: skip


def _report(arguments: argparse.Namespace) -> Compiled:
    config = AcceleratorConfig.from_options(ArrayConfig.from_options(arguments), arguments)
    if not 0 <= arguments.memory_latency <= 10_000:
        raise UserError(f"--memory-latency must be 0 to 10000, not {arguments.memory_latency}")
    output = getattr(arguments, "output", Path("build") / f"{arguments.model.stem}.bin")
    if output.suffix != ".bin":
        raise UserError(f"-o PATH must end in .bin, not {output}")
    graph = read_model(arguments.model)
    graph = transform.recognize(transform.fold(graph) if arguments.fold else graph)
    program = compile_graph(graph, config)
    return Compiled(program=program, facts=program.to_dict(arguments.memory_latency), output=output)


def _page(compiled: Compiled) -> Page:
    facts = compiled.facts
    shares = ", ".join(
        f"{100 * facts['counters'][name] / facts['cycles']:.1f} % {what}"
        for name, what in (
            ("ARRAY", "array"), ("WEIGHTS", "waiting for weights"),
            ("ACTIVATIONS", "for activations"), ("RESULTS", "for results and memory"),
        )
    )  # fmt: skip
    latency = facts["memory_latency"]
    notes = [
        f"{facts['cycles']:,} cycles from start to done, memory latency {latency}: {shares}",
        f"{facts['image_bytes']:,} bytes of image, {facts['jobs']} jobs",
    ]
    for key, when in (("host_before", "before"), ("host", "after")):
        if facts[key]:
            notes.append(f"the host does {', '.join(facts[key])} {when} it")
    return Page(
        tables=[_sheet(compiled)],
        notes=notes,
        data=facts,
        files={
            compiled.output: compiled.program.image,
            compiled.output.with_suffix(".json"): json.dumps(facts, indent=1) + "\n",
        },
    )


COMMAND = Command(
    name="sim.compile",
    about="Compile a quantized TensorFlow Lite model to a memory image for the accelerator.",
    options=_options,
    report=_report,
    page=_page,
    reads=("model",),
    writes=("output",),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
