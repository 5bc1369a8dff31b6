"""A real server process for each test: a free loopback port, a fresh database, fresh folders."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from pipeline.server import EmbeddedServer
from tests.conftest import fresh_database
from tests.workspace import ROOT, Workspace

START_SECONDS = 60.0


@dataclass
class Api:
    """A running server, its workspace, and a client of it."""

    url: str
    workspace: Workspace
    client: httpx.Client
    process: subprocess.Popen[bytes]
    log: Path


def free_port() -> int:
    """Give a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Apis:
    """Starts servers, as many as a test wants, and stops them."""

    def __init__(self, workspace: Workspace, stack: ExitStack) -> None:
        self.workspace = workspace
        self._stack = stack
        self._count = 0

    def start(self, **environ: str) -> Api:
        """Run a server with more environment variables, until the test ends."""
        port = free_port()
        self._count += 1
        log = self.workspace.root / f"server-{self._count}.log"
        clean = {
            name: text for name, text in self.workspace.environ.items() if not name.startswith("IMAGE_API_")
        }
        command = [sys.executable, "-m", "app", "--port", str(port)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**clean, **environ}, stdout=output, stderr=subprocess.STDOUT
            )
        self._stack.callback(stop, process)
        url = f"http://127.0.0.1:{port}"
        client = self._stack.enter_context(httpx.Client(base_url=url, timeout=60, trust_env=False))
        wait_until_up(port, process, log)
        return Api(url, self.workspace, client, process, log)


def wait_until_up(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server listens; fails with its log when it ends before."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"the server did not start: {log.read_text('utf-8', 'replace')}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a server to stop, and make sure that it does."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Workspace:
    """Give an empty workspace."""
    return Workspace(tmp_path, database_url)


@pytest.fixture
def apis(workspace: Workspace) -> Iterator[Apis]:
    """Give what starts servers on the workspace."""
    with ExitStack() as stack:
        yield Apis(workspace, stack)


@pytest.fixture
def api(apis: Apis) -> Api:
    """Run a server on an empty workspace."""
    return apis.start()


@pytest.fixture(scope="session")
def sample(
    server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workspace]:
    """Give a workspace that the sample was taken into; nobody changes it."""
    with fresh_database(server, template) as url:
        workspace = Workspace(tmp_path_factory.mktemp("sample"), url)
        shutil.copy2(ROOT / "images_zip_input" / "sample.zip", workspace.input)
        ran = workspace.ingest("--engine", "serial")
        assert ran.code == 0, ran.err
        yield workspace


@contextmanager
def serving_copy(sample: Workspace, server: EmbeddedServer, folder: Path) -> Iterator[Api]:
    """Run a server on a copy of a workspace and its database."""
    subprocess.run(["cp", "-a", f"{sample.root}/.", folder], check=True)
    name = urlsplit(sample.url).path.lstrip("/")
    with fresh_database(server, name) as url, ExitStack() as stack:
        yield Apis(Workspace(folder, url), stack).start()


@pytest.fixture(scope="session")
def reading(
    sample: Workspace, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """Run one server on the sample for all tests that only read."""
    with serving_copy(sample, server, tmp_path_factory.mktemp("reading")) as api:
        yield api


@pytest.fixture
def changing(sample: Workspace, server: EmbeddedServer, tmp_path: Path) -> Iterator[Api]:
    """Run a server on the sample for a test that changes it."""
    with serving_copy(sample, server, tmp_path) as api:
        yield api
