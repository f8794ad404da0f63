"""What an update hands from one job to the next, in the coders that the graph declares, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from apache_beam.coders import Coder
from apache_beam.portability.api import beam_runner_api_pb2

from tests.strict_runner.graph import Shuffle, Step, Timer, coder_id
from tests.strict_runner.state import StateKey, user_state
from tests.strict_runner.strictness import UpdateRefused


class Kept(NamedTuple):
    """How a step keeps something: for comparison, and for people."""

    compared: Any
    shown: str


@dataclass(frozen=True, kw_only=True)
class SavedRestriction:
    """A restriction; one that was deferred lets the watermark go as far as `watermark`, and goes on at `due_s`."""

    encoded: bytes
    watermark: int | None
    due_s: float | None


@dataclass(frozen=True, kw_only=True)
class SavedStep:
    """What is in front of a step, by its label. Watermarks are microseconds."""

    shuffle: Shuffle
    keeps: Mapping[str, Kept]
    incoming: int
    outgoing: int
    has_begun: bool
    """Whether a step that nothing is in front of has run."""
    elements: tuple[bytes, ...] = ()
    restrictions: tuple[SavedRestriction, ...] = ()
    timers: tuple[tuple[bytes, Timer, bytes], ...] = ()
    """Each with its key and its family."""
    panes: Mapping[bytes, bytes] = field(default_factory=dict)
    """By key, what a grouping has gathered."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A job that was stopped by an update: its transforms, its steps by label, and its state by the place in the
    graph."""

    transforms: frozenset[str]
    steps: Mapping[str, SavedStep]
    cells: Mapping[bytes, tuple[bytes, ...]]

    def renamed(self, mapping: Mapping[str, str]) -> Saved:
        """The same by its new labels, as Dataflow's `transform_name_mapping` has them: of transforms, or of what they
        begin with. What is mapped to nothing is no more."""
        if not mapping:
            return self
        cells = {}
        for key, chunks in self.cells.items():
            state_key = StateKey.FromString(key)
            of_user = user_state(state_key)
            of_user.transform_id = _renamed(of_user.transform_id, mapping)
            if of_user.transform_id:
                cells[state_key.SerializeToString()] = chunks
        return Saved(
            transforms=frozenset(filter(None, (_renamed(label, mapping) for label in self.transforms))),
            steps={
                label: _with_timers(step, mapping)
                for old, step in self.steps.items()
                if (label := _renamed(old, mapping))
            },
            cells=cells,
        )

    def check(self, context: Any, steps: Sequence[Step]) -> None:
        """Raises UpdateRefused where a new graph cannot go on from this: where a label, a coder, a state or a timer of
        it is not as it was."""
        missing = self.transforms - transforms(steps)
        if missing:
            raise UpdateRefused(
                f"the new job has no {min(missing)!r}, and the running one has: keep its label, or name the new one, or"
                " none where it is gone, with --transform_name_mapping"
            )
        found = {step.label: step for step in steps}
        for label, saved in self.steps.items():
            if label not in found:
                raise UpdateRefused(
                    f"{label}: nothing shuffles there in the new job: keep the graph around it as it was"
                )
            _check_kept(label, saved, found[label], keeps(context, found[label]))


def _check_kept(label: str, saved: SavedStep, step: Step, now: Mapping[str, Kept]) -> None:
    if saved.shuffle is not step.root.shuffle:
        raise UpdateRefused(
            f"{label}: behind a shuffle by {step.root.shuffle.value}, and before by {saved.shuffle.value}"
        )
    for name, kept in saved.keeps.items():
        if name not in now:
            raise UpdateRefused(f"{label}: the new job keeps no {name}, and the running one does: replace the job")
        if now[name].compared != kept.compared:
            raise UpdateRefused(f"{label}: {name} is {now[name].shown}, and was {kept.shown}: replace the job")


def _renamed(label: str, mapping: Mapping[str, str]) -> str:
    for old, new in mapping.items():
        if label == old or label.startswith(f"{old}/"):
            return new + label[len(old) :] if new else ""
    return label


def _with_timers(step: SavedStep, mapping: Mapping[str, str]) -> SavedStep:
    timers = tuple(
        (key, (_renamed(transform, mapping), family), encoded) for key, (transform, family), encoded in step.timers
    )
    return SavedStep(**{**vars(step), "timers": timers})


def transforms(steps: Iterable[Step]) -> frozenset[str]:
    """The labels of all transforms of a graph that do something, and not those of composites."""
    return frozenset(label for step in steps for label in step.labels)


def keeps(context: Any, step: Step) -> dict[str, Kept]:
    """How a step keeps what an update takes over: its elements, its states, and its timers."""
    found = {"the coder of elements": _kept(context, coder_id(step.root))}
    for _, payload in step.root.stateful:
        for name, spec in payload.state_specs.items():
            kind = spec.WhichOneof("spec")
            ids = [value for field, value in getattr(spec, kind).ListFields() if field.name.endswith("coder_id")]
            parts = [_kept(context, id) for id in ids]
            shown = f"{kind.removesuffix('_spec')} of {', '.join(part.shown for part in parts)}"
            found[f"state {name!r}"] = Kept((kind, *(part.compared for part in parts)), shown)
        for name, family in payload.timer_family_specs.items():
            domain = beam_runner_api_pb2.TimeDomain.Enum.Name(family.time_domain)
            found[f"timer {name.removeprefix('ts-')!r}"] = Kept(domain, domain)
    return found


def _kept(context: Any, id: str) -> Kept:
    return Kept(_structure(context.pipeline_components.coders, id), _shown(context, id))


def _structure(coders: Any, id: str) -> Any:
    proto = coders[id]
    return (proto.spec.urn, proto.spec.payload, tuple(_structure(coders, part) for part in proto.component_coder_ids))


def _shown(context: Any, id: str) -> str:
    """A coder's name, with the type that it is of, or its parts."""
    proto = context.pipeline_components.coders[id]
    parts = [_shown(context, part) for part in proto.component_coder_ids]
    coder: Coder = context.pipeline_context.coders[id]
    name = type(coder).__name__
    if not parts:
        struct = getattr(coder, "struct", None)
        parts = [struct.__name__] if struct is not None else []
    return f"{name}({', '.join(parts)})" if parts else name
