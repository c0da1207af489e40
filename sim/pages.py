"""Compute what docs/performance.md says, and write it: ``make performance``.

Writes performance.json (every table), performance.md and the pictures. Cycles take seconds; with
--areas the shapes of the exploration are synthesized again, which takes minutes. With --models,
models.json is measured again, on the RTL; models.md is written of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from golden.machine.schedule import cycles
from golden.mapping import map_workload
from golden.mapping.gemm import map_gemm
from golden.nets.networks import FUSE_NETWORKS, build
from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page
from report.jobs import add_executor_options, executor, run_jobs
from report.tables import Sheet
from report.template import fill

from . import abconv, compare, explore, models, network, paper
from .cost import LayerReport, Memory, layer_report
from .network import network_cycles, network_report
from .papers.abconv import BANDWIDTH

__all__ = ["COMMAND", "ESTIMATES", "main", "measure", "pictures", "render"]

DOCS = Path(__file__).parents[1] / "docs"
MOBILE = tuple(name for name in FUSE_NETWORKS if name != "resnet50")
SIZES = (32, 64, 128)
#: First estimates for 64 x 64, thousands of cycles: half, unmodified.
ESTIMATES = {
    "mobilenet_v1": (234, 311),
    "mobilenet_v2": (224, 322),
    "mobilenet_v3_small": (88, 122),
    "mobilenet_v3_large": (203, 293),
    "mnasnet_b1": (204, 334),
}
BUDGETS = (256, 1024, 4096)
EXPLORED = ("mobilenet_v2", "half")


def machine(size: int, st_os: bool = True) -> ArrayConfig:
    """Return the square machine that most tables are about."""
    return ArrayConfig(rows=size, cols=size, st_os=st_os)


def totals() -> Sheet:
    """Return the cycles of all networks at three sizes, beside the estimates."""
    rows: list[tuple[str, ...]] = []
    for name in FUSE_NETWORKS:
        for index, variant in enumerate(("half", "baseline")):
            counts = [network_cycles(build(name, variant), machine(size)) for size in SIZES]
            estimate = f"{ESTIMATES[name][index]} k" if name in ESTIMATES else ""
            used = network_report(build(name, variant), machine(64)).utilisation
            rows.append(
                (
                    f"{name}, {'unmodified' if index else variant}",
                    *(f"{count:,}" for count in counts),
                    estimate,
                    f"{100 * used:.1f} %",
                )
            )
    columns = ("network", *(f"{s} x {s}" for s in SIZES), "estimate, 64 x 64", "PEs used, 64 x 64")
    return Sheet(title="Cycles on an ST-OS core, two accumulators", columns=columns, rows=rows)


def accumulators() -> Sheet:
    """Return what the second accumulator is worth."""
    rows: list[tuple[str, ...]] = []
    for name in MOBILE:
        two = machine(64)
        counts = [
            network_cycles(build(name, variant), config)
            for variant in ("half", "baseline")
            for config in (two.replace(accumulators=1), two)
        ]
        rows.append(
            (
                name,
                *(f"{count:,}" for count in counts),
                f"{counts[0] / counts[1]:.2f}",
                f"{counts[2] / counts[3]:.2f}",
            )
        )
    columns = (
        "network", "half, one", "half, two", "unmodified, one", "unmodified, two", "gain, half",
        "gain, unmodified",
    )  # fmt: skip
    return Sheet(title="One or two accumulators, 64 x 64 ST-OS", columns=columns, rows=rows)


def farthest() -> Sheet:
    """Return the layers that lose most PE cycles, over all networks."""
    config = machine(64)
    found: list[tuple[float, str, LayerReport]] = []
    for name in MOBILE:
        report = network_report(build(name, "half"), config)
        for one in report.layers:
            lost = one.time - one.macs / one.pes
            found.append((lost / report.time, name, one))
    found.sort(key=lambda entry: -entry[0])
    rows: list[tuple[str, ...]] = []
    for share, name, one in found[:12]:
        rows.append(
            (
                f"{name}, {one.layer.name}",
                str(one.layer.workload),
                f"{one.plan}",
                f"{one.cycles:,}",
                f"{one.macs / one.pes:,.0f}",
                f"{100 * share:.1f} %",
                one.bound,
            )
        )
    columns = (
        "layer",
        "operator",
        "mapping",
        "cycles",
        "MACs / PEs",
        "of the network lost",
        "bound",
    )
    return Sheet(title="Farthest from the PEs' limit, half, 64 x 64", columns=columns, rows=rows)


def mappings() -> Sheet:
    """Return what the mapping of single layers gains, plain and ST-OS."""
    wanted = (
        ("mobilenet_v2", "baseline", "block2.depthwise"),
        ("mobilenet_v2", "baseline", "block12.depthwise"),
        ("mobilenet_v2", "baseline", "block16.depthwise"),
        ("mnasnet_b1", "baseline", "block6.depthwise"),
        ("mobilenet_v2", "half", "block3.fuse"),
        ("mobilenet_v2", "half", "block12.fuse"),
        ("mobilenet_v2", "half", "block16.fuse"),
        ("mobilenet_v2", "half", "block12.project"),
        ("mobilenet_v2", "half", "classifier"),
    )
    rows: list[tuple[str, ...]] = []
    for name, variant, layer_name in wanted:
        (layer,) = (one for one in build(name, variant).layers if one.name == layer_name)
        (height, width), work = layer.workload.window.size, layer.workload
        cells = [f"{work}, {height} x {width} x {work.c_in}"]
        for st_os in (False, True):
            for mapping in ("textbook", "best"):
                one = layer_report(layer, machine(64, st_os), mapping=mapping)
                cells += [f"{one.cycles:,}"] if mapping == "textbook" else [
                    f"{one.cycles:,}", f"{one.plan.name}: {one.plan}"
                ]  # fmt: skip
        rows.append(tuple(cells))
    columns = (
        "layer", "plain, textbook", "plain, best", "how", "ST-OS, textbook", "ST-OS, best", "how",
    )  # fmt: skip
    return Sheet(title="Cycles of single layers, 64 x 64", columns=columns, rows=rows)


def spatial() -> Sheet:
    """Return the cycles of all depthwise layers, and of the FuSe layers that replace them."""
    rows: list[tuple[str, ...]] = []
    for name in MOBILE:
        counts = {
            (variant, st_os): sum(
                map_workload(layer.workload, machine(64, st_os)).cycles
                for layer in build(name, variant).layers
                if layer.workload.spatial
            )
            for variant in ("baseline", "half")
            for st_os in (False, True)
        }
        depthwise, fuse = (
            (counts[variant, False], counts[variant, True]) for variant in ("baseline", "half")
        )
        rows.append(
            (
                name,
                *(f"{count:,}" for count in (*depthwise, *fuse)),
                f"{depthwise[0] / depthwise[1]:.2f}",
                f"{fuse[0] / fuse[1]:.2f}",
                f"{depthwise[1] / fuse[1]:.2f}",
            )
        )
    columns = (
        "network", "depthwise, plain", "depthwise, ST-OS", "FuSe half, plain", "FuSe half, ST-OS",
        "ST-OS gain, depthwise", "ST-OS gain, FuSe", "depthwise over FuSe, ST-OS",
    )  # fmt: skip
    return Sheet(title="Spatial layers alone, cycles, 64 x 64", columns=columns, rows=rows)


def batches() -> Sheet:
    """Return cycles per image for batches."""
    rows: list[tuple[str, ...]] = []
    for name in MOBILE:
        cells = [
            f"{network_report(build(name, 'half'), machine(64), batch=n).cycles / n:,.0f}"
            for n in (1, 2, 4, 8)
        ]
        rows.append((name, *cells))
    columns = ("network", "1", "2", "4", "8")
    return Sheet(title="Cycles per image by batch, half, 64 x 64", columns=columns, rows=rows)


def memory() -> Sheet:
    """Return the time with DRAM."""
    rows: list[tuple[str, ...]] = []
    limits = (16, 64, 128)
    for name in MOBILE:
        for variant, st_os in (("baseline", False), ("baseline", True), ("half", True)):
            one, config = build(name, variant), machine(64, st_os)
            cells = [
                f"{network_report(one, config, memory=given).time:,.0f}"
                for kept in (False, True)
                for given in (
                    Memory(dram_bytes_per_cycle=b, activations_on_chip=kept) for b in limits
                )
            ]
            what = f"{name}, {variant}, {'ST-OS' if st_os else 'plain'}"
            rows.append((what, f"{network_cycles(one, config):,}", *cells))
    columns = ["network", "no limit", *(f"{b} B/cycle, all" for b in limits)]
    columns += [f"{b} B/cycle, weights" for b in limits]
    return Sheet(title="Cycles with DRAM, 64 x 64", columns=tuple(columns), rows=rows)


def on_cifar() -> Sheet:
    """Return the CIFAR-100 networks of the ABConv paper on two machines."""
    rows: list[tuple[str, ...]] = []
    for name, patterns in (
        ("mobilenet_v1_cifar100", ("P", "A-P-P", "A-P", "A", "E-P-P", "E-P", "E")),
        ("resnet50_cifar100", ("P", "A-P-P", "E-P-P")),
    ):
        for pattern in patterns:
            cells = []
            for size in (16, 32):
                config = machine(size, st_os=False)
                for bandwidth in (None, BANDWIDTH):
                    given = Memory(dram_bytes_per_cycle=bandwidth, activations_on_chip=True)
                    report = network_report(build(name, pattern), config, memory=given)
                    cells.append(f"{report.time:,.0f}")
            rows.append((f"{name}, {pattern}", *cells))
    columns = ("network, pattern", "16 x 16", "with DRAM", "32 x 32", "with DRAM")
    title = f"ABConv networks, cycles; DRAM {BANDWIDTH} bytes per cycle for weights"
    return Sheet(title=title, columns=columns, rows=rows)


def scale_sim(data: dict[str, Any]) -> Sheet:
    """Return SCALE-Sim's cycles (of scalesim.json) beside ours, and the difference in parts."""
    rows: list[tuple[str, ...]] = []
    for one in data["runs"]:
        config = ArrayConfig(rows=one["rows"], cols=one["cols"])
        m, k, n = one["shape"]
        folds = -(-m // config.rows) * -(-n // config.cols)
        theirs = folds * (k + config.rows + config.cols - 2) - 1
        if theirs != one["cycles"]:
            raise ValueError(f"{one} is not T + R + C - 2 per fold: {theirs}")
        textbook = map_gemm(m, k, n, config, "textbook")
        steady = sum(
            count * max(k, emit) for strip in textbook.strips for emit, count in strip.emits
        )
        ours = cycles(textbook.program, config)
        first, last = textbook.strips[0].emits[0][0], textbook.strips[-1].emits[-1][0]
        filling = config.rows + config.cols + config.mac_stages + last - max(0, first - k)
        if ours != steady + filling:
            raise ValueError(f"{one}: ours is not max(K, N) per tile and {filling}: {ours}")
        rows.append(
            (
                f"{one['layer']}, {m} x {k} x {n}, on {config.rows} x {config.cols}",
                f"{folds:,}",
                f"{one['cycles']:,}",
                f"{ours:,}",
                f"{steady:,}",
                f"{ours - steady:,}",
                f"{cycles(map_gemm(m, k, n, config).program, config):,}",
            )
        )
    columns = (
        "GEMM, M x K x N", "folds", data["version"], "ours, textbook", "of that max(K, N) per tile",
        "fill and drain", "ours, best",
    )  # fmt: skip
    return Sheet(title="SCALE-Sim and ours, plain array", columns=columns, rows=rows)


def shapes(areas: dict[str, float]) -> list[explore.Shape]:
    """Return the explored shapes with known areas."""
    one = build(*EXPLORED)
    found = []
    for pes in BUDGETS:
        for rows, cols in explore.splits(pes):
            if min(rows, cols) >= 4 and f"{rows}x{cols}" in areas:
                config = ArrayConfig(rows=rows, cols=cols, st_os=True)
                found.append(
                    explore.Shape(
                        config=config, cycles=network_cycles(one, config), macs=one.macs,
                        area=areas[f"{rows}x{cols}"],
                    )
                )  # fmt: skip
    return found


def known_areas() -> dict[str, float]:
    """Return the areas of the last exploration."""
    file = DOCS / "performance.json"
    return json.loads(file.read_text())["areas"] if file.exists() else {}


def gains(size: int) -> dict[str, Sheet]:
    """Return the tables of `sim.compare` for one size."""
    three = compare.sheets([compare.compare(name, machine(size)) for name in MOBILE])
    kinds = ("cycles", "gains", "parts")
    return {f"{kind}{size}": sheet for kind, sheet in zip(kinds, three, strict=True)}


def blocks(size: int) -> dict[str, Sheet]:
    """Return the table of `sim.abconv` for one size."""
    given = Memory(dram_bytes_per_cycle=BANDWIDTH, activations_on_chip=True)
    config = machine(size, st_os=False)
    found = abconv.rows(1024, 1024, 1, 4, config, given)
    return {f"abconv{size}": abconv.sheet(found, config, given)}


def papers(which: str) -> dict[str, Sheet | str]:
    """Return the tables of `sim.paper`, and its notes."""
    items = paper.PAPERS[which]()
    sheets = {f"{which}_paper{index}": one for index, one in enumerate(paper.sheets(items))}
    return sheets | {f"{which}_notes": "\n".join(f"- {note}" for note in paper.notes(items, which))}


def explored(areas: dict[str, float]) -> dict[str, Sheet]:
    """Return the table of the explored shapes."""
    return {"shapes": explore.sheet(build(*EXPLORED), shapes(areas))}


def call(name: str, function: Callable[..., Any], *arguments: Any) -> dict[str, Sheet | str]:
    """Return what a function gives: tables and texts by name, or the table of this name."""
    found = function(*arguments)
    return {name: found} if isinstance(found, Sheet) else found


def measure(areas: dict[str, float], pool: Executor) -> dict[str, Any]:
    """Return every table and text by name.

    Parameters
    ----------
    areas : dict
        Gate equivalents of the explored shapes.
    pool : Executor
        What `report.jobs.executor` gives.
    """
    jobs: list[tuple[Any, ...]] = [
        ("totals", totals), ("accumulators", accumulators), ("farthest", farthest),
        ("mappings", mappings), ("batches", batches), ("spatial", spatial), ("memory", memory),
        ("cifar", on_cifar),
        ("scalesim", scale_sim, json.loads((DOCS / "scalesim.json").read_text())),
        *((f"gains {size}", gains, size) for size in SIZES),
        *((f"blocks {size}", blocks, size) for size in (16, 32)),
        *((which, papers, which) for which in ("fuseconv", "abconv")), ("shapes", explored, areas),
    ]  # fmt: skip
    results = run_jobs(pool, call, jobs, [name for name, *_ in jobs])
    found = {name: one for result in results for name, one in result.items()}
    return {
        "tables": {name: asdict(one) for name, one in found.items() if isinstance(one, Sheet)},
        "text": {name: one for name, one in found.items() if isinstance(one, str)},
    }


def pictures(areas: dict[str, float]) -> Iterator[tuple[str, bytes]]:
    """Yield every picture by file name."""
    yield (
        "speedups.svg",
        compare.figure([compare.compare(name, machine(64)) for name in MOBILE], "svg"),
    )
    yield "timeline.svg", network.timeline(network_report(build(*EXPLORED), machine(64)), "svg")
    yield (
        "abconv.svg",
        abconv.figure(
            machine(16, st_os=False), Memory(dram_bytes_per_cycle=8), "svg",
        ),
    )  # fmt: skip
    yield "shapes.svg", explore.figure(build(*EXPLORED), shapes(areas), "svg")


def render(data: dict[str, Any]) -> str:
    """Return the text of performance.md: the template with the tables of performance.json."""
    return fill(DOCS / "performance.md.in", data["tables"], data["text"])


def render_models(found: list[models.Model]) -> str:
    """Return the text of models.md."""
    tables = {name: asdict(one) for name, one in models.sheets(found).items()}
    return fill(DOCS / "models.md.in", tables, {})


def _options(parser: OneLineParser) -> None:
    parser.add_argument(
        "--models", type=Path, nargs="+", metavar="FILE.tflite", default=[],
        help="measure the models of docs/models.md again",
    )  # fmt: skip
    parser.add_argument("--areas", action="store_true", help="synthesize the explored shapes again")
    add_executor_options(parser)


def known_models() -> list[models.Model]:
    """Return what models.json says."""
    return [models.Model(**one) for one in json.loads((DOCS / "models.json").read_text())]


def _models(paths: list[Path]) -> list[models.Model]:
    """Return what models need: of these files, or as known."""
    if not paths:
        return known_models()
    return [models.measure(path, (8, 16, 32), (8, 16)) for path in paths]


def _report(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[models.Model]]:
    areas = known_areas()
    with executor(arguments) as pool:
        if arguments.areas or not areas:
            configs = [
                ArrayConfig(rows=rows, cols=cols, st_os=True)
                for pes in BUDGETS
                for rows, cols in explore.splits(pes)
                if min(rows, cols) >= 4
            ]
            names = [f"{config.rows}x{config.cols}" for config in configs]
            found = run_jobs(pool, explore.area, [(config,) for config in configs], names)
            areas |= dict(zip(names, found, strict=True))
        return {"areas": areas, **measure(areas, pool)}, _models(arguments.models)


def _page(report: tuple[dict[str, Any], list[models.Model]]) -> Page:
    data, found = report
    files: dict[Path, str | bytes] = {
        DOCS / "performance.json": json.dumps(data, indent=1) + "\n",
        DOCS / "performance.md": render(data),
        DOCS / "models.json": json.dumps([vars(one) for one in found], indent=1) + "\n",
        DOCS / "models.md": render_models(found),
    }
    drawn = {DOCS / name: content for name, content in pictures(data["areas"])}
    return Page(files=files | drawn)


COMMAND = Command(
    name="sim.pages",
    about="Compute what docs/performance.md and docs/models.md say, and write them.",
    options=_options,
    report=_report,
    page=_page,
    outputs=(),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
