"""A directory that grows as a source: each complete file is read once, and moved away when its rows are durable.

Whoever fills the directory writes a file under a name that ends with `.part`, and renames it when it is complete, to a
name that sorts by time. A sub-directory with the folded name of a connection holds that connection's messages.

The reader is one splittable DoFn, as for Pub/Sub: a bundle reads some blocks, what is fused with it writes the rows,
and the runner then finalizes the bundle. A file moves to `read/` when all of its bundles are finalized. A job that is
killed before leaves it where it is: the next one reads it again, and each message counts once.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import apache_beam as beam
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils import timestamp
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.errors import UsageError, reason
from pipeline.job_kind import JobKind
from pipeline.sources.directory_reader import DirectoryReader, ReadBlock
from pipeline.sources.endless import END, Endless, advance, later
from pipeline.sources.files import Line, note_unreadable
from pipeline.warehouses import JobRun, Warehouse
from transforms import metrics
from transforms.core.connection_paths import folded_name, names_by_path
from transforms.core.reader import Received

_BUNDLE_S: Final = 0.5
_BUNDLE_BYTES: Final = 8_000_000
"""How long a bundle reads, and how much: a warehouse writes many rows for little more than one."""
_RESUME_S: Final = 0.1
_GLOBAL: Final = (GlobalWindow(),)


class DirectoryKind:
    """`--input_directory`: a directory that grows."""

    option: Final = "input_directory"
    usage: Final = "--input_directory=DIR"
    bounded: Final = False
    is_local: Final = True

    def add_option(self, group: argparse._ArgumentGroup) -> None:
        group.add_argument(
            "--input_directory",
            metavar="DIR",
            help="A local directory that grows, which the job follows without end. Each complete file (*.jsonl, "
            "*.jsonl.gz; not *.part) is read once, oldest first, and moved to DIR/read when its rows are durable. A "
            "sub-directory with the name of a connection holds that connection's messages. Default: none. "
            "Example: --input_directory=inbox",
        )

    def check(self, value: str) -> None:
        if "://" in value:
            raise _refused(value, "is not a directory of this machine", "give a local one")

    def source(self, value: str, kind: JobKind, connections: Collection[str]) -> Directory:
        if kind.on_dataflow:
            problem = "is a directory of this machine, which Dataflow's workers cannot read"
            raise _refused(value, problem, "follow a subscription there")
        try:
            names_by_path(connections)
        except ValueError as error:
            first, second = error.args
            problem = f"the connections {first!r} and {second!r} both have the sub-directory {folded_name(first)}"
            raise _refused(value, problem, "rename one of the connections") from None
        return Directory(os.path.abspath(os.path.expanduser(value)), tuple(connections))


@dataclass(frozen=True)
class Directory:
    """The files of the directory at an absolute path. `connections` are the names of the configured ones."""

    path: str
    connections: tuple[str, ...]

    label: ClassVar[str] = "Directory"
    bounded: ClassVar[bool] = False
    may_be_late: ClassVar[bool] = False
    reads_warehouse: ClassVar[bool] = False

    @property
    def bytes(self) -> int:
        return 0

    def check(self) -> None:
        if not os.path.isdir(self.path):
            problem = "is not a directory" if os.path.exists(self.path) else "there is no such directory"
            raise _refused(self.path, problem, "make it, or correct the name")
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            problem = "may not be read and written, and files that were read are moved in it"
            raise _refused(self.path, problem, "grant this user all rights on it")

    def read(self, warehouse: Warehouse, job: JobRun) -> ReadDirectory:
        return ReadDirectory(self)

    def read_blocks(self, job: JobRun) -> ReadDirectoryBlocks:
        return ReadDirectoryBlocks(self)

    def stop(self) -> None:
        DirectoryReader.stop(self.path)

    def close(self) -> int:
        return DirectoryReader.close(self.path)

    def explain(self) -> Exception | None:
        failure = DirectoryReader.failure(self.path)
        if failure is None:
            return None
        remedy = "grant this user all rights on the directory and its files"
        return _refused(failure.filename or self.path, f"cannot be read or moved: {reason(failure)}", remedy)

    def likely_mistake(self) -> str:
        return ""


class ReadDirectoryBlocks(beam.PTransform):
    """PBegin → `Messages`; their timestamp is the later of their file's and the watermark."""

    def __init__(self, directory: Directory) -> None:
        super().__init__()
        self.directory = directory

    def expand(self, begin: PBegin) -> PCollection:
        reader = begin | "Reader" >> beam.Create([0])
        return reader | "Files" >> beam.ParDo(_ReadBlocksFn(self.directory)).with_output_types(list[Received])


class ReadDirectory(ReadDirectoryBlocks):
    """The same one by one: PBegin → `Received`, one for each line."""

    def expand(self, begin: PBegin) -> PCollection:
        return super().expand(begin) | "Lines" >> beam.FlatMap().with_output_types(Received)


class _ReadBlocksFn(metrics.CountingFn):
    """Reads blocks for a moment at a time. The files that are open, and what is left of them, belong to the process."""

    def __init__(self, directory: Directory) -> None:
        super().__init__()
        self.directory = directory

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: int,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = beam.DoFn.RestrictionParam(Endless()),  # noqa: B008
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterator[WindowedValue]:
        reader = DirectoryReader.of(self.directory.path, self.directory.connections)
        blocks: list[ReadBlock] = []
        # Even where nothing will be read: a runner may finalize every bundle, which is an error without this.
        finalizer.register(partial(reader.finalized, blocks))
        self._report_lags(reader)
        position = tracker.current_restriction().start
        end, read_bytes = time.monotonic() + _BUNDLE_S, 0
        while time.monotonic() < end and read_bytes < _BUNDLE_BYTES and tracker.try_claim(position):
            position += 1
            block = reader.next_block()
            if block is None:
                break
            blocks.append(block)
            read_bytes += block.size
            if block.problem:
                note_unreadable(self.tally, block.problem)
            messages = self._messages(block)
            if messages:
                yield _timed(messages, max(block.completed_at, later(reader.watermark(), estimator)))
        if reader.is_done:
            tracker.try_claim(END)
            return
        advance(estimator, reader.watermark())
        tracker.defer_remainder(timestamp.Duration(_RESUME_S) if not blocks or reader.is_stopping else None)

    def _messages(self, block: ReadBlock) -> list[Received]:
        lines = [line for line in block.lines if isinstance(line, Received) or (line and not line.isspace())]
        self.tally[metrics.RECEIVED.name] += len(lines)
        self.tally[metrics.BLANK.name] += len(block.lines) - len(lines)
        self.tally.report()
        return [received(block, line) for line in lines]

    def _report_lags(self, reader: DirectoryReader) -> None:
        for lag_ms in reader.pop_lags_ms():
            metrics.observe(metrics.LAG, lag_ms)


def _timed(messages: list[Received], at: int) -> WindowedValue:
    """The messages of a block, at a time that is not behind the watermark."""
    return WindowedValue(messages, timestamp.Timestamp(micros=at), _GLOBAL)


def received(block: ReadBlock, line: Line) -> Received:
    """The message of a line: its connection is that of the block's sub-directory, its time that of its file."""
    if isinstance(line, Received):
        return Received(line.payload, block.attributes, block.completed_at, too_large=line.too_large)
    return Received(line, block.attributes, block.completed_at)


def _refused(path: str, problem: str, remedy: str) -> UsageError:
    return UsageError(problem, remedy, option="--input_directory", value=path)
