"""Fill the templates of the pages with tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .tables import Sheet

__all__ = ["fill"]


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
