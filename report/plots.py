"""Pictures that are the same on every run."""

from __future__ import annotations

import io
from typing import Any

__all__ = ["PALETTE", "picture", "pyplot"]

#: Okabe and Ito's colours, safe for the colour-blind.
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000",
    "#999999",
)  # fmt: skip


def pyplot() -> Any:
    """Return matplotlib.pyplot, set up for pictures that are the same on every run."""
    import matplotlib as mpl  # optional

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "stos"
    mpl.rcParams["svg.fonttype"] = "none"  # letters as letters, not as shapes
    return plt


def picture(drawing: Any, file_format: str) -> bytes:
    """Return a figure as the content of a file, and close it."""
    buffer = io.BytesIO()
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    drawing.savefig(buffer, format=file_format, dpi=150, metadata=dates.get(file_format))
    pyplot().close(drawing)
    return buffer.getvalue()
