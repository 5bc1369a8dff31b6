"""Real server processes: one that is emptied between tests, and others for tests that want their own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from pipeline.server import EmbeddedServer
from tests.conftest import fresh_database
from tests.workspace import ROOT, SAMPLE, Workspace

START_SECONDS = 180.0


@dataclass
class Api:
    """A running server, its workspace, and a client of it."""

    url: str
    workspace: Workspace
    client: httpx.Client
    process: subprocess.Popen[bytes]
    log: Path


class Apis:
    """Starts servers, as many as a test wants, and stops them."""

    def __init__(self, workspace: Workspace, stack: ExitStack) -> None:
        self.workspace = workspace
        self._stack = stack
        self._count = 0

    def start(self, **environ: str) -> Api:
        """Run a server with more environment variables, until the test ends."""
        self._count += 1
        log = self.workspace.root / f"server-{self._count}.log"
        clean = {
            name: text for name, text in self.workspace.environ.items() if not name.startswith("IMAGE_API_")
        }
        command = [sys.executable, "-m", "app", "--port", "0"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**clean, "IMAGE_API_DECODERS": "2", **environ},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._stack.callback(stop, process)
        url = wait_until_up(process, log)
        client = self._stack.enter_context(httpx.Client(base_url=url, timeout=300, trust_env=False))
        return Api(url, self.workspace, client, process, log)


def wait_until_up(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until a server listens, and read from its log where; fails with the log when it ends before."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if listening := re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text("utf-8", "replace")):
            return listening[1]
        time.sleep(0.02)
    raise AssertionError(f"the server did not start: {log.read_text('utf-8', 'replace')}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a server to stop, and make sure that it does."""
    process.terminate()
    try:
        process.wait(180)
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


@pytest.fixture(scope="session")
def emptied(
    server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Api]]:
    """Give what empties a server that tests share, and gives it; one that a test left ended is started anew."""
    with fresh_database(server, template) as url, ExitStack() as stack:
        apis = Apis(Workspace(tmp_path_factory.mktemp("shared"), url), stack)
        running: list[Api] = []

        def empty() -> Api:
            if not running or running[-1].process.poll() is not None:
                running.append(apis.start())
            apis.workspace.empty()
            return running[-1]

        yield empty


@pytest.fixture
def api(emptied: Callable[[], Api]) -> Api:
    """Give a running server on an empty workspace; tests that change the server itself start their own."""
    return emptied()


def take_sample(workspace: Workspace) -> None:
    """Take the sample in."""
    shutil.copy2(SAMPLE, workspace.input)
    ran = workspace.ingest("--engine", "serial")
    assert ran.code == 0, ran.err


@pytest.fixture(scope="session")
def reading(server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Run one server on the sample for all tests that only read."""
    with fresh_database(server, template) as url, ExitStack() as stack:
        workspace = Workspace(tmp_path_factory.mktemp("reading"), url)
        take_sample(workspace)
        yield Apis(workspace, stack).start()


@pytest.fixture
def changing(api: Api) -> Api:
    """Give a running server on the sample, for a test that changes it."""
    take_sample(api.workspace)
    return api
