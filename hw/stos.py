"""The console script ``stos``: every command of the project, whatever lies where the user stands.

``python -m sim.network`` looks for a package `sim` in the current folder first, as Python does;
``stos network`` never does.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial

from .cli import run

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


def main() -> None:
    """Run the command that the first word names, and leave with its exit status."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        module = importlib.import_module(COMMANDS[name])
        run(partial(module.main, words), COMMANDS[name])
    width = max(map(len, COMMANDS))
    usage = "usage: stos COMMAND ...   (stos COMMAND --help says more)\n\n" + "".join(
        f"  {name:{width}}  the same as python -m {module}\n" for name, module in COMMANDS.items()
    )
    if name in ("-h", "--help"):
        sys.stdout.write(usage)
        sys.exit(0)
    print(f"stos: there is no command {name!r}; legal: {', '.join(COMMANDS)}", file=sys.stderr)
    sys.exit(2)
