"""Draw the pictures of the pages: ``python -m pages`` (extra `sim`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from report.command import OneLineParser
from report.files import write_atomically
from report.output import run, write_out

from . import accelerator, array, handshake, lane, pe, timing
from .draw import Sheet

__all__ = ["PICTURES", "main"]

DOCS = Path(__file__).parents[1] / "docs"
#: Who draws which file.
PICTURES: dict[str, Callable[[], Sheet]] = {
    "array.svg": array.sheet,
    "pe.svg": pe.sheet,
    "lane.svg": lane.sheet,
    "handshake.svg": handshake.sheet,
    "gemm.svg": timing.gemm,
    "st_os.svg": timing.st_os,
    "turn.svg": accelerator.turn,
    "run.svg": accelerator.run,
}


def main() -> int:
    """Draw all of them, or some; return the exit status."""
    parser = OneLineParser("pages", "Draw docs/*.svg.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="array.svg ...; none means all")
    names = parser.parse_args().names or list(PICTURES)
    for name in names:
        if name not in PICTURES:
            parser.error(f"there is no picture {name!r}; legal: {', '.join(PICTURES)}")
    write_atomically({DOCS / name: PICTURES[name]().svg() for name in names})
    write_out("".join(f"wrote {name}\n" for name in names))
    return 0


if __name__ == "__main__":
    run(main, "pages")
