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
        return self.worst >= self.goal if self.higher_is_better else self.worst <= self.goal


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table of the figures: the worst shape, the median, and the goal, which the worst must reach."""
    rows = ["| figure | worst | on | median | goal |", "| --- | ---: | --- | ---: | ---: |"]
    for figure in figures:
        shape = next(name for name, value in figure.by_shape.items() if value == figure.worst)
        bound = "≥" if figure.higher_is_better else "≤"
        rows.append(
            f"| {figure.name} | {figure.worst:.2f} {figure.unit} | {shape} | {figure.median:.2f} |"
            f" {bound} {figure.goal:g}{'' if figure.is_reached else ' (not reached)'} |"
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


def plot(figures: Sequence[Figure]) -> str:
    """An SVG: for each figure a bar for each shape, and a line at the goal."""
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": "white",
        "hconcat": [_bars(figure) for figure in figures],
    }
    return str(vl_convert.vegalite_to_svg(json.dumps(spec), vl_version=_VEGA_LITE))


def _bars(figure: Figure) -> dict[str, Any]:
    bars = {
        "data": {"values": [{"shape": name, "value": value} for name, value in figure.by_shape.items()]},
        "mark": "bar",
        "encoding": {
            "y": {"field": "shape", "type": "nominal", "sort": None, "title": None},
            "x": {"field": "value", "type": "quantitative", "title": figure.unit or "ratio"},
        },
    }
    goal = {
        "data": {"values": [{"goal": figure.goal}]},
        "mark": {"type": "rule", "color": "firebrick", "strokeDash": [4, 2]},
        "encoding": {"x": {"field": "goal", "type": "quantitative"}},
    }
    return {"title": {"text": figure.name, "fontSize": 11}, "width": 180, "layer": [bars, goal]}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
