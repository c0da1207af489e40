"""Small accelerators: those of the mutation campaign, whose parts the unit tests have, too."""

from __future__ import annotations

from hw.accelerator.config import AcceleratorConfig
from hw.config import ArrayConfig

__all__ = ["SMALL"]

#: One with a lane for every row, and one with lanes for two rows.
SMALL = (
    AcceleratorConfig(
        array=ArrayConfig(rows=4, cols=6, st_os=True), axi_width=32, act_kib=64, wgt_kib=4
    ),
    AcceleratorConfig(
        array=ArrayConfig(rows=6, cols=3, st_os=True, mac_stages=2), axi_width=128, act_kib=64,
        wgt_kib=4, rows_per_lane=2,
    ),
)  # fmt: skip
