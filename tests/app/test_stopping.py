"""A server that is told to stop finishes what it has begun, and takes nothing new."""

from __future__ import annotations

import io
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from tests.app.conftest import Api, Apis

PATIENCE = 60.0


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


@pytest.mark.slow
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_running_request_is_finished(apis: Apis, site: Site, told: signal.Signals) -> None:
    """The answer comes, and what it tells is in the catalog; idle connections end at once, and then the server does."""
    api = apis.start(IMAGE_API_ALLOWED_NETWORKS="127.0.0.0/8", IMAGE_API_ALLOWED_PORTS=str(site.server_port))
    order = {"url": f"http://127.0.0.1:{site.server_port}/a.png"}
    with (
        ThreadPoolExecutor() as threads,
        socket.create_connection(("127.0.0.1", urlsplit(api.url).port or 0)) as idle,
    ):
        running = threads.submit(
            httpx.post, f"{api.url}/images", json=order, timeout=PATIENCE, trust_env=False
        )
        assert site.asked.wait(PATIENCE)
        api.process.send_signal(told)
        end = time.monotonic() + PATIENCE
        while is_listening(api):
            assert time.monotonic() < end
            time.sleep(0.02)
        assert idle.recv(1) == b""
        assert api.process.poll() is None
        site.let_go.set()
        answer = running.result()
    assert answer.status_code == 201
    assert api.process.wait(PATIENCE) in {0, -told}
    assert api.workspace.query("SELECT encode(sha256, 'hex') FROM image_info") == [(answer.json()["sha256"],)]
