"""Fixtures for tests of the whole product."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Workspace:
    """Give an empty workspace."""
    return Workspace(tmp_path, database_url)
