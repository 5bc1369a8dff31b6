"""Fixtures for tests of the whole product."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.app.conftest import Apis
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
