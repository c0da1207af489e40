"""The table of planted bugs is that of today's gateware; `make planted` makes it again."""

from __future__ import annotations

import json
from dataclasses import asdict

from verif import planted


def test_places():
    """Every bug finds its place in the source, once."""
    for bug in planted.BUGS:
        text = (planted.ROOT / "hw" / bug.file).read_text()
        assert text.count(bug.old) == 1, bug.what


def test_table():
    """The committed table has these bugs, and every one was noticed."""
    table = json.loads((planted.ROOT / "docs" / "planted.json").read_text())
    assert all([row.pop("suite"), row.pop("unit")] != ["", ""] for row in table)
    assert table == [{**asdict(bug), "config": bug.config.flags()} for bug in planted.BUGS]
