"""The application starts on what the environment says, and importing it does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.app.conftest import Api, Apis
from tests.conftest import end_connections, sibling
from tests.workspace import ROOT, Workspace


def test_a_fresh_catalog_is_empty(api: Api) -> None:
    """A server on an empty database lists nothing."""
    answer = api.client.get("/images")
    assert (answer.status_code, answer.json()) == (200, [])


def test_importing_opens_nothing() -> None:
    """Importing the application reads no settings and opens no database."""
    code = "import os; os.environ['IMAGE_API_TIMEOUT'] = 'nonsense'; import app.main"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code"), [(["uvicorn", "app.main:app", "--port", "0"], 3), (["app", "--port", "0"], 2)]
)
@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"IMAGE_API_TIMEOUT": "soon"}, "IMAGE_API_TIMEOUT='soon' makes no sense"),
        ({"DATABASE_URL": "nonsense"}, "database URL cannot be read"),
        ({"DATABASE_URL": "postgresql://u:secret@h/x?nonsense=1"}, "cannot be read"),
    ],
)
def test_a_start_that_fails_says_why(
    workspace: Workspace, environ: dict[str, str], sentence: str, command: list[str], code: int
) -> None:
    """What people can mend is told in a sentence, without a traceback or a password, and is wrong usage."""
    ran = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**workspace.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ran.returncode == code
    assert sentence in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr
    assert "secret" not in ran.stderr


@pytest.mark.slow
def test_connections_that_break_are_replaced(api: Api) -> None:
    """When Postgres ends every connection, the next request is answered all the same."""
    assert api.client.get("/images").status_code == 200
    name = urlsplit(api.workspace.url).path[1:]
    with psycopg.connect(sibling(api.workspace.url, "postgres"), autocommit=True) as admin:
        assert end_connections(admin, name) >= 1
    for _ in range(4):
        answer = api.client.get("/images")
        assert answer.status_code == 200, answer.text


@pytest.mark.slow
def test_a_database_that_goes_away_is_a_problem(apis: Apis) -> None:
    """Without its database the server answers 503 and when to come again, and goes on when it is back."""
    api = apis.start()
    name = api.workspace.query("SELECT current_database()")[0][0]
    with psycopg.connect(sibling(api.workspace.url, "postgres"), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        end_connections(admin, name)
        for accept, kind in (("*/*", "application/problem+json"), ("text/html", "text/html; charset=utf-8")):
            answer = api.client.get("/", headers={"Accept": accept})
            assert (answer.status_code, answer.headers["content-type"]) == (503, kind)
        assert answer.headers["retry-after"]
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    deadline = time.monotonic() + 180
    while api.client.get("/images").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
