"""The application starts on what the environment says, and importing it does nothing."""

from __future__ import annotations

import subprocess
import sys

from tests.app.conftest import Api
from tests.workspace import ROOT


def test_a_fresh_catalog_is_empty(api: Api) -> None:
    """A server on an empty database lists nothing."""
    answer = api.client.get("/images")
    assert (answer.status_code, answer.json()) == (200, [])


def test_importing_opens_nothing() -> None:
    """Importing the application reads no settings and opens no database."""
    code = "import os; os.environ['IMAGE_API_TIMEOUT'] = 'nonsense'; import app.main"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
