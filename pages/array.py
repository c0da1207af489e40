"""The block diagram of the core: what `hw.core` is made of, and its streams."""

from __future__ import annotations

from .draw import BLUE, CONTROL, GREEN, GREY, INK, ORANGE, PALE, Sheet

__all__ = ["PARTS", "STREAMS", "sheet"]

ROWS, COLS = 3, 4
#: Parts of the core, as its submodules are called: what the picture says of them.
PARTS = {
    "controller": "takes commands,\none ahead",
    "act_skew": "row r\nwaits\nr steps",
    "wgt_skew": "column c waits c steps",
    "grid": f"here {ROWS} x {COLS}: row_0 to row_{ROWS - 1}, each pe_0 to pe_{COLS - 1}",
    "drain": "when the results of each row leave",
    "deskew": "all rows\nin one\nbeat",
    "skid": "keeps a\nbeat that\nis not\ntaken",
}
#: Streams of the core.
STREAMS = ("s_axis_cmd", "s_axis_act", "s_axis_wgt", "m_axis_out")


def sheet() -> Sheet:
    """Draw the core; what only an ST-OS core has is orange."""
    s = Sheet(21, 13.2, 44)
    left, bottom, pitch_x, pitch_y, side = 6.6, 3.6, 2.0, 1.7, 1.05
    right, top = left + COLS * pitch_x, bottom + ROWS * pitch_y
    s.box(2.55, 0.35, 15.6, 11.6, face="#FAFAFA", edge=GREY, layer=0)
    s.words(2.8, 11.6, "stos_core", ink=GREY, size=9, align="left")

    # The grid.
    s.box(left - 0.2, bottom - 0.1, COLS * pitch_x + 0.1, ROWS * pitch_y + 0.2, face=PALE)
    for r in range(ROWS):
        base = bottom + (ROWS - 1 - r) * pitch_y
        line, west, east = base + 1.5, base + 0.45, base + 0.95
        s.line((left - 0.75, line), (right - 0.62, line), ink=ORANGE, width=1.6, arrow=False)
        for c in range(COLS):
            x = left + c * pitch_x + 0.35
            s.box(x, base + 0.2, side, side, f"PE {r},{c}", size=7.5, layer=4)
            s.line((x + 0.8, line), (x + 0.8, base + 0.2 + side), ink=ORANGE, width=1.2)
            north = base + pitch_y + 0.2 if r else top + 0.45
            s.line((x + 0.28, north), (x + 0.28, base + 0.2 + side), ink=GREEN, width=1.4)
            start = x - pitch_x + side if c else left - 1.05
            s.line((start, west), (x, west), ink=BLUE, width=1.4)
            end = x + pitch_x if c + 1 < COLS else right + 0.65
            s.line((x + side, east), (end, east), ink=INK, width=1.3)
    s.words(left - 0.1, bottom - 0.45, "grid", size=8, bold=True, align="left")
    s.words(left + 1.1, bottom - 0.45, PARTS["grid"], size=7.5, align="left")

    # West: activations.
    s.box(3.95, bottom - 0.1, 1.6, ROWS * pitch_y + 0.2)
    s.words(4.75, top - 0.4, "act_skew", size=8, bold=True)
    s.words(4.75, bottom + 2.5, PARTS["act_skew"], size=7.5)
    s.line((0.2, bottom + 2.5), (3.95, bottom + 2.5), ink=BLUE, width=2)
    s.words(0.2, bottom + 2.85, "s_axis_act", size=8.5, align="left", ink=BLUE, bold=True)
    s.words(0.2, bottom + 2.1, "R activations", size=7.5, align="left", ink=BLUE)

    # North: weights, and the broadcast lines.
    s.box(left - 0.2, top + 0.45, COLS * pitch_x + 0.1, 0.95)
    s.words(left + 0.1, top + 0.93, "wgt_skew", size=8, bold=True, align="left")
    s.words(left + 2.3, top + 0.93, PARTS["wgt_skew"], size=7.5, align="left")
    s.line((left + 4.9, 12.9), (left + 4.9, top + 1.4), ink=GREEN, width=2)
    s.words(left + 5.1, 12.85, "s_axis_wgt", size=8.5, align="left", ink=GREEN, bold=True)
    s.words(left + 5.1, 12.4, "GEMM: C weights; ST-OS: R weights", size=7.5, align="left",
            ink=GREEN)  # fmt: skip
    s.dot(left + 4.9, 11.2, ORANGE)
    s.line((left + 4.9, 11.2), (left - 0.75, 11.2), (left - 0.75, bottom + 1.5), ink=ORANGE,
           width=1.6, arrow=False)  # fmt: skip
    s.words(left - 0.6, 11.45, "broadcast: one weight per row (ST-OS)", size=7.5,
            ink=ORANGE, align="left")  # fmt: skip

    # The controller.
    s.box(2.8, top + 0.45, 2.45, 1.75)
    s.words(4.03, top + 1.85, "controller", size=8, bold=True)
    s.words(4.03, top + 1.15, PARTS["controller"], size=7.5)
    s.line((0.2, 10.3), (2.8, 10.3), ink=INK, width=2)
    s.words(0.2, 10.65, "s_axis_cmd", size=8.5, align="left", bold=True)
    s.words(0.2, 9.9, "64 bits each", size=7.5, align="left")
    s.line((5.25, top + 0.93), (left - 0.2, top + 0.93), ink=CONTROL,
           width=1.2)  # fmt: skip
    s.words(5.3, top + 1.15, "tags", size=7, ink=CONTROL, align="left")
    s.line((3.4, top + 0.45), (3.4, 1.58), (left - 0.2, 1.58), ink=CONTROL, width=1.2)
    s.words(3.55, 1.83, "tokens", size=7, ink=CONTROL, align="left")

    # East: results.
    s.box(left - 0.2, 1.1, COLS * pitch_x + 0.1, 0.95)
    s.words(left + 0.1, 1.58, "drain", size=8, bold=True, align="left")
    s.words(left + 1.6, 1.58, PARTS["drain"], size=7.5, align="left")
    s.line((right - 0.5, 2.05), (right - 0.5, bottom - 0.1), ink=CONTROL, width=1.2)
    s.words(right - 0.35, 2.4, "release", size=7, ink=CONTROL, align="left")
    s.box(right + 0.65, bottom - 0.1, 1.25, ROWS * pitch_y + 0.2)
    s.words(right + 1.28, top - 0.4, "deskew", size=8, bold=True)
    s.words(right + 1.28, bottom + 2.5, PARTS["deskew"], size=7.5)
    s.box(right + 2.35, bottom + 0.9, 1.15, 2.9)
    s.words(right + 2.93, bottom + 3.4, "skid", size=8, bold=True)
    s.words(right + 2.93, bottom + 2.1, PARTS["skid"], size=7)
    s.line((right + 1.9, bottom + 2.5), (right + 2.35, bottom + 2.5), ink=INK, width=2)
    s.line((right - 0.1, 1.58), (right + 2.93, 1.58), (right + 2.93, bottom + 0.9), ink=CONTROL,
           width=1.2)  # fmt: skip
    s.words(right + 0.1, 1.83, "valid, last", size=7, ink=CONTROL, align="left")
    s.line((right + 3.5, bottom + 2.5), (20.8, bottom + 2.5), ink=INK, width=2)
    s.words(20.8, bottom + 2.85, "m_axis_out", size=8.5, align="right", bold=True)
    s.words(20.8, bottom + 2.1, "R sums", size=7.5, align="right")
    s.line((right + 2.93, bottom + 3.8), (right + 2.93, top + 0.93), ink=GREY, width=1.2,
           dashed=True)  # fmt: skip
    s.words(right + 2.35, top + 1.3, "enables all parts\nbut itself", size=7, ink=GREY)
    return s
