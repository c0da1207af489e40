"""The console script ``stos``: every command of the project, whatever lies where the user stands.

``python -m sim.network`` looks for a package `sim` in the current folder first, as Python does;
``stos network`` never does.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial

from .cli import run, write_out

__all__ = ["COMMANDS", "main"]

#: Module of each command.
COMMANDS = {
    "gen": "hw.gen",
    "run": "sim.run",
    "network": "sim.network",
    "compare": "sim.compare",
    "explore": "sim.explore",
    "paper": "sim.paper",
    "abconv": "sim.abconv",
    "area": "synth.area",
    "timing": "synth.timing",
}


def _command(name: str, words: list[str]) -> int:
    if name in COMMANDS:
        status: int = importlib.import_module(COMMANDS[name]).main(words)
        return status
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        lines = [f"  {one:{width}}  the same as python -m {COMMANDS[one]}\n" for one in COMMANDS]
        usage = "usage: stos COMMAND ...   (stos COMMAND --help says more)\n\n"
        write_out(usage + "".join(lines))
        return 0
    print(f"stos: there is no command {name!r}; legal: {', '.join(COMMANDS)}", file=sys.stderr)
    return 2


def main() -> None:
    """Run the command that the first word names, and leave with its exit status."""
    name, *words = sys.argv[1:] or ["--help"]
    run(partial(_command, name, words), COMMANDS.get(name, "stos"))
