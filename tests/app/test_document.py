"""The OpenAPI document tells the truth: generated requests get only answers that it names, and never a 5xx."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.conftest import Api

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "10")


@pytest.mark.slow
def test_answers_are_documented(changing: Api) -> None:
    """Whatever is asked, the answer's status, type, headers and body are as documented."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(Path(__file__).with_name("schemathesis.toml")), "run"),
        f"{changing.url}/openapi.json",
        *("--checks", "all", "--max-examples", EXAMPLES, "--seed", "1", "--no-color"),
        *("--request-timeout", "60", "--generation-database", "none"),
    ]
    ran = subprocess.run(
        command, cwd=changing.workspace.root, capture_output=True, text=True, check=False, timeout=1000
    )
    assert ran.returncode == 0, ran.stdout[-8000:]


def test_every_operation_names_its_problems(reading: Api) -> None:
    """Each operation documents problem documents with the same schema; what is open to all needs no token."""
    document = reading.client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            guarded = path not in {"/health/live", "/health/ready"}
            assert bool(operation["security"]) == guarded, path
            assert {"401", "403"} & operation["responses"].keys() == ({"401", "403"} if guarded else set()), (
                path
            )
            for status in ("401", "403", "422", "503") if guarded else ("422", "503"):
                content = operation["responses"][status]["content"]
                assert list(content) == ["application/problem+json"], (path, method)
