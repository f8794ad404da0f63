"""The receiver's document and unit: its commands for this machine are run, and its numbers are those of the code."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pipeline.options import parse
from receiver import application, body, http_protocol, server, spool
from receiver.asgi import FAULT
from receiver.command_line import parse as parse_receiver
from receiver.envelope import MAX_MESSAGE_BYTES
from receiver.limits import Limits
from receiver.sources import load_sources
from tests.templates import cloud_sdk
from transforms.core.connections_yaml import read_connections

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "receiver.md").read_text("utf-8")
UNIT = (ROOT / "templates" / "receiver.service").read_text("utf-8")
DEPLOY = "make -s -n receiver-deploy PROJECT=acme-web REGION=europe-west1 BUCKET=acme-web-segment"


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def blocks(text: str) -> list[tuple[str, str]]:
    """The language and the text of each block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# ---- on a laptop ----

LAPTOP = blocks(section("On a laptop"))


def test_it_takes_four_commands_two_of_which_go_on() -> None:
    assert [language for language, _ in LAPTOP] == ["sh", "text", "sh", "text"]


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder in which the first two commands were given, and the address of the receiver."""
    folder = tmp_path_factory.mktemp("laptop")
    (_, configured), (_, started), *_ = LAPTOP
    subprocess.run(["bash", "-euc", configured], cwd=folder, check=True)
    *variables, program, _, module, connections, directory = shlex.split(started)
    assert (program, module) == (".venv/bin/python", "receiver")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **dict(each.split("=") for each in variables)}
    process = subprocess.Popen(
        [sys.executable, "-m", module, connections, directory, "--port=0"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield folder, re.findall(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        finally:
            process.terminate()


def test_the_call_is_answered_and_is_in_the_directory_that_the_job_follows(laptop: tuple[Path, str]) -> None:
    folder, address = laptop
    _, call = LAPTOP[2]
    assert "http://localhost:8080/" in call
    sent = shlex.split(call.replace("http://localhost:8080", address))
    if shutil.which("curl") is None:
        pytest.skip("curl is not there")
    answer = subprocess.run(["curl", "-s", *sent[1:]], capture_output=True, text=True, check=True)
    assert answer.stdout == '{"success":true}'
    (message,) = [json.loads(line) for line in lines(folder / "inbox" / "marketing-site")]
    assert message["batch"] == [
        {"userId": "ann", "event": "Signed Up", "properties": {"plan": "team"}, "type": "track"}
    ]
    assert set(message) == {"batch", "receivedAt"}


def lines(folder: Path) -> list[bytes]:
    """What complete files of the folder hold, as soon as there are any."""
    for _ in range(100):
        if found := [line for path in folder.glob("*.jsonl") for line in path.read_bytes().splitlines()]:
            return found
        time.sleep(0.1)
    return []


def test_the_job_takes_its_options(laptop: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = laptop
    monkeypatch.chdir(folder)
    words = shlex.split(LAPTOP[3][1])
    assert words[:3] == [".venv/bin/python", "-m", "pipeline"]
    settings, _ = parse(words[3:])
    assert [connection.name for connection in settings.connections.connections] == ["Marketing site"]
    assert (folder / "inbox").is_dir()


# ---- in the cloud ----


def arguments(text: str) -> list[str]:
    """The receiver's own options in a command of gcloud, or in the unit."""
    command = shlex.split(text)
    given = [word.removeprefix("--args=").split(",") for word in command if word.startswith("--args=")]
    return given[0] if given else command[command.index("receiver") + 1 :]


def test_cloud_run_starts_it_with_options_that_it_has() -> None:
    made = subprocess.run(shlex.split(DEPLOY), cwd=ROOT, capture_output=True, text=True, check=True).stdout
    options = parse_receiver(arguments(made))
    assert (options.host, options.port, options.trusted_proxies) == ("0.0.0.0", 8080, 1)
    assert options.topic == "projects/acme-web/topics/segment"
    assert options.spool is None
    concurrency = int(re.findall(r"--concurrency=(\d+)", made)[0])
    assert concurrency < Limits().max_requests
    assert f"{concurrency} requests at once an instance" in PAGE
    assert f"/etc/segment/connections.yaml=segment-connections:latest {'--min-instances=1'}" in made


def test_access_and_secrets_are_given_to_the_deployment(tmp_path: Path) -> None:
    script = f"cd {ROOT}\n{DEPLOY.replace(' -s -n', '')} SECRETS=A=a:1,B=b:2 ACCESS=--no-invoker-iam-check"
    (deployed,) = cloud_sdk.run_by(script, tmp_path, exists=True)
    assert "--set-secrets=/etc/segment/connections.yaml=segment-connections:latest,A=a:1,B=b:2" in deployed
    assert "--allow-unauthenticated" not in deployed
    assert cloud_sdk.problems(cloud_sdk.require(), [deployed]) == [""]


def settings_of_unit() -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", UNIT, re.MULTILINE))


def test_the_unit_starts_it_with_options_that_it_has() -> None:
    options = parse_receiver(
        arguments(settings_of_unit()["ExecStart"].replace("${TOPIC}", "projects/p/topics/segment"))
    )
    assert options.spool is not None
    assert str(options.spool).startswith(f"/var/lib/{settings_of_unit()['StateDirectory']}/")
    assert (options.host, options.trusted_proxies) == ("0.0.0.0", 2)
    assert int(settings_of_unit()["TimeoutStopSec"]) > server._STOP_SECONDS
    assert int(settings_of_unit()["LimitNOFILE"]) > 2 * http_protocol.MOST_CONNECTIONS


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not there")
    unit = tmp_path / "segment-receiver.service"
    unit.write_text(UNIT.replace("/opt/segment-receiver/.venv/bin/python", "/bin/true"), "utf-8")
    checked = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_what_the_machine_installs_is_what_the_image_does() -> None:
    (installed,) = re.findall(r"pip install -c (\S+) -r (\S+)", PAGE)
    assert [path.removeprefix("/opt/segment-receiver/") for path in installed] == [
        *("constraints.txt", "templates/receiver/requirements.txt")
    ]
    assert "/opt/segment-receiver/templates/receiver.service /etc/systemd/system/" in PAGE


# ---- what it says of the code ----


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ("a body, counted while it is inflated", f"{Limits().max_body_bytes / 1e6:g} MB"),
        (
            "a body without a key in the headers, which must be read to know whose it is",
            f"{Limits().max_keyless_body_bytes / 1e6:g} MB",
        ),
        ("calls of a request", f"{Limits().max_calls:,}"),
        ("the time that a body takes to come", f"{Limits().body_seconds:g} seconds"),
        ("requests that are being received or stored", f"{Limits().max_requests:,}"),
        ("bytes of their bodies, inflated", f"{Limits().max_bytes / 1e6:g} MB"),
        ("a message", f"{MAX_MESSAGE_BYTES / 1e6:g} MB"),
        ("a spool", f"{spool.MAX_BYTES / 1e9:g} GB"),
        ("the head of a request", f"{http_protocol._HEAD_BYTES // 1024} kB, {http_protocol._HEAD_FIELDS} fields"),
        ("the time that a head takes to come", f"{http_protocol._HEAD_SECONDS:g} seconds"),
        ("connections", f"{http_protocol.MOST_CONNECTIONS:,}"),
        ("the time that a connection is idle", f"{server._KEEP_ALIVE_SECONDS} seconds"),
    ],
)
def test_a_limit_is_that_of_the_code(row: str, value: str) -> None:
    limits = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", section("Limits"), re.MULTILINE))
    assert limits[row] == value


def test_a_connection_is_kept_for_longer_than_a_load_balancer_keeps_it() -> None:
    assert server._KEEP_ALIVE_SECONDS >= 620
    assert f"keeps an idle connection for {server._KEEP_ALIVE_SECONDS} seconds" in PAGE


def test_the_answers_are_those_of_the_code() -> None:
    source = "".join(Path(str(module.__file__)).read_text("utf-8") for module in (application, body))
    given = set(re.findall(r"(?:_Refused|BodyRefused|_failure)\(\s*(\d{3})\b", source))
    rows = re.findall(r"^\| (\d{3}\b[^|]*) \|", section("Endpoints"), re.MULTILINE)
    documented = set(re.findall(r"\b\d{3}\b", " ".join(rows)))
    given |= {str(answer.status) for answer in (FAULT, http_protocol.NO_REQUEST, http_protocol.TOO_LARGE)}
    assert given <= documented


def test_how_long_a_spool_lasts_is_what_so_many_calls_are() -> None:
    rows = re.findall(r"^\| ([\d,]+) \| ([\d.]+) GB \| (\d+) (hours|minutes) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 3
    for rate, hour, lasts, unit in rows:
        an_hour = int(rate.replace(",", "")) * 1_700 * 3_600
        assert float(hour) == pytest.approx(an_hour / 1e9, rel=0.05)
        seconds = int(lasts) * {"hours": 3_600, "minutes": 60}[unit]
        assert seconds == pytest.approx(spool.MAX_BYTES / an_hour * 3_600, rel=0.05)
    (disk,) = re.findall(r"disks create segment-spool .*--size=(\d+)GB", PAGE)
    assert int(disk) * 1e9 >= 2 * spool.MAX_BYTES


def test_the_connections_file_that_it_shows_is_one() -> None:
    (shown,) = (text for language, text in blocks(section("Who may send")) if language == "yaml")
    (connection,) = read_connections(shown.encode()).connections
    assert connection.receive is not None
    assert len(connection.receive.write_keys) == 2
    keys = set(msgspec.structs.asdict(connection.receive))
    assert set(re.findall(r"^ {6}(\w+):", shown, re.MULTILINE)) == keys


def test_a_webhooks_address_is_that_of_the_connections_name(laptop: tuple[Path, str]) -> None:
    folder, _ = laptop
    keys = {"SITE_API_KEY": "a", "SITE_WRITE_KEY": "b"}
    sources = load_sources(str(folder / "connections.yaml"), keys)
    assert sources.webhook("marketing-site") is not None
    assert "`/webhook/marketing-site`" in PAGE
