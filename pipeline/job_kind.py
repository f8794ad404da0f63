"""What kind of job this is: the one fact on which sources, warehouses and the graph depend."""

from __future__ import annotations

import enum
from typing import Final

BATCH_RUNNER: Final = "FnApiRunner"
"""Runs in this process, and writes keyed rows when its input has ended."""
STREAMING_RUNNER: Final = "PrismRunner"
"""Runs beside this process, and closes windows while its input goes on."""
DATAFLOW_RUNNER: Final = "DataflowRunner"


class JobKind(enum.Enum):
    """A job ends with its input (batch) or goes on until it is stopped (streaming). It runs on Dataflow, or on a runner
    whose state is gone when its process ends."""

    BATCH = "batch"
    STREAMING = "streaming"
    DATAFLOW_BATCH = "dataflow_batch"
    DATAFLOW_STREAMING = "dataflow_streaming"

    @classmethod
    def of(cls, *, bounded: bool, runner: str) -> JobKind:
        """The kind of a job whose sources all end, or do not, on a runner with this name."""
        if runner == DATAFLOW_RUNNER:
            return cls.DATAFLOW_BATCH if bounded else cls.DATAFLOW_STREAMING
        return cls.BATCH if bounded else cls.STREAMING

    @property
    def bounded(self) -> bool:
        """Whether the job ends by itself: then it has one window, and its steps need no state."""
        return self in (JobKind.BATCH, JobKind.DATAFLOW_BATCH)

    @property
    def on_dataflow(self) -> bool:
        """Whether Dataflow runs the job: its workers are other machines, its state outlives them, and nobody waits for
        the end of the job."""
        return self in (JobKind.DATAFLOW_BATCH, JobKind.DATAFLOW_STREAMING)
