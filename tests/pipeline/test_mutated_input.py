"""What real senders send, and what becomes of it on its way: every message has an outcome, and the audit is silent.

The inputs are the generator's calls and the examples of Segment's documentation, as they are and in ten mutations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from examples.generate import GeneratorSettings, stream
from pipeline import audit
from pipeline.options import parse
from pipeline.run import run

DOCUMENTED = Path(__file__).with_name("segment_examples.jsonl")
INPUTS: dict[str, Callable[[], list[bytes]]] = {
    "generated": lambda: list(stream(GeneratorSettings(calls=400))),
    "documented": lambda: DOCUMENTED.read_bytes().splitlines(),
}


def mutated_values(value: Any, rng: Random, other: Callable[[Any], Any]) -> Any:
    """The document with another value in place of some, at any depth."""
    if isinstance(value, dict):
        return {name: mutated_values(item, rng, other) for name, item in value.items()}
    if isinstance(value, list):
        return [mutated_values(item, rng, other) for item in value]
    return other(value) if rng.random() < 0.2 else value


def of_documents(change: Callable[[Any, Random], Any]) -> Callable[[list[bytes], Random], list[bytes]]:
    def mutate(lines: list[bytes], rng: Random) -> list[bytes]:
        return list(_changed(lines, rng, change))

    return mutate


def _changed(lines: Sequence[bytes], rng: Random, change: Callable[[Any, Random], Any]) -> Iterator[bytes]:
    for line in lines:
        try:
            yield json.dumps(change(json.loads(line), rng)).encode()
        except ValueError:
            yield line


def _shuffled(document: Any, rng: Random) -> Any:
    return dict(rng.sample(list(document.items()), len(document))) if isinstance(document, dict) else document


MUTATIONS: dict[str, Callable[[list[bytes], Random], list[bytes]]] = {
    "as it is": lambda lines, rng: lines,
    "truncated": lambda lines, rng: [line[: rng.randrange(len(line) + 1)] for line in lines],
    "doubled": lambda lines, rng: rng.sample([*lines, *lines], 2 * len(lines)),
    "in UTF-16": lambda lines, rng: [line.decode(errors="replace").encode("utf-16") for line in lines],
    "in Latin-1": lambda lines, rng: [line.decode(errors="replace").encode("latin-1", "replace") for line in lines],
    "with a byte changed": lambda lines, rng: [_flipped(line, rng) for line in lines],
    "with carriage returns": lambda lines, rng: [line + b"\r" for line in lines],
    "nulls for values": of_documents(lambda document, rng: mutated_values(document, rng, lambda _: None)),
    "empty strings for values": of_documents(lambda document, rng: mutated_values(document, rng, lambda _: "")),
    "texts for values": of_documents(lambda document, rng: mutated_values(document, rng, json.dumps)),
    "in another order": of_documents(_shuffled),
}


def _flipped(line: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(line))
    return line[:at] + bytes([rng.randrange(256)]).replace(b"\n", b" ") + line[at + 1 :]


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", INPUTS)
def test_every_message_has_an_outcome_and_the_audit_is_silent(
    name: str, mutation: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = MUTATIONS[mutation](INPUTS[name](), Random(mutation))
    (tmp_path / "input.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    warehouse = f"--warehouse=duckdb:///{tmp_path}/warehouse.duckdb"
    summary = run(*parse([f"--input={tmp_path}/input.jsonl", warehouse]), "")
    assert summary.read == sum(summary.outcomes.values())
    assert summary.read >= sum(bool(line.strip()) for line in lines)
    assert audit.main([warehouse]) == 0, capsys.readouterr().out


def test_no_secret_of_a_documented_call_is_kept(tmp_path: Path) -> None:
    warehouse = f"--warehouse=duckdb:///{tmp_path}/warehouse.duckdb"
    run(*parse([f"--input={DOCUMENTED}", warehouse]), "")
    assert not [file for file in tmp_path.iterdir() if b"s3cr3t" in file.read_bytes()]
