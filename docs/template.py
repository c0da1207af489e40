"""Fill the templates of the reports: what report_area and report_performance share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw.cli import OneLineParser, Sheet, show, write_atomically


def fill(template: Path, tables: Mapping[str, Any], text: Mapping[str, str]) -> str:
    """Return a template with every @name@ replaced by the table or the text of that name."""
    values = {
        name: Sheet(
            title=table["title"],
            columns=tuple(table["columns"]),
            rows=[tuple(row) for row in table["rows"]],
        )
        .markdown()
        .rstrip()
        for name, table in tables.items()
    } | dict(text)
    return re.sub(r"@(\w+)@", lambda mark: values[mark[1]], template.read_text())


def save(parser: OneLineParser, files: Mapping[Path, str | bytes]) -> None:
    """Write the files of a report, and say so."""
    try:
        write_atomically(files)
    except OSError as error:
        parser.error(f"cannot write {error.filename}: {error.strerror}")
    show(*(f"wrote {path.name}" for path in files))
