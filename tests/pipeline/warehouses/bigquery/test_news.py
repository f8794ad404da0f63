"""Tables that BigQuery does not know yet are asked after again, until they are no news."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from unittest import mock

import pytest
from google.api_core.exceptions import BadRequest, Forbidden, GoogleAPICallError, NotFound, PermissionDenied
from google.cloud import bigquery

from pipeline.warehouses.bigquery import catalog, news, read_session
from pipeline.warehouses.bigquery.clients import read_client
from pipeline.warehouses.bigquery.dataset import Dataset, UnusableDatasetError
from pipeline.warehouses.bigquery.news import NEWS_S, News
from pipeline.warehouses.bigquery.queries import query, query_freshest
from schemas.tables import CONTACTS, IDENTITY_CALLS
from tests.bigquery_double import BigQueryDouble

SALES = Dataset("acme-data", "sales")
UNKNOWN = [
    NotFound("Not found: Table acme-data:sales.events was not found in location US"),
    Forbidden("Access Denied: Table t: User does not have permission to query table t, or perhaps it does not exist."),
    PermissionDenied("Permission 'bigquery.tables.getData' denied on resource 't' (or it may not exist)."),
]
OTHERS = [
    Forbidden("Access Denied: Project acme-data: User does not have bigquery.jobs.create permission"),
    BadRequest("Syntax error: Unexpected identifier"),
]


class Asked:
    """Answers so many times with an error."""

    def __init__(self, error: GoogleAPICallError, times: int) -> None:
        self.error, self.times, self.asks = error, times, 0

    def __call__(self) -> str:
        self.asks += 1
        if self.asks <= self.times:
            raise self.error
        return "answer"


def fast() -> News:
    return News(first_pause_s=0.001, longest_pause_s=0.002)


@pytest.mark.parametrize("error", UNKNOWN, ids=lambda error: type(error).__name__)
def test_what_may_not_be_known_yet_is_asked_again(error: GoogleAPICallError) -> None:
    assert fast().once_known(Asked(error, 3)) == "answer"


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_other_errors_are_told_at_once(error: GoogleAPICallError) -> None:
    asked = Asked(error, 1)
    with pytest.raises(type(error)):
        fast().once_known(asked)
    assert asked.asks == 1


def ago(seconds: float) -> datetime:
    return datetime.now(timezone.utc) - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("made_ago", "is_news"),
    [
        ([0], True),
        ([3600, NEWS_S - 60, None], True),
        ([-60], True),
        ([NEWS_S + 1], False),
        ([], False),
    ],
    ids=["now", "one of them a moment ago", "by a clock that is ahead", "long ago", "none"],
)
def test_a_table_is_news_for_five_minutes(made_ago: list[float | None], is_news: bool) -> None:
    made = [None if seconds is None else ago(seconds) for seconds in made_ago]
    told = fast()
    told.learn(made)
    asked = Asked(UNKNOWN[0], 2)
    if is_news:
        assert told.once_known(asked) == "answer"
    else:
        with pytest.raises(NotFound):
            told.once_known(asked)
        assert asked.asks == 1


def test_in_a_process_that_has_not_learned_it_tables_are_news_from_the_first_ask_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(news, "NEWS_S", 0.2)
    worker = fast()
    assert worker.once_known(Asked(UNKNOWN[0], 2)) == "answer"
    time.sleep(0.25)
    with pytest.raises(NotFound):
        worker.once_known(Asked(UNKNOWN[0], 2))


# ---- on the double ----


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[BigQueryDouble]:
    impatient = fast()
    for module in ("catalog", "queries", "read_session"):
        monkeypatch.setattr(f"pipeline.warehouses.bigquery.{module}.NEWS", impatient)
    with BigQueryDouble() as served, mock.patch.dict("os.environ", served.environment):
        yield served


@pytest.fixture
def client(double: BigQueryDouble) -> bigquery.Client:
    return catalog.connect("acme-data")


def test_tables_that_were_just_made_are_found_by_each_way_that_a_job_asks(
    double: BigQueryDouble, client: bigquery.Client
) -> None:
    double.strictness.unknown_for = 2
    assert catalog.create(client, SALES)
    assert catalog.create(client, SALES) == ()
    assert [*query(client, f"SELECT external_id FROM `{SALES}.contacts`")] == []
    assert [*query_freshest(client, f"SELECT external_id FROM `{SALES}.contacts`", CONTACTS, SALES)] == []
    assert read_session.open_stream(read_client(), SALES, IDENTITY_CALLS, ["payload"], "") == ""


def test_a_table_that_is_missing_is_told_in_one_line_with_what_makes_it(
    double: BigQueryDouble, client: bigquery.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "NEWS_S", 0.05)
    catalog.create(client, SALES)
    client.delete_table(f"{SALES}.identity_calls")
    for ask in (
        lambda: query(client, f"SELECT payload FROM `{SALES}.identity_calls`"),
        lambda: read_session.open_stream(read_client(), SALES, IDENTITY_CALLS, ["payload"], ""),
    ):
        with pytest.raises(UnusableDatasetError, match=r"Not found: Table .*; make the tables that are missing: "):
            ask()
