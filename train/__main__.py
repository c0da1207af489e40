"""The commands of this package: ``python -m train``."""

import sys
from importlib import import_module

from report.output import run, write_out

#: What each command's module is called.
COMMANDS = ("fit", "nos", "search", "abconv", "quantize")


def main() -> int:
    """Run the command that the first word names; return the exit status."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        status: int = import_module(f"train.{name}").main(words)
        return status
    if name in ("-h", "--help"):
        lines = [
            f"  python -m train {one:9} {import_module(f'train.{one}').COMMAND.about}\n"
            for one in COMMANDS
        ]
        write_out(
            "usage: python -m train COMMAND ...   (COMMAND --help says more)\n\n" + "".join(lines)
        )
        return 0
    print(f"train: there is no command {name!r}; legal: {', '.join(COMMANDS)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    run(main, "train")
