"""What a run on the strict runner has shown."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from apache_beam.metrics import monitoring_infos

from tests.strict_runner.graph import Stage, Step, named

_COMPACTED_AT: Final = 4000
_NAME_WIDTH: Final = 80
"""How much of a step's name the table shows."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """How many elements came to a transform or a step: in so many bundles that had any, and in the middle one."""

    bundles: int
    total: int
    p50: int

    @property
    def mean(self) -> float:
        return self.total / self.bundles if self.bundles else 0.0

    @classmethod
    def of(cls, sizes: Counter[int]) -> Rows:
        """From how many bundles there were of each size."""
        bundles, seen = sizes.total(), 0
        p50 = 0
        for size, count in sorted(sizes.items()):
            seen += count
            if 2 * seen >= bundles:
                p50 = size
                break
        return cls(bundles=bundles, total=sum(size * count for size, count in sizes.items()), p50=p50)


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What Dataflow would fuse: the transforms between one shuffle and the next. Sizes are bytes."""

    name: str
    labels: tuple[str, ...]
    """Of its transforms."""
    bundles: int
    """Work items that counted; each is of one key."""
    rows: Rows
    """What came to it; of a grouping the values."""
    received_bytes: int
    """What came to it, encoded, by a shuffle."""
    state_bytes: int
    """What it has written to state and read of it, but for timers and what waits for a pane."""
    largest_output: int
    """What one work item put out, with its timers and the state that it wrote."""
    largest_cell: int
    """A state of one key and window."""
    largest_key: int
    """All states of one key, or what waited there for a pane."""
    timers: int
    """How many were set at one time, those of windows included."""
    furthest_timer_s: float
    """How far ahead one was set: of the watermark or the elements, or of the clock."""
    repeats: int
    checkpoints: int
    """How often a restriction was split, or deferred by itself."""
    late: int
    """Elements that a grouping dropped, since their windows were closed."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run has shown: its steps in the graph's order, the rows that came to each transform, and what a test has
    counted."""

    seed: int
    elapsed_s: float
    steps: tuple[StepReport, ...]
    transforms: Mapping[str, Rows]
    counts: Mapping[str, int] = field(default_factory=dict)

    def step(self, label: str) -> StepReport:
        """The step that begins with a transform, or that it is in, by its label; for a composite the first such step.
        Raises KeyError."""
        return named(self.steps, label)

    def rows(self, label: str) -> Rows:
        """What came to a transform, by its label. Raises KeyError."""
        return self.transforms[label]

    @property
    def largest_output(self) -> int:
        return max((step.largest_output for step in self.steps), default=0)

    @property
    def largest_state(self) -> int:
        return max((step.largest_key for step in self.steps), default=0)

    @property
    def timers(self) -> int:
        """How many were set at one time, at most, of all steps."""
        return sum(step.timers for step in self.steps)

    def with_counts(self, counts: Mapping[str, int]) -> Report:
        """The same with counts of a test's own, such as the requests that a double has received."""
        return dataclasses.replace(self, counts={**self.counts, **counts})

    def as_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    def as_text(self) -> str:
        """A table, a line for each step that had any work."""
        lines = [_HEADER, *(_line(step) for step in self.steps if step.bundles)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
        table = [
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        counts = [f"{name}: {count:,}" for name, count in self.counts.items()]
        return "\n".join([*table, f"seed {self.seed}, {self.elapsed_s:.1f} s", *counts])


_HEADER = (
    "step",
    "bundles",
    "rows",
    "rows/bundle",
    "p50",
    "received",
    "state",
    "largest output",
    "cell",
    "key",
    "timers",
    "furthest s",
    "repeats",
    "checkpoints",
    "late",
)


def _line(step: StepReport) -> tuple[str, ...]:
    numbers = (step.largest_output, step.largest_cell, step.largest_key, step.timers, round(step.furthest_timer_s))
    name = step.name if len(step.name) <= _NAME_WIDTH else f"{step.name[: _NAME_WIDTH - 1]}…"
    return (
        name,
        f"{step.bundles:,}",
        f"{step.rows.total:,}",
        f"{step.rows.mean:.1f}",
        f"{step.rows.p50:,}",
        f"{step.received_bytes:,}",
        f"{step.state_bytes:,}",
        *(f"{number:,}" for number in (*numbers, step.repeats, step.checkpoints, step.late)),
    )


@dataclass
class StepTally:
    """Counts of a step while it runs."""

    bundles: int = 0
    rows: Counter[int] = field(default_factory=Counter)
    received_bytes: int = 0
    state_bytes: int = 0
    largest_output: int = 0
    largest_cell: int = 0
    largest_key: int = 0
    timers: int = 0
    most_timers: int = 0
    furthest_timer_us: int = 0
    repeats: int = 0
    checkpoints: int = 0
    late: int = 0

    def timers_changed(self, by: int) -> None:
        self.timers += by
        self.most_timers = max(self.most_timers, self.timers)

    def report(self, step: Step) -> StepReport:
        return StepReport(
            name=step.name,
            labels=step.labels,
            bundles=self.bundles,
            rows=Rows.of(self.rows),
            received_bytes=self.received_bytes,
            state_bytes=self.state_bytes,
            largest_output=self.largest_output,
            largest_cell=self.largest_cell,
            largest_key=self.largest_key,
            timers=self.most_timers,
            furthest_timer_s=self.furthest_timer_us / 1e6,
            repeats=self.repeats,
            checkpoints=self.checkpoints,
            late=self.late,
        )


class Monitored:
    """What the SDK tells of the bundles that counted: the pipeline's own metrics, and rows by transform."""

    def __init__(self) -> None:
        self._user: list[Any] = []
        self._rows: defaultdict[str, Counter[int]] = defaultdict(Counter)

    def add(self, stage: Stage, rows: Mapping[str, int], metrics: Iterable[Any]) -> None:
        for pcollection, count in rows.items():
            if count:
                for label in stage.consumers.get(pcollection, ()):
                    self._rows[label][count] += 1
        self._user += metrics
        if len(self._user) > _COMPACTED_AT:
            self._user = list(monitoring_infos.consolidate(self._user))

    @property
    def metrics(self) -> list[Any]:
        return list(monitoring_infos.consolidate(self._user))

    @property
    def rows(self) -> dict[str, Rows]:
        return {label: Rows.of(sizes) for label, sizes in self._rows.items()}
