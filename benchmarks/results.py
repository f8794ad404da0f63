"""What was measured: a table with the goals beside, JSON with machine and versions, and a plot."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import vl_convert

_PACKAGES: Final = ("apache-beam", "duckdb", "msgspec", "orjson", "pyarrow")
_VEGA_LITE: Final = "6.4"
_COLUMNS: Final = 3
_COLOURS: Final = {"domain": ["reached", "missed"], "range": ["#0969da", "#bf8700"]}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure by shape, and its goal: at least that, where `higher_is_better`, else at most."""

    name: str
    unit: str
    by_shape: Mapping[str, float]
    goal: float
    higher_is_better: bool = False

    @property
    def worst(self) -> float:
        return (min if self.higher_is_better else max)(self.by_shape.values())

    @property
    def median(self) -> float:
        return statistics.median(self.by_shape.values())

    @property
    def is_reached(self) -> bool:
        return self.reaches(self.worst)

    def reaches(self, value: float) -> bool:
        """Whether a shape's value reaches the goal."""
        return value >= self.goal if self.higher_is_better else value <= self.goal


def table(figures: Sequence[Figure], worst: str = "worst", missed: str = "not reached") -> str:
    """A Markdown table of the figures: the worst shape, the median, and the goal, which the worst must reach. `worst`
    heads its column, and `missed` stands where it does not."""
    rows = [f"| figure | {worst} | on | median | goal |", "| --- | ---: | --- | ---: | ---: |"]
    for figure in figures:
        shape = next(name for name, value in figure.by_shape.items() if value == figure.worst)
        bound = "≥" if figure.higher_is_better else "≤"
        rows.append(
            f"| {figure.name} | {figure.worst:.2f} {figure.unit} | {shape} | {figure.median:.2f} |"
            f" {bound} {figure.goal:g}{'' if figure.is_reached else f' ({missed})'} |"
        )
    return "\n".join(rows)


def write(figures: Sequence[Figure], folder: Path) -> None:
    """Writes `results.json`, `results.md` and `results.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": {"cores": os.cpu_count(), "processor": _processor(), "system": platform.platform()},
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "figures": [
            {
                "name": figure.name,
                "unit": figure.unit,
                "goal": figure.goal,
                "higher_is_better": figure.higher_is_better,
                "worst": figure.worst,
                "median": figure.median,
                "by_shape": figure.by_shape,
            }
            for figure in figures
        ],
    }
    (folder / "results.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    (folder / "results.md").write_text(table(figures) + "\n", "utf-8")
    (folder / "results.svg").write_text(plot(figures), "utf-8")


def read(document: Path) -> list[Figure]:
    """The figures of a `results.json`."""
    return [
        Figure(
            name=figure["name"],
            unit=figure["unit"],
            by_shape=figure["by_shape"],
            goal=figure["goal"],
            higher_is_better=figure["higher_is_better"],
        )
        for figure in json.loads(document.read_text("utf-8"))["figures"]
    ]


def of_many_shapes(figures: Sequence[Figure]) -> list[Figure]:
    """The figures of many shapes of calls."""
    return [figure for figure in figures if len(figure.by_shape) > 2]


def plot(figures: Sequence[Figure]) -> str:
    """An SVG: for each figure of many shapes a bar for each, and a line at the goal."""
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": "white",
        "padding": 14,
        "config": {"view": {"stroke": None}, "axis": {"labelFontSize": 11, "titleFontSize": 11}},
        "columns": _COLUMNS,
        "concat": [_bars(figure) for figure in of_many_shapes(figures)],
    }
    return f"{vl_convert.vegalite_to_svg(json.dumps(spec), vl_version=_VEGA_LITE)}\n"


def _bars(figure: Figure) -> dict[str, Any]:
    values = [
        {"shape": name, "value": value, "goal": "reached" if figure.reaches(value) else "missed"}
        for name, value in figure.by_shape.items()
    ]
    bound = "at least" if figure.higher_is_better else "at most"
    shape = {"field": "shape", "type": "nominal", "sort": None, "title": None}
    bars = {
        "data": {"values": values},
        "mark": "bar",
        "encoding": {
            "y": shape,
            "x": {"field": "value", "type": "quantitative", "title": f"{figure.unit}; goal: {bound} {figure.goal:g}"},
            "color": {"field": "goal", "type": "nominal", "legend": None, "scale": _COLOURS},
        },
    }
    numbers = {
        "data": {"values": values},
        "mark": {"type": "text", "align": "left", "dx": 3, "fontSize": 10, "color": "#59636e"},
        "encoding": {
            "y": shape,
            "x": {"field": "value", "type": "quantitative"},
            "text": {"field": "value", "type": "quantitative", "format": ".2f"},
        },
    }
    goal = {
        "data": {"values": [{"goal": figure.goal}]},
        "mark": {"type": "rule", "color": "#1f2328", "strokeDash": [4, 2]},
        "encoding": {"x": {"field": "goal", "type": "quantitative"}},
    }
    title = {"text": figure.name, "fontSize": 12, "anchor": "start"}
    return {"title": title, "width": 190, "height": {"step": 17}, "layer": [bars, numbers, goal]}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
