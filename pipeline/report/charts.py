"""Charts as SVG, drawn by Vega-Lite when the report is made: whoever opens it needs no script."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from pipeline.errors import UsageError, printable
from pipeline.pages.markup import Markup, element, joined
from pipeline.report.figures import start_of

Spec = dict[str, Any]

_SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
_VERSION: Final = "6.4"
_WIDTHS: Final = {"wide": 760, "narrow": 320}
"""The widths in which each chart is drawn, by the class of the drawing: one of the two is shown."""
_LABELS: Final = {"wide": (9, 250), "narrow": (4, 130)}
"""How many days are named under a chart, and how wide the name of a bar may be."""
_LEGEND: Final = {"wide": 6, "narrow": 2}
"""How many series are named beside each other."""
_NUMBER_WIDTH: Final = 90
"""What the number behind a bar has at least."""
_CHARACTER_WIDTH: Final = 8.5
"""Of the widest font in which a number may be shown."""
_FONT: Final = "Arial, Helvetica, sans-serif"
_WIDER: Final = 0.78
"""Of the place for a name, what it may take: whoever opens the page may have a wider font."""
_SERIES: Final = ("#a00001", "#a00002", "#a00003", "#a00004", "#a00005", "#a00006")
_INK, _MUTED, _LINE = "#a00007", "#a00008", "#a00009"
_VARIABLES: Final = {
    **{color: f"var(--series-{number})" for number, color in enumerate(_SERIES, 1)},
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _LINE: "var(--line)",
}
"""The colours of a drawing and what takes their place, so that the page decides which they are."""
_MOST_BARS: Final = 120
_FEWEST_BARS: Final = 10
"""Fewer days or weeks leave room at the right, so that no bar is as wide as the chart."""
_BAR_HEIGHT: Final = 22


@dataclass(frozen=True)
class Bar:
    """One of several bars that lie below each other."""

    name: str
    value: int
    text: str = ""

    @property
    def label(self) -> str:
        """What stands behind it: its number, unless there is more to say."""
        return self.text or f"{self.value:,}"


@dataclass(frozen=True)
class Times:
    """Numbers by day or week: `values` has each series' by the first day of its time, `days` is how many days one is
    long."""

    values: Mapping[str, Mapping[date, int]]
    days: int

    @property
    def starts(self) -> list[date]:
        """The first day of each time, without gaps."""
        starts = {start for values in self.values.values() for start in values}
        if not starts:
            return []
        count = (max(starts) - min(starts)).days // self.days + 1
        return [min(starts) + timedelta(days=self.days * number) for number in range(count)]


def of_weeks(times: Times) -> Times:
    """The same numbers by weeks from Monday, where there are too many days for bars."""
    if times.days != 1 or len(times.starts) <= _MOST_BARS:
        return times
    sums: dict[str, dict[date, int]] = {}
    for name, values in times.values.items():
        by_week = sums.setdefault(name, {})
        for day, value in values.items():
            monday = day - timedelta(days=day.weekday())
            by_week[monday] = by_week.get(monday, 0) + value
    return Times(sums, 7)


def stacked(times: Times) -> Markup:
    """Bars over time, a colour for each series."""
    shown = []
    for start in times.starts:
        height = 0
        for name, values in times.values.items():
            top = height + values.get(start, 0)
            end = start + timedelta(days=times.days)
            shown.append({"start": _ms(start), "end": _ms(end), "series": name, "from": height, "value": top})
            height = top
    return _drawn(lambda kind: _stacked(times, shown, kind))


def lines(times: Times) -> Markup:
    """A line over time for each series."""
    shown = [
        {"start": _ms(start), "series": name, "value": values.get(start, 0)}
        for name, values in times.values.items()
        for start in times.starts
    ]
    return _drawn(lambda kind: _lines(times, shown, kind))


def bars(values: Sequence[Bar]) -> Markup:
    """Bars below each other, each with its name before and its number behind."""
    return _drawn(lambda kind: _bars(values, kind))


def require() -> None:
    """Raises UsageError where the package that draws is not installed."""
    try:
        import vl_convert  # noqa: F401
    except ImportError:
        raise UsageError(
            "charts need the package vl-convert-python, which the extra named report installs",
            "pip install 'segment-bigquery[report]'",
        ) from None


def _stacked(times: Times, shown: Sequence[Mapping[str, Any]], kind: str) -> Spec:
    first = times.starts[0]
    after = first + timedelta(days=times.days * max(len(times.starts), _FEWEST_BARS))
    axis = _time_axis(times, kind)
    return {
        "data": {"values": shown},
        "width": _WIDTHS[kind],
        "height": 170,
        "mark": {"type": "bar", "x2Offset": -0.6},
        "encoding": {
            "x": {**axis, "scale": {**axis["scale"], "domain": [_ms(first), _ms(after)]}},
            "x2": {"field": "end"},
            "y": _count_axis(),
            "y2": {"field": "from"},
            "color": _colour(times, kind),
        },
    }


def _lines(times: Times, shown: Sequence[Mapping[str, Any]], kind: str) -> Spec:
    axis = _time_axis(times, kind)
    return {
        "data": {"values": shown},
        "width": _WIDTHS[kind],
        "height": 170,
        "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 28, "filled": True}},
        "encoding": {
            "x": {**axis, "scale": {**axis["scale"], "padding": 12}},  # so that no point lies on the axis
            "y": _count_axis(),
            "color": _colour(times, kind),
        },
    }


def _bars(values: Sequence[Bar], kind: str) -> Spec:
    _, label_width = _LABELS[kind]
    longest = max((len(bar.label) for bar in values), default=0)
    number_width = max(_NUMBER_WIDTH, round(longest * _CHARACTER_WIDTH) + 10)
    width = _WIDTHS[kind] - label_width - number_width
    height = _BAR_HEIGHT * max(len(values), 1)
    shown = [
        {"row": row, "name": printable(bar.name) or "(no name)", "value": bar.value, "text": bar.label}
        for row, bar in enumerate(values)
    ]
    most = max((bar.value for bar in values), default=0)
    length = {"field": "value", "type": "quantitative", "axis": None, "scale": {"domain": [0, max(most, 1)]}}
    text = {"type": "text", "baseline": "middle", "fontSize": 13}
    area = {"type": "rect", "opacity": 0, "x": -label_width, "x2": width + number_width, "y": 0, "y2": height}
    return {
        "data": {"values": shown},
        "width": width,
        "height": height,
        "encoding": {"y": {"field": "row", "type": "ordinal", "axis": None}},
        "layer": [
            {"data": {"values": [{}]}, "mark": area, "encoding": {"y": None}},
            {
                "mark": {"type": "bar", "color": _SERIES[0], "height": _BAR_HEIGHT - 7},
                "encoding": {"x": length},
            },
            {
                "mark": {**text, "align": "right", "limit": label_width * _WIDER, "color": _INK, "x": -8},
                "encoding": {"text": {"field": "name"}},
            },
            {
                "mark": {**text, "align": "left", "dx": 5, "color": _MUTED},
                "encoding": {"x": length, "text": {"field": "text"}},
            },
        ],
    }


def _time_axis(times: Times, kind: str) -> Spec:
    starts = times.starts
    most, _ = _LABELS[kind]
    step = -(-len(starts) // most)
    named = starts[::step]
    is_one_year = not starts or starts[0].year == starts[-1].year
    return {
        "field": "start",
        "type": "temporal",
        "scale": {"type": "utc"},
        "title": None,
        "axis": {
            "values": [_ms(start) for start in named],
            "format": "%-d %b" if is_one_year else "%-d %b %Y",
            "grid": False,
            "labelOverlap": True,
        },
    }


def _count_axis() -> Spec:
    axis = {"format": ",d", "tickMinStep": 1, "tickCount": 4, "domain": False, "ticks": False}
    return {"field": "value", "type": "quantitative", "title": None, "axis": axis}


def _colour(times: Times, kind: str) -> Spec:
    names = list(times.values)
    legend = {"orient": "top", "title": None, "symbolType": "square", "columns": _LEGEND[kind], "columnPadding": 28}
    return {
        "field": "series",
        "type": "nominal",
        "scale": {"domain": names, "range": [*_SERIES[: len(names)]]},
        "legend": legend if len(names) > 1 else None,
    }


_CONFIG: Final[Spec] = {
    "background": None,
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": _MUTED,
        "labelFontSize": 12,
        "domainColor": _LINE,
        "tickColor": _LINE,
        "gridColor": _LINE,
    },
    "legend": {"labelColor": _INK, "labelFontSize": 12, "symbolStrokeWidth": 0, "labelLimit": 200},
}


def _drawn(spec: Any) -> Markup:
    """A chart in each of the widths."""
    return joined(*(element("div", _svg(spec(kind)), class_=f"chart {kind}") for kind in _WIDTHS))


def _svg(spec: Spec) -> Markup:
    import vl_convert

    whole = {"$schema": _SCHEMA, "padding": 4, **spec, "config": _CONFIG}
    return _with_variables(vl_convert.vegalite_to_svg(whole, vl_version=_VERSION, allowed_base_urls=[]))


def _with_variables(svg: str) -> Markup:
    """The drawing in the page's colours, and without what only a file of its own needs."""
    for color, variable in _VARIABLES.items():
        svg = svg.replace(f'"{color}"', f'"{variable}"')
    svg = svg.replace(' xmlns="http://www.w3.org/2000/svg"', "", 1)
    return Markup(svg.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "", 1))


@functools.cache
def _ms(day: date) -> int:
    return start_of(day) // 1000
