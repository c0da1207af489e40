"""Write docs/accelerator.md: registers, and whole networks by the exact cycle model.

``python -m sim.accelerator.page`` makes the page again from accelerator.json; with ``--models
FOLDER`` the networks in a folder are compiled and counted again (two minutes), with ``--drafts
FOLDER`` those of `DRAFTS` (minutes), with ``--area`` accelerators are synthesized again
(minutes).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from golden.int8 import transform
from golden.int8.graph import Graph
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.registers import COUNTERS, ERRORS, REGISTERS
from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page
from report.errors import UserError, reading
from report.tables import Sheet
from report.template import fill
from synth.accelerator import cost, lines
from synth.targets import gates

from ..inputs import read_model
from ..network import network_cycles
from .compiler import compile_graph
from .ethos import ethos_cycles, vela_version

__all__ = ["COMMAND", "MODELS", "count", "main", "render"]

DOCS = Path(__file__).parents[2] / "docs"

#: Files of the table: MLPerf Tiny, and what users have.
MODELS = {
    "vww_96_int8": "visual wake words",
    "pretrainedResnet_quant": "ResNet8",
    "kws_ref_model": "keyword spotting",
    "ad01_int8": "autoencoder",
    **{
        f"users/{name}": name
        for name in (
            "blazeface_i8", "dogs_vs_cats", "hps_74ops", "mlt_ad_reshape", "mnv1_025_128_u8",
            "mnv2_160_035", "nxp_yolo_face", "person_detect", "rps_84", "te_vww",
        )
    },
}  # fmt: skip
#: The project's own, in examples/.
EXAMPLES = {f"mobilenet_v2_{size}k": f"FuSe MobileNetV2 x0.35, {size} k" for size in (46, 47, 48)}
#: Activation memory with which all of them fit: they are not cut into bands.
_ROOM = 2048

#: Rows, columns, ST-OS, bits of the bus.
MACHINES = {
    "8 x 8": (8, 8, True, 64), "16 x 16": (16, 16, True, 128),
    "16 x 16 plain": (16, 16, False, 128), "32 x 8": (32, 8, True, 128),
    "16 x 32": (16, 32, True, 256), "32 x 32": (32, 32, True, 256),
}  # fmt: skip


#: Of the table of lanes: machines, rows that share one, and networks.
_SHARED = ("16 x 16", "32 x 32")
_ROWS = (1, 2, 4)
_SOME = ("vww_96_int8", "pretrainedResnet_quant", "kws_ref_model", "ad01_int8",
         "mobilenet_v2_46k")  # fmt: skip


#: Large networks with their operators, the unmodified one first, as `train draft` writes them.
DRAFTS = {
    "mobilenet_v1": ("baseline", "half"),
    "mobilenet_v2": ("baseline", "half"),
    "mobilenet_v3_large": ("baseline", "half"),
    "mnasnet_b1": ("baseline", "half"),
    "mobilenet_v1_cifar100": ("P", "A", "A-P-P", "E-P-P"),
}  # fmt: skip
#: One of these machines has little memory: name, KiB of activations.
_LITTLE = ("16 x 16", 256)
#: KiB of activations that one of them is counted with.
_SMALLER = (128, 256, 512, _ROOM)
_CUT = ("mobilenet_v2", "baseline")


def machine(name: str, act_kib: int = _ROOM, rows_per_lane: int = 1) -> AcceleratorConfig:
    """Return one of `MACHINES`."""
    rows, cols, st_os, width = MACHINES[name]
    array = ArrayConfig(rows=rows, cols=cols, st_os=st_os)
    wgt_kib = 64 if max(rows, cols) == 32 else 32
    return AcceleratorConfig(
        array=array, act_kib=act_kib, wgt_kib=wgt_kib, axi_width=width, rows_per_lane=rows_per_lane
    )


def count(graph: Graph) -> dict[str, Any]:
    """Return cycles of a network on every machine, and what it needs."""
    found: dict[str, Any] = {"cycles": {}}
    for name in MACHINES:
        config = machine(name)
        program = compile_graph(graph, config)
        timing = program.timing()
        found["cycles"][name] = timing.cycles
        if name == "16 x 16":
            found |= {
                "act_bytes": program.act_bytes, "image_bytes": len(program.image),
                "counters": timing.counters, "host": [one.kind for one in program.after],
                "core": network_cycles(graph.network(""), config.array),
            }  # fmt: skip
    return found


def drafts(folder: Path) -> dict[str, Any]:
    """Return cycles of large networks, and of one of them by activation memory."""
    found: dict[str, Any] = {"networks": {}, "memory": {}}
    for name, variants in DRAFTS.items():
        for variant in variants:
            file = folder / f"{name}-{variant}.tflite"
            graph = transform.recognize(read_model(file))
            programs = {one: compile_graph(graph, machine(one)) for one in MACHINES}
            try:
                little = compile_graph(graph, machine(*_LITTLE)).timing().cycles
            except UserError:  # it cannot be cut into bands
                little = None
            found["networks"][file.stem] = {
                "cycles": {one: program.timing().cycles for one, program in programs.items()},
                "little": little, "image_bytes": len(programs["16 x 16"].image),
                "core": network_cycles(graph.network(""), machine("16 x 16").array),
            }  # fmt: skip
            if (name, variant) == _CUT:
                for kib in _SMALLER:
                    timing = compile_graph(graph, machine("16 x 16", kib)).timing()
                    moved = timing.counters["BYTES_READ"] + timing.counters["BYTES_WRITTEN"]
                    found["memory"][str(kib)] = [timing.cycles, moved]
    return found


#: Parts of the table of costs: names of modules, whatever they are in.
_PARTS = {
    "grid": ("grid",),
    "requantization lanes": ("requantizer",),
    "element-wise": ("combiner",),
    "corner turn, skews": ("corner_turn", "west_skew", "deskew"),
    "addresses": ("gemm_reader", "stream_reader", "gemm_writer", "stream_writer"),
    "rings": ("weight_ring", "job_ring"),
    "activations": ("activations",),
    "memory port": ("storer", "weights_fetcher", "program_fetcher", "tensor_fetcher"),
    "registers": ("registers",),
}


def shared(graph: Graph) -> dict[str, list[int]]:
    """Return cycles of a network by machine, with lanes for `_ROWS` rows."""
    return {
        name: [
            compile_graph(graph, machine(name, rows_per_lane=rows)).timing().cycles
            for rows in _ROWS
        ]
        for name in _SHARED
    }


def shared_area() -> dict[str, list[float]]:
    """Return gate equivalents by machine, with lanes for `_ROWS` rows, then those of the core."""
    found = {}
    for name in _SHARED:
        all_ = [cost(machine(name, 96, rows), gates()) for rows in _ROWS]
        found[name] = [*(one.whole.unit["GE"] for one in all_), all_[0].core.unit["GE"]]
    return found


def area() -> dict[str, Any]:
    """Return gate equivalents of accelerators of three sizes, part by part."""
    found = {}
    for name in ("8 x 8", "16 x 16", "32 x 32"):
        one = cost(machine(name, 96), gates())
        parts: dict[str, float] = {}
        for _, copies, part in lines(one.whole):
            parts[part.name] = parts.get(part.name, 0) + copies * part.unit["GE"]
        shares = {what: sum(parts[part] for part in names) for what, names in _PARTS.items()}
        whole, core = one.whole.unit["GE"], one.core.unit["GE"]
        shares["control, jobs"] = whole - sum(shares.values())
        found[name] = {"core": core, "whole": whole, "parts": shares}
    return found


def _area(data: dict[str, Any]) -> Sheet:
    names = list(data)
    rows: list[tuple[str, ...]] = [
        (what, *(f"{data[name]['parts'][what] / 1000:.1f}" for name in names))
        for what in data[names[0]]["parts"]
    ]
    rows.append(("**all**", *(f"{data[name]['whole'] / 1000:.1f}" for name in names)))
    rows.append(("core alone", *(f"{data[name]['core'] / 1000:.1f}" for name in names)))
    beyond = (f"{100 * (data[name]['whole'] / data[name]['core'] - 1):.0f} %" for name in names)
    rows.append(("beyond the core", *beyond))
    return Sheet(title="Logic, kGE", columns=("part", *(f"{n} ST-OS" for n in names)), rows=rows)


def _shared(areas: dict[str, list[float]], networks: dict[str, Any]) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for name, (*wholes, core) in areas.items():
        for index, (count_, whole) in enumerate(zip(_ROWS, wholes, strict=True)):
            cycles = (networks[one]["shared"][name][index] for one in _SOME)
            rows.append(
                (f"{name} ST-OS", str(count_), f"{whole / 1000:.1f}",
                 f"{100 * (whole / core - 1):.0f} %", *(f"{one:,}" for one in cycles))
            )  # fmt: skip
    return Sheet(
        title="Rows that share a requantization lane (`--rows-per-lane`): area against cycles",
        columns=("machine", "rows per lane", "kGE", "beyond the core",
                 *((MODELS | EXAMPLES)[one] for one in _SOME)),
        rows=rows,
    )  # fmt: skip


def _networks(data: dict[str, Any]) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for name, what in (MODELS | EXAMPLES).items():
        one = data[name]
        cycles = one["cycles"]
        shares = (100 * one["counters"][name] / cycles["16 x 16"] for name in COUNTERS)
        rows.append(
            (
                what, *(f"{cycles[name]:,}" for name in MACHINES), f"{one['core']:,}",
                " / ".join(f"{share:.0f}" for share in shares), f"{one['act_bytes'] / 1024:.0f}",
                f"{one['image_bytes'] / 1024:.0f}",
            )
        )  # fmt: skip
    return Sheet(
        title="Whole inferences: cycles from start to done, input and output in memory",
        columns=("network", *_titles(),
                 "array alone, 16 x 16 ST-OS",
                 "%: array / weights / activations / results", "KiB of activations",
                 "KiB of image"),
        rows=rows,
    )  # fmt: skip


def _titles() -> list[str]:
    return [f"{name}{'' if 'plain' in name else ' ST-OS'}" for name in MACHINES]


def _drafts(data: dict[str, Any]) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for name, variants in DRAFTS.items():
        plain = data[f"{name}-{variants[0]}"]["cycles"]["16 x 16 plain"]
        for variant in variants:
            one = data[f"{name}-{variant}"]
            rows.append(
                (
                    name, variant, *(f"{count_:,}" for count_ in one["cycles"].values()),
                    f"{one['little']:,}" if one["little"] else "no", f"{one['core']:,}",
                    f"{plain / one['cycles']['16 x 16']:.2f}",
                    f"{one['image_bytes'] / 1024:,.0f}",
                )
            )  # fmt: skip
    return Sheet(
        title="Large networks, memory included",
        columns=("network", "operators", *_titles(),
                 f"{_LITTLE[0]} ST-OS, {_LITTLE[1]} KiB",
                 "array alone, 16 x 16 ST-OS", "ST-OS against unmodified on plain, 16 x 16",
                 "KiB of image"),
        rows=rows,
    )  # fmt: skip


def _smaller(data: dict[str, Any]) -> Sheet:
    return Sheet(
        title=f"{_CUT[0]} at 224 x 224 by activation memory, 16 x 16 ST-OS",
        columns=("KiB of activations", "cycles", "bytes moved"),
        rows=[(kib, f"{count_:,}", f"{moved:,}") for kib, (count_, moved) in data.items()],
    )


def _against(data: dict[str, Any], ethos: dict[str, Any]) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for name, what in (MODELS | EXAMPLES).items():
        ours, theirs = data[name]["cycles"]["16 x 16"], ethos["cycles"][name]
        rows.append(
            (
                what, f"{ours:,}", f"{theirs['ethos-u65-256']:,}", f"{theirs['ethos-u55-256']:,}",
                f"{theirs['ethos-u65-256'] / ours:.2f}",
                f"{len(data[name]['host'])}", f"{theirs['host']}",
            )
        )  # fmt: skip
    return Sheet(
        title=f"Cycles of an inference, 256 multipliers each; Vela {ethos['version']}",
        columns=("network", "16 x 16 ST-OS", "Ethos-U65-256", "Ethos-U55-256", "U65 / ours",
                 "left to the host", "by Vela"),
        rows=rows,
    )  # fmt: skip


def _registers() -> Sheet:
    rows: list[tuple[str, ...]] = []
    for one in REGISTERS:
        fields = "; ".join(
            f"{name} {low}" if width == 1 else f"{name} {low + width - 1}:{low}"
            for name, (low, width) in one.fields.items()
        )
        rows.append((f"0x{one.offset:03X}", one.name, one.access, str(one.bits), one.text, fields))
    return Sheet(
        title="Registers", columns=("offset", "name", "access", "bits", "meaning", "fields"),
        rows=rows,
    )  # fmt: skip


def render(data: dict[str, Any]) -> str:
    """Return the text of accelerator.md."""
    errors = Sheet(
        title="Codes in STATUS",
        columns=("code", "meaning"),
        rows=[(str(code), text) for code, text in ERRORS.items()],
    )
    classes = Sheet(
        title="What a cycle is counted as",
        columns=("counter", "a cycle in which"),
        rows=[(f"{name}_CYCLES", text) for name, text in COUNTERS.items()],
    )
    tables = {
        "networks": _networks(data["networks"]), "area": _area(data["area"]),
        "shared": _shared(data["shared_area"], data["networks"]),
        "against": _against(data["networks"], data["ethos"]),
        "drafts": _drafts(data["drafts"]["networks"]),
        "smaller": _smaller(data["drafts"]["memory"]),
        "registers": _registers(), "errors": errors, "classes": classes,
    }  # fmt: skip
    return fill(DOCS / "accelerator.md.in", {name: vars(one) for name, one in tables.items()}, {})


def _options(parser: OneLineParser) -> None:
    parser.add_argument(
        "--models", type=Path, metavar="FOLDER", default=argparse.SUPPRESS,
        help="count the networks in this folder again",
    )  # fmt: skip
    parser.add_argument(
        "--vela", action="store_true", help="with --models: run Vela on them, too (extra vela)"
    )
    parser.add_argument(
        "--drafts", type=Path, metavar="FOLDER", default=argparse.SUPPRESS,
        help="count the large networks in this folder again; `python -m train draft` writes them",
    )  # fmt: skip
    parser.add_argument("--area", action="store_true", help="synthesize again (minutes)")


def _report(arguments: argparse.Namespace) -> dict[str, Any]:
    path = DOCS / "accelerator.json"
    if arguments.vela and not hasattr(arguments, "models"):
        raise UserError("--vela needs --models FOLDER")
    with reading(path):
        found: dict[str, Any] = json.loads(path.read_text())
    if hasattr(arguments, "models"):
        files = {name: arguments.models / f"{name}.tflite" for name in MODELS}
        files |= {name: DOCS.parent / "examples" / f"{name}.tflite" for name in EXAMPLES}
        graphs = {name: transform.recognize(read_model(file)) for name, file in files.items()}
        found["networks"] = {name: count(graph) for name, graph in graphs.items()}
        for name in _SOME:
            found["networks"][name]["shared"] = shared(graphs[name])
        if arguments.vela:
            cycles = {name: ethos_cycles(file) for name, file in files.items()}
            found["ethos"] = {"version": vela_version(), "cycles": cycles}
    if hasattr(arguments, "drafts"):
        found["drafts"] = drafts(arguments.drafts)
    if arguments.area:
        found |= {"area": area(), "shared_area": shared_area()}
    return found


def _page(data: dict[str, Any]) -> Page:
    files: dict[Path, str | bytes] = {
        DOCS / "accelerator.json": json.dumps(data, indent=1) + "\n",
        DOCS / "accelerator.md": render(data),
    }
    return Page(files=files)


COMMAND = Command(
    name="sim.accelerator.page", about="Write docs/accelerator.md.", options=_options,
    report=_report, page=_page, outputs=(),
)  # fmt: skip
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
