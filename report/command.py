"""The skeleton of a command: options, a function that makes the report, and its page."""

from __future__ import annotations

import argparse
import errno
import importlib.util
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from .errors import Failure, UserError
from .files import write_atomically
from .jobs import OPTIONS
from .output import run, write_out
from .tables import Sheet, printable, show

__all__ = ["Command", "OneLineParser", "Page", "integers", "without"]

R = TypeVar("R")

_LONGEST = 400  # characters of a message about options, in which anything can be
_REASON = 1200  # of one about what they ask for

#: Troubles of the machine, or of a name that was given, never of the code.
_TROUBLES = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG,
    errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR,
)  # fmt: skip

STDOUT = Path("-")


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaints are one line on standard error, with exit status 2."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,
        )

    def print_help(self, file: Any = None) -> None:
        """Print the help; that it cannot be printed is no secret."""
        if file is None:
            write_out(self.format_help())
        else:
            super().print_help(file)

    def error(self, message: str, longest: int = _LONGEST) -> NoReturn:
        """Say what is wrong and leave."""
        shown = printable(message)
        if len(shown) > longest:
            shown = f"{shown[: longest // 2]} ... {shown[-longest // 2 :]}"
        self.exit(2, f"{self.prog}: {shown}\n")


def integers(text: str) -> list[int]:
    """Return the integers of an option like 1,2."""
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be integers like 8,16, not {text!r}") from None


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a command shows and writes.

    Parameters
    ----------
    tables : sequence of Sheet
    notes : sequence of str
        Lines under the tables.
    data : mapping
        What --json gives, beside the command.
    plot : callable, optional
        Takes a format, svg, png or pdf, and returns the picture of --plot.
    files : mapping of Path to str or bytes
        Other files to write.
    text : str
        What is shown instead of tables and notes.
    """

    tables: Sequence[Sheet] = ()
    notes: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    plot: Callable[[str], bytes] | None = None
    files: Mapping[Path, str | bytes] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Command(Generic[R]):
    """A command of the project.

    What the user did wrong (`UserError`, an unwritable file) is one line and status 2, what
    something outside did (`Failure`) is a message and status 1. Any other exception is a bug: it
    passes.

    Parameters
    ----------
    name : str
        Its module, as in ``sim.network``.
    about : str
        What it does, in a sentence.
    options : callable
        Adds its options to a parser.
    report : callable
        Makes the report of the parsed options.
    page : callable
        Makes the page of the report.
    outputs : tuple of str
        Which of --json, --markdown and --plot it has.
    reads : tuple of str
        Options with the names of files that are read, and so must not be written.
    writes : tuple of str
        Options of its own with the names of files that are written.
    epilog : str
        What --help ends with.
    """

    name: str
    about: str
    options: Callable[[OneLineParser], None]
    report: Callable[[argparse.Namespace], R]
    page: Callable[[R], Page]
    outputs: tuple[str, ...] = ("json", "markdown", "plot")
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    epilog: str = ""

    def parser(self) -> OneLineParser:
        """Return a parser with all options."""
        parser = OneLineParser(self.name, self.about, self.epilog)
        self.options(parser)
        _add_outputs(parser, self.outputs)
        return parser

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run the command line; return the exit status.

        Parameters
        ----------
        argv : sequence of str, optional
            The words after the name; those of this process if left out. They are in the options
            given to `report`, as `words`.
        """
        parser = self.parser()
        words = list(sys.argv[1:] if argv is None else argv)
        arguments = parser.parse_args(words, argparse.Namespace(words=words))
        try:
            paths = _check_outputs(arguments, self._read(arguments), self.writes)
            page = self.page(self.report(arguments))
            files = self._files(page, paths, words)
        except UserError as error:
            parser.error(str(error), _REASON)
        except Failure as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 1
        except OSError as error:
            if error.errno not in _TROUBLES:
                raise
            parser.error(f"cannot write {error.filename}: {error.strerror}")
        self._publish(parser, page, files)
        return 0

    def _read(self, arguments: argparse.Namespace) -> list[Path]:
        """Return the files that are read."""
        found: list[Path] = []
        for name in self.reads:
            given = getattr(arguments, name, None) or []
            found += [Path(one) for one in (given if isinstance(given, list) else [given])]
        return found

    def run(self) -> NoReturn:
        """Run the command line of this process, and leave with the exit status."""
        run(self.main, self.name)

    def _files(
        self, page: Page, paths: Mapping[str, Path], words: Sequence[str]
    ) -> dict[Path, str | bytes]:
        """Return the content of every file."""
        command = f"python -m {self.name} {shlex.join(without(words, *OPTIONS))}"
        files = dict(page.files)
        if page.text and paths.get("json") == STDOUT:
            raise UserError("standard output is asked for twice")
        for path in paths.values():
            if any(path.resolve() == other.resolve() for other in files):
                raise UserError(f"{path} is named twice as an output")
        if "json" in paths:
            data = {"command": command} | dict(page.data)
            files[paths["json"]] = json.dumps(data, indent=1) + "\n"
        if "markdown" in paths:
            head = "\n".join([f"`{command}`", "", *page.notes])
            tables = "\n".join(sheet.markdown() for sheet in page.tables)
            files[paths["markdown"]] = f"{head}\n\n{tables}"
        if "plot" in paths and page.plot:
            files[paths["plot"]] = page.plot(paths["plot"].suffix[1:])
        return files

    def _publish(self, parser: OneLineParser, page: Page, files: dict[Path, str | bytes]) -> None:
        """Write the files, and show the page, or what takes its place on standard output."""
        shown = files.pop(STDOUT, page.text or None)
        # Files first: a reader of the screen may go at any time.
        trouble, written = "", []
        try:
            write_atomically(files)
            written = [f"wrote {path}" for path in files]
        except OSError as error:
            trouble = f"cannot write {error.filename}: {error.strerror}"
        try:
            if shown is None:
                tables = (part for sheet in page.tables for part in (sheet, ""))
                show(*tables, *page.notes, *written)
            else:
                write_out(shown if isinstance(shown, str) else shown.decode())
        finally:
            if trouble:
                parser.error(trouble)


def _add_outputs(parser: argparse.ArgumentParser, kinds: Iterable[str]) -> None:
    """Add the options that name output files: some of json, markdown, plot."""
    meaning = {
        "json": "write everything, machine-readable; without FILE, print it instead of the tables",
        "markdown": "write the tables",
        "plot": "write a picture: .svg, .png or .pdf",
    }
    for kind in kinds:
        optional: dict[str, Any] = {"nargs": "?", "const": STDOUT} if kind == "json" else {}
        parser.add_argument(
            f"--{kind}", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=meaning[kind],
            **optional,
        )  # fmt: skip


def _check_outputs(
    arguments: argparse.Namespace, reads: Sequence[Path], writes: Sequence[str]
) -> dict[str, Path]:
    """Return the output files by kind, after refusing what could not be written later.

    Raises
    ------
    UserError
        If a file is named twice, is a directory, lies in none, or is read, or if a picture cannot
        be made.
    """
    kinds = ("json", "markdown", "plot")
    paths = {kind: getattr(arguments, kind) for kind in kinds if hasattr(arguments, kind)}
    given = [
        *paths.values(),
        *(getattr(arguments, one) for one in writes if hasattr(arguments, one)),
    ]
    for path in given:
        if given.count(path) > 1:
            raise UserError(f"{path} is named twice as an output")
        try:
            _check_output(path, reads)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None
    plot = paths.get("plot")
    if plot and plot.suffix not in (".svg", ".png", ".pdf"):
        raise UserError(f"--plot FILE must end in .svg, .png or .pdf, not {plot}")
    if plot and importlib.util.find_spec("matplotlib") is None:
        raise UserError("--plot needs matplotlib: pip install -e '.[docs]'")
    return paths


def _check_output(path: Path, reads: Iterable[Path]) -> None:
    if path.is_dir():
        raise UserError(f"cannot write {path}: is a directory")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise UserError(f"cannot write {path}: {folder.name} is not a directory")
    for read in reads:
        if path.exists() and read.exists() and path.samefile(read):
            raise UserError(f"cannot write {path}: it is read as {read}")


def without(words: Iterable[str], *names: str) -> list[str]:
    """Return the words of a command line without some options and their values, if they have one.

    What begins with a dash is no value; a file of such a name is written as ``--json=-x``.
    """
    kept: list[str] = []
    skip = False
    for word in words:
        skip = skip and not word.startswith("-")
        if not skip and word not in names and not word.startswith(tuple(f"{n}=" for n in names)):
            kept.append(word)
        skip = not skip and word in names
    return kept
