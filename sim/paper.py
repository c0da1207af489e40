"""The papers' numbers beside ours: ``python -m sim.paper fuseconv`` and ``... abconv``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from report.command import Command, OneLineParser, Page
from report.tables import Sheet

from .papers import abconv, fuseconv
from .papers.item import Item

__all__ = ["COMMAND", "PAPERS", "main", "notes", "sheets"]

#: What gives the numbers of every paper.
PAPERS = {"fuseconv": fuseconv.items, "abconv": abconv.items}


def sheets(items: Sequence[Item]) -> list[Sheet]:
    """Return one table per published table, one column group per quantity."""
    found: list[Sheet] = []
    for table in dict.fromkeys(item.table for item in items):
        mine = {(item.row, item.quantity): item for item in items if item.table == table}
        quantities = list(dict.fromkeys(quantity for _, quantity in mine))
        rows = []
        for row in dict.fromkeys(row for row, _ in mine):
            cells = [row]
            for quantity in quantities:
                item = mine.get((row, quantity))
                if item is None:
                    cells += ["", "", ""]
                    continue
                whole = item.digits == 0
                paper = f"{int(item.published):,}" if whole else item.published
                digits = 1 if whole and item.ours % 1 else item.digits
                cells += [paper, f"{item.ours:,.{digits}f}", item.verdict]
            rows.append(tuple(cells))
        columns = [word for quantity in quantities for word in (f"{quantity}, paper", "ours", "")]
        found.append(Sheet(title=table, columns=("row", *columns), rows=rows))
    return found


def _count(items: Sequence[Item]) -> str:
    """Return how many numbers match, and how many nearly."""
    verdicts = [item.verdict for item in items]
    text = f"{verdicts.count('match')} of {len(items)} match at the printed digits"
    for verdict, words in (
        ("match (cut off)", "if cut off there instead of rounded"),
        ("last digit", "but for the last digit"),
    ):
        if verdict in verdicts:
            text += f", {verdicts.count(verdict)} more {words}"
    return text


def notes(items: Sequence[Item], which: str) -> list[str]:
    """Return how many numbers match, and why the others do not."""
    by_basis = {
        basis: [item for item in items if item.basis == basis]
        for basis in ("printed", "formula", "reconstructed")
    }
    if which == "fuseconv":
        return [
            f"{_count(by_basis['printed'])}.",
            "MMACs differ: the paper's tool counts more than convolutions and linear layers.",
            "The counts of the released code agree exactly.",
        ]
    machine = f"{abconv.MACHINE.rows} x {abconv.MACHINE.cols}, {abconv.CLOCK / 1e9:.0f} GHz"
    return [
        f"Printed numbers: {_count(by_basis['printed'])} (46.447 as 46.5, 36.747 as 36.8).",
        f"Table 1's formulas: {_count(by_basis['formula'])} of our layers.",
        f"Groups, reconstructed from the printed counts: {_count(by_basis['reconstructed'])}.",
        "Parameters include the stored means and variances of batch normalization.",
        "Latencies differ because the paper's are those of an Ethos-U65-256.",
        f"Ours: exact cycles, {machine}, weights from DRAM, activations on chip.",
        f"Its {abconv.BANDWIDTH} bytes per cycle are fitted to the first row of Table 2, no other.",
        "Not reproduced: ABConv-exp slower with 32 groups than with 8. Here both fill the array.",
        "Not here: accuracies (nothing is trained), and Table 5's latencies (a GPU's).",
    ]


def _options(parser: OneLineParser) -> None:
    parser.add_argument("paper", choices=PAPERS, help="which paper")


def _report(arguments: argparse.Namespace) -> tuple[str, list[Item]]:
    return arguments.paper, PAPERS[arguments.paper]()


def _page(found: tuple[str, list[Item]]) -> Page:
    which, items = found
    return Page(
        tables=sheets(items),
        notes=notes(items, which),
        data={"items": [item.to_dict() for item in items]},
    )


COMMAND = Command(
    name="sim.paper",
    about="Print every published number of a paper next to ours.",
    options=_options,
    report=_report,
    page=_page,
    outputs=("json", "markdown"),
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.run()
