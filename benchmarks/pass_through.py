"""The floor that the whole job is measured against: read → `orjson.loads` → `orjson.dumps` → WriteToText.

`python -m benchmarks.pass_through INPUT OUTPUT`, on the same runner as the job.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import apache_beam as beam
import orjson
from apache_beam.io import ReadFromText, WriteToText
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.job_kind import BATCH_RUNNER


def _loads(line: str) -> Iterator[object]:
    try:
        yield orjson.loads(line)
    except orjson.JSONDecodeError:
        return


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()


def main(source: str, target: str) -> None:
    pipeline = beam.Pipeline(options=PipelineOptions([f"--runner={BATCH_RUNNER}"]))
    _ = (
        pipeline
        | "Read" >> ReadFromText(source)
        | "Loads" >> beam.FlatMap(_loads)
        | "Dumps" >> beam.Map(_dumps)
        | "Write" >> WriteToText(target)
    )
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
