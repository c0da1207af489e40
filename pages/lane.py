"""An ST-OS lane: how an image channel becomes a stream, and what a row does with it."""

from __future__ import annotations

from .draw import BLUE, GREY, INK, ORANGE, Sheet

__all__ = ["COLS", "HEIGHT", "TAPS", "WIDTH", "kept", "sheet", "stream"]

HEIGHT, WIDTH, TAPS, COLS = 3, 4, 3, 4
ROW_COLOURS = ("#CFE3F1", "#9CC5E3", "#5E9FCC")


def stream() -> list[str]:
    """Return the elements of the stream: pixels by row and column, or zero."""
    pad = TAPS // 2
    found = ["0"] * pad
    for row in range(HEIGHT):
        found += [f"{row}{column}" for column in range(WIDTH)] + ["0"] * pad
    return found


def kept(output: int) -> bool:
    """Whether an output of the stream is one of the layer: windows across two rows are not."""
    return output % (WIDTH + TAPS // 2) < WIDTH


def _cell(s: Sheet, x: float, y: float, pixel: str, side: float = 0.8) -> None:
    zero = pixel == "0"
    face = "white" if zero else ROW_COLOURS[int(pixel[0])]
    text = "0" if zero else f"x{pixel}"
    s.box(x, y, side, side, text, face=face, size=8, ink=GREY if zero else INK)


def sheet() -> Sheet:
    """Draw the image, its stream with the outputs, and one fold in a row of the array."""
    s = Sheet(22, 12.6, 44)
    elements = stream()

    s.words(0.4, 12.2, f"1. A channel of the image, {HEIGHT} x {WIDTH} pixels", bold=True,
            align="left")  # fmt: skip
    for row in range(HEIGHT):
        for column in range(WIDTH):
            _cell(s, 0.8 + 0.8 * column, 10.9 - 0.8 * row, f"{row}{column}")
    s.words(
        5.0, 10.5,
        "A row filter of 3 taps, w0 w1 w2, runs along every row:\n"
        "y[i] = w0 x[i] + w1 x[i + 1] + w2 x[i + 2].\n"
        "Its padding, one zero at each end of a row, is shared by\n"
        "the end of one row and the start of the next.", align="left", size=8.5,
    )  # fmt: skip

    s.words(0.4, 8.5, "2. The stream: rows end to end, one element per cycle, into one row of the "
            "array (a lane)", bold=True, align="left")  # fmt: skip
    for index, pixel in enumerate(elements):
        _cell(s, 0.8 + 0.8 * index, 7.25, pixel)
    for output in range(len(elements) - TAPS + 1):
        x = 0.8 + 0.8 * (output + TAPS // 2)
        if kept(output):
            row, column = divmod(output, WIDTH + TAPS // 2)
            s.box(x, 6.1, 0.8, 0.8, f"y{row}{column}", face=ROW_COLOURS[row], size=8)
        else:
            s.box(x, 6.1, 0.8, 0.8, "–", edge=GREY, ink=GREY, size=8, dashed=True)
    right = 0.8 + 0.8 * len(elements) + 0.3
    s.words(right, 7.65, "stream in", align="left", size=8)
    s.words(right, 6.5, "results out; – is dropped", align="left", size=8)

    s.words(0.4, 5.3, f"3. The first fold: {COLS} outputs in a row of {COLS} PEs. In each cycle "
            "the stream moves one PE east, and one tap goes to all", bold=True,
            align="left")  # fmt: skip
    for tap in range(TAPS):
        left = 0.8 + 7.2 * tap
        s.words(left, 4.55, f"cycle {COLS - 1 + tap} of the stream", align="left", size=8)
        s.line((left, 3.9), (left + 5.3, 3.9), ink=ORANGE, width=1.8, arrow=False)
        s.words(left + 5.45, 3.9, f"w{tap}", ink=ORANGE, align="left", bold=True)
        for c in range(COLS):
            x = left + 1.4 * c
            s.line((x + 0.55, 3.9), (x + 0.55, 3.25), ink=ORANGE)
            s.box(x, 1.6, 1.1, 1.65, face="#FAFAFA")
            _cell(s, x + 0.15, 2.3, elements[COLS - 1 - c + tap])
            s.words(x + 0.55, 1.95, f"× w{tap}", size=8, ink=ORANGE)
            s.words(x + 0.55, 1.2, f"y0{COLS - 1 - c}", size=8)
            if c:
                s.line((x - 0.3, 2.7), (x, 2.7), ink=BLUE)
    s.words(0.8, 0.55, f"After {TAPS} cycles every PE has its output. A fold takes {COLS} cycles: "
            "one new element per cycle is what the west edge gives.", align="left",
            size=8.5)  # fmt: skip
    return s
