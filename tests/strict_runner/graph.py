"""The graph as the engine runs it: steps, which are what Dataflow fuses, and the shuffles between them.

FnApiRunner's translation gives stages. A stage that another one hands its elements to without a shuffle (behind a
Flatten, for example) belongs to the work item of that one: so a step is a stage behind a shuffle, and all that it leads
to before the next one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol, TypeVar

from apache_beam.internal import pickler
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_fn_api_pb2, beam_runner_api_pb2
from apache_beam.runners.common import DoFnSignature
from apache_beam.runners.portability.fn_api_runner import execution, translations
from apache_beam.runners.worker import bundle_processor
from apache_beam.transforms.core import DoFnInfo

Timer = tuple[str, str]
"""A timer family: the transform's name, and its own."""
_PHASES: Final = (
    translations.annotate_downstream_side_inputs,
    translations.annotate_stateful_dofns_as_roots,  # a stateful step is behind a shuffle of its own
    translations.fix_side_input_pcoll_coders,
    translations.lift_combiners,
    translations.expand_sdf,
    translations.expand_gbk,
    translations.sink_flattens,
    translations.greedily_fuse,
    translations.read_to_impulse,
    translations.impulse_to_input,
    translations.sort_stages,
    translations.add_impulse_to_dangling_transforms,
    translations.setup_timer_mapping,
    translations.populate_data_channel_coders,
)
_OF_RUNNER: Final = frozenset({common_urns.primitives.FLATTEN.urn, common_urns.primitives.GROUP_BY_KEY.urn})
_DATA: Final = frozenset({bundle_processor.DATA_INPUT_URN, bundle_processor.DATA_OUTPUT_URN})
_RESTRICTIONS: Final = frozenset(
    {
        common_urns.sdf_components.PROCESS_SIZED_ELEMENTS_AND_RESTRICTIONS.urn,
        common_urns.sdf_components.TRUNCATE_SIZED_RESTRICTION.urn,
    }
)
_INNER: Final = ("/Process", "/GroupByKey", "/Group", "/ReshufflePerKey", "/Reshuffle", "/MaybeReshuffle")
"""What a composite of Beam calls the shuffle in it, from the innermost on."""


def translated(pipeline: Any) -> tuple[Any, list[Any]]:
    """A pipeline's proto → FnApiRunner's context of it, and its stages in their order."""
    context, stages = translations.create_and_optimize_stages(pipeline, phases=_PHASES, known_runner_urns=_OF_RUNNER)
    return context, stages


class Shuffle(enum.Enum):
    """What is in front of a stage."""

    START = "start"
    """Nothing: it runs once."""
    GROUP = "group"
    """A GroupByKey."""
    KEY = "key"
    """The keys of a step with state."""
    RESTRICTION = "restriction"
    """Each restriction of a splittable DoFn by itself."""
    SIDE_INPUT = "side_input"
    """No shuffle, but side inputs that are waited for: what came together stays together."""
    NONE = "none"
    """The stage runs in the work item of the one that feeds it."""


@dataclass(frozen=True, eq=False)
class Stage:
    """A stage of FnApiRunner's translation. `inputs` and `outputs` are buffers by the transform that reads or writes
    them, `timers` the time domains of its families."""

    name: str
    index: int
    bundles: Any
    inputs: Mapping[str, bytes]
    outputs: Mapping[str, bytes]
    timers: Mapping[Timer, int]
    side_inputs: frozenset[str]

    @property
    def descriptor(self) -> Any:
        return self.bundles.process_bundle_descriptor

    @property
    def reader(self) -> str:
        """The transform that reads what comes in."""
        (reader,) = self.inputs
        return reader

    @cached_property
    def shuffle(self) -> Shuffle:
        buffer = self.inputs[self.reader]
        if buffer == translations.IMPULSE_BUFFER:
            return Shuffle.START
        if translations.split_buffer_id(buffer)[0] == "group":
            return Shuffle.GROUP
        (read,) = self.descriptor.transforms[self.reader].outputs.values()
        consumers = [each for each in self.descriptor.transforms.values() if read in each.inputs.values()]
        if any(each.spec.urn in _RESTRICTIONS for each in consumers):
            return Shuffle.RESTRICTION
        if any(transform == each.unique_name for each in consumers for transform, _ in self.stateful):
            return Shuffle.KEY
        return Shuffle.SIDE_INPUT if self.side_inputs else Shuffle.NONE

    @property
    def stateful(self) -> Iterator[tuple[str, Any]]:
        """The transforms with state or timers, each with its payload."""
        for transform in self.descriptor.transforms.values():
            if transform.spec.urn in translations.PAR_DO_URNS:
                payload = translations.proto_utils.parse_Bytes(
                    transform.spec.payload, translations.beam_runner_api_pb2.ParDoPayload
                )
                if payload.state_specs or payload.timer_family_specs:
                    yield transform.unique_name, payload

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels of the pipeline's own transforms in it, in their order."""
        own = [each for each in self.bundles.stage.transforms if each.spec.urn not in _DATA]
        return tuple(each.unique_name for each in own)

    @cached_property
    def consumers(self) -> Mapping[str, tuple[str, ...]]:
        """The labels of the transforms that read each of its PCollections."""
        found: dict[str, list[str]] = {}
        for transform in self.bundles.stage.transforms:
            if transform.spec.urn not in _DATA:
                for pcollection in transform.inputs.values():
                    found.setdefault(pcollection, []).append(transform.unique_name)
        return {pcollection: tuple(labels) for pcollection, labels in found.items()}


@dataclass(eq=False)
class Step:
    """What a work item runs: a stage behind a shuffle, and `stages`, which are it and all that it leads to before the
    next one, by their index. `feeds` are the steps that get what it puts out, by the buffer."""

    index: int
    root: Stage
    stages: dict[int, Stage]
    feeds: dict[bytes, list[Step]] = field(default_factory=dict)
    feeders: list[Step] = field(default_factory=list)
    side_inputs: list[Step] = field(default_factory=list)
    """The steps that must be done first, since it reads all that they put out."""

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(label for _, stage in sorted(self.stages.items()) for label in stage.labels)

    @cached_property
    def name(self) -> str:
        """Where it begins, and which of the pipeline's outermost transforms it leads into."""
        first = self._first
        outermost = dict.fromkeys(label.partition("/")[0] for label in self.labels)
        others = [label for label in outermost if label != first.partition("/")[0]]
        return f"{first} → {', '.join(others)}" if others else first

    @cached_property
    def label(self) -> str:
        """The label of the transform that it begins with; no other step has it."""
        shuffle = self.root.shuffle
        label = self.root.reader.removesuffix("/Read")
        return self.root.labels[0] if shuffle not in (Shuffle.START, Shuffle.GROUP) and self.root.labels else label

    @property
    def _first(self) -> str:
        shuffle = self.root.shuffle
        label = self.label
        if shuffle is Shuffle.START:
            return label.partition("/")[0]
        for ending in _INNER:
            label = label.removesuffix(ending)
        return label


def stages_of(context: Any) -> list[Stage]:
    """The stages of an execution context that was not set up yet; sets it up."""
    readers = {
        stage.name: {
            each.unique_name: each.spec.payload
            for each in stage.transforms
            if each.spec.urn == bundle_processor.DATA_INPUT_URN
        }
        for stage in context.stages.values()
    }
    context.setup()
    found = []
    for index, stage in enumerate(context.stages.values()):
        bundles = context.bundle_manager_for(stage)
        timers = {timer: domain for timer, (_, domain) in bundles.stage_timer_outputs.items()}
        found.append(
            Stage(
                stage.name,
                index,
                bundles,
                readers[stage.name],
                dict(bundles.stage_data_outputs),
                timers,
                frozenset(stage.side_inputs()),
            )
        )
    return found


def steps_of(stages: list[Stage]) -> list[Step]:
    """The steps that stages make, in their order: each behind those that feed it."""
    readers: dict[bytes, list[Stage]] = {}
    for stage in stages:
        readers.setdefault(stage.inputs[stage.reader], []).append(stage)
    roots = [stage for stage in stages if stage.shuffle is not Shuffle.NONE]
    steps = {stage.index: Step(number, stage, {}) for number, stage in enumerate(roots)}
    for step in steps.values():
        _gather(step, step.root, readers)
    for step in steps.values():
        for stage in step.stages.values():
            for buffer in stage.outputs.values():
                fed = [steps[reader.index] for reader in readers.get(buffer, ()) if reader.index in steps]
                step.feeds[buffer] = fed
                for other in fed:
                    if step not in other.feeders:
                        other.feeders.append(step)
    _join_side_inputs(list(steps.values()))
    return list(steps.values())


def _gather(step: Step, stage: Stage, readers: Mapping[bytes, list[Stage]]) -> None:
    if stage.index in step.stages:
        return
    step.stages[stage.index] = stage
    for buffer in stage.outputs.values():
        for reader in readers.get(buffer, ()):
            if reader.shuffle is Shuffle.NONE:
                _gather(step, reader, readers)


def _join_side_inputs(steps: list[Step]) -> None:
    for step in steps:
        for stage in step.stages.values():
            for pcollection in stage.side_inputs:
                buffer = translations.create_buffer_id(pcollection)
                step.side_inputs += [other for other in steps if other is not step and buffer in other.feeds]


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...]: ...


N = TypeVar("N", bound=_Named)


def named(steps: Iterable[N], label: str) -> N:
    """The step that begins with a transform, or that it is in, by its label; for a composite the first such step.
    Raises KeyError."""
    for fits in (_begins_with, _has, _has_part_of):
        for step in steps:
            if fits(step, label):
                return step
    raise KeyError(label)


def _begins_with(step: _Named, label: str) -> bool:
    return step.name.partition(" → ")[0] == label


def _has(step: _Named, label: str) -> bool:
    return label in step.labels


def _has_part_of(step: _Named, label: str) -> bool:
    return any(transform.startswith(f"{label}/") for transform in (*step.labels, step.name))


def coder(stage: Stage) -> Any:
    """The coder of the elements that a stage reads, with their times and windows. What only the SDK can decode are
    bytes in it."""
    context = stage.bundles.execution_context
    port = _coder_of_port(stage)
    return context.pipeline_context.coders[context.safe_coders.get(port, port)]


def coder_of_sdk(stage: Stage) -> Any:
    """The same as the SDK has it."""
    return stage.bundles.execution_context.pipeline_context.coders[coder_id(stage)]


def coder_id(stage: Stage) -> str:
    """The id of the SDK's coder; of a GroupByKey of the one of what comes to it."""
    if stage.shuffle is not Shuffle.GROUP:
        return _coder_of_port(stage)
    context = stage.bundles.execution_context
    _, name = translations.split_buffer_id(stage.inputs[stage.reader])
    (incoming,) = context.pipeline_components.transforms[name].inputs.values()
    return str(context.data_channel_coders[incoming])


def _coder_of_port(stage: Stage) -> str:
    port = beam_fn_api_pb2.RemoteGrpcPort.FromString(stage.descriptor.transforms[stage.reader].spec.payload)
    return str(port.coder_id)


def restriction_provider(stage: Stage) -> Any:
    """What the splittable DoFn that a stage begins with says of its restrictions."""
    (transform,) = (each for each in stage.descriptor.transforms.values() if each.spec.urn in _RESTRICTIONS)
    payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload)
    context = stage.bundles.execution_context.pipeline_context
    fn = DoFnInfo.from_runner_api(payload.do_fn, context).serialized_dofn_data()
    return DoFnSignature(pickler.loads(fn)[0]).get_restriction_provider()


IMPULSE: Final = execution.ENCODED_IMPULSE_VALUE
