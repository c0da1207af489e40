"""The emitted core in a four-state simulator: nothing that has no value reaches a used output."""

from __future__ import annotations

import pytest

from hw.config import ArrayConfig

# Every size with both modes, one and two accumulators and MAC stages, and widths with pad bits.
CONFIGS = [
    ArrayConfig(rows=1, cols=1),
    ArrayConfig(
        rows=1, cols=1, st_os=True, act_width=2, weight_width=2, acc_width=4, accumulators=1,
        mac_stages=2,
    ),
    ArrayConfig(rows=1, cols=6, st_os=True, act_width=4, weight_width=9, acc_width=19),
    ArrayConfig(rows=1, cols=6, accumulators=1, mac_stages=2),
    ArrayConfig(rows=5, cols=1, st_os=True, act_width=16, weight_width=2, accumulators=1),
    ArrayConfig(rows=5, cols=1, act_width=2, weight_width=16, acc_width=18, mac_stages=2),
    ArrayConfig(rows=3, cols=5, st_os=True, act_width=9, weight_width=4, acc_width=19),
    ArrayConfig(rows=3, cols=5, st_os=True, accumulators=1, mac_stages=2),
    ArrayConfig(rows=3, cols=5, act_width=9, acc_width=17, accumulators=1),
    ArrayConfig(rows=5, cols=3, st_os=True, weight_width=9, acc_width=21, mac_stages=2),
    ArrayConfig(rows=5, cols=3, st_os=True, act_width=4, weight_width=4, accumulators=1),
    ArrayConfig(rows=5, cols=3, weight_width=4, acc_width=12),
    ArrayConfig(rows=8, cols=8, st_os=True, act_width=4, weight_width=4, acc_width=12),
]  # fmt: skip
