"""The commands of this package: ``python -m synth``."""

from report.output import run
from report.stos import list_commands

if __name__ == "__main__":
    run(lambda: list_commands("synth."), "synth")
