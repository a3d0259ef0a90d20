"""Charts of a report as SVG text: small, sharp, coloured by the page's style, with the name of a thing under the mouse."""

import base64
import html
import io
import math
from collections.abc import Sequence

import numpy as np

COLOURS = ("var(--c0)", "var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)")
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 26, 40


def colour(index: int) -> str:
    """The colour of the i-th run."""
    return COLOURS[index % len(COLOURS)]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about `count` of them."""
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [low]
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A coordinate without needless digits."""
    return f"{value:.1f}".removesuffix(".0")


def label(value: float) -> str:
    """A tick's text."""
    if value and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:g}"


class Plot:
    """A chart with two axes; lengths in pixels, `x` and `y` the ranges of the data."""

    def __init__(
        self,
        *,
        x: tuple[float, float],
        y: tuple[float, float],
        title: str = "",
        x_label: str = "",
        y_label: str = "",
        width: int = 540,
        height: int = 270,
    ):
        self.x, self.y = (_range(*x), _range(*y))
        self.width, self.height = width, height
        self.parts: list[str] = []
        self._axes(title, x_label, y_label)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return _LEFT + across * (self.width - _LEFT - _RIGHT), self.height - _BOTTOM - up * (
            self.height - _TOP - _BOTTOM
        )

    def _axes(self, title: str, x_label: str, y_label: str) -> None:
        left, bottom = self.at(self.x[0], self.y[0])
        right, top = self.at(self.x[1], self.y[1])
        for value in ticks(*self.x):
            px = number(self.at(value, self.y[0])[0])
            self.parts.append(f'<line class="grid" x1="{px}" x2="{px}" y1="{number(top)}" y2="{number(bottom)}"/>')
            self.text(float(px), bottom + 15, label(value), anchor="middle")
        for value in ticks(*self.y):
            py = number(self.at(self.x[0], value)[1])
            self.parts.append(f'<line class="grid" x1="{number(left)}" x2="{number(right)}" y1="{py}" y2="{py}"/>')
            self.text(left - 6, float(py) + 4, label(value), anchor="end")
        self.text((left + right) / 2, self.height - 6, x_label, anchor="middle")
        self.text(12, (top + bottom) / 2, y_label, anchor="middle", turn=True)
        self.text(left, 15, title, kind="title")

    def text(
        self, x: float, y: float, words: str, *, anchor: str = "start", kind: str = "tick", turn: bool = False
    ) -> None:
        """Words at a pixel."""
        if words:
            turned = f' transform="rotate(-90 {number(x)} {number(y)})"' if turn else ""
            self.parts.append(
                f'<text class="{kind}" x="{number(x)}" y="{number(y)}" text-anchor="{anchor}"{turned}>{html.escape(words)}</text>'
            )

    def line(
        self,
        xs: Sequence[float],
        ys: Sequence[float | None],
        stroke: str,
        *,
        dashed: bool = False,
        name: str = "",
        thin: bool = False,
    ) -> None:
        """A line through the points that are there."""
        points = [
            self.at(a, b) for a, b in zip(xs, ys, strict=True) if a is not None and b is not None and math.isfinite(b)
        ]
        path = " ".join(f"{number(a)},{number(b)}" for a, b in points)
        style = f"stroke:{stroke}" + (";stroke-dasharray:5 4" if dashed else "") + (";stroke-width:1" if thin else "")
        self.parts.append(f'<polyline class="line" style="{style}" points="{path}">{_hint(name)}</polyline>')
        if len(points) == 1:
            self.parts.append(
                f'<circle cx="{number(points[0][0])}" cy="{number(points[0][1])}" r="3" style="fill:{stroke}"/>'
            )

    def dot(self, x: float, y: float, fill: str, *, name: str = "", radius: float = 3.5, hollow: bool = False) -> None:
        """A point with a name."""
        a, b = self.at(x, y)
        style = f"fill:none;stroke:{fill};stroke-width:1.5" if hollow else f"fill:{fill}"
        self.parts.append(
            f'<circle class="dot" cx="{number(a)}" cy="{number(b)}" r="{radius:g}" style="{style}">{_hint(name)}</circle>'
        )

    def bar(self, low: float, high: float, top: float, fill: str, *, name: str = "") -> None:
        """A bar of a histogram, from the lower edge up to `top`."""
        a, b = self.at(low, top)
        c, d = self.at(high, self.y[0])
        self.parts.append(
            f'<rect class="bar" x="{number(a)}" y="{number(b)}" width="{number(max(c - a - 1, 0.5))}" '
            f'height="{number(max(d - b, 0))}" style="fill:{fill}">{_hint(name)}</rect>'
        )

    def svg(self) -> str:
        """The chart."""
        return svg(self.width, self.height, "".join(self.parts))


def _range(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _hint(name: str) -> str:
    return f"<title>{html.escape(name)}</title>" if name else ""


def svg(width: float, height: float, content: str, *, kind: str = "chart") -> str:
    """The element around a drawing."""
    size = f'width="{number(width)}" height="{number(height)}" viewBox="0 0 {number(width)} {number(height)}"'
    return f'<svg class="{kind}" {size} role="img">{content}</svg>'


def whiskers(
    rows: Sequence[tuple[float | None, Sequence[float] | None, str]],
    *,
    low: float = 0.0,
    high: float = 1.0,
    width: int = 200,
    zero: bool = False,
    mark: float | None = None,
) -> str:
    """A cell of bars from `low`, one below the other, each with its interval; `zero` draws dots about a line at 0.

    Args:
        rows: (value, [low, high] or None, colour).
        low: Left end of the scale.
        high: Right end.
        width: Pixels.
        zero: Differences instead of sizes.
        mark: Where a line across goes: what chance reaches.
    """

    def px(value: float) -> float:
        return (min(max(value, low), high) - low) / (high - low) * (width - 4) + 2

    step, parts = 12, []
    if zero:
        mark = 0.0
    if mark is not None:
        x = number(px(mark))
        parts.append(f'<line class="mark" x1="{x}" x2="{x}" y1="0" y2="{step * len(rows) + 2}"/>')
    for index, (value, bounds, fill) in enumerate(rows):
        middle = index * step + 7
        if value is None:
            continue
        if zero:
            parts.append(f'<circle cx="{number(px(value))}" cy="{middle}" r="3" style="fill:{fill}"/>')
        else:
            parts.append(
                f'<rect class="bar" x="2" y="{middle - 4}" width="{number(px(value) - 2)}" height="8" style="fill:{fill}"/>'
            )
        if bounds:
            a, b = (number(px(bound)) for bound in bounds)
            parts.append(f'<path class="whisker" d="M{a} {middle - 3}v6M{a} {middle}H{b}M{b} {middle - 3}v6"/>')
    return svg(width, step * len(rows) + 2, "".join(parts), kind="cell")


def png(image: np.ndarray) -> str:
    """A data: URI of a picture, (rows, columns, 3 or 4) floats in 0…1 or uint8."""
    from matplotlib import image as matplotlib_image

    encoded = io.BytesIO()
    matplotlib_image.imsave(encoded, np.ascontiguousarray(image), format="png")
    return f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}"


def heat_map(
    matrix: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    low: float,
    high: float,
    colours: str = "viridis",
    values: str = "{:.2f}",
    cell: int = 17,
) -> str:
    """A matrix in colours with names at its sides; up to 40 × 40 each cell tells its value under the mouse.

    Args:
        matrix: (rows, columns); nan is left empty.
        rows: Names.
        columns: Names.
        low: Value of the first colour.
        high: Value of the last colour.
        colours: A colour map of matplotlib.
        values: Format of a value.
        cell: Pixels.
    """
    import matplotlib

    left = 10 + 6.2 * max(map(len, rows), default=0)
    top = 10 + 4.6 * max(map(len, columns), default=0)
    scaled = np.clip((matrix - low) / (high - low), 0, 1)
    image = matplotlib.colormaps[colours](np.where(np.isnan(matrix), 0, scaled))
    image[np.isnan(matrix)] = 0
    height, width = cell * len(rows), cell * len(columns)
    parts = [
        f'<image x="{number(left)}" y="{number(top)}" width="{width}" height="{height}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="{png(image)}"/>'
    ]
    for index, name in enumerate(rows):
        y = number(top + cell * index + cell * 0.72)
        parts.append(f'<text class="tick" x="{number(left - 5)}" y="{y}" text-anchor="end">{html.escape(name)}</text>')
    for index, name in enumerate(columns):
        x, y = number(left + cell * index + cell * 0.7), number(top - 5)
        parts.append(f'<text class="tick" x="{x}" y="{y}" transform="rotate(-50 {x} {y})">{html.escape(name)}</text>')
    if matrix.size <= 1600:
        for r, c in np.ndindex(matrix.shape):
            if not np.isnan(matrix[r, c]):
                hint = _hint(f"{rows[r]} · {columns[c]}: {values.format(matrix[r, c])}")
                x, y = number(left + cell * c), number(top + cell * r)
                parts.append(
                    f'<rect x="{x}" y="{y}" width="{cell}" height="{cell}" style="fill:transparent">{hint}</rect>'
                )
    margin = max(4.6 * max(map(len, columns), default=0), 70)
    scale = matplotlib.colormaps[colours](np.linspace(1, 0, 64))[:, None]
    edge, tall = left + width + 16, min(height, 140)
    parts.append(
        f'<image x="{number(edge)}" y="{number(top)}" width="12" height="{tall}" preserveAspectRatio="none" href="{png(scale)}"/>'
    )
    for value, level in ((high, top + 9), ((low + high) / 2, top + tall / 2 + 4), (low, top + tall)):
        parts.append(f'<text class="tick" x="{number(edge + 17)}" y="{number(level)}">{label(value)}</text>')
    return svg(left + width + margin, top + height + 6, "".join(parts))
