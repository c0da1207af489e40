"""Draw the pictures of the pages: ``python -m pages`` (extra `sim`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from . import array, handshake, lane, pe, timing
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
}


def main() -> int:
    """Draw all of them, or some; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pages", description="Draw docs/*.svg.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="array.svg ... (default: all)")
    arguments = parser.parse_args()
    for name in arguments.names or PICTURES:
        if name not in PICTURES:
            parser.error(f"there is no picture {name!r}; legal: {', '.join(PICTURES)}")
        path = DOCS / name
        path.write_text(PICTURES[name]().svg())
        print(f"wrote {path.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
