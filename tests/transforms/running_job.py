"""A streaming job between two windows: the stateful steps of the real graph, with their states as a runner keeps them.

    python -m tests.transforms.running_job --record    keeps the states of some jobs, for later versions to read

What is recorded under `state/vN` is never changed: it stands for the jobs that run. Recording adds to it, as is due
when a state has got a field more; a new encoding gets a new folder, in place of the one that is read no more.
"""

from __future__ import annotations

import argparse
import base64
import inspect
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, reduce
from pathlib import Path
from random import Random
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms import userstate

from judge import Config
from pipeline.graph import build
from pipeline.options import parse
from pipeline.warehouses import JobRun, open_warehouse
from schemas.tables import Timestamp
from tests.histories import CONFIGS, Message, history
from tests.product_rows import connections, facts, plain
from transforms.coders import VERSION, PackedCoder, StructCoder
from transforms.core.facts import AccountKnown, Known, learn, learn_account
from transforms.core.identity.chains_index import ChainsEntry
from transforms.core.identity.protocol import ProtocolMessage
from transforms.core.identity.stages import stages
from transforms.core.rows import Upsert

RECORDED = Path(__file__).with_name("state")
STEPS = (*(stage.name for stage in stages()), "Account")
JOBS = 12
_ENTRY = msgspec.msgpack.Decoder(ChainsEntry)

Inboxes = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Step:
    """A stateful step of the graph, the coder of its state, and those of all its cells by the parameters that get
    them."""

    fn: Any
    coder: StructCoder[Any]
    cells: Mapping[str, Any]


class _Steps(PipelineVisitor):
    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        fn = getattr(transform_node.transform, "fn", None)
        if isinstance(fn, beam.DoFn) and userstate.is_stateful_dofn(fn):
            parameters = inspect.signature(fn.process).parameters.items()
            specs = {name: getattr(parameter.default, "state_spec", None) for name, parameter in parameters}
            cells = {name: spec.coder for name, spec in specs.items() if isinstance(spec, userstate.BagStateSpec)}
            (coder,) = (coder for coder in cells.values() if isinstance(coder, StructCoder))
            self.steps[transform_node.full_label.split("/")[1]] = Step(fn, coder, cells)


@cache
def steps() -> Mapping[str, Step]:
    """The stateful steps of a job on a subscription, by their labels, on a runner that has their states."""
    arguments = ["--input_subscription=projects/acme-web/subscriptions/calls", "--warehouse=duckdb:///never.duckdb"]
    settings, options = parse(arguments)
    settings = replace(settings, in_process=False)
    pipeline = beam.Pipeline(options=options)
    now = Timestamp(1_700_000_000_000_000)
    build(pipeline, settings, open_warehouse(settings.warehouse), JobRun(now, now, now, bounded=False))
    visitor = _Steps()
    pipeline.visit(visitor)
    return visitor.steps


@dataclass
class Cell:
    """A bag of one key, as Beam gives it to a DoFn."""

    coder: Any
    content: tuple[bytes, ...]

    def read(self) -> list[Any]:
        return [self.coder.decode(element) for element in self.content]

    def add(self, value: Any) -> None:
        self.content = (*self.content, self.coder.encode(value))
        assert len(self.content) == 1 or isinstance(self.coder, PackedCoder), "a state of two values"

    def clear(self) -> None:
        self.content = ()


Place = tuple[str, str, str]
"""(step, key, cell)"""


@dataclass
class RunningJob:
    """What cells hold, and of every row the version that stands, as the judge has it; None is a tombstone."""

    states: dict[Place, tuple[bytes, ...]] = field(default_factory=dict)
    rows: dict[tuple[str, tuple[str, ...]], tuple[tuple[int, ...], Any]] = field(default_factory=dict)

    def copy(self) -> RunningJob:
        return RunningJob(dict(self.states), dict(self.rows))

    def window(self, messages: Iterable[Message], config: Config) -> None:
        """Runs every step on what the messages of one window say."""
        persons: dict[str, list[Known]] = {}
        accounts: dict[str, list[AccountKnown]] = {}
        product = connections(config)
        for learned in (one for message in messages for one in facts(message, product)):
            for id, known in learned.persons:
                persons.setdefault(id, []).append(known)
            if learned.account is not None:
                accounts.setdefault(learned.account[0], []).append(learned.account[1])
        inboxes: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        inboxes["Person"] |= {id: [reduce(learn, known, Known())] for id, known in persons.items()}
        for stage in stages():
            outputs = self._step(stage.name, inboxes[stage.name])
            for messages_of, names in stage.sends.items():
                for name in names:
                    for to, message in _shuffled(outputs[messages_of]):
                        inboxes[name][to].append(message)
            for table in stage.writes:
                self._write(table, outputs[table])
        joined = {id: [reduce(learn_account, known, AccountKnown())] for id, known in accounts.items()}
        self._write("accounts", self._step("Account", joined)["accounts"])

    def _step(self, name: str, inboxes: Inboxes) -> Mapping[str, list[Any]]:
        step = steps()[name]
        outputs: dict[str, list[Any]] = defaultdict(list)
        step.fn.start_bundle()
        for key, inbox in inboxes.items():
            cells = {cell: Cell(coder, self.states.get((name, key, cell), ())) for cell, coder in step.cells.items()}
            output: TaggedOutput
            for output in step.fn.process((key, inbox), **cells):
                outputs[output.tag].append(output.value)
            for cell, held in cells.items():
                self.states.pop((name, key, cell), None)
                if held.content:
                    self.states[name, key, cell] = held.content
        step.fn.finish_bundle()
        return outputs

    def _write(self, table: str, upserts: Iterable[Upsert]) -> None:
        for upsert in upserts:
            standing = self.rows.get((table, upsert.key))
            if standing is None or upsert.version > standing[0]:
                self.rows[table, upsert.key] = upsert.version, None if upsert.row is None else plain(upsert.row)

    def table(self, name: str) -> dict[tuple[str, ...], Any]:
        """The rows that stand."""
        return {key: row for (table, key), (_, row) in self.rows.items() if table == name and row is not None}


def _shuffled(messages: Iterable[tuple[str, ProtocolMessage]]) -> Iterator[tuple[str, ProtocolMessage]]:
    """The messages once they have crossed a shuffle."""
    coder = StructCoder(ProtocolMessage)
    return ((key, coder.decode(coder.encode(message))) for key, message in messages)


def named(value: Any) -> Any:
    """A state by the names of its fields, as JSON has it."""
    if isinstance(value, msgspec.Struct):
        return {name: named(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {str(getattr(key, "value", key)): named(field) for key, field in value.items()}
    if isinstance(value, tuple | list):
        return [named(element) for element in value]
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def named_content(step: str, cell: str, content: Iterable[bytes]) -> list[Any]:
    """What a cell holds by the names of its fields, with the entries of a journal."""
    values = map(steps()[step].cells[cell].decode, content)
    return [named(_ENTRY.decode(value) if cell.startswith("journal") else value) for value in values]


@dataclass(frozen=True)
class Recorded:
    """A job that was stopped in the middle: what came before, its states and rows then, and what comes after."""

    config: Config
    before: list[Message]
    after: list[Message]
    job: RunningJob
    fields: Mapping[Place, Any]


def recorded(version: int) -> Iterator[Recorded]:
    """The jobs of an encoding."""
    for path in sorted((RECORDED / f"v{version}").glob("*.json")):
        held = json.loads(path.read_text("utf-8"))
        states = {(state["step"], state["key"], state["cell"]): state for state in held["states"]}
        job = RunningJob(
            {place: tuple(map(base64.b64decode, state["bytes"])) for place, state in states.items()},
            {(row["table"], tuple(row["key"])): (tuple(row["version"]), row["row"]) for row in held["rows"]},
        )
        fields = {place: state["fields"] for place, state in states.items()}
        yield Recorded(CONFIGS[held["config"]], held["before"], held["after"], job, fields)


def record(folder: Path) -> None:
    """Runs some jobs up to their middle, and adds them to the jobs that were recorded before."""
    existing = len(list(folder.glob("*.json")))
    for number in range(existing, existing + JOBS):
        rng = Random(number)
        config = rng.choice(sorted(CONFIGS)) if number % JOBS else "mixed"
        messages = history(rng, 40)
        rng.shuffle(messages)
        folder.mkdir(parents=True, exist_ok=True)
        keep(folder / f"{number:02}.json", config, messages[:24], messages[24:])


def keep(path: Path, config: str, before: Sequence[Message], after: Sequence[Message]) -> None:
    """Runs a job on the messages before, and keeps it."""
    job = RunningJob()
    for start in range(0, len(before), 8):
        job.window(before[start : start + 8], CONFIGS[config])
    states = [
        {
            "step": step,
            "key": key,
            "cell": cell,
            "bytes": [base64.b64encode(element).decode() for element in content],
            "fields": named_content(step, cell, content),
        }
        for (step, key, cell), content in sorted(job.states.items())
    ]
    rows = [
        {"table": table, "key": key, "version": version, "row": row}
        for (table, key), (version, row) in sorted(job.rows.items(), key=lambda item: item[0])
    ]
    held = {"config": config, "before": before, "after": after, "states": states, "rows": rows}
    lines = ",\n".join(f"{json.dumps(name)}: {_lines(value)}" for name, value in held.items())
    path.write_text(f"{{\n{lines}\n}}\n", "utf-8")


def _lines(value: Any) -> str:
    if not isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return "[\n" + ",\n".join(f"  {json.dumps(element, ensure_ascii=False)}" for element in value) + "\n]"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.transforms.running_job")
    parser.add_argument("--record", action="store_true", required=True, help="keep the states of this version")
    parser.parse_args()
    record(RECORDED / f"v{VERSION}")
