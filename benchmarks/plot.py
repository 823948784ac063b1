"""Bars as an SVG file: no library, and every viewer shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

WIDTH, LEFT, RIGHT, ROW, TITLE = 860, 220, 90, 22, 46


@dataclass(frozen=True)
class Bar:
    """One value, with the range that it was seen in."""

    name: str
    value: float
    low: float
    high: float
    ours: bool = False


@dataclass(frozen=True)
class Chart:
    """Bars on one logarithmic axis, sorted: the best comes first."""

    title: str
    unit: str
    bars: Sequence[Bar]
    more_is_better: bool = False


def draw(charts: Sequence[Chart], path: Path) -> None:
    """Write the charts, one below the other."""
    charts = [chart for chart in charts if chart.bars]
    height = sum(TITLE + ROW * len(chart.bars) for chart in charts) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    top = 0
    for chart in charts:
        parts += _chart(chart, top)
        top += TITLE + ROW * len(chart.bars)
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")


def _chart(chart: Chart, top: int) -> list[str]:
    bars = sorted(chart.bars, key=lambda bar: bar.value, reverse=chart.more_is_better)
    least = min(bar.low for bar in bars) / 1.5
    most = max(bar.high for bar in bars) * 1.2
    room = WIDTH - LEFT - RIGHT

    def x(value: float) -> float:
        return LEFT + room * math.log(value / least) / math.log(most / least)

    better = "more is better" if chart.more_is_better else "less is better"
    parts = [
        f'<text x="10" y="{top + 28}" font-weight="bold">{escape(chart.title)}</text>',
        f'<text x="{WIDTH - 10}" y="{top + 28}" text-anchor="end" fill="#666">{escape(chart.unit)}, '
        f"logarithmic; {better}</text>",
    ]
    for number, bar in enumerate(bars):
        y = top + TITLE + ROW * number
        middle = y + ROW / 2
        colour = "#e0a100" if bar.ours else "#7a8ca5"
        parts += [
            f'<text x="{LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect x="{LEFT}" y="{y + 3}" width="{x(bar.value) - LEFT:.1f}" height="{ROW - 6}" fill="{colour}"/>',
            f'<line x1="{x(bar.low):.1f}" x2="{x(bar.high):.1f}" y1="{middle}" y2="{middle}" stroke="#333"/>',
            f'<text x="{x(max(bar.high, bar.value)) + 6:.1f}" y="{middle + 4}">{_number(bar.value)}</text>',
        ]
    return parts


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
