"""Dataflow's, Cloud Storage's and OAuth's endpoints on this machine: they keep what a launch sends, and run nothing."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c
from apache_beam.portability.api import beam_runner_api_pb2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PROJECT, REGION = "acme-web", "europe-west1"
NAME, RUNNING = "segment", "2025-01-01_00_00_00-1"
"""The name of the job that is launched, and the id of one of that name that runs."""
TEMP, STAGING = "gs://acme-web-segment/temp", "gs://acme-web-segment/staging"


@dataclass
class Dataflow:
    """What was sent: jobs as JSON, and objects by their gs:// names. `objects` may be given some to be read.
    `environment` is what leads Google's clients here."""

    url: str
    environment: dict[str, str]
    jobs: list[dict[str, Any]] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)

    def options(self) -> list[str]:
        """What a Flex Template's launcher adds to the parameters, and where to send the job."""
        return [
            "--runner=DataflowRunner",
            f"--project={PROJECT}",
            f"--region={REGION}",
            f"--job_name={NAME}",
            f"--temp_location={TEMP}",
            f"--staging_location={STAGING}",
            f"--dataflow_endpoint={self.url}",
        ]

    def graph(self) -> beam_runner_api_pb2.Pipeline:
        """The graph that was staged."""
        (staged,) = (content for name, content in self.objects.items() if name.endswith("/pipeline.pb"))
        return beam_runner_api_pb2.Pipeline.FromString(staged)


@contextlib.contextmanager
def dataflow(folder: Path) -> Iterator[Dataflow]:
    """The endpoints, on one free port; the folder is for the key of an account that only they know."""
    server = ThreadingHTTPServer(("localhost", 0), _Handler)
    url = f"http://localhost:{server.server_port}"
    key = folder / "key.json"
    key.write_text(json.dumps(_account(url)))
    service = Dataflow(url, {"STORAGE_EMULATOR_HOST": url, "GOOGLE_APPLICATION_CREDENTIALS": str(key)})
    _Handler.service = service
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _account(url: str) -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "client_email": f"launcher@{PROJECT}.iam.gserviceaccount.com",
        "private_key": key.private_bytes(encoding, form, serialization.NoEncryption()).decode(),
        "token_uri": f"{url}/token",
    }


class _Handler(BaseHTTPRequestHandler):
    service: Dataflow

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.endswith("/jobs"):
            running = {"id": RUNNING, "name": NAME, "currentState": "JOB_STATE_RUNNING"}
            self._answer({"jobs": [running]})
            return
        bucket, of_objects, name = url.path.partition("/b/")[2].partition("/o")
        wanted = f"gs://{bucket}/{unquote(name[1:])}"
        if not of_objects:
            self._answer({"kind": "storage#bucket", "name": bucket, "id": bucket, "projectNumber": "1"})
        elif not name:
            prefix = wanted + parse_qs(url.query).get("prefix", [""])[0]
            found = [self._resource(each) for each in self.service.objects if each.startswith(prefix)]
            self._answer({"kind": "storage#objects", "items": found})
        elif wanted not in self.service.objects:
            self.send_error(404)
        elif url.path.startswith("/download/"):
            self._send(self.service.objects[wanted], {"Content-Type": "application/octet-stream"})
        else:
            self._answer(self._resource(wanted))

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        url = urlsplit(self.path)
        if url.path == "/token":
            self._answer({"access_token": "token", "expires_in": 3600, "token_type": "Bearer"})
            return
        if url.path.endswith("/jobs"):
            self.service.jobs.append(json.loads(content))
            self._answer({"id": "2026-01-01_00_00_00-1", "projectId": PROJECT, "location": REGION})
            return
        bucket = url.path.removeprefix("/upload/storage/v1/b/").removesuffix("/o")
        self._answer({}, {"Location": f"{self.service.url}/{bucket}/{json.loads(content)['name']}"})

    def do_PUT(self) -> None:
        name = f"gs:/{unquote(self.path)}"
        self.service.objects[name] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self._resource(name))

    def _resource(self, name: str) -> dict[str, str]:
        bucket, _, path = name.removeprefix("gs://").partition("/")
        content = self.service.objects[name]
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": path,
            "generation": "1",
            "size": str(len(content)),
            "crc32c": base64.b64encode(google_crc32c.Checksum(content).digest()).decode(),
            "updated": "2026-01-01T00:00:00Z",
        }

    def _answer(self, answer: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(answer).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass
