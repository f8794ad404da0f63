"""What `check` says of an input: what the job makes of it, in lines of 80 columns, and nothing is written."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipeline.__main__ import main as job
from pipeline.check import main
from pipeline.findings import Findings
from pipeline.findings_text import WIDTH, lines, warnings
from schemas.tables import Timestamp
from transforms.core.connections import DEFAULT
from transforms.core.reader import Received

EXAMPLES = Path(__file__).parents[2] / "examples"
SAMPLE, CONNECTIONS = f"--input={EXAMPLES}/events.jsonl", f"--connections={EXAMPLES}/connections.yaml"
AT = "2026-03-01T09:00:00Z"
NOW = Timestamp(1_772_355_600_000_000)
SHOP = "connections: [{name: Shop, project_ids: [p1]}, {name: Site, project_ids: [p2]}, {name: Named, project_ids: []}]"


def call(type_: str = "page", **fields: Any) -> dict[str, Any]:
    return {"type": type_, "userId": "ann", "name": "Home", "timestamp": AT, **fields}


def write(path: Path, *calls: object) -> Path:
    text = "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in calls)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def printed(capsys: pytest.CaptureFixture[str], *options: str, status: int = 0) -> list[str]:
    assert main(list(options)) == status
    out, err = capsys.readouterr()
    assert err == ""
    assert all(len(line) <= WIDTH for line in out.splitlines()[1:])
    return out.splitlines()


def test_it_says_what_the_job_then_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    checked = " ".join(" ".join(printed(capsys, SAMPLE, CONNECTIONS)).split())
    assert list(tmp_path.iterdir()) == [], "nothing was written"
    assert job([SAMPLE, CONNECTIONS, "--warehouse=duckdb:///w.duckdb"]) == 0
    summary = capsys.readouterr().out
    outcomes = summary.splitlines()[1].partition(" = ")[2].split(" + ")
    assert len(outcomes) == 4
    for outcome in outcomes:
        count, _, name = outcome.partition(" ")
        assert f"{count} {name}" in checked
    with duckdb.connect("w.duckdb", read_only=True) as warehouse:

        def count_of(query: str) -> int:
            row = warehouse.execute(query).fetchone()
            assert row is not None
            return int(row[0])

        contacts, memberships = (
            count_of("FROM (SELECT count(*) FROM contacts)"),
            count_of("SELECT count(*) FROM memberships"),
        )
        assert f"{contacts} contacts, with {memberships} memberships of accounts" in checked
        assert f"{count_of('SELECT count(*) FROM accounts')} accounts" in checked
        assert f"{count_of('SELECT count(*) FROM identities')} ids that belong to the contact of another id" in checked


def test_types_accounts_connections_and_refusals_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    file = write(
        tmp_path / "calls.jsonl",
        call(projectId="p1", messageId="1"),
        call(projectId="p1", messageId="1"),
        "",
        call("identify", projectId="p1", traits={"email": "ann@acme.com"}),
        call("group", projectId="p1", groupId="acme"),
        call(projectId="p3"),
        call(projectId="p4"),
        "{oops",
        call("track", projectId="p1", writeKey="wk_12345"),
    )
    shown = printed(capsys, f"--input={file}", f"--connections={tmp_path}/shop.yaml")
    assert shown[0].endswith("/calls.jsonl: 8 messages. Nothing was written.")
    text = "\n".join(shown)
    for line in (
        "      2  page              1  event",
        "      1  identify          2  identity calls",
        "      1  group             4  dead letters",
        "                           1  duplicate",
        "people             1  user ids",
        "                   1  by group, in 1 call: acme",
        "                   1  by email_domain as fallback, in 1 call: acme.com",
        "connections        4  Shop: p1",
        "                   0  Site: not met, no call has a projectId of it",
        "                   0  Named: not met, no call names it",
        "refused            2  unknown_connection: no connection has the project id 'p3'",
        "                      calls.jsonl, line 6: {",
        "                   1  invalid_json: ",
        "                      calls.jsonl, line 8: {oops",
        "                   1  missing_field: a track needs an event, a string that ",
    ):
        assert line in text, text
    assert "wk_12345" not in text


def test_only_the_first_messages_are_read_where_so_many_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl"):
        write(tmp_path / name, call(), call("track", event="Clicked"))
    pattern = f"--input={tmp_path}/*"
    assert printed(capsys, pattern, "--messages=3")[0] == "The first 3 messages of 2 files. Nothing was written."
    assert printed(capsys, pattern, "--messages=6")[0] == "All of 3 files: 6 messages. Nothing was written."


def test_a_directory_is_read_by_connection_and_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    inbox = tmp_path / "inbox"
    (inbox / "named").mkdir(parents=True)
    write(inbox / "1.jsonl", call(projectId="p1"))
    write(inbox / "named" / "2.jsonl.gz", call(), {"type": "page", "userId": "bob"})
    write(inbox / "3.part", call())
    before = sorted(path.relative_to(inbox) for path in inbox.rglob("*"))
    shown = "\n".join(printed(capsys, f"--input_directory={inbox}", f"--connections={tmp_path}/shop.yaml"))
    assert "All of 2 files: 3 messages." in shown
    assert "      2  Named" in shown
    assert "      1  Shop: p1" in shown
    assert "refused" not in shown, "a message without a time has that of its file"
    assert sorted(path.relative_to(inbox) for path in inbox.rglob("*")) == before


@pytest.mark.parametrize(
    ("what", "calls", "warning"),
    [
        ("all anonymous", [call(userId=None, anonymousId="a")], "No call has a user id: everybody would stay"),
        ("no identity calls", [call()], "No identify, group or alias call: contacts and accounts would stay empty."),
        ("the future", [call(timestamp="2026-03-03T09:00:00Z")], "1 call has a time more than a day ahead of now."),
        (
            "placeholders",
            [call(userId="undefined", anonymousId="a"), call(userId=" null ")],
            "2 ids that name nobody, and count as absent: userId 'undefined', userId 'null'.",
        ),
        ("one id in all calls", [call(userId="server")] * 60, "The id 'server' is in 60 calls of 60: does it stand"),
        (
            "an unreadable time",
            [call(sentAt="soon")],
            "Ids and times that cannot be read, and count as absent: sentAt 1.",
        ),
        (
            "one messageId twice",
            [call("identify", messageId="1", traits={"a": 1}), call("identify", messageId="1", traits={"a": 2})],
            "1 call has the messageId of another call, and would be left out.",
        ),
    ],
)
def test_what_looks_like_a_mistake_is_a_warning(what: str, calls: list[dict[str, Any]], warning: str) -> None:
    findings = found(calls)
    assert [line for line in warnings(findings) if line.startswith(warning)], what


def test_what_looks_right_is_none() -> None:
    calls = [call(userId=f"u{index % 5}", messageId=f"{index}") for index in range(60)]
    assert list(warnings(found([*calls, call("identify", traits={})]))) == []


def found(calls: list[dict[str, Any]]) -> Findings:
    findings = Findings(DEFAULT, None, NOW)
    for number, each in enumerate(calls):
        each = {"messageId": f"m{number}", **each} if "messageId" not in each else each
        findings.add(f"line {number}", Received(json.dumps(each).encode()))
    return findings


def test_no_line_is_too_long_or_moves_the_cursor() -> None:
    findings = found([call(userId="\x1b[2J" * 50), call("group", groupId="g" * 400), call("\x07" * 100)])
    shown = list(lines(findings))
    assert all(len(line) <= WIDTH and line.isprintable() for line in shown)


def test_of_what_is_no_json_it_says_what_it_looks_like(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "calls.csv"
    file.write_text("a,b\n" * 9)
    assert printed_mistake(capsys, f"--input={file}").endswith("/calls.csv looks like CSV")


def printed_mistake(capsys: pytest.CaptureFixture[str], option: str) -> str:
    assert main([option]) == 1
    return capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_input_without_a_line_is_no_success_in_silence(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.jsonl").write_text(content)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "calls.csv").write_text("a,b\n")
    title, line = printed(capsys, f"--input={tmp_path}/empty.jsonl")
    assert title.endswith("empty.jsonl: 0 messages. Nothing was written.")
    assert line == "! There is nothing to read: no line, or only empty ones"
    assert printed(capsys, f"--input_directory={tmp_path}/none") == [
        "All of 0 files: 0 messages. Nothing was written.",
        "! There is no complete file: its name ends with .jsonl or .jsonl.gz",
    ]


def test_of_a_damaged_file_it_tells_the_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "a.gz", *(call(messageId=f"{index}") for index in range(50)))
    file.write_bytes(file.read_bytes()[:-20])
    assert main([f"--input={file}"]) == 0
    assert "! Read in part only: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "one of --input and --input_directory is required; for example --input='calls/*.jsonl'"),
        (["--input=a", "--input_directory=b"], "one of --input and --input_directory is required"),
        (["--input=none.jsonl"], "--input=none.jsonl: no such file; give a file, or a pattern, in quotes, that"),
        (["--input_directory=none"], "there is no such directory; make it, or correct the name"),
        ([SAMPLE, "--connections=none.yaml"], "--connections=none.yaml: no such file; give a YAML file"),
        ([SAMPLE, "--connection=Shop"], "--connection=Shop: no such connection; choose from default"),
        ([SAMPLE, "--messages=0"], "--messages=0: reads nothing; give a number from 1"),
        ([SAMPLE, "--messages=few"], "argument --messages: 'few' is not a count: give a whole number from 0"),
        (["calls.jsonl"], "calls.jsonl: is not an option; files are given as --input='GLOB', in quotes"),
        ([SAMPLE, "--mesages=3"], "--mesages: unknown option; did you mean --messages?"),
    ],
)
def test_a_mistake_is_one_line(options: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(options) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("python -m pipeline.check: ")
    assert line in err
