"""One worker of Beam's SDK, in this process, and how it runs a work item."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final
from unittest import mock

from apache_beam.coders import VarIntCoder
from apache_beam.metrics import monitoring_infos
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    FNAPI_RUNNER_CAPABILITIES,
    SingletonStateHandlerFactory,
)
from apache_beam.runners.sdf_utils import ThreadsafeRestrictionTracker
from apache_beam.runners.worker import data_plane, sdk_worker, statesampler
from apache_beam.runners.worker.statecache import StateCache

from tests.strict_runner.graph import Stage, Step, Timer
from tests.strict_runner.state import Cells, StateView
from tests.strict_runner.strictness import CellTooLarge, Strictness, WorkItemTooLarge

Request = beam_fn_api_pb2.InstructionRequest
_COUNTER: Final = itertools.count(1)
_VARINT: Final = VarIntCoder().get_impl()
_CLAIMING: Final = threading.local()
"""What is to be called when this thread's restriction tracker has claimed."""
_SPLIT_FRACTIONS: Final = (0.0, 0.0, 0.5)
_CLAIMS: Final = 5
"""A restriction is split after one of its first so many claims."""


@dataclass
class Outcome:
    """What a run of a work item has put out, and what of it the SDK can finalize."""

    outputs: list[tuple[bytes, bytes]] = field(default_factory=list)
    """(buffer, elements) of what goes to another step."""
    timers: list[tuple[Timer, bytes]] = field(default_factory=list)
    residuals: list[Any] = field(default_factory=list)
    """What is to be done later: Beam's `DelayedBundleApplication`."""
    counted: list[tuple[Stage, dict[str, int], Any]] = field(default_factory=list)
    """Of each stage that ran the elements by their PCollection, and the pipeline's own metrics."""
    written: dict[bytes, list[bytes]] = field(default_factory=dict)
    size: int = 0
    state_bytes: int = 0
    """Of state what was written and what was read."""
    splits: int = 0
    """How many of the residuals the runner has asked for."""
    finalizable: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BundleInput:
    """What a work item gives its first stage."""

    elements: bytes = b""
    timers: Mapping[Timer, bytes] = field(default_factory=dict)


class Worker:
    """Runs one work item at a time."""

    def __init__(self, descriptors: MutableMapping[str, Any], cells: Cells, strictness: Strictness) -> None:
        self._strictness = strictness
        self._state = StateView(cells)
        self._data = data_plane.InMemoryDataChannel()
        self._processors = _Processors(
            FNAPI_RUNNER_CAPABILITIES,
            SingletonStateHandlerFactory(sdk_worker.GlobalCachingStateHandler(StateCache(0), self._state)),
            data_plane.InMemoryDataChannelFactory(self._data.inverse()),
            descriptors,
        )
        self._sdk = sdk_worker.SdkWorker(self._processors)

    def close(self) -> None:
        self._processors.shutdown()

    def run(self, step: Step, given: BundleInput, rng: Random, split: bool) -> Outcome:
        """Runs a work item; with `split` its restriction is split at a claim. Raises WorkItemTooLarge, CellTooLarge,
        and whatever the pipeline raises."""
        self._state.begin()
        if self._strictness.latency_s:
            time.sleep(self._strictness.latency_s)
        outcome = Outcome()
        waiting = {step.root.index: given}
        while waiting:
            index = min(waiting)
            passed_on = self._run_stage(step, step.stages[index], waiting.pop(index), outcome, rng, split)
            split = False
            for stage in step.stages.values():
                chunks = passed_on.get(stage.inputs[stage.reader], [])
                if chunks and stage is not step.root:
                    before = waiting.get(stage.index, BundleInput()).elements
                    waiting[stage.index] = BundleInput(before + b"".join(chunks))
        outcome.written = self._state.written
        outcome.size += self._state.size
        outcome.state_bytes = self._state.size + self._state.read
        self._check(step, outcome)
        return outcome

    def _check(self, step: Step, outcome: Outcome) -> None:
        if outcome.size > self._strictness.output_bytes:
            raise WorkItemTooLarge(step.name, outcome.size, self._strictness.output_bytes)
        cell, size = self._state.largest()
        if size > self._strictness.cell_bytes:
            raise CellTooLarge(step.name, cell, size, self._strictness.cell_bytes)

    def _run_stage(
        self, step: Step, stage: Stage, given: BundleInput, outcome: Outcome, rng: Random, split: bool
    ) -> dict[bytes, list[bytes]]:
        """Runs one stage's bundle; returns what it puts out, by the buffer."""
        instruction = f"bundle_{next(_COUNTER)}"
        for transform, family in stage.timers:
            out = self._data.output_timer_stream(instruction, transform, family)
            if timers := given.timers.get((transform, family)):
                out.write(timers)
            out.close()
        for reader in stage.inputs:
            stream = self._data.output_stream(instruction, reader)
            if given.elements:
                stream.write(given.elements)
            stream.close()
        splitting = self._splitting(instruction, stage, outcome, rng) if split else contextlib.nullcontext()
        with splitting:
            response = self._sdk.do_instruction(
                Request(
                    instruction_id=instruction,
                    process_bundle=beam_fn_api_pb2.ProcessBundleRequest(
                        process_bundle_descriptor_id=stage.descriptor.id
                    ),
                )
            ).process_bundle
        if response.requires_finalization:
            outcome.finalizable.append(instruction)
        outcome.residuals += response.residual_roots
        outcome.counted.append((stage, self._processors.rows, response.monitoring_infos))
        return self._collect(step, stage, instruction, outcome)

    def _collect(self, step: Step, stage: Stage, instruction: str, outcome: Outcome) -> dict[bytes, list[bytes]]:
        passed_on: dict[bytes, list[bytes]] = {}
        for output in self._data.input_elements(instruction, ()):
            if isinstance(output, beam_fn_api_pb2.Elements.Timers):
                outcome.timers.append(((output.transform_id, output.timer_family_id), output.timers))
                outcome.size += len(output.timers)
            elif output.data:
                buffer = stage.outputs[output.transform_id]
                passed_on.setdefault(buffer, []).append(output.data)
                if step.feeds[buffer] or _is_unread(step, buffer):
                    outcome.outputs.append((buffer, output.data))
                    outcome.size += len(output.data)
        return passed_on

    def finalize(self, outcome: Outcome) -> None:
        """Has the SDK do what was to be done when the outcome counts."""
        for instruction in outcome.finalizable:
            finalize = beam_fn_api_pb2.FinalizeBundleRequest(instruction_id=instruction)
            self._sdk.do_instruction(Request(instruction_id=f"{instruction}_end", finalize_bundle=finalize))

    def throw_away(self, outcome: Outcome) -> None:
        """Has the SDK forget an outcome that does not count."""
        for instruction in outcome.finalizable:
            self._processors.discard(instruction, RuntimeError("another run of this work item counts"))

    @contextlib.contextmanager
    def _splitting(self, instruction: str, stage: Stage, outcome: Outcome, rng: Random) -> Iterator[None]:
        """Splits the restriction that this thread works on, after one of its claims."""
        remaining = rng.randint(1, _CLAIMS)
        fraction = rng.choice(_SPLIT_FRACTIONS)

        def claimed() -> None:
            nonlocal remaining
            remaining -= 1
            if not remaining:
                self._split(instruction, stage, fraction, outcome)

        _CLAIMING.call = claimed
        try:
            yield
        finally:
            _CLAIMING.call = None

    def _split(self, instruction: str, stage: Stage, fraction: float, outcome: Outcome) -> None:
        desired = beam_fn_api_pb2.ProcessBundleSplitRequest.DesiredSplit(
            fraction_of_remainder=fraction, estimated_input_elements=1
        )
        response = self._sdk.do_instruction(
            Request(
                instruction_id=f"{instruction}_split",
                process_bundle_split=beam_fn_api_pb2.ProcessBundleSplitRequest(
                    instruction_id=instruction, desired_splits={stage.reader: desired}
                ),
            )
        )
        residuals = response.process_bundle_split.residual_roots
        outcome.residuals += residuals
        outcome.splits += len(residuals)


class _Processors(sdk_worker.BundleProcessorCache):
    """Processors of bundles that measure no time: Beam has a thread for each bundle do so, and waits for its end.
    `rows` are the elements of each PCollection of the last bundle."""

    rows: dict[str, int]

    def get(self, instruction_id: str, bundle_descriptor_id: str) -> Any:
        processor: Any = super().get(instruction_id, bundle_descriptor_id)
        if not isinstance(processor.state_sampler, _Unmeasured):
            processor.state_sampler = _Unmeasured(processor.state_sampler)
            processor.monitoring_infos = partial(self._counted, processor)
        return processor

    def _counted(self, processor: Any) -> list[Any]:
        """The pipeline's own metrics of a bundle; its elements are in `rows`."""
        self.rows = {}
        infos: dict[Any, Any] = {}
        for transform, operation in processor.ops.items():
            outputs = dict(processor.process_bundle_descriptor.transforms[transform].outputs)
            self.rows.update(_rows(operation, outputs))
            infos.update(operation.user_monitoring_infos(transform))
        return list(infos.values())


class _Unmeasured:
    """In place of a state sampler: it only says whose metrics are counted."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def start(self) -> None:
        self._sampler.tracked_thread = threading.current_thread()
        statesampler.set_current_tracker(self._sampler)

    def stop_if_still_running(self) -> None:
        statesampler.set_current_tracker(None)

    def reset(self) -> None:
        self._sampler.reset()


def _rows(operation: Any, outputs: dict[str, str]) -> Iterator[tuple[str, int]]:
    """How many elements an operation has put out, by the PCollection."""
    if len(operation.receivers) == len(outputs) == 1:
        (pcollection,), (receiver,) = outputs.values(), operation.receivers
        yield pcollection, receiver.opcounter.element_counter.value()
        return
    for info in operation.pcollection_count_monitoring_infos(outputs).values():
        if info.urn == monitoring_infos.ELEMENT_COUNT_URN:
            yield info.labels[monitoring_infos.PCOLLECTION_LABEL], _VARINT.decode(info.payload)


def _is_unread(step: Step, buffer: bytes) -> bool:
    """Whether no stage of the step reads a buffer: then a side input does."""
    return all(buffer not in stage.inputs.values() for stage in step.stages.values())


@contextlib.contextmanager
def claims_watched() -> Iterator[None]:
    """While the block lasts, a worker learns of each claim of its restriction trackers."""
    claim: Callable[[Any, Any], bool] = ThreadsafeRestrictionTracker.try_claim

    def try_claim(tracker: Any, position: Any) -> bool:
        claimed = claim(tracker, position)
        call = getattr(_CLAIMING, "call", None)
        if claimed and call is not None:
            call()
        return claimed

    with mock.patch.object(ThreadsafeRestrictionTracker, "try_claim", try_claim):
        yield
