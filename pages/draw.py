"""A sheet to draw on: boxes, arrows and words, written as SVG, the same bytes on every run."""

from __future__ import annotations

from html import escape

from report.plots import PALETTE

__all__ = ["BLUE", "CONTROL", "GREEN", "GREY", "INK", "ORANGE", "PALE", "Sheet"]

BLUE, ORANGE, GREEN = PALETTE[0], PALETTE[3], PALETTE[2]
INK, CONTROL, GREY, PALE = "#222222", "#6B6B6B", "#888888", "#EEF3F7"

_ANCHORS = {"left": "start", "center": "middle", "right": "end"}
_FONT = "'DejaVu Sans', Verdana, sans-serif"


def _number(value: float) -> str:
    """Return a number with one decimal at most."""
    return f"{value:.1f}".removesuffix(".0").replace("-0", "0" if abs(value) < 0.05 else "-0")


class Sheet:
    """A drawing of a fixed size.

    Parameters
    ----------
    width, height : float
        In units; x runs east, y north, from the lower left corner.
    unit : float
        Pixels per unit.
    """

    def __init__(self, width: float, height: float, unit: float) -> None:
        self.width, self.height, self.unit = width, height, unit
        self._layers: dict[int, list[str]] = {}

    def _add(self, layer: int, text: str) -> None:
        self._layers.setdefault(layer, []).append(text)

    def _at(self, x: float, y: float) -> tuple[str, str]:
        return _number(x * self.unit), _number((self.height - y) * self.unit)

    def box(
        self, x: float, y: float, width: float, height: float, text: str = "", *,
        face: str = "white", edge: str = INK, ink: str = INK, size: float = 9, line: float = 1.2,
        bold: bool = False, dashed: bool = False, layer: int = 2,
    ) -> None:  # fmt: skip
        """Draw a box from its lower left corner, with words in the middle."""
        left, top = self._at(x, y + height)
        dash = ' stroke-dasharray="4 2"' if dashed else ""
        self._add(
            layer,
            f'<rect x="{left}" y="{top}" width="{_number(width * self.unit)}" '
            f'height="{_number(height * self.unit)}" fill="{face}" stroke="{edge}" '
            f'stroke-width="{_number(line)}"{dash}/>',
        )
        if text:
            self.words(x + width / 2, y + height / 2, text, ink=ink, size=size, bold=bold)

    def shape(
        self, points: list[tuple[float, float]], *, face: str = "white", edge: str = INK,
        layer: int = 2,
    ) -> None:  # fmt: skip
        """Draw a closed shape."""
        corners = " ".join(",".join(self._at(*point)) for point in points)
        self._add(layer, f'<polygon points="{corners}" fill="{face}" stroke="{edge}"/>')

    def circle(self, x: float, y: float, radius: float, text: str = "") -> None:
        """Draw a circle with a sign in it."""
        middle = 'cx="{}" cy="{}"'.format(*self._at(x, y))
        radius_text = _number(radius * self.unit)
        self._add(4, f'<circle {middle} r="{radius_text}" fill="white" stroke="{INK}"/>')
        self.words(x, y, text, size=12)

    def dot(self, x: float, y: float, ink: str = INK) -> None:
        """Mark where lines join."""
        self._add(5, '<circle cx="{}" cy="{}" r="2.5" fill="{}"/>'.format(*self._at(x, y), ink))

    def words(
        self, x: float, y: float, text: str, *, ink: str = INK, size: float = 9,
        align: str = "center", bold: bool = False,
    ) -> None:  # fmt: skip
        """Write lines of words around y; `align` is the side of them that x is."""
        pixels, lines = size * 1.4, text.split("\n")
        weight = ' font-weight="bold"' if bold else ""
        for number, line in enumerate(lines):
            left, _ = self._at(x, y)
            drop = (number - (len(lines) - 1) / 2) * 1.25 * pixels + 0.36 * pixels
            top = _number((self.height - y) * self.unit + drop)
            self._add(
                6,
                f'<text x="{left}" y="{top}" font-size="{_number(pixels)}" fill="{ink}" '
                f'text-anchor="{_ANCHORS[align]}"{weight}>{escape(line)}</text>',
            )

    def line(
        self, *points: tuple[float, float], ink: str = INK, width: float = 1.2,
        arrow: bool = True, dashed: bool = False, layer: int = 3,
    ) -> None:  # fmt: skip
        """Draw a line along the axes through points, with a head at its end."""
        (before, last), head = points[-2:], 9 / self.unit
        if arrow:  # the line ends inside the head
            dx, dy = ((b > a) - (b < a) for a, b in zip(before, last, strict=True))
            points = (*points[:-1], (last[0] - dx * head / 2, last[1] - dy * head / 2))
            back = last[0] - dx * head, last[1] - dy * head
            side = dy * head * 0.36, dx * head * 0.36
            corners = [last, (back[0] + side[0], back[1] + side[1]),
                       (back[0] - side[0], back[1] - side[1])]  # fmt: skip
            self.shape(corners, face=ink, edge="none", layer=layer)
        dash = ' stroke-dasharray="5 3"' if dashed else ""
        path = " ".join(",".join(self._at(*point)) for point in points)
        self._add(
            layer,
            f'<polyline points="{path}" fill="none" stroke="{ink}" '
            f'stroke-width="{_number(width * 1.3)}"{dash}/>',
        )

    def svg(self) -> str:
        """Return the drawing as the content of a file."""
        width, height = (_number(side * self.unit) for side in (self.width, self.height))
        shapes = "\n".join(text for _, layer in sorted(self._layers.items()) for text in layer)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="{_FONT}">\n'
            f'<rect width="{width}" height="{height}" fill="white"/>\n{shapes}\n</svg>\n'
        )
