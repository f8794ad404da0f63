"""The double applies changes as https://cloud.google.com/bigquery/docs/change-data-capture says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, InvalidArgument
from google.cloud.bigquery import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bigquery_double import BigQueryDouble, clients
from tests.bigquery_double.clients import Appender, Columns
from tests.bigquery_double.schema import Field, RowRefused
from tests.bigquery_double.tables import Table, TableName, sequence_number

TABLE = "project.dataset.memberships"
COLUMNS: Columns = {"contact": "string", "account": "string", "plan": "string"}
CHANGES: Columns = {**COLUMNS, "_CHANGE_TYPE": "string", "_CHANGE_SEQUENCE_NUMBER": "string"}


@pytest.fixture
def memberships(double: BigQueryDouble) -> Client:
    client = clients.rest(double)
    client.query_and_wait(
        f"CREATE TABLE `{TABLE}` (contact STRING NOT NULL, account STRING NOT NULL, plan STRING NOT NULL, "
        "PRIMARY KEY (contact, account) NOT ENFORCED)"
    )
    return client


@pytest.fixture
def appender(double: BigQueryDouble, memberships: Client) -> Appender:
    return Appender(double, TABLE, CHANGES)


def change(type_: str, plan: str, number: str | None, contact: str = "c") -> dict[str, str]:
    row = {"contact": contact, "account": "a", "plan": plan, "_CHANGE_TYPE": type_}
    return row if number is None else {**row, "_CHANGE_SEQUENCE_NUMBER": number}


def upsert(plan: str, number: str | None = None) -> dict[str, str]:
    return change("UPSERT", plan, number)


def delete(number: str | None = None) -> dict[str, str]:
    return change("DELETE", "", number)


HISTORIES: list[tuple[str, Sequence[dict[str, str]], str | None]] = [
    ("an upsert inserts", [upsert("x")], "x"),
    ("without numbers the latest stands", [upsert("x"), upsert("y")], "y"),
    ("without numbers a delete removes", [upsert("x"), delete()], None),
    ("without numbers an upsert follows a delete", [delete(), upsert("x")], "x"),
    ("the greater number stands", [upsert("x", "2"), upsert("y", "1")], "x"),
    ("numbers are hexadecimal", [upsert("x", "A"), upsert("y", "9")], "x"),
    ("case does not matter", [upsert("x", "b"), upsert("y", "A")], "x"),
    ("leading zeros do not matter", [upsert("x", "0B"), upsert("y", "00A")], "x"),
    ("of equal numbers the latest stands", [upsert("x", "1"), upsert("y", "01")], "y"),
    ("numbers are unsigned", [upsert("x", "FFFFFFFFFFFFFFFF"), upsert("y", "7FFFFFFFFFFFFFFF")], "x"),
    ("the first section counts first", [upsert("x", "1/0"), upsert("y", "0/FF")], "x"),
    ("sections are compared as numbers", [upsert("x", "0/10"), upsert("y", "0/9")], "x"),
    ("four sections", [upsert("x", "0/0/0/2"), upsert("y", "0/0/0/1")], "x"),
    ("a longer number is greater than its beginning", [upsert("x", "1/0"), upsert("y", "1")], "x"),
    ("a delete of an older number is ignored", [upsert("x", "2"), delete("1")], "x"),
    ("an upsert older than the delete is ignored", [delete("2"), upsert("x", "1")], None),
    ("an upsert newer than the delete stands", [delete("2"), upsert("x", "3")], "x"),
    ("an upsert as new as the delete stands", [delete("2"), upsert("x", "2")], "x"),
]


@pytest.mark.parametrize(("changes", "plan"), [case[1:] for case in HISTORIES], ids=[case[0] for case in HISTORIES])
def test_of_the_changes_of_a_key_one_stands(
    double: BigQueryDouble, appender: Appender, changes: Sequence[dict[str, str]], plan: str | None
) -> None:
    for each in changes:
        appender.append(each)
    assert [row["plan"] for row in double.rows(TABLE)] == ([] if plan is None else [plan])
    found = clients.rest(double).query_and_wait(f"SELECT plan FROM `{TABLE}`")
    assert [row["plan"] for row in found] == ([] if plan is None else [plan])


def test_one_request_may_change_a_key_twice(double: BigQueryDouble, appender: Appender) -> None:
    appender.append(upsert("x", "2"), upsert("y", "1"), delete("0"))
    assert [row["plan"] for row in double.rows(TABLE)] == ["x"]


def test_a_key_of_two_columns_is_both(double: BigQueryDouble, appender: Appender) -> None:
    appender.append(upsert("x"), change("UPSERT", "y", None, contact="d"), change("DELETE", "", None, contact="e"))
    assert [(row["contact"], row["plan"]) for row in double.rows(TABLE)] == [("c", "x"), ("d", "y")]


REFUSED: list[tuple[str, dict[str, str], str]] = [
    ("no type", {"contact": "c", "account": "a", "plan": "p"}, "_CHANGE_TYPE"),
    ("another type", change("INSERT", "x", "1"), "_CHANGE_TYPE"),
    ("no hexadecimal number", upsert("x", "G"), "_CHANGE_SEQUENCE_NUMBER"),
    ("an empty number", upsert("x", ""), "_CHANGE_SEQUENCE_NUMBER"),
    ("a negative number", upsert("x", "-1"), "_CHANGE_SEQUENCE_NUMBER"),
    ("an empty section", upsert("x", "1//2"), "_CHANGE_SEQUENCE_NUMBER"),
    ("five sections", upsert("x", "1/2/3/4/5"), "_CHANGE_SEQUENCE_NUMBER"),
    ("a section of 17 digits", upsert("x", "0" * 17), "_CHANGE_SEQUENCE_NUMBER"),
    ("a delete without a REQUIRED column", {"contact": "c", "account": "a", "_CHANGE_TYPE": "DELETE"}, "plan"),
]


@pytest.mark.parametrize(("row", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_change_that_cannot_be_applied_is_a_bad_row(
    double: BigQueryDouble, appender: Appender, row: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidArgument) as raised:
        appender.append(upsert("x", "1"), row)
    [named] = raised.value.response.row_errors
    assert named.index == 1
    assert words in named.message
    assert double.rows(TABLE) == []


@pytest.mark.parametrize(
    ("first", "second"), [(COLUMNS, CHANGES), (CHANGES, COLUMNS)], ids=["changes after rows", "rows after changes"]
)
def test_rows_and_changes_do_not_mix_on_a_connection(
    double: BigQueryDouble, memberships: Client, first: Columns, second: Columns
) -> None:
    append_rows: Any = clients.write(double).transport.append_rows
    requests = [clients.template(TABLE, columns) for columns in (first, second)]
    answers = append_rows(iter(requests), timeout=clients.TIMEOUT)
    assert next(answers).error.code == 0
    with pytest.raises(Exception, match="cannot be mixed on one connection"):
        next(answers)


def test_rows_and_changes_may_come_on_two_connections(double: BigQueryDouble, memberships: Client) -> None:
    Appender(double, TABLE, COLUMNS).append({"contact": "c", "account": "a", "plan": "old"})
    Appender(double, TABLE, CHANGES).append(upsert("new", "1"))
    assert [row["plan"] for row in double.rows(TABLE)] == ["new"]


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE `{TABLE}` SET plan = 'y' WHERE TRUE",
        f"DELETE FROM `{TABLE}` WHERE TRUE",
        f"MERGE `{TABLE}` AS old USING (SELECT 1) AS new ON FALSE WHEN NOT MATCHED BY SOURCE THEN DELETE",
    ],
)
def test_a_table_with_changes_refuses_statements_that_change_rows(
    memberships: Client, appender: Appender, statement: str
) -> None:
    appender.append(upsert("x"))
    with pytest.raises(BadRequest, match="change data capture"):
        memberships.query_and_wait(statement)


def test_a_table_without_changes_takes_them(double: BigQueryDouble, memberships: Client) -> None:
    memberships.query_and_wait(f"INSERT INTO `{TABLE}` (contact, account, plan) VALUES ('c', 'a', 'x')")
    memberships.query_and_wait(f"UPDATE `{TABLE}` SET plan = 'y' WHERE TRUE")
    assert [row["plan"] for row in double.rows(TABLE)] == ["y"]


def test_a_table_with_a_staleness_may_show_changes_late(double: BigQueryDouble, appender: Appender) -> None:
    def plans() -> list[str]:
        return [row["plan"] for row in clients.rest(double).query_and_wait(f"SELECT plan FROM `{TABLE}`")]

    def set_staleness(interval: str) -> None:
        clients.rest(double).query_and_wait(f"ALTER TABLE `{TABLE}` SET OPTIONS (max_staleness = {interval})")

    set_staleness("INTERVAL 15 MINUTE")
    appender.append(upsert("x", "1"))
    with double.stale():
        appender.append(upsert("y", "2"))
        assert plans() == ["x"]
        assert [row["plan"] for row in double.rows(TABLE)] == ["y"]
        set_staleness("NULL")
        assert plans() == ["y"]
        set_staleness("INTERVAL 15 MINUTE")
        appender.append(change("UPSERT", "w", "1", contact="e"))
        assert plans() == ["x"]
        clients.rest(double).query_and_wait(f"INSERT INTO `{TABLE}` (contact, account, plan) VALUES ('d', 'a', 'z')")
    assert sorted(plans()) == ["w", "y", "z"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from(("UPSERT", "DELETE")),
            st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 2), min_size=1, max_size=4),
        ),
        unique_by=lambda change: (change[0], tuple(change[2])),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_numbered_changes_end_alike_in_any_order(changes: list[tuple[str, str, list[int]]], random: Any) -> None:
    def ends(ordered: list[tuple[str, str, list[int]]]) -> set[tuple[Any, ...]]:
        fields = (Field("id", "STRING", "REQUIRED"), Field("number", "STRING"))
        table = Table(TableName("p", "d", "t"), fields, {"tableConstraints": {"primaryKey": {"columns": ["id"]}}}, 0)
        for key, type_, sections in ordered:
            number = "/".join(f"{section:x}" for section in sections)
            table.change([(type_, sequence_number(number), (key, number))])
        return set(table.rows())

    shuffled = random.sample(changes, len(changes))
    latest = {key: max((each for each in changes if each[0] == key), key=lambda each: each[2]) for key, _, _ in changes}
    stand = {
        (key, "/".join(f"{section:x}" for section in sections))
        for key, type_, sections in latest.values()
        if type_ == "UPSERT"
    }
    assert ends(changes) == ends(shuffled) == stand


def test_a_number_is_read_as_its_sections() -> None:
    assert sequence_number("0A/ff/0/1") == (10, 255, 0, 1)
    assert sequence_number(None) == ()
    with pytest.raises(RowRefused):
        sequence_number("1/")
