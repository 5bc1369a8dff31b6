"""What a run tells: a log for programs, metrics for Prometheus, a report; also when it fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.workspace import SAMPLE, Ran, Workspace

BALANCE = {"members": 12, "stored": 8, "duplicate": 1, "rejected": 2, "ignored": 1, "failed": 0}


@pytest.fixture
def sampled(workspace: Workspace) -> Workspace:
    """Give a workspace with the sample and a broken zip."""
    shutil.copy2(SAMPLE, workspace.input)
    (workspace.input / "broken\n.zip").write_bytes(b"no zip")
    return workspace


def events(ran: Ran) -> list[dict[str, Any]]:
    """Read the log of a run."""
    return [json.loads(line) for line in ran.err.splitlines()]


def metrics(path: Path) -> dict[str, float]:
    """Read a metrics file as Prometheus would."""
    families = text_string_to_metric_families(path.read_text("utf-8"))
    return {
        sample.name.removeprefix("image_pipeline_") + "".join(f"/{value}" for value in sample.labels.values()):
            sample.value
        for family in families
        for sample in family.samples
    }  # fmt: skip


@pytest.mark.slow
def test_the_log_is_for_programs_when_nobody_watches(sampled: Workspace) -> None:
    """One event for each archive and each refused member, each with the run's id; known ones are counted."""
    ran = sampled.ingest()
    told = events(ran)
    assert {event["run"] for event in told} == {ran.report["run"]}
    assert [event["event"] for event in told[:1] + told[-1:]] == ["run-started", "run-finished"]
    archives = {event["archive"]: event for event in told if event["event"] == "archive"}
    assert archives["sample.zip"]["balance"] == BALANCE
    assert archives["broken\n.zip"]["level"] == "error"
    members = {event["member"]: event["reason"] for event in told if event["event"] == "member"}
    assert members == {"shop/cut.jpg": "truncated", "shop/prices.txt": "not-an-image"}
    assert (told[-1]["exit_code"], told[-1]["balance"]) == (1, BALANCE)
    shutil.copy2(SAMPLE, sampled.input / "copy.zip")
    told = events(sampled.ingest())
    assert [event["archive"] for event in told if event["event"] == "archive"] == ["broken\n.zip", "copy.zip"]
    assert told[-1]["archives"]["known"] == 2


@pytest.mark.slow
def test_the_log_for_people(sampled: Workspace) -> None:
    """People may have their lines without a terminal, and the account is for people in any case."""
    ran = sampled.ingest("--log-format", "human")
    assert "done      sample.zip  12 members" in ran.err
    assert "Balance:  12 members" in ran.out


@pytest.mark.slow
def test_metrics(sampled: Workspace) -> None:
    """Prometheus can read the file; it changes with every run, and the last success is kept in mind."""
    path = sampled.root / "pipeline.prom"
    assert sampled.ingest("--metrics-file", path).code == 1
    first = metrics(path)
    assert (first["run_exit_code"], first["last_success_timestamp_seconds"]) == (1, 0)
    assert (first["run_members/stored"], first["run_unstored_members/truncated"]) == (8, 1)
    assert first["run_archives/rejected"] == 1
    (sampled.input / "broken\n.zip").unlink()
    assert sampled.ingest("--metrics-file", path).code == 0
    second = metrics(path)
    assert second["last_success_timestamp_seconds"] >= first["last_run_timestamp_seconds"]
    assert (second["run_archives/known"], second["run_members/stored"]) == (1, 0)
    ran = sampled.ingest("--metrics-file", path, "--database-url", sampled.url.replace("/test_", "/no_test_"))
    assert ran.code == 1
    third = metrics(path)
    assert third["run_exit_code"] == 1
    assert third["last_success_timestamp_seconds"] == second["last_success_timestamp_seconds"]
    finished, error = events(ran)[-2:]
    assert (finished["event"], finished["state"], error["event"]) == ("run-finished", "failed", "error")
    assert "does not exist" in finished["message"]
    assert error["message"] == finished["message"]


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--report", "--metrics-file"])
def test_an_account_that_cannot_be_written(sampled: Workspace, option: str) -> None:
    """What is delivered is delivered; the run says what is missing and exits with 1."""
    (sampled.input / "broken\n.zip").unlink()
    ran = sampled.run("ingest", option, "/proc/file")
    assert ran.code == 1
    assert "cannot be written" in ran.err
    assert "Balance:  12 members" in ran.out
    assert sampled.ingest().verdict("sample.zip") == ("known", "already-done")
