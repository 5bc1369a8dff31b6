"""A Python that lacks what the program needs says which one has it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipeline.interpreter import advice
from tests.workspace import ROOT


def test_this_python_has_it_all() -> None:
    """Where nothing is missing there is nothing to say, so that a bug keeps its traceback."""
    assert advice("pipeline", "ingest") == ""


@pytest.mark.parametrize(
    ("words", "target"),
    [(["pipeline"], "ingest"), (["pipeline", "status"], "ingest"), (["app", "--help"], "serve")],
)
def test_another_python(words: list[str], target: str) -> None:
    """One line says what to run instead."""
    # Without its site, Python finds nothing that was installed.
    ran = subprocess.run(
        [sys.executable, "-S", "-m", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.endswith(f"Run: make {target}, or .venv/bin/python -m {words[0]}")
