"""The schematic of a PE: plain, and with the multiplexer that ST-OS adds (`hw.array.pe`)."""

from __future__ import annotations

from .draw import BLUE, CONTROL, GREEN, GREY, INK, ORANGE, Sheet

__all__ = ["PORTS", "REGISTERS", "ST_OS_PORTS", "sheet"]

#: Registers of a PE with two accumulators and one MAC stage.
REGISTERS = ("activation", "weight", "valid", "mark", "acc", "result", "held")
PORTS = (
    "i_a", "o_a", "i_operand", "o_operand", "i_result", "o_result", "i_release", "i_en", "i_move",
)  # fmt: skip
ST_OS_PORTS = ("i_broadcast", "i_broadcast_en")


def _register(s: Sheet, x: float, y: float, width: float, name: str, ink: str = INK) -> None:
    """Draw a register: a box with the mark of a clock."""
    s.box(x, y, width, 0.8, name, edge=ink, size=8, layer=4)
    s.shape([(x + 0.08, y), (x + 0.38, y), (x + 0.23, y + 0.2)], face=ink, edge=ink, layer=5)


def _mux(s: Sheet, x: float, y: float, ink: str) -> None:
    s.shape([(x - 1.0, y + 0.6), (x + 1.0, y + 0.6), (x + 0.6, y), (x - 0.6, y)], edge=ink, layer=4)
    s.words(x, y + 0.3, "mux", size=7, ink=ink)


def _panel(s: Sheet, left: float, st_os: bool) -> None:
    def at(x: float, y: float) -> tuple[float, float]:
        return left + x, y

    title = "with ST-OS" if st_os else "plain"
    s.box(left + 1.75, 0.9, 7.95, 10.4, face="#FAFAFA", edge=GREY, layer=0)
    s.words(*at(1.95, 10.95), title, size=9, align="left", bold=True)

    # The operand: a weight and its tags, from the north or from the row's line.
    for name, x, width in (("weight", 3.9, 1.8), ("valid", 5.7, 1.15), ("mark", 6.85, 1.15)):
        _register(s, left + x, 8.0, width, name, GREEN)
    s.words(*at(5.75, 12.0), "i_operand", size=8, ink=GREEN, align="left")
    if st_os:
        s.line(at(5.6, 12.2), at(5.6, 9.85), ink=GREEN, width=1.6)
        _mux(s, left + 5.1, 9.25, ORANGE)
        s.line(at(5.1, 9.25), at(5.1, 8.8), ink=GREEN, width=1.6)
        s.line(at(0.1, 10.4), at(10.9, 10.4), ink=ORANGE, width=1.6)
        s.dot(*at(4.6, 10.4), ORANGE)
        s.line(at(4.6, 10.4), at(4.6, 9.85), ink=ORANGE, width=1.6)
        s.words(*at(-0.35, 10.7), "i_broadcast", size=8, ink=ORANGE, align="left")
        s.line(at(0.1, 9.55), at(4.3, 9.55), ink=ORANGE, width=1.1, dashed=True)
        s.words(*at(-0.35, 9.82), "i_broadcast_en", size=8, ink=ORANGE, align="left")
    else:
        s.line(at(5.6, 12.2), at(5.6, 8.8), ink=GREEN, width=1.6)
    s.line(at(8.0, 8.4), at(9.1, 8.4), at(9.1, 0.1), ink=GREEN, width=1.6)
    s.words(*at(9.3, 0.45), "o_operand", size=8, ink=GREEN, align="left")

    # The activation.
    s.line(at(0.1, 6.4), at(2.0, 6.4), ink=BLUE, width=1.6)
    s.words(*at(-0.35, 6.72), "i_a", size=8, ink=BLUE, align="left")
    _register(s, left + 2.0, 6.0, 1.7, "activation", BLUE)
    s.line(at(3.7, 6.4), at(4.37, 6.4), ink=BLUE, width=1.6)
    s.dot(*at(4.0, 6.4), BLUE)
    s.line(at(4.0, 6.4), at(4.0, 7.3), at(10.9, 7.3), ink=BLUE, width=1.6)
    s.words(*at(10.9, 7.62), "o_a", size=8, ink=BLUE, align="right")

    # Multiply and accumulate.
    s.line(at(4.75, 8.0), at(4.75, 6.78), ink=GREEN, width=1.6)
    s.circle(left + 4.75, 6.4, 0.38, "×")
    s.line(at(4.75, 6.02), at(4.75, 5.28))
    s.circle(left + 4.75, 4.9, 0.38, "+")
    s.line(at(5.13, 4.9), at(6.3, 4.9))
    _register(s, left + 6.3, 4.5, 1.4, "acc")
    s.line(at(7.7, 4.9), at(8.2, 4.9), at(8.2, 4.1), at(4.75, 4.1), at(4.75, 4.52))
    s.line(at(6.9, 8.0), at(6.9, 5.3), ink=CONTROL, dashed=True)
    s.words(*at(7.05, 6.55), "valid: add\nmark: start anew", size=7, ink=CONTROL, align="left")

    # The result chain.
    s.dot(*at(5.75, 4.9))
    s.line(at(5.75, 4.9), at(5.75, 3.3))
    s.line(at(0.1, 3.7), at(4.85, 3.7), at(4.85, 3.3), width=1.6)
    s.words(*at(-0.35, 4.02), "i_result", size=8, align="left")
    _mux(s, left + 5.3, 2.7, INK)
    s.line(at(5.3, 2.7), at(5.3, 2.3))
    _register(s, left + 4.5, 1.5, 1.6, "result")
    s.line(at(6.1, 1.9), at(10.9, 1.9), width=1.6)
    s.words(*at(10.9, 2.22), "o_result", size=8, align="right")
    _register(s, left + 2.0, 1.5, 1.3, "held", CONTROL)
    s.line(at(0.1, 1.9), at(2.0, 1.9), ink=CONTROL, dashed=True)
    s.words(*at(-0.35, 2.22), "i_release", size=8, ink=CONTROL, align="left")
    s.line(at(3.3, 1.9), at(3.8, 1.9), at(3.8, 3.0), at(4.5, 3.0), ink=CONTROL, dashed=True)
    s.words(*at(6.5, 3.1), "own sum, or\nwhat passes by", size=7, ink=CONTROL, align="left")
    s.words(*at(1.75, 0.45), "i_en: registers move;  i_move: so does activation", size=7,
            ink=CONTROL, align="left")  # fmt: skip


def sheet() -> Sheet:
    """Draw both PEs; what ST-OS adds is orange."""
    s = Sheet(23.2, 12.4, 42)
    _panel(s, 0.4, False)
    _panel(s, 12.1, True)
    return s
