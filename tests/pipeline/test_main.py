"""The command line from end to end: what it prints, and its exit status."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

import pipeline.run
from pipeline.__main__ import main
from pipeline.options import SegmentOptions
from pipeline.sources import Source
from tests import prism
from tests.streaming import wait_until

ROOT = Path(__file__).parents[2]
CALLS = """\
{"type": "page", "messageId": "1", "userId": "ann", "name": "Home", "timestamp": "2024-01-01T09:00:00Z"}
{"type": "page", "messageId": "1", "userId": "ann", "name": "Home", "timestamp": "2024-01-01T09:00:00Z"}
{"type": "identify", "messageId": "2", "userId": "ann", "traits": {"email": "ann@acme.com"}, "timestamp": 1704099600000}
{"type": "identify"}
"""
INPUT, WAREHOUSE = "--input=calls.jsonl", "--warehouse=duckdb:///w.duckdb"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an input, and with what is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calls.jsonl").write_text(CALLS)
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.duckdb").write_text("a,b\n" * 100)
    (tmp_path / "shop.yaml").write_text("connections: [{name: Shop}, {name: Site, project_ids: [x]}]")
    (tmp_path / "typo.yaml").write_text("connections:\n  - name: Shop\n    projectids: [x]\n")
    (tmp_path / "broken.yaml").write_text("connections: [\n")
    (tmp_path / "method.yaml").write_text("connections: [{name: Shop, account_mapping: {method: groups}}]")
    with duckdb.connect(str(tmp_path / "other.duckdb")) as connection:
        connection.execute("CREATE TABLE events (id INTEGER)")
    yield tmp_path
    gc.unfreeze()


@pytest.mark.parametrize(
    ("what", "arguments", "line"),
    [
        ("an unknown option", "--inputs=x", "--inputs: unknown option; did you mean --input?"),
        ("no option", "b.jsonl", "b.jsonl: is not an option; files are given as --input='GLOB', in quotes"),
        ("a wrong choice", "--history=all", "--history=all: is unknown; choose from warehouse, none"),
        ("no number", "--alias_window=soon", "--alias_window=soon: is not a number; give one, such as 60"),
        ("an option of Beam's", "--num_workers=few", "--num_workers=few: is not a whole number; give one, such as 3"),
        (
            "out of range",
            "--deduplicate_for=-1",
            "--deduplicate_for=-1: is out of range; give a number of seconds from 0 to ",
        ),
        (
            "no such file",
            "--input=none.jsonl",
            "--input=none.jsonl: no such file; give a file, or a pattern, in quotes, that matches one",
        ),
        ("an empty folder", "--input=folder", "--input=folder: is an empty folder; name one that has files"),
        (
            "no such scheme",
            "--input=ftps://a/b",
            "--input=ftps://a/b: is in no file system known here; give a local path or gs://",
        ),
        (
            "a secret",
            "--input=https://ann:hunter2@host/x",
            "--input=https://ann:REDACTED@host/x: is in no file system known here",
        ),
        (
            "no such configuration",
            "--connections=none.yaml",
            "--connections=none.yaml: no such file; give a YAML file, local or gs://",
        ),
        ("a folder for it", "--connections=folder", "--connections=folder: is a folder; give the YAML file in it"),
        ("no YAML", "--connections=broken.yaml", "--connections=broken.yaml, line 2: is not YAML: "),
        (
            "an unknown key",
            "--connections=typo.yaml",
            "--connections=typo.yaml, line 3, connections[0].projectids: unknown key; did you mean ",
        ),
        ("an unknown method", "--connections=method.yaml", "line 1, connections[0].account_mapping.method: "),
        (
            "an unknown connection",
            "--connections=shop.yaml --connection=Shopp",
            "--connection=Shopp: no such connection; did you mean Shop?",
        ),
        ("no URL", "--warehouse=w.duckdb", "--warehouse=w.duckdb: is not a warehouse's URL; give duckdb:///w.duckdb"),
        (
            "no DuckDB file",
            "--warehouse=duckdb:///text.duckdb",
            "--warehouse=duckdb:///text.duckdb: is not a DuckDB file; name another file, or one that does not",
        ),
        (
            "a folder for a file",
            "--warehouse=duckdb:///folder",
            "--warehouse=duckdb:///folder: is a folder; name a file in it",
        ),
        ("no folder for it", "--warehouse=duckdb:///none/w.duckdb", "none; make it, or name a file in another one"),
        (
            "another's tables",
            "--warehouse=duckdb:///other.duckdb",
            "table events, column message_id: is missing, and a key column cannot be added",
        ),
        (
            "no subscription",
            "--input_subscription=calls",
            "--input_subscription=calls: is not the full name of a subscription; give projects/",
        ),
        ("a rebuild of an input", "--rebuild", "--rebuild: reads the identity_calls in the warehouse"),
        ("no runner", "--runner=FnApiRuner", "--runner=FnApiRuner: is not a runner; did you mean FnApiRunner?"),
    ],
)
def test_a_mistake_is_one_line(what: str, arguments: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    own = [] if "--warehouse=" in arguments else [WAREHOUSE]
    assert main([INPUT, *own, *arguments.split()]) == 2
    check_mistake(line, capsys)
    assert not Path("w.duckdb").exists(), "nothing is made before everything is checked"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            [],
            "one of --input, --input_subscription, --input_directory, --redeliver and --rebuild is required; "
            "for example --input='calls/*.jsonl'",
        ),
        ([WAREHOUSE], "one of --input, --input_subscription, --input_directory, --redeliver and --rebuild is required"),
        ([INPUT], "--warehouse: is required; give duckdb:///FILE or bigquery://PROJECT/DATASET"),
    ],
)
def test_what_is_missing_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    check_mistake(line, capsys)


def check_mistake(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"segment-pipeline: [^\n]+\n", err), err
    assert line in err
    assert "hunter2" not in err


def test_a_job_prints_a_summary_and_a_second_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([INPUT, WAREHOUSE]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert re.match(r"4 calls in [\d.]+ s, \d+ calls? per second\n", out)
    assert "4 read = 1 event + 1 identity call + 1 dead letter + 1 duplicate\n" in out
    assert "Open the warehouse:  duckdb w.duckdb\n" in out
    assert main([INPUT, WAREHOUSE]) == 0
    assert "4 read = 1 dead letter + 3 duplicates\n" in capsys.readouterr().out


def test_the_query_to_try_works(capsys: pytest.CaptureFixture[str]) -> None:
    main([INPUT, WAREHOUSE])
    query = capsys.readouterr().out.partition("A query to try:")[2].strip()
    with duckdb.connect("w.duckdb", read_only=True) as connection:
        assert connection.execute(query).fetchall() == [("Page", "Home", 1)]


@pytest.mark.parametrize(
    ("what", "content", "looks"),
    [
        ("CSV", "type,userId\npage,ann\n", "looks like CSV"),
        (
            "pretty-printed JSON",
            json.dumps(json.loads(CALLS.splitlines()[0]), indent=2),
            "looks like JSON over several",
        ),
        ("a page", "<html>\n<body>\nNot found\n", "looks like HTML"),
    ],
)
def test_an_input_of_which_all_is_refused_is_no_success(
    what: str, content: str, looks: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("calls.jsonl").write_text(content)
    assert main([INPUT, WAREHOUSE]) == 1
    out = capsys.readouterr().out
    lines = len(content.splitlines())
    assert re.match(
        rf"!!! Refused: all of {lines} messages: is this one JSON object a line\? \S+/calls.jsonl {looks}", out
    )
    (query,) = {line.partition(": ")[2].strip() for line in out.splitlines() if "FROM dead_letters" in line}
    with duckdb.connect("w.duckdb", read_only=True) as connection:
        assert connection.execute(query).fetchall()


def test_a_job_of_which_most_is_refused_is_done_and_says_so_first(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.jsonl").write_text('{"type": "pageview"}\n' * 5)
    assert main([f"{INPUT},bad.jsonl", WAREHOUSE]) == 0
    assert capsys.readouterr().out.startswith("!!! Refused: 6 of 9 messages: are these Segment calls?")


def test_a_file_that_vanishes_is_named_and_the_others_are_kept(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = pipeline.run._check

    def vanish(sources: tuple[Source, ...]) -> None:
        check(sources)
        (files / "gone.jsonl").unlink()

    monkeypatch.setattr(pipeline.run, "_check", vanish)
    (files / "gone.jsonl").write_text(CALLS)
    assert main(["--input=*.jsonl", WAREHOUSE]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "!!! 1 file of the input could not be read:",
        f"    {files}/gone.jsonl: No such file or directory",
    ]
    assert "4 read = 1 event + 1 identity call + 1 dead letter + 1 duplicate" in lines


@pytest.mark.parametrize("name", [b"\xff.jsonl", b"a\xed\xa0\x80.jsonl", b"\xff/calls.jsonl"])
def test_a_file_whose_name_is_no_text_is_refused(name: bytes, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = os.fsencode(files) + b"/in/" + name
    os.makedirs(os.path.dirname(path))
    with open(path, "wb"):
        pass
    assert main([f"--input={files}/in/*/*.jsonl" if b"/" in name else f"--input={files}/in/*.jsonl", WAREHOUSE]) == 2
    check_mistake("has a name that is not UTF-8; rename the file, or the folder that it is in", capsys)


def test_a_history_that_may_not_be_left_out_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    main([INPUT, WAREHOUSE])
    capsys.readouterr()
    assert main([INPUT, WAREHOUSE, "--history=none"]) == 2
    check_mistake("--history=none: the log of earlier jobs is not empty", capsys)


def test_help_shows_our_options_first_each_with_a_default_and_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name in SegmentOptions([]).get_all_options(current_only=True):
        assert re.search(rf" --{name} .*?Default: .*?Example: --{name}\b", shown), name
    groups = ["input, one of them required:", "warehouse:", "connections:", "time:", "help:"]
    places = [shown.index(f" {group} -") for group in groups]
    assert places == sorted(places)
    assert "--runner" not in shown[: places[-1]]
    assert "Every option of Apache Beam is accepted as well" in shown


def test_an_interrupt_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline.run, "run", interrupted)
    assert main([INPUT, WAREHOUSE]) == 130
    err = capsys.readouterr().err
    assert err == "segment-pipeline: interrupted; the same command continues from what was written\n"


# ---- in a process of its own ----

WITHOUT_ROOM = "standard output cannot be written: No space left on device"


@pytest.mark.parametrize(
    ("what", "arguments", "redirection", "status", "line"),
    [
        ("a full disk", f"pipeline {INPUT} {WAREHOUSE}", ">/dev/full", 2, f"the job is done, but {WITHOUT_ROOM}"),
        ("a full disk for help", "pipeline --help", ">/dev/full", 2, WITHOUT_ROOM),
        ("a full disk for a command", "schemas ddl", ">/dev/full", 2, WITHOUT_ROOM),
        ("a full disk for errors", "pipeline --x", "2>/dev/full", 2, ""),
        ("a full disk for all", f"pipeline {INPUT} {WAREHOUSE}", ">/dev/full 2>&1", 2, ""),
        ("a closed pipe", f"pipeline {INPUT} {WAREHOUSE}", "> >(exec true)", 0, ""),
        ("a closed pipe for a command", "schemas ddl", "> >(exec true)", 141, ""),
        ("closed streams", f"pipeline {INPUT} {WAREHOUSE}", "<&- >&- 2>&-", 0, ""),
        ("closed streams and a mistake", "pipeline --x", ">&- 2>&-", 2, ""),
    ],
)
def test_output_that_cannot_be_written_is_one_line(
    what: str, arguments: str, redirection: str, status: int, line: str, files: Path
) -> None:
    wait = "wait $!; " if "true" in redirection else ""  # then the pipe is closed
    script = f"exec {redirection}; {wait}exec {sys.executable} -m {arguments}"
    ended = subprocess.run(
        ["bash", "-c", script], cwd=files, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert ended.returncode == status
    assert line in ended.stderr
    assert ended.stderr.count("\n") == bool(line)
    if INPUT in arguments:
        with duckdb.connect(files / "w.duckdb", read_only=True) as connection:
            assert connection.execute("SELECT count(*) FROM jobs WHERE ended_at IS NOT NULL").fetchall() == [(1,)]


def test_a_bucket_without_network_is_one_line(tmp_path: Path) -> None:
    """The addresses belong to nobody (RFC 5737), so nothing answers."""
    nowhere = {"GCE_METADATA_HOST": "192.0.2.1", "GCE_METADATA_IP": "192.0.2.1", "HTTPS_PROXY": "http://192.0.2.1:9"}
    mistakes = (["--input=gs://acme-calls/*.jsonl"], [INPUT, "--connections=gs://acme-calls/c.yaml"])
    with ThreadPoolExecutor(len(mistakes)) as pool:  # each waits for the same answer
        all_ended = pool.map(lambda each: command(*each, WAREHOUSE, folder=tmp_path, timeout=60, **nowhere), mistakes)
    for arguments, ended in zip(mistakes, all_ended, strict=True):
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
        assert f"{arguments[-1]}: no answer in 15 s; check the network, and sign in" in ended.stderr.replace("'", "")


def command(
    *arguments: str, code: str = "", folder: Path | None = None, timeout: float = 120, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs the program, or a program that runs it, in a folder where its packages are not."""
    program = ["-c", code] if code else ["-m", "pipeline"]
    return subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_the_program_runs_in_any_folder(tmp_path: Path) -> None:
    ended = command(INPUT, WAREHOUSE, folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "4 read = 1 event + 1 identity call + 1 dead letter + 1 duplicate\n" in ended.stdout
    assert (tmp_path / "w.duckdb").exists()


def test_a_mistake_shows_no_traceback_and_nothing_else(tmp_path: Path) -> None:
    ended = command("--input=none.jsonl", WAREHOUSE, folder=tmp_path)
    expected = (
        "segment-pipeline: --input=none.jsonl: no such file; give a file, or a pattern, in quotes, that matches one\n"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", expected)


def test_a_second_job_on_a_file_is_told_who_has_it(tmp_path: Path) -> None:
    holder = "import duckdb, sys; c = duckdb.connect('w.duckdb'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout
        assert first.stdout.readline() == "open\n"
        ended = command(INPUT, WAREHOUSE, folder=tmp_path)
    assert ended.returncode == 2
    said = f"is in use by another process (PID {first.pid}); close it, or wait until it ends\n"
    assert ended.stderr == f"segment-pipeline: --warehouse={tmp_path}/w.duckdb: {said}"


@pytest.mark.parametrize(
    ("when", "place"),
    [
        ("before the pipeline runs", "pipeline.run.build"),
        ("in the middle of the job", "transforms.parse.ParseFn.process"),
    ],
)
def test_an_interrupt_ends_the_process_and_the_same_command_goes_on(when: str, place: str, tmp_path: Path) -> None:
    interrupted = f"""
import os, sys, pipeline.run, transforms.parse
from pipeline.__main__ import main
{place} = lambda *_: os.kill(os.getpid(), {signal.SIGINT:d})
sys.exit(main())
"""
    ended = command(INPUT, WAREHOUSE, code=interrupted, folder=tmp_path)
    assert ended.returncode == 130
    assert ended.stderr == "segment-pipeline: interrupted; the same command continues from what was written\n"
    assert command(INPUT, WAREHOUSE, folder=tmp_path).returncode == 0


def test_a_job_without_end_is_looked_at_while_it_runs_and_ends_with_0_at_an_interrupt(tmp_path: Path) -> None:
    prism.require()
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (tmp_path / "calls.jsonl").rename(inbox / "calls.jsonl")
    options = [f"--input_directory={inbox}", WAREHOUSE, "--alias_window=0.5", "--snapshot=s.db", "--snapshot_every=0.1"]
    arguments = [sys.executable, "-m", "pipeline", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as job:
        wait_until("the copy has the contact", lambda: rows(tmp_path / "s.db", "contacts") == 1)
        job.send_signal(signal.SIGINT)
        out, err = job.communicate(timeout=60)
    assert job.returncode == 0, err
    assert "segment-pipeline: stopping: " in err
    assert "4 read = 1 event + 1 identity call + 1 dead letter + 1 duplicate" in out
    assert rows(tmp_path / "s.db", "jobs WHERE ended_at IS NOT NULL") == 1, "the last copy is of the end"


def rows(file: Path, table: str) -> int:
    """How many rows a table of a file has; 0 where it is not there yet."""
    try:
        with duckdb.connect(str(file), read_only=True) as connection:
            return len(connection.execute(f"FROM {table}").fetchall())
    except (duckdb.IOException, duckdb.CatalogException):
        return 0
