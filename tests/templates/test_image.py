"""The template's image, without a container: what its Dockerfile installs is installed in an empty environment by the
same commands, and does there what the launcher and a worker do. Nothing else of this repository can be imported."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.pvalue import PCollection

from pipeline.graph import build
from pipeline.job_kind import JobKind
from pipeline.options import parse
from pipeline.prism import started
from pipeline.warehouses import DEAD_LETTERS, LOGGED, JobRun
from schemas.tables import IDENTITY_CALLS, Table, Timestamp
from templates import launcher
from tests import kept, prism
from tests.dataflow import Dataflow, dataflow
from tests.golden.__main__ import DATAFLOW
from tests.templates.launched import IMAGE, LAUNCHES, OBJECTS, WORKERS, graph, summary
from transforms.core.reader import Call
from transforms.core.rows import Append, LogEntry, Upsert

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "templates" / "Dockerfile").read_text("utf-8")
pytestmark = pytest.mark.timeout(900)  # the first time everything is installed
INSTRUCTIONS = re.findall(r"^([A-Z]+) ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)


def instructions(name: str) -> list[str]:
    return [re.sub(r"\\\n\s*", "", text) for keyword, text in INSTRUCTIONS if keyword == name]


def variables() -> Mapping[str, str]:
    """The environment of the image, once it is built under its name."""
    (text,) = instructions("ENV")
    return {name: value.replace("${IMAGE}", IMAGE) for name, value in re.findall(r"(\w+)=(\S+)", text)}


@dataclass
class Installed:
    """The image's folder and Python."""

    folder: Path
    python: Path

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python), *arguments], cwd="/", env=self.environment(environment), capture_output=True, text=True
        )

    def environment(self, others: Mapping[str, str] | None = None) -> dict[str, str]:
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.folder), **variables(), **(others or {})}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """What the Dockerfile copies, and what it runs on that. What it installs from elsewhere stays for the next time;
    the project's own packages are of this run, so that no other run may have the environment meanwhile."""
    folder = tmp_path_factory.mktemp("template")
    for copied in instructions("COPY"):
        if copied.startswith("--from="):
            continue
        *sources, target = copied.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, folder)
    locked = [DOCKERFILE, sys.version, *((folder / name).read_text() for name in ("setup.py", "constraints.txt"))]
    with kept.alone(f"image-{hashlib.sha256(repr(locked).encode()).hexdigest()[:16]}") as environment:
        complete = environment / "complete"
        if not complete.exists():
            shutil.rmtree(environment, ignore_errors=True)
            venv.create(environment, with_pip=True)
        installed = Installed(folder, environment / "bin" / "python")
        install(installed, others=not complete.exists())
        complete.touch()
        yield installed


def install(image: Installed, others: bool) -> None:
    """Runs what the Dockerfile runs, without the packages of others where they are installed already: it checks them
    all the same, at its end. What is imported is compiled then, and not all that is installed now."""
    variables = {"HOME": str(Path.home()), "PIP_NO_COMPILE": "1", **({} if others else {"PIP_NO_DEPS": "1"})}
    for command in instructions("RUN"):
        command = command.replace(" --no-cache-dir", "")  # for the image's size alone
        ran = subprocess.run(
            command, shell=True, cwd=image.folder, env=image.environment(variables), capture_output=True, text=True
        )
        if ran.returncode and "connection" in ran.stderr and not os.environ.get("CI"):
            pytest.skip("no package index can be reached: run the tests once with one")
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_an_image_is_pinned_and_its_beam_is_the_one_that_is_locked() -> None:
    bases = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.MULTILINE))
    assert set(instructions("FROM")) == {"${SDK} AS sdk", "${LAUNCHER} AS launcher", "${PYTHON}"}
    assert all(re.search(r":\d[\w.-]*\d[\w.-]*$|@sha256:[0-9a-f]{64}$", base) for base in bases.values())
    assert bases["SDK"].endswith(f":{beam.__version__}")
    assert f"python{re.findall(r'python:(3.[0-9]+)', bases['PYTHON'])[0]}_sdk" in bases["SDK"]
    assert launcher.IMAGE in variables()


def test_docker_is_given_what_the_images_copy() -> None:
    given = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    texts = (DOCKERFILE, (ROOT / "templates" / "receiver" / "Dockerfile").read_text("utf-8"))
    copied = [
        words.split()[:-1] for text in texts for words in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
    ]
    assert {Path(source).parts[0] for sources in copied for source in sources} == given


def test_only_what_is_installed_can_be_imported(image: Installed) -> None:
    assert sorted(path.name for path in image.folder.iterdir()) == ["LICENSE", "constraints.txt", "launcher.py"]
    found = image.run("-c", "import pipeline, schemas, transforms; print(pipeline.__file__)")
    assert found.stdout.startswith(str(image.python.parents[1])), found.stderr
    assert image.run("-c", "import tests.dataflow").returncode == 1
    assert image.run("-c", "import pytest").returncode == 1


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Dataflow]:
    with dataflow(tmp_path) as service:
        service.objects.update(OBJECTS)
        yield service


@pytest.mark.parametrize("name", ["streaming", "backfill"])
def test_the_launcher_starts_there_and_sends_the_same_job(image: Installed, service: Dataflow, name: str) -> None:
    started = image.folder / Path(variables()["FLEX_TEMPLATE_PYTHON_PY_FILE"]).name
    given = [f"--{parameter}={value}" for parameter, value in LAUNCHES[name].items()]
    ran = image.run(
        str(Path(__file__).with_name("unopened.py")),
        str(started),
        *given,
        *WORKERS,
        *service.options(),
        "--template_location=gs://acme-web-segment/staging/job_object",
        environment=service.environment,
    )
    assert ran.returncode == 0, ran.stderr
    assert summary(json.loads(service.objects["gs://acme-web-segment/staging/job_object"])) == (
        DATAFLOW / f"{name}.json"
    ).read_text("utf-8")
    assert graph(service.graph()) == (DATAFLOW / f"{name}.txt").read_text("utf-8")


def test_a_mistake_ends_the_launcher_in_one_line(image: Installed) -> None:
    ran = image.run(str(image.folder / "launcher.py"), "--rebuild=true", "--warehouse=bigquery")
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith("segment-pipeline: --warehouse=bigquery: is not the URL of a dataset")


# ---- a worker ----


class Lines:
    """A warehouse of text files. It travels to the workers by value, as the graph does; all else is the package's."""

    enforces_keys = False

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def read_log(self, job: JobRun) -> beam.PTransform:
        return beam.Create([])

    def append(self, table: Table, job: JobRun) -> beam.PTransform:
        return beam.ParDo(WriteFn(f"{self.folder}/{table.name}"))

    def write_blocks(self, job: JobRun) -> None:
        return None

    def log(self, job: JobRun) -> beam.PTransform:
        return WriteLog(f"{self.folder}/{IDENTITY_CALLS.name}")

    def upsert(self, table: Table, job: JobRun) -> beam.PTransform:
        return beam.ParDo(WriteFn(f"{self.folder}/{table.name}"))

    def publish(self, job: JobRun) -> beam.PTransform:
        return Nothing()


class Nothing(beam.PTransform):
    def expand(self, accepted: PCollection) -> PCollection:
        return accepted


class WriteLog(beam.PTransform):
    """Writes the row of each entry, and gives its call."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def expand(self, entries: PCollection) -> dict[str, PCollection]:
        outputs = entries | "Write" >> beam.ParDo(WriteLogFn(self.path)).with_outputs(DEAD_LETTERS, main=LOGGED)
        return {name: outputs[name] for name in (LOGGED, DEAD_LETTERS)}


class WriteLogFn(beam.DoFn):
    def __init__(self, path: str) -> None:
        self.path = path

    def process(self, entry: LogEntry) -> Iterator[Call]:
        with open(self.path, "ab") as file:
            file.write(msgspec.json.encode(entry.append.row, enc_hook=repr) + b"\n")
        yield entry.call


class WriteFn(beam.DoFn):
    def __init__(self, path: str) -> None:
        self.path = path

    def process(self, element: Append | Upsert) -> None:
        shown: Any = element.row if isinstance(element, Append) else element
        with open(self.path, "ab") as file:
            file.write(msgspec.json.encode(shown, enc_hook=repr) + b"\n")


def rows(folder: Path) -> dict[str, list[str]]:
    """The rows of each table: of appended ones all, of keyed ones the newest of each key; a tombstone is as good as
    no row."""
    held = {}
    for path in folder.iterdir():
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        upserts = sorted((line for line in lines if "key" in line), key=lambda line: line["version"])
        newest = {tuple(line["key"]): line["row"] for line in upserts}
        appended = [line for line in lines if "key" not in line]
        standing = [row for row in newest.values() if row is not None]
        held[path.name] = sorted(json.dumps(row, sort_keys=True) for row in [*appended, *standing])
    return held


def run(folder: Path, *options: str) -> dict[str, list[str]]:
    """The graph of an unbounded job, on some of the example events."""
    folder.mkdir()
    lines = (ROOT / "examples" / "events.jsonl").read_bytes().splitlines(keepends=True)
    events = folder.with_suffix(".jsonl")
    events.write_bytes(b"".join(lines[:500]))
    arguments = [
        f"--input={events}",
        f"--connections={ROOT / 'examples' / 'connections.yaml'}",
        "--warehouse=duckdb:///never-opened.duckdb",
    ]
    settings, parsed = parse([*arguments, *options])
    parsed.view_as(StandardOptions).streaming = True
    now = Timestamp(1_700_000_000_000_000)
    job = JobRun(now, now, now, bounded=False)
    with started(parsed) if settings.runner == "PrismRunner" else contextlib.nullcontext():
        pipeline = beam.Pipeline(options=parsed)
        build(pipeline, replace(settings, kind=JobKind.STREAMING), Lines(folder), job)  # type: ignore[arg-type]
        pipeline.run().wait_until_finish()
    return rows(folder)


@contextlib.contextmanager
def worker_pool(image: Installed) -> Iterator[str]:
    """The address of a process that starts workers of the image."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    module = "apache_beam.runners.worker.worker_pool_main"
    command = [str(image.python), "-m", module, f"--service_port={port}"]
    with subprocess.Popen(command, cwd="/", env=image.environment(), stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(300):
                with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
                    break
                time.sleep(0.1)
            yield f"localhost:{port}"
        finally:
            process.kill()


def test_a_worker_needs_nothing_from_the_machine_that_launched(image: Installed, tmp_path: Path) -> None:
    in_prism = [option for option in prism.options() if not option.startswith("--environment_type=")]
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        with worker_pool(image) as address:
            external = ["--environment_type=EXTERNAL", f"--environment_config={address}"]
            there = run(tmp_path / "there", *in_prism, *external)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    here = run(tmp_path / "here", "--runner=FnApiRunner")
    assert set(there) == {
        "events",
        "identity_calls",
        "dead_letters",
        "contacts",
        "accounts",
        "identities",
        "memberships",
    }
    assert there == here
