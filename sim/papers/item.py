"""A published number and ours beside it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Item"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One published number and ours.

    Parameters
    ----------
    table, row, quantity : str
        Where it stands.
    published : str
        As printed.
    ours : float
    basis : str
        What `published` is: ``"printed"``; ``"formula"``, a formula of the paper;
        ``"reconstructed"`` from what is printed; or ``"latency"`` of another machine.
    """

    table: str
    row: str
    quantity: str
    published: str
    ours: float
    basis: str = "printed"

    @property
    def digits(self) -> int:
        """Digits behind the point, as printed."""
        return len(self.published.partition(".")[2])

    @property
    def verdict(self) -> str:
        """Whether ours is the same at the printed digits, or by how much it differs.

        ``match``; ``match (cut off)``, as if printed without rounding; ``last digit``, less than
        one of it away; or the difference in percent.
        """
        unit = 10**self.digits
        printed = round(float(self.published) * unit)
        if self.basis != "latency":
            if f"{self.ours:.{self.digits}f}" == self.published:
                return "match"
            if math.floor(self.ours * unit) == printed:
                return "match (cut off)"
            if abs(self.ours * unit - printed) < 1:
                return "last digit"
        return f"{100 * (self.ours / float(self.published) - 1):+.1f} %"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self) | {"verdict": self.verdict}
