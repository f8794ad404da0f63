"""A companion lives no longer than the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from pipeline.companion import answers, free_endpoint, running
from tests.streaming import wait_until

ROOT = Path(__file__).parents[2]
STARTS_ONE = """
import sys
from pipeline.companion import running
with running([sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"]):
    sys.stdin.read()
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_it_ends_when_its_parent_is_killed() -> None:
    command = [sys.executable, "-c", STARTS_ONE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        companion = int(parent.stdout.readline())
        assert is_running(companion)
        parent.send_signal(signal.SIGKILL)
        wait_until("it ends", lambda: not is_running(companion))


def test_it_ends_with_its_block() -> None:
    command = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"]
    with open(os.devnull, "wb") as nowhere, running(command, output=nowhere) as process:
        assert process.poll() is None
    assert process.poll() is not None


def test_nobody_answers_at_a_free_port() -> None:
    assert not answers(free_endpoint(), 0.3)
