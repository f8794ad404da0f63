"""`make live`: a call made in a browser is a row a moment later, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Browser, Page, expect

from examples import live, live_run
from tests import chromium
from tests.examples.live_process import PATIENCE_S, running

PATIENCE_MS = PATIENCE_S * 1000


def processes(pid: int) -> list[int]:
    """The process and all that it has started, and those have."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    parents = {int(pid): int(parent) for pid, parent in map(str.split, listed.splitlines())}
    found = [pid]
    for parent in found:
        found += [pid for pid, its in parents.items() if its == parent]
    return found


def until_gone(pids: list[int]) -> None:
    left: list[str] = []
    for _ in range(300):
        command = ["ps", "-o", "stat=,args=", "-p", ",".join(map(str, pids))]
        listed = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        left = [line for line in listed.splitlines() if not line.startswith("Z")]
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(left)


def opened(browser: Browser, address: str) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address)
    return page


def test_a_click_is_a_row(tmp_path: Path) -> None:
    chromium.require()
    with running(tmp_path) as job, chromium.started() as browser:
        expect.set_options(timeout=PATIENCE_MS)
        page = opened(browser, job.address("The demo page"))
        has_sdk = "without Segment's SDK" not in job.output
        expect(page.locator("#sender")).to_contain_text("Segment's own SDK" if has_sdk else "plain fetch")
        page.wait_for_selector("body[data-ready]", timeout=PATIENCE_MS)
        click_through(page)
        page.screenshot(path=tmp_path / "page.png")
        debugger = opened(browser, job.address("The debugger"))
        read_debugger(debugger)
        debugger.screenshot(path=tmp_path / "debugger.png")
        pids = processes(job.process.pid)
        assert len(pids) >= 5  # itself, and the receiver and Prism, each with what watches it
        job.process.send_signal(signal.SIGINT)
        assert job.ended() == 0, job.output
    assert "Traceback" not in job.output
    until_gone(pids)
    assert list(tmp_path.glob("segment-live-*")) == []
    with duckdb.connect(str(tmp_path / "demo.duckdb"), read_only=True) as warehouse:
        assert warehouse.execute("SELECT account_name FROM contacts_resolved").fetchall() == [("Blue Harbor",)]


def test_without_npm_the_page_sends_by_itself(tmp_path: Path) -> None:
    chromium.require()
    with running(tmp_path, "--no_npm") as job, chromium.started() as browser:
        expect.set_options(timeout=PATIENCE_MS)
        page = opened(browser, job.address("The demo page"))
        expect(page.locator("#sender")).to_have_text("sent by plain fetch")
        page.wait_for_selector("body[data-ready]", timeout=PATIENCE_MS)
        page.click("text=Pricing")
        page.click("#signup button")
        expect(page.locator("#calls .row")).to_have_count(2)
        expect(page.locator("#contacts tbody tr")).to_contain_text("@")
        expect(page.locator("#events tbody tr")).to_contain_text("Pricing")


def click_through(page: Page) -> None:
    """Makes a call of each kind, and waits for the rows."""
    page.click("text=Pricing")
    page.click("text=Order for")
    expect(page.locator("#events tbody tr").filter(has_text="Order Completed")).to_be_visible()
    page.fill("#signup [name=name]", "Ada Berg")
    page.fill("#signup [name=email]", "ada.berg@blue-harbor.example")
    page.click("#signup button")
    contact = page.locator("#contacts tbody tr").filter(has_text="ada.berg@blue-harbor.example")
    expect(contact).to_contain_text("blue-harbor.example")
    page.fill("#company [name=name]", "Blue Harbor")
    page.click("#company button")
    expect(page.locator("#accounts tbody tr").filter(has_text="Blue Harbor")).to_contain_text("team")
    expect(contact).to_contain_text("Blue Harbor")
    page.click("#device")
    expect(contact.locator("td").last).to_contain_text(", ")  # the anonymous ids of both devices
    expect(page.locator("#calls .row")).to_have_count(5)  # the last of six
    took = [float(text.split()[3]) for text in page.locator("#calls .row").all_text_contents()]
    print("a row after", *took, "s")  # on a laptop less than three seconds; no test depends on time


def read_debugger(page: Page) -> None:
    """Each call is there with its outcome, and one is read."""
    expect(page.locator("#list .call")).to_have_count(6)
    page.locator("#list .call").filter(has_text="group").click()
    details = page.locator("#details")
    expect(details).to_contain_text("account blue-harbor has the name Blue Harbor")
    expect(details.locator(".raw")).to_contain_text('"groupId": "blue-harbor"')
    expect(details.locator(".read")).to_contain_text("a row of identity_calls")


def test_when_the_receiver_is_gone_all_ends_and_one_line_tells_it(tmp_path: Path) -> None:
    with running(tmp_path, "--no_npm") as job:
        job.address("The demo page")
        pids = processes(job.process.pid)
        os.kill(receiver_of(tmp_path), signal.SIGKILL)
        assert job.ended() == 1
    assert job.output.count("make live: the receiver has ended") == 1
    assert "Traceback" not in job.output
    until_gone(pids)


def test_nothing_outlives_it_when_it_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, "--no_npm") as job:
        job.address("The demo page")
        pids = processes(job.process.pid)
        assert len(pids) >= 5
        job.process.kill()
        until_gone(pids)


def test_an_interrupt_before_the_job_runs_ends_it_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: object) -> int:
        signal.raise_signal(signal.SIGTERM)
        return 1

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(live_run, "run", run)
    assert live.main([]) == 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_port_in_use_is_passed_over() -> None:
    with live_run.free_socket(18_000) as first, live_run.free_socket(first.getsockname()[1]) as second:
        assert second.getsockname()[1] > first.getsockname()[1]
    with pytest.raises(live_run.FailedError, match="in use; give another by --port"), contextmanager(no_ports)():
        live_run.free_socket(80)


def test_a_port_that_is_taken_meanwhile_is_passed_over(tmp_path: Path) -> None:
    connections = tmp_path / "connections.yaml"
    connections.write_text("connections: [{name: Shop, receive: {write_keys: ['${SHOP_WRITE_KEY}']}}]")
    command = [sys.executable, "-m", "receiver", f"--connections={connections}", f"--directory={tmp_path}"]
    environment = {"SHOP_WRITE_KEY": "key"}
    with live_run.free_socket(19_000) as taken:
        port = taken.getsockname()[1]
        with live_run._receiver(command, environment, tmp_path / "log", port) as address:
            assert port < int(address.rpartition(":")[2]) < port + 20
            with urllib.request.urlopen(f"{address}/live") as answer:
                assert answer.status == 200
    refused = live_run._receiver([*command, "--connections=x"], environment, tmp_path / "log", 0)
    with pytest.raises(live_run.FailedError, match="does not start: segment-receiver: --connections"), refused:
        pass


def no_ports() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_run, "_PORTS", 0)
        yield


def receiver_of(folder: Path) -> int:
    """The process of the receiver that stores below the folder, once it runs."""
    command = ["pgrep", "-f", rf"^\S*python\S* -m receiver .*{folder}"]
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found_ids = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        if len(found_ids) == 1:
            return int(found_ids[0])
        time.sleep(0.1)
    raise AssertionError("the receiver does not run")
