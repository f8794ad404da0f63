"""Months between two releases: a job's state, as any version of this program wrote it, is read and gone on from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from judge import Tables, replay
from tests.histories import line
from tests.transforms.running_job import RECORDED, STEPS, Place, Recorded, named, named_content, recorded, steps
from transforms.coders import VERSION, StructCoder
from transforms.core.rules_version import RULES_VERSION, UNVERSIONED

WRITTEN = [pytest.param(job, id=f"{number:02}") for number, job in enumerate(recorded(VERSION))]
TABLES = ("contacts", "accounts", "identities", "memberships")
every_job = pytest.mark.parametrize("job", WRITTEN)


def test_the_encoding_has_states_of_jobs() -> None:
    assert [path.name for path in RECORDED.iterdir()] == [f"v{VERSION}"], (
        "run: python -m tests.transforms.running_job --record, and remove what is read no more"
    )
    assert set(steps()) == set(STEPS)


def test_the_states_have_something_in_every_field() -> None:
    """A field that is empty in all of them would be read rightly whatever became of it."""
    held: dict[str, set[str]] = {step: set() for step in STEPS}
    for job in recorded(VERSION):
        for (step, _, _), fields in job.fields.items():
            held[step].update(name for element in fields for name in _filled(element))
    assert held["Person"] >= {"known.traits", "known.audiences", "known.seen", "known.connections", "known.accounts"}
    assert held["Person"] >= {"known.deleted", "known.out", "known.named", "version", "written"}
    assert held["Depth1"] >= {"tokens", "target", "version", "edges", "is_deep", "sent"}
    assert held["Chains"] >= {"digest", "version", "edges", "journal_bytes", "tail"}
    assert held["Chains"] >= {"ids", "nodes", "nodes.edges", "nodes.deep", "nodes.label", "nodes.version"}
    assert held["Household1"] >= {"members", "label.version", "label.label", "written", "is_followed"}
    assert held["Household1"] >= {"pointer.version", "pointer.target"}
    assert held["Household2"] >= {"members", "label.version", "label.label", "pointer.version"}
    assert held["Contact"] >= {"members", "version"}
    assert held["Account"] >= {"known.traits", "known.name", "known.seen", "known.connections", "version"}


def _filled(fields: dict[str, Any], prefix: str = "") -> Iterable[str]:
    for name, value in fields.items():
        if isinstance(value, dict) and name in ("known", "label", "pointer"):
            yield from _filled(value, f"{name}.")
        for node in value if name == "nodes" else ():
            yield from _filled(node, "nodes.")
        if value not in (None, False, 0, {}, [0, 0]):
            yield f"{prefix}{name}"


@every_job
def test_a_state_is_read_as_it_was_written(job: Recorded) -> None:
    for (step, key, cell), content in job.job.states.items():
        read = named_content(step, cell, content)
        assert _subset(read, job.fields[step, key, cell]) == job.fields[step, key, cell]


def _subset(read: Any, written: Any) -> Any:
    """What was read, without fields that are newer than what was written."""
    if isinstance(read, dict) and isinstance(written, dict):
        return {name: _subset(read[name], written[name]) for name in written if name in read}
    if isinstance(read, list) and isinstance(written, list) and len(read) == len(written):
        return [_subset(*both) for both in zip(read, written, strict=True)]
    return read


@every_job
def test_a_job_goes_on_from_it(job: Recorded) -> None:
    """The window that was open at the update, and the two after it, end up in the tables of a replay of everything."""
    running = job.job.copy()
    for start in range(0, len(job.after), 6):
        running.window(job.after[start : start + 6], job.config)
    expected = replay(map(line, [*job.before, *job.after]), job.config)
    for table, rows in _by_key(expected).items():
        assert running.table(table) == rows, table


@every_job
def test_what_comes_again_after_an_update_changes_no_table(job: Recorded) -> None:
    """Rows that older rules made are written anew, as they were; after that, nothing is written at all."""
    running = job.job.copy()
    running.window(job.before, job.config)
    for table in TABLES:
        assert running.table(table) == job.job.table(table), table
    again = running.copy()
    again.window(job.before, job.config)
    assert (again.rows, again.states) == (running.rows, running.states)


@every_job
def test_rows_by_older_rules_are_mended_when_the_log_is_read_again(job: Recorded) -> None:
    """The job before the update wrote something else in every row, and its state says by which rules."""
    running = job.job.copy()
    running.rows = {place: (version, row and {"by": "older rules"}) for place, (version, row) in running.rows.items()}
    running.states = {place: _by_older_rules(place, content) for place, content in running.states.items()}
    running.window(job.before, job.config)
    for table, rows in _by_key(replay(map(line, job.before), job.config)).items():
        assert running.table(table) == rows, table


def _by_older_rules(place: Place, content: tuple[bytes, ...]) -> tuple[bytes, ...]:
    step, _, cell = place
    coder = steps()[step].coder
    if steps()[step].cells[cell] is not coder:
        return content
    (state,) = content
    return (coder.encode(msgspec.structs.replace(coder.decode(state), rules=UNVERSIONED)),)


def test_state_without_a_version_counts_as_by_older_rules() -> None:
    assert UNVERSIONED < RULES_VERSION


def _by_key(tables: Tables) -> dict[str, dict[tuple[str, ...], Any]]:
    return {
        "contacts": {(key,): row for key, row in tables.contacts.items()},
        "accounts": {(key,): row for key, row in tables.accounts.items()},
        "identities": {(id,): {"id": id, "external_id": to} for id, to in tables.identities.items()},
        "memberships": {(*key,): row for key, row in tables.memberships.items()},
    }


@pytest.mark.parametrize("step", STEPS)
def test_a_field_can_be_added_and_the_program_rolled_back(step: str) -> None:
    """The next version of a state has one field more, at the end, with a default."""
    coder = steps()[step].coder
    state = coder.struct
    following = msgspec.defstruct("Following", [("added", int, 7)], bases=(state,), array_like=True)
    for job in recorded(VERSION):
        for (name, _, cell), content in job.job.states.items():
            if name == step and steps()[step].cells[cell] is coder:
                read = StructCoder(following).decode(content[0])
                assert read.added == 7  # type: ignore[attr-defined]
                assert named(coder.decode(StructCoder(following).encode(read))) == named(coder.decode(content[0]))
