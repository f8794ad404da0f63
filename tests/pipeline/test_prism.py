"""Prism is found, downloaded or built; where none of these can be, one line says what to do."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apache_beam
import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.runners.portability.prism_runner import PrismJobServer
from apache_beam.transforms.userstate import BagStateSpec

from pipeline import prism
from pipeline.errors import UsageError
from tests import prism as tests_prism


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""

    def unreachable(*_: object) -> str:
        raise RuntimeError("Unable to fetch remote prism binary")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(PrismJobServer, "local_bin", unreachable)
    return tmp_path / "segment-bigquery" / f"prism-{apache_beam.__version__}"


def program(path: Path, script: str = "exit 0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_what_is_in_the_cache_is_run(cache: Path) -> None:
    cached = program(cache / "prism")
    assert prism.find() == str(cached)


def test_what_was_downloaded_is_kept(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloaded = program(tmp_path / "download")
    monkeypatch.setattr(PrismJobServer, "local_bin", lambda *_: str(downloaded))
    assert prism.find() == str(cache / "prism")
    assert (cache / "prism").read_bytes() == downloaded.read_bytes()


def test_a_release_is_unpacked_in_the_cache_once_for_all_that_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beam's own download, of an archive as the release page has it."""
    script = program(tmp_path / "prism-linux", f"echo run >> {tmp_path / 'runs'}; sleep 0.2")
    with zipfile.ZipFile(tmp_path / "prism-linux.zip", "w") as archive:
        archive.write(script, script.name)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(PrismJobServer, "path_to_binary", lambda _: (tmp_path / "prism-linux.zip").as_uri())
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with ThreadPoolExecutor(2) as pool:
        paths = {Path(path) for path in pool.map(lambda _: prism.find(), range(2))}
    (path,) = paths
    assert path.read_bytes() == script.read_bytes()
    assert os.access(path, os.X_OK)
    assert (tmp_path / "runs").read_text() == "run\n"
    assert {entry.name for entry in path.parent.iterdir()} == {"prism", "lock"}
    assert list(elsewhere.iterdir()) == [], "nothing is left in the current folder"


def test_a_program_is_in_its_place_only_when_it_is_whole(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks without the lock must not run a half."""
    downloaded = program(tmp_path / "download")
    monkeypatch.setattr(PrismJobServer, "local_bin", lambda *_: str(downloaded))
    copy = shutil.copy

    def watched(source: Path, target: Path) -> None:
        copy(source, target)
        assert not (cache / "prism").exists()

    monkeypatch.setattr(shutil, "copy", watched)
    assert prism.find() == str(cache / "prism")


@pytest.mark.parametrize("script", ["exit 1", "kill -9 $$"])
def test_a_download_that_does_not_run_is_not_kept(
    script: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PrismJobServer, "local_bin", lambda *_: str(program(tmp_path / "download", script)))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UsageError):
        prism.find()
    assert not (cache / "prism").exists()


def test_else_go_builds_it(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = program(tmp_path / "go", 'mkdir -p "$GOBIN" && echo "$@" > "$GOBIN/prism"')
    monkeypatch.setattr(shutil, "which", lambda _: str(go))
    built = f"install github.com/apache/beam/sdks/v2/go/cmd/prism@v{apache_beam.__version__}\n"
    assert Path(prism.find()).read_text() == built


def test_two_processes_get_it_once(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would otherwise write over what the other one runs."""
    script = 'echo built >> "$(dirname "$0")/runs"; sleep 0.5; mkdir -p "$GOBIN" && echo program > "$GOBIN/prism"'
    go = program(tmp_path / "go", script)
    monkeypatch.setattr(shutil, "which", lambda _: str(go))
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: prism.find(), range(2)))
    assert paths == [str(cache / "prism")] * 2
    assert (tmp_path / "runs").read_text() == "built\n"
    assert {path.name for path in cache.iterdir()} == {"prism", "lock"}


def test_where_there_is_none_one_line_says_what_to_install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UsageError, match=r"neither be downloaded .* nor built; install Go \(https://go.dev/dl\)"):
        prism.find()


def test_one_that_does_not_start_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prism, "_START_S", 0.3)
    broken = program(tmp_path / "prism")
    options = PipelineOptions([f"--prism_location={broken}"])
    with pytest.raises(UsageError, match=f"--prism_location={broken}: does not start; "), prism.started(options):
        pass


def test_a_job_server_of_ones_own_is_left_alone() -> None:
    options = PipelineOptions(["--job_endpoint=localhost:1", "--prism_location=/none"])
    with prism.started(options):
        assert options.view_as(PortableOptions).job_endpoint == "localhost:1"


def test_a_job_may_last_longer_than_the_job_server_has_to_answer() -> None:
    options = PipelineOptions([*tests_prism.options(), "--streaming", "--job_server_timeout=1"])
    with prism.started(options), beam.Pipeline(options=options) as pipeline:
        _ = pipeline | "Seconds" >> beam.Create([3]) | "Sleep" >> beam.Map(time.sleep)


class _CountingFn(beam.DoFn):
    """Gives how many elements of its key came so far, slowly."""

    ELEMENTS = BagStateSpec("elements", beam.coders.VarIntCoder())

    def process(
        self,
        element: tuple[bytes, int],
        elements: Any = beam.DoFn.StateParam(ELEMENTS),  # noqa: B008
    ) -> Iterator[int]:
        elements.add(element[1])
        count = len(list(elements.read()))
        time.sleep(0.4)
        yield count


def test_the_state_of_a_key_is_kept_where_a_bundle_is_slow(capfd: pytest.CaptureFixture[str]) -> None:
    """Prism would split the bundle between two elements of a key, and run both parts at the same time."""
    tests_prism.require()
    options = PipelineOptions(["--runner=PrismRunner", "--streaming"])
    with prism.started(options), beam.Pipeline(options=options) as pipeline:
        counts = (
            pipeline
            | beam.Create([(b"key", number) for number in range(12)], reshuffle=False)
            | beam.ParDo(_CountingFn())
        )
        _ = counts | beam.Map(print)
    assert sorted(map(int, capfd.readouterr().out.split())) == [*range(1, 13)]
