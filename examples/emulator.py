"""Pub/Sub's emulator from the Google Cloud SDK: https://cloud.google.com/pubsub/docs/emulator."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pipeline.companion import answers, free_endpoint, running

HOST = "PUBSUB_EMULATOR_HOST"
"""The environment variable that names an emulator, HOST:PORT."""

_PLACES = ("/usr/lib/google-cloud-sdk", "/opt/google-cloud-sdk", "~/google-cloud-sdk")
_START_S = 60.0


class MissingError(Exception):
    """What is not installed, and how to install it, in one line."""


@contextlib.contextmanager
def started() -> Iterator[str]:
    """Runs an emulator while its block lasts; gives its HOST:PORT. Raises MissingError."""
    host = free_endpoint()
    with running(command(host), output=subprocess.DEVNULL):
        wait_for(host)
        yield host


def command(host: str) -> list[str]:
    """What runs an emulator at `localhost:PORT`. Raises MissingError."""
    jar, java = _jar(), shutil.which("java")
    if java is None:
        raise MissingError("Pub/Sub's emulator needs Java 17: on Debian, apt-get install openjdk-17-jre-headless")
    return [java, "-jar", str(jar), "--host=localhost", f"--port={host.rpartition(':')[2]}"]


def wait_for(host: str) -> None:
    """Waits until the emulator at HOST:PORT answers. Raises MissingError."""
    if not answers(host, _START_S):
        raise MissingError(f"Pub/Sub's emulator does not start: java -jar {_jar()} shows why; it needs Java 17")


def _jar() -> Path:
    gcloud = shutil.which("gcloud")
    roots = [Path(gcloud).resolve().parents[1]] if gcloud else []
    roots += [Path(place).expanduser() for place in _PLACES]
    for root in roots:
        for jar in root.glob("platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar"):
            return jar
    raise MissingError(
        "Pub/Sub's emulator is not there: install the Google Cloud CLI (https://cloud.google.com/sdk/docs/install) "
        "and gcloud components install pubsub-emulator or apt-get install google-cloud-cli-pubsub-emulator"
    )
