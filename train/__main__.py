"""The commands of this package: ``python -m train``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from report.command import Command
from report.errors import UserError, needs_extra
from report.output import run, write_out

__all__ = ["COMMANDS", "main"]

#: The commands, each of the module of its name.
COMMANDS = ("fit", "nos", "search", "abconv", "quantize", "draft", "report")


def _command(name: str) -> Command[Any]:
    with needs_extra("train"):
        found: Command[Any] = import_module(f"train.{name}").COMMAND
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first word names; return the exit status."""
    name, *words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        if name in COMMANDS:
            return _command(name).main(words)
        if name in ("-h", "--help"):
            lines = [f"  python -m train {one:9} {_command(one).about}\n" for one in COMMANDS]
            usage = "usage: python -m train COMMAND ...   (COMMAND --help says more)\n\n"
            write_out(usage + "".join(lines))
            return 0
        raise UserError(f"there is no command {name!r}; legal: {', '.join(COMMANDS)}")
    except UserError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    run(main, "train")
