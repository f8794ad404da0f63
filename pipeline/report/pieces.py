"""What the parts of a report are made of: charts with a title and their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.pages.markup import Markup, element, joined
from pipeline.pages.tables import Cell, nothing, table
from pipeline.report import charts
from pipeline.report.charts import Times


def over_time(title: str, values: Times, note: str = "", *, stacked: bool = False) -> Markup:
    """Numbers by day or week: by week where there are too many days, and the title says which."""
    if not values.starts:
        return joined(element("h3", title), nothing())
    shown = charts.of_weeks(values)
    if shown.days != values.days:
        title = title.replace("by day", "by week")
    return figure(
        title,
        note,
        charts.stacked(shown) if stacked else charts.lines(shown),
        ("day" if shown.days == 1 else "week from", *shown.values),
        [(start.isoformat(), *(by.get(start, 0) for by in shown.values.values())) for start in shown.starts],
    )


def figure(
    title: str, note: str, chart: Markup | None, columns: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> Markup:
    """A chart with its title, and its numbers as a table for whoever cannot see it."""
    caption = element("figcaption", element("h3", title), element("p", note, class_="note") if note else None)
    if chart is None:
        return element("figure", caption, nothing())
    drawing = element("div", element("div", chart, aria_hidden="true"), role="img", aria_label=title)
    return element("figure", caption, drawing, details(columns, rows))


def details(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup:
    """The numbers of a chart, which are shown when they are asked for."""
    return element("details", element("summary", "The numbers"), table(columns, rows))
