"""Commands of the Cloud SDK, read by its own parsers and not run; and what a shell script would run of them.

As a program, under the SDK's Python: reads a list of commands as JSON, and prints what is wrong with each, "" for
nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Command = Sequence[str]

_RECORDER = """#!{python} -S
import json, os, sys
name = os.path.basename(sys.argv[0])
words = " ".join([name, *sys.argv[1:]])
with open(os.environ["RECORD"], "a") as record:
    record.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
for part, message in json.loads(os.environ["REFUSED"]).items():
    if part in words:
        sys.exit(message)
for part, answer in json.loads(os.environ["ANSWERS"]).items():
    if part in words:
        print(answer)
        sys.exit(0)
if any(word.startswith("--format=value") for word in sys.argv):
    print("4711")
sys.exit(1 if {"describe", "show"} & {*sys.argv} and os.environ.get("EXISTS") != "1" else 0)
"""


def require() -> Path:
    """Where the Cloud SDK is installed. Skips the test where it is not; in CI its absence is a failure."""
    import pytest  # the SDK's own Python, which runs this file too, has none

    gcloud = shutil.which("gcloud")
    if gcloud is None:
        problem = "the Cloud SDK is not there: install it (https://cloud.google.com/sdk/docs/install)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(problem)
    return Path(str(gcloud)).resolve().parents[1]


def problems(sdk: Path, commands: Sequence[Command]) -> list[str]:
    """What the SDK's parsers say to each command, `gcloud` or `bq` with its arguments; nothing where they take it."""
    environment = {**os.environ, "CLOUDSDK_CORE_PROJECT": "acme-web", "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    python = sdk / "platform" / "bundledpythonunix" / "bin" / "python3"
    ran = subprocess.run(
        [str(python) if python.exists() else sys.executable, __file__, str(sdk)],
        input=json.dumps(list(map(list, commands))),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(ran.stdout)
    return found


class Ran(NamedTuple):
    """What a script did: the commands that it ran, its exit status, and what it printed."""

    commands: list[list[str]]
    status: int
    output: str
    errors: str


def run_by(script: str, folder: Path, *, exists: bool, others: Sequence[str] = (), **variables: str) -> list[list[str]]:
    """The commands that a Bash script runs to its end, as `ran` has it. Raises CalledProcessError."""
    done = ran(script, folder, variables, exists=exists, others=others)
    if done.status:
        raise subprocess.CalledProcessError(done.status, script, done.output, done.errors)
    return done.commands


def ran(
    script: str,
    folder: Path,
    variables: Mapping[str, str],
    *,
    exists: bool,
    others: Sequence[str] = (),
    answers: Mapping[str, str] | None = None,
    refused: Mapping[str, str] | None = None,
) -> Ran:
    """What a Bash script does where everything exists already, or nothing does. Its commands do nothing: gcloud, bq,
    and others by name; git names a commit. Those that contain a part of `answers` print the answer; those that contain
    one of `refused` fail with its message. The script's working directory is the current one."""
    for name in ("gcloud", "bq", *others):
        program = folder / name
        program.write_text(_RECORDER.replace("{python}", sys.executable), "utf-8")
        program.chmod(0o755)
    git = folder / "git"
    git.write_text("#!/bin/sh\necho 3f2a91c\n", "utf-8")
    git.chmod(0o755)
    record = folder / "record"
    record.write_text("")
    environment = {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "RECORD": str(record),
        "EXISTS": str(int(exists)),
        "ANSWERS": json.dumps(dict(answers or {})),
        "REFUSED": json.dumps(dict(refused or {})),
        **variables,
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    commands = [json.loads(line) for line in record.read_text().splitlines()]
    return Ran(commands, done.returncode, done.stdout, done.stderr)


# ---- under the SDK's Python ----


def _problems_here(sdk: str, commands: Sequence[Command]) -> Iterator[str]:
    sys.path[:0] = [f"{sdk}/lib", f"{sdk}/lib/third_party"]
    from googlecloudsdk import gcloud_main  # type: ignore[import-not-found]
    from googlecloudsdk.calliope import backend  # type: ignore[import-not-found]

    backend.Command.Run = lambda *_, **__: None
    cli = gcloud_main.CreateCLI([])
    for program, *arguments in commands:
        yield _bq(sdk, arguments) if program == "bq" else _said(lambda arguments=arguments: cli.Execute(arguments))


def _bq(sdk: str, arguments: Sequence[str]) -> str:
    program = (
        "import runpy, sys; from frontend import bigquery_command as commands;"
        "commands.BigqueryCmd.RunSafely = commands.NewCmd.RunSafely = lambda *_: 0;"
        "sys.argv[0] = 'bq'; runpy.run_module('bq', run_name='__main__', alter_sys=True)"
    )
    folder = f"{sdk}/platform/bq"
    path = os.pathsep.join([folder, f"{folder}/third_party"])
    ran = subprocess.run(
        [sys.executable, "-c", program, "--bigqueryrc=/dev/null", "--oauth_access_token=none", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    return ran.stdout + ran.stderr if ran.returncode else ""


def _said(execute: Any) -> str:
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            execute()
        except SystemExit as exit:
            return errors.getvalue() or f"exit status {exit.code}" if exit.code else ""
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    print(json.dumps(list(_problems_here(sys.argv[1], json.load(sys.stdin)))))
