"""What models need: ``python -m sim.models FILE.tflite ...`` (extra `sim`)."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from golden.int8.array_operators import ArrayOperator
from golden.int8.tensor import Tensor
from golden.int8.transform import fold, recognize
from golden.nets.layers import check_int8
from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page, integers
from report.errors import Failure, needs_extra
from report.tables import Sheet

from .network import network_cycles
from .rtl import Simulator
from .run import run

__all__ = ["COMMAND", "Model", "main", "measure", "sheets"]


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a model needs.

    Parameters
    ----------
    name : str
        Of the file.
    error : str
        Why it cannot be imported; nothing else is known then.
    kinds : dict of str to int
        How many operators of each kind there are.
    on_array : int
        How many of them run on the array.
    macs, folded_macs : int
        Multiply-accumulates, and those without constant channels.
    host_operations : int
        Elements that operators beside the array compute or move.
    cycles : dict of str to dict
        By size as in "16", of the plain and the ST-OS array, and folded on the latter.
    rtl : dict of str to int
        By size: cycles on the RTL of the ST-OS array, where all sums and cycles were equal.
    """

    name: str
    error: str = ""
    kinds: dict[str, int]
    on_array: int = 0
    macs: int = 0
    folded_macs: int = 0
    host_operations: int = 0
    cycles: dict[str, dict[str, int]]
    rtl: dict[str, int]


def _some_values(tensor: Tensor) -> NDArray[Any]:
    """Return values of an input at random, always the same."""
    rng = np.random.default_rng(1)
    if tensor.real:
        return rng.normal(size=tensor.shape).astype(np.float32)
    return tensor.outside(rng.integers(-128, 127, tensor.shape, np.int8, endpoint=True))


def measure(path: Path, sizes: Sequence[int], rtl: Sequence[int] = ()) -> Model:
    """Return what a model needs on square arrays of some sizes.

    Parameters
    ----------
    path : Path
    sizes : sequence of int
    rtl : sequence of int
        Sizes at which all its multiply-accumulates run on the RTL, and are compared.

    Raises
    ------
    Mismatch
        If a sum or the number of cycles differs on the RTL.
    """
    with needs_extra("sim"):
        from golden.int8 import tflite
    try:
        graph = tflite.load(path)
    except (tflite.ModelError, OSError) as error:
        text = str(error).removeprefix(f"{path}: ")
        if isinstance(error, OSError):
            text = f"cannot be read: {error.strerror}"
        return Model(name=path.name, error=text, kinds={}, cycles={}, rtl={})
    folded = recognize(fold(graph)).network(path.name)
    graph = recognize(graph)
    network = graph.network(path.name)
    cycles, proved = {}, {}
    for size in sizes:
        plain, st_os = (ArrayConfig(rows=size, cols=size, st_os=one) for one in (False, True))
        cycles[str(size)] = {
            "plain": network_cycles(network, plain), "st_os": network_cycles(network, st_os),
            "folded": network_cycles(folded, st_os),
        }  # fmt: skip
    for size in rtl:
        config = ArrayConfig(rows=size, cols=size, st_os=True)
        inputs = [_some_values(tensor) for tensor in graph.inputs]
        ran = run(graph, inputs, config, simulator=Simulator(config))
        proved[str(size)] = sum(one.cycles or 0 for one in ran)
    return Model(
        name=path.name,
        kinds=dict(sorted(Counter(one.kind for one in graph.operators).items())),
        on_array=sum(isinstance(one, ArrayOperator) for one in graph.operators),
        macs=network.macs,
        folded_macs=folded.macs,
        host_operations=sum(one.host_operations for one in graph.operators),
        cycles=cycles,
        rtl=proved,
    )


def sheets(models: Sequence[Model]) -> dict[str, Sheet]:
    """Return the tables: cycles, operators, and what folding brings."""
    good = [one for one in models if not one.error]
    sizes = list(good[0].cycles) if good else []
    proved = sorted({size for one in good for size in one.rtl}, key=int)
    rows: list[tuple[str, ...]] = []
    kinds: list[tuple[str, ...]] = []
    folded: list[tuple[str, ...]] = []
    for one in good:
        counts = [one.cycles[size] for size in sizes]
        rows.append(
            (
                one.name, f"{one.macs:,}", f"{one.host_operations:,}",
                *(f"{count[which]:,}" for count in counts for which in ("plain", "st_os")),
                *(["exact" if size in one.rtl else "-" for size in proved]),
            )
        )  # fmt: skip
        listed = ", ".join(f"{count} {kind}" for kind, count in one.kinds.items())
        kinds.append((one.name, f"{one.on_array} of {sum(one.kinds.values())}", listed))
        if one.folded_macs < one.macs:
            folded.append(
                (
                    one.name, f"{one.macs:,}", f"{one.folded_macs:,}",
                    *(f"{count[which]:,}" for count in counts for which in ("st_os", "folded")),
                )
            )  # fmt: skip
    pairs = [(size, which) for size in sizes for which in ("plain", "ST-OS")]
    columns = ("model", "MACs", "host elements", *(f"{which} {size}" for size, which in pairs))
    columns += tuple(f"RTL {size}" for size in proved)
    found = {
        "models": Sheet(title="cycles, by size and kind of array", columns=columns, rows=rows),
        "operators": Sheet(title="operators", columns=("model", "on the array", "all"), rows=kinds),
    }
    if folded:
        head = [f"{which} {size}" for size in sizes for which in ("ST-OS", "folded")]
        found["folded"] = Sheet(
            title="without channels that are the same for every input",
            columns=("model", "MACs", "folded", *head), rows=folded,
        )  # fmt: skip
    return found


def _options(parser: OneLineParser) -> None:
    parser.add_argument("models", type=Path, nargs="+", metavar="FILE.tflite", help="models")
    parser.add_argument(
        "--sizes", type=integers, default=[8, 16, 32], metavar="8,16,32",
        help="rows and columns of the arrays",
    )  # fmt: skip
    parser.add_argument(
        "--rtl", type=integers, default=[], metavar="8,16",
        help="run every layer on the RTL of ST-OS arrays of these sizes, with inputs at random, "
        "and compare",
    )  # fmt: skip


def _report(arguments: argparse.Namespace) -> list[Model]:
    for size in {*arguments.sizes, *arguments.rtl}:
        check_int8(ArrayConfig(rows=size, cols=size))
    counts = Counter(path.name for path in arguments.models)
    found, console = [], Console(stderr=True)
    for path in track(
        arguments.models, "", transient=True, console=console, disable=not console.is_terminal
    ):
        one = measure(path, arguments.sizes, arguments.rtl)
        found.append(one if counts[path.name] == 1 else replace(one, name=str(path)))
    if all(one.error for one in found):
        raise Failure("no model can run\n" + "\n".join(f"{m.name}: {m.error}" for m in found))
    return found


def _page(models: list[Model]) -> Page:
    bad = [one for one in models if one.error]
    tables = sheets(models)
    kinds = tables.pop("operators").rows  # lines are better than a column of long lists
    notes = [f"{name}: {some} operators on the array; {listed}" for name, some, listed in kinds]
    notes += ["", f"{len(models) - len(bad)} of {len(models)} models can run"]
    notes += [f"{one.name}: {one.error}" for one in bad]
    data = {"models": [vars(one) for one in models]}
    return Page(tables=list(tables.values()), notes=notes, data=data)


COMMAND = Command(
    name="sim.models",
    about="Show what models need: operators, cycles on arrays of some sizes, and why one cannot "
    "run.",
    options=_options,
    report=_report,
    page=_page,
    outputs=("json", "markdown"),
    reads=("models",),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
