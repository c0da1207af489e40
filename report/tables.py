"""Tables: on a terminal, and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from .output import write_out

__all__ = ["Sheet", "printable", "show"]


def printable(text: object) -> str:
    """Return a text with escapes for what no terminal shows: line ends, bytes that are no UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table: on the terminal and in Markdown. The first column is text, the rest numbers."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def __rich__(self) -> RichTable:
        """Return the table for a terminal."""
        title = printable(self.title)
        table = RichTable(title=title, title_justify="left", box=None, pad_edge=False)
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="right" if index else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*map(printable, row))
        return table

    def markdown(self) -> str:
        """Return the table as Markdown, under its title."""
        indented = [(row[0].replace("  ", "&emsp;"), *row[1:]) for row in self.rows]
        lines = [self.columns, ("---", *["---:"] * (len(self.columns) - 1)), *indented]
        return f"**{self.title}**\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def show(*items: Any) -> None:
    """Print tables and lines. Lines are taken as they are: names of files are not markup."""
    # Rather a line too long than a number cut off.
    out = Console(width=1000, soft_wrap=True, markup=False, emoji=False)
    with out.capture() as text:
        for item in items:
            if isinstance(item, str):
                out.print(printable(item), highlight=False)
            else:
                out.print(item)
    write_out(text.get())
