"""An Image API that runs beside a contestant, on the contestant's own catalog and folders."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator

import httpx

from bench.peers import module
from bench.room import Desk

START_SECONDS = 60.0


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(desk: Desk, port: int) -> Iterator[None]:
    """Run the API until the contestant is done; it is up before, and its start is not measured."""
    environ = {**desk.environ, "DATABASE_URL": desk.url}
    # The server is another machine's in earnest: what the client extracts is not the server's to delete.
    environ["PIPELINE_EXTRACTED"] = str(desk.folder / "served")
    with (desk.folder / "api.log").open("wb") as log:
        words = module("app", "--port", str(port))
        process = subprocess.Popen(words, env=environ, cwd=desk.folder, stdout=log, stderr=log)
        try:
            _wait(process, port)
            yield
        finally:
            process.terminate()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/health/ready").is_success:
                return
        time.sleep(0.05)
    raise RuntimeError("The API does not start.")
