"""Prism, Beam's portable runner, as a process beside the job: https://beam.apache.org/documentation/runners/prism/.

It is started here, and not by Beam, for three reasons: it needs more of Go's threads than there are cores, an interrupt
at the terminal must reach the job alone, and it must end when the job does, even where that is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apache_beam
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, PortableOptions, PrismRunnerOptions
from apache_beam.runners.portability.prism_runner import PrismJobServer
from apache_beam.runners.worker import sdk_worker

from pipeline.companion import answers, free_endpoint, running
from pipeline.errors import UsageError

_GO_PACKAGE: Final = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_THREADS: Final = "32"
"""Prism waits in busy loops, which on few cores starve what they wait for unless Go has threads to spare."""
_START_S: Final = 30.0
_ENDLESS_S: Final = 10 * 365 * 86_400
"""Beam takes it for the length of the calls that follow a job, too, and by default fails a job after five minutes."""
_DOWNLOAD_S: Final = 20.0
_WITHOUT_SPLITS: Final = "prism_disable_sdf_split"
"""Prism splits a slow bundle at any element. Where that is between two elements of a key, it lets both parts run at the
same time, and the state that one of them writes is lost."""
_REMEDY: Final = "install Go (https://go.dev/dl) and try again, or give --prism_location=FILE"

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def started(options: PipelineOptions) -> Iterator[None]:
    """Runs Prism while its block lasts, and has the options name it. Raises UsageError where there is none to run. A
    job server that the options name already is left alone."""
    options.view_as(DebugOptions).add_experiment(_WITHOUT_SPLITS)
    portable = options.view_as(PortableOptions)
    if portable.job_endpoint:
        yield
        return
    prism = options.view_as(PrismRunnerOptions)
    program = os.path.abspath(prism.prism_location) if prism.prism_location else find()
    endpoint = free_endpoint()
    port = endpoint.rpartition(":")[2]
    command = [program, f"--job_port={port}", "--serve_http=false", "--log_kind=text", "--log_level=error"]
    with running(command, {"GOMAXPROCS": os.environ.get("GOMAXPROCS", _THREADS)}):
        if not answers(endpoint, _START_S):
            raise UsageError("does not start", _REMEDY, option="--prism_location", value=program)
        portable.job_endpoint = endpoint
        portable.job_server_timeout = _ENDLESS_S
        portable.environment_type = portable.environment_type or "LOOPBACK"
        worker = logging.getLogger(sdk_worker.__name__)
        worker.addFilter(_is_news)
        try:
            yield
        finally:
            worker.removeFilter(_is_news)
            portable.job_endpoint = None


def _is_news(record: logging.LogRecord) -> bool:
    """Prism lets nobody cache state, so there is nothing to do about what the worker says of the time that it takes."""
    return not str(record.msg).startswith("Retrieving state")


def find() -> str:
    """Prism of Beam's own version: what is in the cache, else from Beam's release page, else built by a Go toolchain.
    Raises UsageError where none of these can be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    program = cache / "segment-bigquery" / f"prism-{apache_beam.__version__}" / "prism"
    if program.exists():
        return str(program)
    program.parent.mkdir(parents=True, exist_ok=True)
    with _alone(program.parent):
        if not program.exists():
            _log.info("Prism, Beam's local runner, is not here yet; getting it takes up to a few minutes, once")
            if not _download(program) and not _build(program):
                problem = "Prism, Beam's local runner, could neither be downloaded from Beam's release page nor built"
                raise UsageError(problem, _REMEDY)
    return str(program)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Has one process at a time get Prism into this folder, so that it is downloaded or built once."""
    with open(folder / "lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(program: Path) -> bool:
    timeout = socket.getdefaulttimeout()
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        socket.setdefaulttimeout(_DOWNLOAD_S)
        try:
            url = PrismJobServer(PipelineOptions([])).path_to_binary()
            # Without a folder Beam unpacks into the current one, and returns a name that is looked up on the PATH.
            downloaded = PrismJobServer.local_bin(url, folder)
            subprocess.run([downloaded, "-help"], check=True, capture_output=True)
        except (OSError, RuntimeError, ValueError, subprocess.CalledProcessError):  # no network, or no such release
            return False
        finally:
            socket.setdefaulttimeout(timeout)
        _put(Path(downloaded), program)
    return True


def _build(program: Path) -> bool:
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        return False
    package = f"{_GO_PACKAGE}@v{apache_beam.__version__}"
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        environment = {**os.environ, "GOBIN": folder, "GOFLAGS": "-mod=mod"}
        if subprocess.run([go, "install", package], env=environment, check=False).returncode:
            return False
        _put(Path(folder, program.name), program)
    return True


def _put(made: Path, program: Path) -> None:
    """Puts a whole program in its place at once: nobody may run one that is half written."""
    unfinished = program.with_name(f"{program.name}-{os.getpid()}")
    shutil.copy(made, unfinished)
    os.replace(unfinished, program)
