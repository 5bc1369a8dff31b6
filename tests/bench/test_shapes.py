"""The benchmark runs as one command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
def test_a_small_contest(tmp_path: Path, database_url: str) -> None:
    """Pipeline, floor and plain script run side by side, and the results are written."""
    options = ["--scale", "0.001", "--rounds", "1", "--shape", "photos"]
    options += ["--database-url", database_url, "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text("utf-8"))
    ran = {line["name"] for line in results["shapes"]["photos"]["contestants"] if line["median_seconds"]}
    assert {"pipeline, decode", "pipeline, header", "floor, decode", "floor, header", "plain script"} <= ran
    assert (tmp_path / "chart.svg").read_text("utf-8").startswith("<svg")
