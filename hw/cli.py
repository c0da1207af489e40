"""What all command lines of the project share: options of an array, tables, pictures, files."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import re
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table as RichTable

from .config import ArrayConfig
from .executor import OPTIONS

_LONGEST = 400  # characters of a message

__all__ = [
    "PALETTE",
    "OneLineParser",
    "Sheet",
    "add_outputs",
    "config_from",
    "config_parser",
    "integers",
    "is_regular",
    "outputs",
    "picture",
    "printable",
    "publish",
    "pyplot",
    "run",
    "show",
    "without",
    "write_atomically",
    "write_out",
]

#: Okabe and Ito's colours, safe for the colour-blind.
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000",
    "#999999",
)  # fmt: skip


def printable(text: object) -> str:
    """Return a text with escapes for what no terminal shows: line ends, bytes that are no UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaints are one line on standard error, with exit status 2."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,
        )

    def print_help(self, file: Any = None) -> None:
        """Print the help; that it cannot be printed is no secret."""
        if file is None:
            write_out(self.format_help())
        else:
            super().print_help(file)

    def error(self, message: str) -> Any:
        """Say what is wrong and leave."""
        shown = printable(message)
        if len(shown) > _LONGEST:
            shown = f"{shown[: _LONGEST // 2]} ... {shown[-_LONGEST // 2 :]}"
        self.exit(2, f"{self.prog}: {shown}\n")


class _Interrupted(KeyboardInterrupt):
    """A signal that asks the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _NoOutput(Exception):
    """Standard output cannot be written; the text says why."""


def run(main: Callable[[], int], prog: str) -> NoReturn:
    """Run a command, and leave with its exit status.

    What ends a command from outside is at most one line on standard error, and all clean up:
    Ctrl-C is status 130, other signals are 128 + their number, a reader of standard output that
    has gone is 141 and no word, any other trouble with standard output is 2.

    Parameters
    ----------
    main : callable
        Returns the exit status; `SystemExit` and other exceptions pass.
    prog : str
        Name of the command.
    """

    def interrupt(number: int, frame: object) -> None:
        raise _Interrupted(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    status, word = 1, ""
    try:
        try:
            status = main()
        finally:
            write_out("")  # whatever else was printed
    except KeyboardInterrupt as error:
        name = signal.Signals(getattr(error, "number", signal.SIGINT)).name
        status, word = 128 + signal.Signals[name], f"ended by {name}"
        if name == "SIGINT":
            word = "interrupted"
    except BrokenPipeError:
        status = 128 + signal.SIGPIPE
    except _NoOutput as error:
        status, word = 2, f"cannot write standard output: {error}"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends anyway
    if word:
        with contextlib.suppress(OSError):
            print(f"{prog}: {word}", file=sys.stderr)
    sys.exit(status)


def write_out(text: str) -> None:
    """Write a text to standard output, all of it now.

    Raises
    ------
    _NoOutput, BrokenPipeError
        If it cannot be written; `run` knows what to do.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.write(text)
            sys.stdout.flush()
        elif text:
            raise _NoOutput("it is closed")
    except OSError as error:
        # Whatever is still in its buffer would be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            raise
        raise _NoOutput(error.strerror) from None


def show(*items: Any) -> None:
    """Print tables and lines. Lines are taken as they are: names of files are not markup."""
    # Rather a line too long than a number cut off.
    out = Console(width=1000, soft_wrap=True, markup=False, emoji=False)
    with out.capture() as text:
        for item in items:
            if isinstance(item, str):
                out.print(printable(item), highlight=False)
            else:
                out.print(item)
    write_out(text.get())


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

    A link stays one, its target is written; devices and pipes are written as they are, and what
    is open already, like /dev/stdout, goes on where it is.

    Raises
    ------
    OSError
        If a file cannot be written, with its name; no target has been touched then, except where
        a device or a pipe or the very last renaming fails.
    """
    staged: list[tuple[str, Path]] = []
    direct: list[tuple[Path | int, Path, bytes]] = []
    path = Path()
    try:
        for path, text in files.items():
            content = text.encode(errors="backslashreplace") if isinstance(text, str) else text
            number = _descriptor(path)
            if number is not None or _is_special(path):
                direct.append((path if number is None else number, path, content))
                continue
            target = path
            if path.is_symlink():
                target = Path(os.path.realpath(path))
                if target.is_symlink():
                    raise OSError(40, "Too many levels of symbolic links")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                raise NotADirectoryError(20, "Not a directory") from None
            if target.is_dir():
                raise IsADirectoryError(21, "is a directory")
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".unfinished-")
            staged.append((temporary, target))
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
        for where, path, content in direct:  # noqa: B007 the error names it
            if isinstance(where, int) and sys.stdout is not None:
                sys.stdout.flush()
            with open(where, "wb", closefd=not isinstance(where, int)) as file:
                file.write(content)
        for temporary, path in staged:
            os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        for temporary, _ in staged:
            if os.path.exists(temporary):
                os.unlink(temporary)


def _descriptor(path: Path) -> int | None:
    """Return the number of the open file that a name like /dev/stdout stands for."""
    found = re.fullmatch(r"/dev/(stdout|stderr)|/(?:dev|proc/self)/fd/(\d{1,9})", str(path))
    if not found:
        return None
    return int(found[2]) if found[2] else {"stdout": 1, "stderr": 2}[found[1]]


def _is_special(path: Path) -> bool:
    """Whether a path is neither a file nor a folder, nor free: a device, a pipe."""
    return path.exists() and not path.is_file() and not path.is_dir()


def is_regular(path: Path) -> bool:
    """Whether `write_atomically` makes a path a file of its own."""
    return _descriptor(path) is None and not _is_special(path)


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table: on the terminal and in Markdown. The first column is text, the rest numbers."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def __rich__(self) -> RichTable:
        """Return the table for a terminal."""
        title = printable(self.title)
        table = RichTable(title=title, title_justify="left", box=None, pad_edge=False)
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="right" if index else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*map(printable, row))
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
        try:
            _check_output(path, reads)
        except OSError as error:
            raise ValueError(f"cannot write {path}: {error.strerror}") from None
    plot = paths.get("plot")
    if plot and plot.suffix not in (".svg", ".png", ".pdf"):
        raise ValueError(f"--plot FILE must end in .svg, .png or .pdf, not {plot}")
    if plot and importlib.util.find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib: pip install -e '.[docs]'")
    return paths


def _check_output(path: Path, reads: Iterable[Path | None]) -> None:
    if path.is_dir():
        raise ValueError(f"cannot write {path}: is a directory")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise ValueError(f"cannot write {path}: {folder.name} is not a directory")
    for read in reads:
        if read and path.exists() and read.exists() and path.samefile(read):
            raise ValueError(f"cannot write {path}: it is read as {read}")


def publish(
    parser: argparse.ArgumentParser,
    paths: Mapping[str, Path],
    sheets: Sequence[Sheet],
    data: Mapping[str, Any],
    *,
    notes: Sequence[str] = (),
    plot: Callable[[str], bytes] | None = None,
    words: Sequence[str] = (),
) -> None:
    """Write the files that were asked for, and print a report.

    Parameters
    ----------
    parser : ArgumentParser
        Says so if a file cannot be written.
    paths : mapping
        What `outputs` returned.
    sheets : sequence of Sheet
    data : mapping
        What --json writes, beside the command.
    notes : sequence of str
        Lines under the tables.
    plot : callable
        Takes a format, svg, png or pdf, and returns the picture.
    words : sequence of str
        The command line after the program's name.
    """
    command = f"python -m {parser.prog} {shlex.join(without(words, *OPTIONS))}"
    files: dict[Path, str | bytes] = {}
    if "json" in paths:
        files[paths["json"]] = json.dumps({"command": command, **data}, indent=1) + "\n"
    if "markdown" in paths:
        head = "\n".join([f"`{command}`", "", *notes])
        tables = "\n".join(sheet.markdown() for sheet in sheets)
        files[paths["markdown"]] = f"{head}\n\n{tables}"
    if "plot" in paths and plot:
        files[paths["plot"]] = plot(paths["plot"].suffix[1:])
    # Files first: a reader of the screen may go at any time.
    trouble, written = "", []
    try:
        write_atomically(files)
        written = [f"wrote {path}" for path in files]
    except OSError as error:
        trouble = f"cannot write {error.filename}: {error.strerror}"
    try:
        show(*(part for sheet in sheets for part in (sheet, "")), *notes, *written)
    finally:
        if trouble:
            parser.error(trouble)


def without(words: Iterable[str], *names: str) -> list[str]:
    """Return the words of a command line without some options that take a value."""
    kept: list[str] = []
    skip = False
    for word in words:
        if not skip and word not in names and not word.startswith(tuple(f"{n}=" for n in names)):
            kept.append(word)
        skip = not skip and word in names
    return kept


def pyplot() -> Any:
    """Return matplotlib.pyplot, set up for pictures that are the same on every run."""
    import matplotlib as mpl  # optional

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "stos"
    mpl.rcParams["svg.fonttype"] = "none"  # letters as letters, not as shapes
    return plt


def picture(drawing: Any, file_format: str) -> bytes:
    """Return a figure as the content of a file, and close it."""
    buffer = io.BytesIO()
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    drawing.savefig(buffer, format=file_format, dpi=150, metadata=dates.get(file_format))
    pyplot().close(drawing)
    return buffer.getvalue()
