"""The table of planted bugs is that of today's gateware; `make planted` makes it again."""

from __future__ import annotations

import json

import planted


def test_places():
    """Every bug finds its place in the source, once."""
    for bug in planted.BUGS:
        text = (planted.ROOT / "hw" / bug.file).read_text()
        assert text.count(bug.old) == 1, bug.what


def test_table():
    """The committed table has these bugs, and every one was noticed."""
    table = json.loads((planted.ROOT / "docs" / "planted.json").read_text())
    assert [row["what"] for row in table] == [bug.what for bug in planted.BUGS]
    assert all(row["suite"] or row["unit"] for row in table)
