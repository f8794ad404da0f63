"""The options, and the one line that each mistake in them gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.__main__ import main
from receiver.command_line import Options, is_topic, parse

TOPIC = "--topic=projects/p/topics/calls"
HELP = "segment-receiver --help shows the options"


def test_options_are() -> None:
    assert parse(["--connections=c.yaml", "--directory", "d"]) == Options(
        connections="c.yaml",
        topic=None,
        directory=Path("d"),
        spool=None,
        host="127.0.0.1",
        port=8080,
        trusted_proxies=0,
    )
    given = parse(["--connections=c", TOPIC, "--spool=s", "--host=::", "--port=0", "--trusted_proxies=2"])
    assert (given.topic, given.spool, given.host) == ("projects/p/topics/calls", Path("s"), "::")
    assert (given.port, given.trusted_proxies) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "--connections: is missing; give the connections file"),
        (["--connections=c"], "--topic: is missing, and so is --directory; give one of them: where calls are stored"),
        (
            ["--connections=c", TOPIC, "--directory=d"],
            "--topic: is given, and --directory as well; give one of them: where calls are stored",
        ),
        (
            ["--connections=c", "--topic=calls"],
            "--topic=calls: is not a topic; give projects/PROJECT/topics/TOPIC",
        ),
        (
            ["--connections=c", "--directory=d", "--spool=s"],
            "--spool: means nothing with --directory; leave it out: what the directory holds is on disk",
        ),
        (["--connections=c", "--conections=c"], f"unrecognized arguments: --conections=c; {HELP}"),
        (["--connection=c"], f"unrecognized arguments: --connection=c; {HELP}"),
        (["--connections"], f"argument --connections: expected one argument; {HELP}"),
        (["--connections=c", "--connections=c"], "--connections: is given more than once; give it once"),
        (["c"], f"unrecognized arguments: c; {HELP}"),
        (["--connections=c", TOPIC, "--port=x"], "--port=x: is not a number from 0 to 65535; give one of these"),
        (
            ["--connections=c", TOPIC, "--port=65536"],
            "--port=65536: is not a number from 0 to 65535; give one of these",
        ),
        (["--connections=c", TOPIC, "--port=-1"], "--port=-1: is not a number from 0 to 65535; give one of these"),
        (
            ["--connections=c", TOPIC, "--trusted_proxies=99"],
            "--trusted_proxies=99: is not a number from 0 to 10; give one of these",
        ),
        (["--connections=c", TOPIC, "--host= "], "--host: is blank; give an address, such as 127.0.0.1 or 0.0.0.0"),
        (["--connections=c", "--directory="], "--directory='': is not a path; give a directory"),
        (
            ["--connections=c", "--directory={folder}/file"],
            "--directory={folder}/file: is not a directory; give a directory; it is made where it is missing",
        ),
        (["--connections=\udcff", TOPIC], "--connections='\\udcff': is not text in UTF-8; write it in UTF-8"),
        (["--connections={folder}/none", TOPIC], "--connections={folder}/none: no such file; give a local YAML file"),
        (
            ["--connections={folder}/c.yaml", "--directory={folder}", "--host=256.0.0.1"],
            "--host=256.0.0.1: is not an address of this machine: Name or service not known; "
            "give 127.0.0.1, or 0.0.0.0 for all",
        ),
        (
            ["--connections={folder}/read.yaml", "--directory={folder}/new"],
            "--connections={folder}/read.yaml: the connection 'read' has no sub-directory: read is for what the job "
            "has read; rename it",
        ),
    ],
)
def test_a_mistake_is_told_in_a_line(
    arguments: list[str],
    line: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEY", "k")
    (tmp_path / "file").touch()
    for name in ("c", "read"):
        (tmp_path / f"{name}.yaml").write_text(f"connections: [{{name: {name}, receive: {{write_keys: [${{KEY}}]}}}}]")
    assert main([argument.format(folder=tmp_path) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"segment-receiver: {line.format(folder=tmp_path)}\n"


def test_help_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "--trusted_proxies" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("projects/acme-web/topics/calls", True),
        ("projects/acme.com:web/topics/calls", True),
        ("projects/acme-data/subscriptions/segment", False),
        ("calls", False),
        ("projects/acme-web/topics/goog-calls", False),
        ("projects/acme-web/topics/calls\n", False),
    ],
)
def test_is_topic(name: str, is_one: bool) -> None:
    assert is_topic(name) is is_one
