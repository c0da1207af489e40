"""The commands of this package: ``python -m hw``."""

from report.output import run
from report.stos import list_commands

if __name__ == "__main__":
    run(lambda: list_commands("hw."), "hw")
