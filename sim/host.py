"""Run a network on a board: ``python -m sim.host --port sim MODEL.tflite --input picture.png``."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from golden.int8 import transform
from hw.accelerator.registers import COUNTERS
from hw.boards.catalog import add_options, design_of
from hw.boards.config import SDRAM_BYTES, BoardConfig
from hw.boards.memory import LATENCY
from report.command import Command, OneLineParser, Page
from report.errors import Failure, UserError, needs_extra
from report.tables import Sheet

from .accelerator.compiler import Program, compile_graph
from .board.board import Board, BoardRun
from .board.link import Link, Port
from .board.pins import Pins
from .inputs import add_inputs, inputs_of, labels_of, read_model
from .results import Result, place_sheet

__all__ = ["COMMAND", "linked", "main"]

#: Seconds without an answer after which a request is sent again.
_PATIENCE = 0.2
#: Bytes of the longest answer, with some to spare.
_ANSWER = 300


@dataclass(frozen=True, kw_only=True)
class HostReport:
    """A run on a board, for its page.

    Parameters
    ----------
    program : Program
    run : BoardRun
    results : tuple of Result
    predicted : int, optional
        Cycles, if the memory is one that the model knows.
    memory : int
        Bytes that the board has.
    clock, baud : int
        Cycles, and bits of the wire, per second.
    where : str
        The board, in words.
    model, source : str
        The file's name, and the inputs in words.
    repeated : int
        Requests that were sent again.
    """

    program: Program
    run: BoardRun
    results: tuple[Result, ...]
    predicted: int | None
    memory: int
    clock: int
    baud: int
    where: str
    model: str
    source: str
    repeated: int


def _options(parser: OneLineParser) -> None:
    parser.add_argument(
        "--port", required=True, default=argparse.SUPPRESS, metavar="DEVICE",
        help="the serial port of a board, or sim: the board's design, simulated at its pins",
    )  # fmt: skip
    parser.add_argument("model", type=Path, metavar="MODEL.tflite", help="the network")
    add_inputs(parser)
    add_options(parser)


def _open(device: str, baud: int) -> Port:
    with needs_extra("board"):
        import serial
    try:
        port = serial.Serial(
            device, baud, timeout=_PATIENCE + 10 * _ANSWER / baud, write_timeout=2, exclusive=True
        )
    except (OSError, ValueError) as error:
        raise UserError(f"--port {device}: {error}") from None
    with suppress(AttributeError, NotImplementedError, OSError, ValueError):
        port.set_low_latency_mode(True)  # USB adapters wait 16 ms for more otherwise
    found: Port = port
    return found


def linked(port: Port, design: BoardConfig) -> Link:
    """Return a link to a board, which is to have the memory that is said."""
    link = Link(port)
    if (link.facts.memory == SDRAM_BYTES) != design.sdram:
        raise UserError(
            f"the board has {link.facts.memory // 1024:,} KiB of "
            + ("block RAM: leave out --sdram" if design.sdram else "SDRAM: add --sdram")
        )
    return link


def _report(arguments: argparse.Namespace) -> HostReport:
    design = design_of(arguments)
    graph = transform.recognize(read_model(arguments.model))
    inputs, sources = inputs_of(graph, arguments)
    labels = labels_of(graph, arguments)
    program = compile_graph(graph, design.accelerator)
    values = graph.values(inputs) | {
        one.operator.output: one.output for one in graph.steps(*inputs)
    }
    given = [values[one] for one in program.inputs]
    console = Console(stderr=True)
    if arguments.port == "sim":
        with console.status(f"building the board's design: {design.accelerator}"):
            pins = Pins(design)
        with console.status("running on the simulated pins"):
            link = linked(pins, design)
            board = Board(link, design.accelerator, lambda: pins.cycles / design.clock)
            run = board.run(program, given)
    else:
        port = _open(arguments.port, design.baud)
        try:
            with console.status(f"running on the board at {arguments.port}"):
                link = linked(port, design)
                run = Board(link, design.accelerator).run(program, given)
        except OSError as error:  # it was unplugged
            raise Failure(f"--port {arguments.port}: {error}") from None
    for tensor, value in zip(program.outputs, run.outputs, strict=True):
        if not np.array_equal(value, values[tensor]):
            raise Failure(f"output {tensor.name} differs from the golden model")
    predicted = None if design.sdram else program.timing(LATENCY).cycles
    if predicted not in (None, run.cycles):
        raise Failure(f"{run.cycles:,} cycles, not {predicted:,}, as predicted")
    results = tuple(
        Result(tensor=tensor, value=value, labels=labels)
        for tensor, value in zip(graph.outputs, graph.results(values), strict=True)
    )
    return HostReport(
        program=program, run=run, results=results, predicted=predicted, clock=link.facts.clock,
        memory=link.facts.memory,
        baud=design.baud, where="simulated pins" if arguments.port == "sim" else arguments.port,
        model=arguments.model.name, source="; ".join(sources), repeated=link.repeated,
    )  # fmt: skip


def _page(report: HostReport) -> Page:
    run = report.run
    computing = run.cycles / report.clock
    image = len(report.program.image)
    shares = ", ".join(
        f"{100 * run.counters[name] / run.cycles:.1f} % {text}" for name, text in COUNTERS.items()
    )
    known = "as predicted" if report.predicted else "with SDRAM"
    told = [
        f"{report.model}, {report.source}, on {report.where}",
        *(line for one in report.results if one.is_row for line in one.lines()),
        f"{run.cycles:,} cycles, {known}: {1e6 * computing:,.0f} us; {shares}",
        "outputs equal the golden model's",
    ]
    if report.repeated:
        told.append(f"{report.repeated} packets were sent again")
    each = run.seconds["inputs"] + run.seconds["outputs"]
    rows: list[tuple[str, ...]] = [
        ("image", f"{image:,}", f"{1e3 * run.seconds['image']:,.1f}", "once"),
        ("inputs and outputs", "", f"{1e3 * each:,.1f}", "each picture"),
        ("run, with its registers", "", f"{1e3 * run.seconds['run']:,.1f}", "each picture"),
        ("run alone", "", f"{1e3 * computing:,.1f}", ""),
    ]
    tables = [
        Sheet(
            title=f"time at {report.clock / 1e6:g} MHz and {report.baud:,} baud",
            columns=("what", "bytes", "ms", "how often"),
            rows=rows,
        )  # fmt: skip
    ]
    if any(not one.is_row for one in report.results):
        tables.append(place_sheet(report.results))
    data: dict[str, Any] = {
        "model": report.model, "config": report.program.config.to_dict(), "where": report.where,
        "cycles": run.cycles, "predicted_cycles": report.predicted, "counters": run.counters,
        "memory_bytes": report.memory, "sdram": report.predicted is None,
        "clock": report.clock, "baud": report.baud, "seconds": run.seconds,
        "microseconds": 1e6 * computing, "image_bytes": image,
        "results": [one.to_dict() for one in report.results],
    }  # fmt: skip
    return Page(tables=tables, notes=told, data=data)


COMMAND = Command(
    name="sim.host",
    about="Run a quantized TensorFlow Lite model on a board over its serial port, or on its "
    "design simulated at the pins, and compare what comes back with the golden model.",
    options=_options,
    report=_report,
    page=_page,
    outputs=("json", "markdown"),
    reads=("model", "input", "labels"),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
