"""Load jobs: every row durable once, or refused by itself, whatever becomes of requests and jobs meanwhile."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from google.api_core.exceptions import Forbidden, NotFound, ServiceUnavailable, TooManyRequests
from google.cloud import bigquery as google
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw, structs
from requests import ConnectionError as Disconnected
from requests import Timeout

from pipeline.warehouses import JobRun
from pipeline.warehouses.bigquery import catalog, load_jobs
from pipeline.warehouses.bigquery.appends import WriteFailed
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.load_jobs import Loader, Loading
from schemas.tables import (
    CONTACTS,
    DEAD_LETTERS,
    EVENTS,
    IDENTITY_CALLS,
    JOBS,
    Audience,
    Contact,
    DeadLetter,
    Job,
    Row,
    Table,
    Timestamp,
)
from tests.bigquery_double import BigQueryDouble
from tests.rows import NOON, call, event
from transforms import metrics

SALES = Dataset("acme-data", "sales")
RUN = JobRun(NOON, NOON, None, bounded=True)
LATER = Timestamp(4_000_000_000_000_000)
"""After whatever the clock of the machine says."""
IMPATIENT = Loading(outage_s=60, first_pause_s=0.001, longest_pause_s=0.01)
HOPELESS = Loading(outage_s=0.2, first_pause_s=0.001, longest_pause_s=0.01)
UPLOAD = "load_table_from_file"

Make = Callable[..., Loader]


@pytest.fixture(scope="module")
def served() -> Iterator[BigQueryDouble]:
    with BigQueryDouble() as double, mock.patch.dict(os.environ, double.environment):
        catalog.create(catalog.connect(SALES.project), SALES)
        yield double


@pytest.fixture
def double(served: BigQueryDouble) -> BigQueryDouble:
    """Empty tables, no faults, and ids that no other test has used."""
    for table in served.catalog.tables.values():
        if table.view is None:
            table.replace([])
    served.faults.clear()
    served.loads.named_errors = 5
    served.loads.ended.clear()
    served.loads.failures.clear()
    return served


_GENERATIONS = itertools.count(NOON + 1)


@pytest.fixture
def make(double: BigQueryDouble) -> Iterator[Make]:
    client = catalog.connect(SALES.project)
    generation = next(_GENERATIONS)

    def loader(table: Table = EVENTS, job: JobRun | None = None, loading: Loading = IMPATIENT) -> Loader:
        run = job or structs.replace(RUN, generation=generation)
        return Loader(client, SALES, table, run, metrics.Tally(), loading)

    yield loader
    client.close()


def rows(double: BigQueryDouble, table: Table = EVENTS) -> list[dict[str, Any]]:
    return double.rows(f"{SALES}.{table.name}")


def ids(double: BigQueryDouble) -> list[str]:
    return [row["message_id"] for row in rows(double)]


def lines(loader: Loader, count: int) -> list[bytes]:
    """Rows of long ago, one a day."""
    day = 86_400_000_000
    return [loader.line(event(f"m{number:03}", received_at=number * day)) for number in range(count)]


BAD = b'{"message_id":3}'
"""A row that BigQuery refuses."""


# ---- rows ----

CONTACT = Contact("a", audiences=(Audience("k", is_member=True, updated_at=NOON),), previous_ids=("b", "c"))
LETTER = DeadLetter(
    dead_letter_id="i", stage="parse", reason="r", detail="d", payload=b"\xff\0", attributes=Raw(b'{"k": "v"}')
)
TYPES: list[tuple[Table, Row]] = [
    (EVENTS, event("m", b'{"k":\n[1,\r\n2.50, "\\n"]}', name="caf\u00e9\n\u2028", received_at=-1)),
    (IDENTITY_CALLS, structs.replace(call("m"), sent_at=Timestamp(-62_135_596_800_000_000), promoted=Raw(b"{}"))),
    (DEAD_LETTERS, structs.replace(LETTER, published_at=Timestamp(1), retryable=True)),
    (CONTACTS, CONTACT),
    (JOBS, Job(2**62 + 1, NOON, None, "r", "o", history_done=True)),
]


@pytest.mark.parametrize(("table", "row"), TYPES, ids=[table.name for table, _ in TYPES])
def test_a_row_of_every_type_is_loaded_as_it_is(table: Table, row: Row, double: BigQueryDouble, make: Make) -> None:
    loader = make(table)
    assert loader.load([loader.line(row)]) == {}
    (loaded,) = rows(double, table)
    for column in table.columns:
        value = getattr(row, column.name)
        if isinstance(value, Raw):
            value = bytes(value).decode().replace("\n", " ").replace("\r", " ")
        elif isinstance(value, tuple):
            value = [structs.asdict(each) if isinstance(each, Row) else each for each in value]
        if column.name != table.written:
            assert loaded[column.name] == value, column.name


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts=st.lists(TEXT, min_size=1, max_size=5), received_at=st.integers(-(10**14), 4 * 10**15))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_and_any_time_come_as_they_are(
    texts: list[str], received_at: int, double: BigQueryDouble, make: Make
) -> None:
    loader = make(job=structs.replace(RUN, generation=next(_GENERATIONS)))
    before = len(rows(double))
    assert loader.load([loader.line(event("m", name=text, received_at=received_at)) for text in texts]) == {}
    loaded = rows(double)[before:]
    assert sorted(row["name"] for row in loaded) == sorted(texts)
    assert {row["received_at"] for row in loaded} == {received_at}


def test_the_log_is_written_after_all_that_was_in_it(double: BigQueryDouble, make: Make) -> None:
    loader = make(IDENTITY_CALLS, structs.replace(RUN, generation=LATER, log_until=LATER))
    assert loader.load([loader.line(call("a")), loader.line(call("b"))]) == {}
    assert [row["written_at"] for row in rows(double, IDENTITY_CALLS)] == [LATER + 1] * 2


# ---- once ----


def test_a_bundle_that_is_tried_again_loads_nothing_again_in_whatever_order_it_comes(
    double: BigQueryDouble, make: Make
) -> None:
    for table in (EVENTS, IDENTITY_CALLS):
        loader = make(table)
        made = [loader.line(event(id) if table is EVENTS else call(id)) for id in "abc"]
        for again in (made, list(reversed(made))):
            assert loader.load(again) == {}
        assert len(rows(double, table)) == 3
    assert len(double.loads.ended) == 2


def test_another_run_loads_what_an_earlier_one_has_loaded(double: BigQueryDouble, make: Make) -> None:
    """The dataset may have been removed since."""
    for generation in (1, 2):
        loader = make(job=structs.replace(RUN, generation=NOON - generation))
        assert loader.load(lines(loader, 1)) == {}
    assert len(rows(double)) == 2


@pytest.mark.parametrize("size", [10, 6_000_000], ids=["one request", "chunks"])
def test_a_job_whose_answer_is_lost_is_found_by_its_id(size: int, double: BigQueryDouble, make: Make) -> None:
    loader = make()
    real = google.Client.load_table_from_file

    def lost(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        raise Disconnected("Connection aborted.")

    with mock.patch.object(google.Client, UPLOAD, autospec=True, side_effect=in_turn(lost, real)):
        assert loader.load([loader.line(event("m", b'"' + b"x" * size + b'"'))]) == {}
    assert len(rows(double)) == len(double.loads.ended) == 1


def in_turn(*effects: Callable[..., Any]) -> Callable[..., Any]:
    """Does one after another, each time that it is called."""
    rest = iter(effects)
    return lambda *arguments, **options: next(rest)(*arguments, **options)


# ---- what passes, and what does not ----


def test_a_job_that_fails_for_what_passes_is_followed_by_another(double: BigQueryDouble, make: Make) -> None:
    loader = make()
    double.loads.failures = ["backendError", "rateLimitExceeded"]
    assert loader.load(lines(loader, 2)) == {}
    names = [job.id.rpartition("_") for job in double.loads.ended]
    assert [attempt for *_, attempt in names] == ["0", "1", "2"]
    assert len({name for name, *_ in names}) == 1
    assert ids(double) == ["m000", "m001"]
    assert loader.load(lines(loader, 2)) == {}  # in a bundle that is tried again
    assert ids(double) == ["m000", "m001"]


def test_an_outage_is_waited_for_but_not_for_ever(double: BigQueryDouble, make: Make) -> None:
    loader = make(loading=HOPELESS)
    error = ServiceUnavailable("The service is currently unavailable.")
    real = google.Client.load_table_from_file
    with mock.patch.object(google.Client, UPLOAD, autospec=True) as uploads:
        uploads.side_effect = error
        words = r"^acme-data\.sales\.events: a load job: 503 The service .*; this did not pass in 0\.2 s: run the job "
        with pytest.raises(WriteFailed, match=words):
            loader.load(lines(loader, 1))
        assert uploads.call_count > 2

        def unavailable(*_: object, **__: object) -> None:
            raise error

        uploads.side_effect = in_turn(unavailable, real)
        loader.loading = IMPATIENT
        assert loader.load(lines(loader, 1)) == {}
    assert ids(double) == ["m000"]


ANSWERS: list[tuple[str, Exception, bool, str]] = [
    ("a quota", Forbidden("Quota exceeded", errors=[{"reason": "quotaExceeded"}]), True, "quotaExceeded"),
    ("a rate", TooManyRequests("Too fast"), True, "TooManyRequests"),
    ("an outage", ServiceUnavailable("Away", errors=[{"reason": "backendError"}]), True, "backendError"),
    ("a connection", Timeout("Read timed out."), True, "Timeout"),
    (
        "a permission",
        Forbidden("Access Denied", errors=[{"reason": "accessDenied"}]),
        False,
        "403 Access Denied; loading needs bigquery.jobs.create, and the role roles/bigquery.dataEditor",
    ),
    ("a table", NotFound("Not found: Table\nand more"), False, "404 Not found: Table; trying again would not help"),
]


@pytest.mark.parametrize(("what", "error", "passes", "words"), ANSWERS, ids=[each[0] for each in ANSWERS])
def test_a_request_that_is_refused_is_tried_again_where_that_may_pass(
    what: str, error: Exception, passes: bool, words: str, double: BigQueryDouble, make: Make
) -> None:
    loader = make()

    def refuse(*_: object, **__: object) -> None:
        raise error

    real = google.Client.load_table_from_file
    with mock.patch.object(google.Client, UPLOAD, autospec=True, side_effect=in_turn(refuse, real)):
        if passes:
            assert loader.load(lines(loader, 1)) == {}
            assert loader._tally[metrics.LOAD_RETRIES.of(words)] == 1
        else:
            with pytest.raises(WriteFailed) as raised:
                loader.load(lines(loader, 1))
            assert str(raised.value) == f"acme-data.sales.events: a load job: {words}"
    assert len(rows(double)) == passes


FAILURES: list[tuple[str, str]] = [
    ("notFound", "a fault that the test asked for; trying again would not help"),
    ("quotaExceeded", "a fault that the test asked for; this did not pass in 0.2 s: run the job again later"),
]


@pytest.mark.parametrize(("reason", "words"), FAILURES)
def test_a_job_that_fails_for_anything_else_fails_the_bundle_in_one_line(
    reason: str, words: str, double: BigQueryDouble, make: Make
) -> None:
    loader = make(loading=HOPELESS)
    double.loads.failures = [reason] * 1_000
    with pytest.raises(WriteFailed) as raised:
        loader.load(lines(loader, 1))
    assert str(raised.value) == f"acme-data.sales.events: a load job: {words}"


# ---- rows that are refused ----


@pytest.mark.parametrize("named", [0, 1, 5])
@pytest.mark.parametrize("bad", [(), (0,), (2, 4), (0, 1, 2, 3, 4, 5, 6)], ids=str)
def test_a_row_that_is_refused_costs_no_other_whether_it_is_named_or_not(
    bad: tuple[int, ...], named: int, double: BigQueryDouble, make: Make
) -> None:
    double.loads.named_errors = named
    loader = make()
    made = [BAD if number in bad else line for number, line in enumerate(lines(loader, 7))]
    refused = loader.load(made)
    assert refused.keys() == set(bad)
    for words in refused.values():
        assert "\n" not in words
        assert words.startswith("Error while reading data, error message: JSON ")
        assert named == 0 or words.endswith("Could not convert value to string. Field: message_id; Value: 3")
    assert sorted(ids(double)) == [f"m{number:03}" for number in range(7) if number not in bad]
    assert loader.load(made).keys() == set(bad)
    assert len(rows(double)) == 7 - len(bad)


def test_where_all_rows_are_refused_the_bundle_fails_and_not_thousands_of_jobs(
    double: BigQueryDouble, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_jobs, "_MOST_FAILURES", 5)
    double.loads.named_errors = 0
    with pytest.raises(WriteFailed, match=r"too many errors, .*; 5 load jobs were refused for rows$"):
        make().load([BAD] * 20)
    assert len(double.loads.ended) == 5


def test_nothing_is_no_job(double: BigQueryDouble, make: Make) -> None:
    assert make().load([]) == {}
    assert double.loads.ended == []
