"""The console script ``stos``: every command of the project, whatever lies where the user stands.

``python -m sim.network`` looks for a package `sim` in the current folder first, as Python does;
``stos network`` never does.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from typing import Any

from .command import Command
from .output import run, write_out

__all__ = ["MODULES", "list_commands", "main"]

#: Module of each command; its `COMMAND` is one.
MODULES = {
    "gen": "hw.gen",
    "run": "sim.run",
    "compile": "sim.compile",
    "models": "sim.models",
    "network": "sim.network",
    "compare": "sim.compare",
    "explore": "sim.explore",
    "paper": "sim.paper",
    "abconv": "sim.abconv",
    "area": "synth.area",
    "timing": "synth.timing",
    "accelerator": "synth.accelerator",
    "board": "hw.board",
    "host": "sim.host",
}

#: Packages with commands of their own, which take long to import, or need an extra.
PACKAGES = {"train": "Train FuSe and ABConv networks, down to int8 (extra `train`)."}


def _command(name: str) -> Command[Any]:
    found: Command[Any] = importlib.import_module(MODULES[name]).COMMAND
    return found


def list_commands(package: str = "") -> int:
    """Print the commands of a package, or all of them; return the exit status."""
    names = [name for name in MODULES if MODULES[name].startswith(package)]
    width = max(len(MODULES[name]) for name in names)
    first = max(map(len, names))
    lines = [f"  stos {name:{first}} python -m {MODULES[name]:{width}}  {_command(name).about}\n"
             for name in names]  # fmt: skip
    if not package:
        lines += [
            f"  stos {name:{first}} python -m {name:{width}}  {about}\n"
            for name, about in PACKAGES.items()
        ]
    how = f"python -m {package}COMMAND" if package else "stos COMMAND"
    write_out(f"usage: {how} ...   ({how} --help says more)\n\n" + "".join(lines))
    return 0


def _refuse(name: str) -> int:
    print(
        f"stos: there is no command {name!r}; legal: {', '.join([*MODULES, *PACKAGES])}",
        file=sys.stderr,
    )
    return 2


def main() -> None:
    """Run the command that the first word names, and leave with its exit status."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in PACKAGES:
        run(partial(importlib.import_module(f"{name}.__main__").main, words), name)
    if name in MODULES:
        run(partial(_command(name).main, words), MODULES[name])
    run(list_commands if name in ("-h", "--help") else partial(_refuse, name), "stos")
