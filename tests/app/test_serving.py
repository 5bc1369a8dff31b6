"""The server as it is run: it starts on sound settings only, and stops when what it has begun is finished."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from tests.app.conftest import Api, Apis, stop, wait_until_up
from tests.app.sender import Sender, digest, photo
from tests.workspace import ROOT, Workspace

PATIENCE = 180.0


class Site(ThreadingHTTPServer):
    """A site whose pictures come when the test says so."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Held)
        self.asked = threading.Event()
        self.let_go = threading.Event()


class Held(BaseHTTPRequestHandler):
    """Answers with a picture once it may."""

    server: Site

    def do_GET(self) -> None:
        """Tell that it was asked, wait, answer."""
        self.server.asked.set()
        self.server.let_go.wait(PATIENCE)
        stream = io.BytesIO()
        Image.new("RGB", (30, 20), (1, 2, 3)).save(stream, "PNG")
        self.send_response(200)
        self.send_header("Content-Length", str(stream.tell()))
        self.end_headers()
        self.wfile.write(stream.getvalue())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site() -> Iterator[Site]:
    """Run the site."""
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.let_go.set()
        server.shutdown()
        thread.join()


def is_listening(api: Api) -> bool:
    """Tell whether a server takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(api.url).port or 0)) == 0


def batch(sender: Sender, archive: int, data: bytes) -> httpx.Request:
    """Make the request of a batch of one image."""
    item = {"archive": archive, "index": 0, "name": "b.jpg", "sha256": digest(data), "sent": True}
    parts: dict[str, Any] = {
        "manifest": (None, json.dumps({"run": sender.run, "items": [item]})),
        digest(data): ("b.jpg", data),
    }
    return sender.client.build_request("POST", "/images/batch", files=parts)


@pytest.mark.slow
def test_what_runs_is_finished(apis: Apis, site: Site) -> None:
    """A fetch and a half-sent batch still end well and are in the catalog; idle connections end at once."""
    api = apis.start(IMAGE_API_ALLOWED_NETWORKS="127.0.0.0/8", IMAGE_API_ALLOWED_PORTS=str(site.server_port))
    port = urlsplit(api.url).port or 0
    order = {"url": f"http://127.0.0.1:{site.server_port}/a.png"}
    sender, data = Sender(api.client), photo(5)
    request = batch(sender, sender.open()["id"], data)
    head = f"POST /images/batch HTTP/1.1\r\nHost: localhost:{port}\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in request.headers.items() if name.startswith("content-")
    )
    body = request.read()
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor())
        idle, sending = (
            stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)) for _ in range(2)
        )
        fetching = threads.submit(
            httpx.post, f"{api.url}/images", json=order, timeout=PATIENCE, trust_env=False
        )
        sending.sendall(head.encode() + b"\r\n" + body[:200])
        assert site.asked.wait(PATIENCE)
        api.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + PATIENCE
        while is_listening(api):
            assert time.monotonic() < end
            time.sleep(0.02)
        assert idle.recv(1) == b""
        assert api.process.poll() is None
        sending.sendall(body[200:])
        site.let_go.set()
        answer = b"".join(iter(lambda: sending.recv(1 << 16), b""))
        added = fetching.result()
    assert added.status_code == 201
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert api.process.wait(PATIENCE) == -signal.SIGTERM
    found = {row[0] for row in api.workspace.query("SELECT encode(sha256, 'hex') FROM image_info")}
    assert found == {added.json()["sha256"], digest(data)}


def test_a_setting_that_makes_no_sense_is_told_without_a_traceback() -> None:
    """A wrong setting ends the start with the name of its variable."""
    environ = {**os.environ, "IMAGE_API_ALLOWED_PORTS": "80,http"}
    ran = subprocess.run(
        [sys.executable, "-m", "app"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "IMAGE_API_ALLOWED_PORTS" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.slow
def test_a_port_that_is_taken_ends_the_start(workspace: Workspace) -> None:
    """Whoever starts it twice is told so before anything else is started, with the exit code of what failed."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = subprocess.run(
            [sys.executable, "-m", "app", "--port", str(taken.getsockname()[1])],
            cwd=ROOT, env=workspace.environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr.startswith("Error: 127.0.0.1 port ")
    assert "Address already in use" in ran.stderr
    assert "Application startup" not in ran.stderr


def test_a_port_that_there_is_not() -> None:
    """A number beyond all ports is wrong usage; cut to its last bits it would be another port."""
    command = [sys.executable, "-m", "app", "--port", "99999"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, "99999" in ran.stderr) == (2, True)


@pytest.mark.slow
def test_uvicorns_own_command_serves_too(workspace: Workspace) -> None:
    """`uvicorn app.main:app` works from the root of the project, for development."""
    log = workspace.root / "uvicorn.log"
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=workspace.environ, stdout=output, stderr=output)
    try:
        url = wait_until_up(process, log)
        assert httpx.get(f"{url}/health/ready", timeout=PATIENCE, trust_env=False).status_code == 200
    finally:
        stop(process)
