"""Keyed rows gathered for a short time, in a bounded number of buckets, before they are written.

Behind a shuffle a bundle has one key, so rows by their own keys would be sent one by one. What is given here comes from
that shuffle or from state, and both are committed: a bundle that is tried again gives the same rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import apache_beam as beam
import msgspec
from apache_beam.pvalue import PCollection
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from pipeline.warehouses.bigquery.shards import shard
from pipeline.warehouses.clock import now_us
from transforms.coders import StructCoder, UpsertCoder
from transforms.core.rows import Upsert

GATHERED_FOR_S: Final = 3.0
"""How long a bucket gathers rows: little beside the windows that they come from."""
_BUCKETS: Final = 8
_ROWS_KEPT: Final = 500
"""So many rows of a bundle are gathered. What it has in addition is a batch by itself, and needs no state."""


class Waiting(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """That a bucket holds rows, and its timer is set: a bag of state has one, or none."""


_ROWS: Final = BagStateSpec("rows", UpsertCoder())
_WAITING: Final = BagStateSpec("waiting", StructCoder(Waiting))
_GIVE: Final = TimerSpec("give", TimeDomain.REAL_TIME)


class GatherUpserts(beam.PTransform):
    """`Upsert` → the same, many in a bundle."""

    def __init__(self, gathered_for_s: float = GATHERED_FOR_S) -> None:
        super().__init__()
        self.fn = _GatherFn(gathered_for_s)

    def expand(self, upserts: PCollection[Upsert]) -> PCollection[Upsert]:
        keyed = upserts | "Bucket" >> beam.Map(_in_bucket).with_output_types(tuple[bytes, Upsert])
        return keyed | "Gather" >> beam.ParDo(self.fn).with_output_types(Upsert)


def _in_bucket(upsert: Upsert) -> tuple[bytes, Upsert]:
    return shard("\0".join(upsert.key), _BUCKETS), upsert


class _GatherFn(beam.DoFn):
    def __init__(self, gathered_for_s: float) -> None:
        self.gathered_for_us = int(gathered_for_s * 1e6)

    def start_bundle(self) -> None:
        self.received = Counter[bytes]()

    def process(
        self,
        keyed: tuple[bytes, Upsert],
        rows: Any = beam.DoFn.StateParam(_ROWS),  # noqa: B008
        waiting: Any = beam.DoFn.StateParam(_WAITING),  # noqa: B008
        timer: Any = beam.DoFn.TimerParam(_GIVE),  # noqa: B008
    ) -> Iterator[Upsert]:
        bucket, upsert = keyed
        if not self.received[bucket] and next(iter(waiting.read()), None) is None:
            waiting.add(Waiting())
            timer.set(Timestamp(micros=now_us() + self.gathered_for_us))
        self.received[bucket] += 1
        if self.received[bucket] > _ROWS_KEPT:
            yield upsert
        else:
            rows.add(upsert)

    @on_timer(_GIVE)
    def give(
        self,
        bucket: Any = beam.DoFn.KeyParam,
        rows: Any = beam.DoFn.StateParam(_ROWS),  # noqa: B008
        waiting: Any = beam.DoFn.StateParam(_WAITING),  # noqa: B008
    ) -> Iterator[Upsert]:
        yield from rows.read()
        rows.clear()
        waiting.clear()
        self.received[bucket] = 0
