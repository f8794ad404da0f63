"""The whole job on many small histories side by side, judged by the replay and by the product's own audit.

Histories of other ids do not touch each other, so that one job can run hundreds of them: the replay of them all is
their replays. Each job is of one configuration, in one run or three on one warehouse, shuffled and with duplicates.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from judge import Config
from judge import replay as judged
from pipeline import audit
from pipeline.options import options_without_secrets, parse
from pipeline.run import run
from tests import warehouse
from tests.bigquery_double import BigQueryDouble
from tests.histories import WHOLE, Alphabet, Message, deal, history, line

SIZE = 20
"""Messages of a history, at most."""


def side_by_side(rng: Random, count: int, alphabet: Alphabet = WHOLE) -> list[Message]:
    """So many histories, whose ids and message ids are their own."""
    messages: list[Message] = []
    for number in range(count):
        own = replace(alphabet, ids=tuple(f"{number}-{id}" for id in alphabet.ids))
        for message in history(rng, rng.randint(1, SIZE), own):
            named = {"messageId": f"{number}-{message['messageId']}"} if "messageId" in message else {}
            messages.append({**message, **named})
    return messages


def run_jobs(
    rng: Random,
    messages: Sequence[Message],
    config: Config,
    folder: Path,
    jobs: int,
    url: str,
    options: Sequence[str] = (),
) -> None:
    """Deals the messages to so many jobs in a row on a warehouse, two files each."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "connections.yaml"
    configuration.write_text(json.dumps(config.document()))
    for number, part in enumerate(deal(rng, messages, jobs)):
        plain, packed = folder / f"{number}.jsonl", folder / f"{number}.jsonl.gz"
        cut = rng.randint(0, len(part))
        plain.write_bytes(b"".join(line(message) + b"\n" for message in part[:cut]))
        packed.write_bytes(gzip.compress(b"".join(line(message) + b"\n" for message in part[cut:])))
        arguments = [
            f"--input={plain},{packed}",
            f"--warehouse={url}",
            f"--connections={configuration}",
            *options,
        ]
        settings, beam_options = parse(arguments)
        summary = run(settings, beam_options, options_without_secrets(arguments))
        assert summary.read == sum(summary.outcomes.values()), "the outcomes do not add up"


def check(seed: int, count: int, name: str, config: Config, folder: Path, options: Sequence[str] = ()) -> list[str]:
    """Runs histories through the whole job into DuckDB, in one run or three; returns how the tables differ from the
    replay."""
    rng = Random(seed)
    messages = side_by_side(rng, count)
    place = folder / f"{seed}"
    file = place / "warehouse.duckdb"
    url = f"duckdb:///{file}"
    run_jobs(rng, messages, config, place, rng.choice((1, 3)), url, options)
    found = warehouse.differences(warehouse.tables(file), judged(map(line, messages), config))
    return [f"seed {seed}, {name}: {each}" for each in [*found, *audited(url, place)]]


def check_bigquery(
    seed: int,
    count: int,
    name: str,
    config: Config,
    folder: Path,
    bigquery: BigQueryDouble,
    faults: float,
    options: Sequence[str] = (),
    jobs: int | None = None,
) -> list[str]:
    """Runs the same histories into the double of BigQuery, where this part of all appends fails in some way; without
    a number of jobs, in one or three."""
    rng = Random(seed)
    messages = side_by_side(rng, count)
    dataset = f"acme-data.d{seed}"
    url = f"bigquery://{dataset.replace('.', '/')}"
    bigquery.faults.at_random(faults, seed)
    run_jobs(rng, messages, config, folder / f"{seed}", jobs or rng.choice((1, 3)), url, options)
    found = warehouse.differences(warehouse.bigquery_tables(bigquery, dataset), judged(map(line, messages), config))
    return [f"seed {seed}, {name}: {each}" for each in [*found, *audited(url, folder / f"{seed}")]]


def audited(url: str, folder: Path) -> list[str]:
    """What the product's own audit says of the keyed tables."""
    differ = audit.main([f"--warehouse={url}", f"--connections={folder / 'connections.yaml'}"])
    return ["audit found differences"] if differ else []
