"""What all command lines of the project share: options of an array, tables, pictures, files."""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import shlex
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from .config import ArrayConfig

__all__ = [
    "PALETTE",
    "OneLineParser",
    "Sheet",
    "add_outputs",
    "config_from",
    "config_parser",
    "integers",
    "outputs",
    "picture",
    "publish",
    "pyplot",
    "write_atomically",
]

#: Okabe and Ito's colours, safe for the colour-blind.
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000",
    "#999999",
)  # fmt: skip


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaints are one line on standard error, with exit status 2."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> Any:
        """Say what is wrong and leave."""
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
    sizes: str = "required",
    many_accumulators: bool = False,
) -> OneLineParser:
    """Return a parser with the options that describe an array.

    Parameters
    ----------
    prog, description : str
    sizes : str
        Whether --rows and --cols are ``"required"``, ``"optional"`` or ``"absent"``.
    many_accumulators : bool
        Whether --accumulators takes a list, as in 1,2.
    """
    parser = OneLineParser(prog, description)
    array = parser.add_argument_group("array")
    both = (("rows", "rows"), ("cols", "columns"))
    for name, what in both if sizes != "absent" else ():
        array.add_argument(
            f"--{name}", type=int, required=sizes == "required", default=argparse.SUPPRESS,
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


def write_atomically(files: Mapping[Path, str | bytes]) -> None:
    """Write files, text as UTF-8, so that none is ever half-written.

    A link stays one, its target is written; devices and pipes are written as they are.

    Raises
    ------
    OSError
        If a file cannot be written; no target has been touched then, except where the very
        last renaming fails.
    """
    staged: list[tuple[str, Path]] = []
    direct: list[tuple[Path, bytes]] = []
    try:
        for name, text in files.items():
            content = text.encode() if isinstance(text, str) else text
            if name.exists() and not name.is_file() and not name.is_dir():
                direct.append((name, content))
                continue
            path = name.resolve() if name.is_symlink() else name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(21, "is a directory", str(path))
            try:
                handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from None
            staged.append((temporary, path))
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
        for path, content in direct:
            path.write_bytes(content)
        for temporary, path in staged:
            os.replace(temporary, path)
    finally:
        for temporary, _ in staged:
            if os.path.exists(temporary):
                os.unlink(temporary)


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table: on the terminal and in Markdown. The first column is text, the rest numbers."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def __rich__(self) -> RichTable:
        """Return the table for a terminal."""
        table = RichTable(title=self.title, title_justify="left", box=None, pad_edge=False)
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="right" if index else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Return the table as Markdown, under its title."""
        indented = [(row[0].replace("  ", "&emsp;"), *row[1:]) for row in self.rows]
        lines = [self.columns, ("---", *["---:"] * (len(self.columns) - 1)), *indented]
        return f"**{self.title}**\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def add_outputs(parser: argparse.ArgumentParser, *kinds: str) -> None:
    """Add the options that name output files: some of json, markdown, plot."""
    meaning = {
        "json": "everything, machine-readable",
        "markdown": "the tables",
        "plot": "a picture: .svg, .png or .pdf",
    }
    for kind in kinds:
        parser.add_argument(
            f"--{kind}", type=Path, metavar="FILE", default=argparse.SUPPRESS,
            help=f"write {meaning[kind]}",
        )  # fmt: skip


def outputs(arguments: argparse.Namespace, *reads: Path | None) -> dict[str, Path]:
    """Return the output files by kind, after refusing what could not be written later.

    Parameters
    ----------
    arguments : Namespace
    reads : Path, optional
        Files that are read, and so must not be written.

    Raises
    ------
    ValueError
        If a file is named twice, is a directory, lies in none, or is read, or if a picture cannot
        be made.
    """
    paths = {
        kind: getattr(arguments, kind)
        for kind in ("json", "markdown", "plot")
        if hasattr(arguments, kind)
    }
    given = list(paths.values())
    for path in given:
        if given.count(path) > 1:
            raise ValueError(f"{path} is named twice as an output")
        if path.is_dir():
            raise ValueError(f"cannot write {path}: is a directory")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not folder.is_dir():
            raise ValueError(f"cannot write {path}: {folder.name} is not a directory")
        for read in reads:
            if read and path.exists() and read.exists() and path.samefile(read):
                raise ValueError(f"cannot write {path}: it is read as {read}")
    plot = paths.get("plot")
    if plot and plot.suffix not in (".svg", ".png", ".pdf"):
        raise ValueError(f"--plot FILE must end in .svg, .png or .pdf, not {plot}")
    if plot and importlib.util.find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib: pip install -e '.[docs]'")
    return paths


def publish(
    parser: argparse.ArgumentParser,
    paths: Mapping[str, Path],
    sheets: Sequence[Sheet],
    data: Mapping[str, Any],
    *,
    notes: Iterable[str] = (),
    plot: Callable[[str], bytes] | None = None,
    words: Sequence[str] = (),
) -> None:
    """Print a report, and write the files that were asked for.

    Parameters
    ----------
    parser : ArgumentParser
        Says so if a file cannot be written.
    paths : mapping
        What `outputs` returned.
    sheets : sequence of Sheet
    data : mapping
        What --json writes, beside the command.
    notes : iterable of str
        Lines under the tables.
    plot : callable
        Takes a format, svg, png or pdf, and returns the picture.
    words : sequence of str
        The command line after the program's name.
    """
    # Rather a line too long than a number cut off; and names of files are not markup.
    out = Console(width=1000, soft_wrap=True, markup=False)
    for sheet in sheets:
        out.print(sheet)
        out.print()
    for note in notes:
        out.print(note, highlight=False)
    command = f"python -m {parser.prog} {shlex.join(words)}"
    files: dict[Path, str | bytes] = {}
    if "json" in paths:
        files[paths["json"]] = json.dumps({"command": command, **data}, indent=1) + "\n"
    if "markdown" in paths:
        head = "\n".join([f"`{command}`", "", *notes])
        tables = "\n".join(sheet.markdown() for sheet in sheets)
        files[paths["markdown"]] = f"{head}\n\n{tables}"
    if "plot" in paths and plot:
        files[paths["plot"]] = plot(paths["plot"].suffix[1:])
    try:
        write_atomically(files)
    except OSError as error:
        parser.error(f"cannot write {error.filename}: {error.strerror}")
    for path in files:
        out.print(f"wrote {path}", highlight=False)


def pyplot() -> Any:
    """Return matplotlib.pyplot, set up for pictures that are the same on every run."""
    import matplotlib as mpl  # optional

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "stos"
    return plt


def picture(drawing: Any, file_format: str) -> bytes:
    """Return a figure as the content of a file, and close it."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if file_format == "svg" else None
    drawing.savefig(buffer, format=file_format, dpi=150, metadata=metadata)
    pyplot().close(drawing)
    return buffer.getvalue()
