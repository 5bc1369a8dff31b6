"""Fixtures for tests of the whole product."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.crash import make_archives
from tests.app.conftest import Apis
from tests.integration.delivery import Delivery
from tests.integration.surroundings import SmallDisk
from tests.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Workspace:
    """Give an empty workspace."""
    return Workspace(tmp_path, database_url)


@pytest.fixture
def apis(workspace: Workspace) -> Iterator[Apis]:
    """Give what starts API servers on the workspace."""
    with ExitStack() as stack:
        yield Apis(workspace, stack)


@pytest.fixture
def small_disk(open_folder: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """Give what makes a small disk; skip where that is not permitted."""
    with contextlib.ExitStack() as stack:

        def make(size: int) -> SmallDisk:
            folder = open_folder / "disk"
            folder.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "none", str(folder)]
            if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
                pytest.skip("mounting a small disk is not permitted here")
            stack.callback(subprocess.check_call, ["umount", "-l", str(folder)])
            return SmallDisk(folder)

        yield make


@pytest.fixture
def loaded(workspace: Workspace) -> Workspace:
    """Give a workspace with archives of small files, which take much more room than they declare."""
    make_archives(workspace.input, archives=3, members=150)
    return workspace


@pytest.fixture
def delivery(workspace: Workspace, apis: Apis) -> Delivery:
    """Give an empty workspace."""
    return Delivery(workspace, apis)
