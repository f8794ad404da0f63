"""What the receiver measures of itself, as Prometheus reads it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

_PREFIX: Final = "segment_receiver_"


@dataclass(frozen=True, kw_only=True, eq=False)
class Metric:
    """A metric: its name without the prefix, with its unit; what it means; the names of its labels."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...] = ()


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name=name, kind="counter", meaning=meaning, labels=labels)


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name=name, kind="gauge", meaning=meaning, labels=labels)


REQUESTS: Final = _counter("requests_total", "requests that were answered", "endpoint", "connection", "status")
CALLS: Final = _counter("calls_total", "calls that were stored", "connection")
MESSAGES: Final = _counter("messages_total", "messages that were stored", "connection")
STORED_BYTES: Final = _counter("stored_bytes_total", "bytes of the messages that were stored", "connection")
UNREADABLE: Final = _counter(
    "unreadable_total", "bodies that were not a call, and stored for a dead letter", "connection"
)
REFUSED: Final = _counter("refused_total", "requests that were refused, with nothing stored, by reason", "reason")
SIGNATURE_ONLY: Final = _counter(
    "signature_only_arrays_total",
    "arrays without an API key, whose signature proves only the first call",
    "connection",
)
STORE_SECONDS: Final = Metric(
    name="store_seconds", kind="histogram", meaning="seconds until the messages of a request were durable"
)
REQUESTS_IN_FLIGHT: Final = _gauge("requests_in_flight", "requests that are being received or stored")
BYTES_IN_FLIGHT: Final = _gauge("in_flight_bytes", "bytes of their bodies, inflated")
READY: Final = _gauge("ready", "1 where a call would be stored now, else 0")
SPOOL_MESSAGES: Final = _gauge("spool_messages", "messages on disk that are not published yet")
SPOOL_BYTES: Final = _gauge("spool_bytes", "bytes of the messages on disk that are not published yet")
SPOOL_AGE: Final = _gauge("spool_oldest_seconds", "seconds since the oldest of them was received")
SPOOLED: Final = _counter("spooled_total", "messages that came into the spool, since the receiver was started")
PUT_ASIDE: Final = _counter(
    "put_aside_total", "messages in the spool that Pub/Sub will never take, and that were put aside"
)

METRICS: Final = (
    *(REQUESTS, CALLS, MESSAGES, STORED_BYTES, UNREADABLE, REFUSED, SIGNATURE_ONLY, STORE_SECONDS),
    *(REQUESTS_IN_FLIGHT, BYTES_IN_FLIGHT, READY, SPOOL_MESSAGES, SPOOL_BYTES, SPOOL_AGE, SPOOLED, PUT_ASIDE),
)
"""Every metric, in the order in which they are shown."""

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""The upper ends, in seconds, of the ranges that a histogram counts."""


class Sample:
    """One value of a metric, which whoever counts often adds to."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Registry:
    """The values of the metrics in this process."""

    def __init__(self) -> None:
        self._samples: dict[Metric, dict[tuple[str, ...], Sample]] = {metric: {} for metric in METRICS}
        self._ranges = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def add(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Adds to a counter."""
        self.sample(metric, *labels).value += by

    def sample(self, metric: Metric, *labels: str) -> Sample:
        """The value of a counter or gauge, which is shown from now on."""
        samples = self._samples[metric]
        sample = samples.get(labels)
        if sample is None:
            sample = samples[labels] = Sample()
        return sample

    def put(self, metric: Metric, value: float) -> None:
        """Sets a gauge, or a counter that is kept elsewhere."""
        self.sample(metric).value = value

    def value(self, metric: Metric, *labels: str) -> float:
        """The value of a counter or gauge, 0 where it has none."""
        sample = self._samples[metric].get(labels)
        return 0 if sample is None else sample.value

    def observe(self, seconds: float) -> None:
        """Counts a time that storing took."""
        self._ranges[bisect_left(BUCKETS, seconds)] += 1
        self._sum += seconds

    def text(self) -> bytes:
        """All values in Prometheus' text format."""
        lines: list[str] = []
        for metric in METRICS:
            name = _PREFIX + metric.name
            shown = self._histogram(name) if metric.kind == "histogram" else _shown(name, metric, self._samples[metric])
            if shown:
                lines += [f"# HELP {name} {metric.meaning}", f"# TYPE {name} {metric.kind}", *shown]
        return "\n".join([*lines, ""]).encode()

    def _histogram(self, name: str) -> list[str]:
        lines, total = [], 0
        for end, count in zip((*BUCKETS, "+Inf"), self._ranges, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{end}"}} {total}')
        return [*lines, f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]


def _shown(name: str, metric: Metric, samples: dict[tuple[str, ...], Sample]) -> list[str]:
    lines = []
    for labels in sorted(samples):
        value = samples[labels].value
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in zip(metric.labels, labels, strict=True))
        lines.append(f"{name}{{{pairs}}} {value:.16g}" if pairs else f"{name} {value:.16g}")
    return lines


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
