"""The account of a run says what became of everything, and what the exit code is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SettingsError, StoreError
from pipeline.history import Run, RunState
from pipeline.records import (
    Archive,
    ArchiveResult,
    ArchiveVerdict,
    Balance,
    Entry,
    FileIdentity,
    Outcome,
    State,
    Verdict,
)
from pipeline.report import SHOWN, Report

ENTRY = Entry(1, Archive(Path("a.zip"), FileIdentity("a.zip", 1, 1, 1), b"d", "a", 3), State.NEW, "a")
COUNTS = st.integers(0, 10**9)
BALANCES = st.builds(Balance, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)


@pytest.fixture
def report() -> Report:
    """Give an empty report."""
    return Report(Run("ingest", "postgres"))


def done(balance: Balance, verdict: ArchiveVerdict = ArchiveVerdict.DONE) -> ArchiveResult:
    """Give an archive's result."""
    return ArchiveResult("a.zip", verdict, balance=balance)


def test_the_document(report: Report, tmp_path: Path) -> None:
    """The JSON document has what others build on, under the names that they know."""
    report.note(
        ENTRY,
        [
            Outcome(1, "b", None, Verdict.REJECTED, "corrupt"),
            Outcome(2, "c", None, Verdict.IGNORED, "litter"),
        ],
    )
    report.close(done(Balance(3, 1, 0, 1, 1, 0)))
    report.write(tmp_path / "report.json")
    document = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert document["balance"] == {
        "members": 3, "stored": 1, "duplicate": 0, "rejected": 1, "ignored": 1, "failed": 0,
    }  # fmt: skip
    (archive,) = document["archives"]
    assert {
        "name": "a.zip",
        "verdict": "done",
        "reason": "",
        "balance": document["balance"],
    }.items() <= archive.items()
    assert document["reasons"] == {"corrupt": 1, "litter": 1}
    assert {"seconds", "images_per_second", "bytes"} <= document.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_report_that_cannot_be_written(report: Report, tmp_path: Path) -> None:
    """The error names the file, and nothing torn stays."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"report\.json"):
        report.write(tmp_path / "file" / "report.json")


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (done(Balance(2, 1, 0, 1, 0, 0)), 0),
        (done(Balance(2, 1, 0, 0, 0, 1), ArchiveVerdict.FAILED), 1),
        (done(Balance(3, 1, 0, 1, 0, 0)), 1),
        (done(Balance(), ArchiveVerdict.REJECTED), 1),
        (done(Balance(), ArchiveVerdict.WAITING), 0),
        (done(Balance(), ArchiveVerdict.KNOWN), 0),
    ],
)
def test_exit_codes(report: Report, result: ArchiveResult, code: int) -> None:
    """Rejections are normal; what is undelivered, refused whole or does not balance is not."""
    report.close(result)
    assert report.exit_code == code


def test_exit_codes_of_errors(report: Report) -> None:
    """The account says what the program exits with: 2 for wrong usage, 1 for what fails."""
    assert report.ending(SettingsError("no URL")).exit_code == 2
    assert report.ending(StoreError("no disk")).exit_code == 1


def test_strict(report: Report) -> None:
    """With --strict a rejected member is wrong."""
    report.strict = True
    report.close(done(Balance(2, 1, 0, 0, 1, 0)))
    assert report.exit_code == 0
    report.close(done(Balance(1, 0, 0, 1, 0, 0)))
    assert report.exit_code == 1


def test_the_table_is_bounded(report: Report) -> None:
    """Refused members beyond the table are only counted."""
    report.note(ENTRY, [Outcome(number, "a", None, Verdict.REJECTED, "corrupt") for number in range(500)])
    assert len(report.refused) == SHOWN
    assert report.reasons["corrupt"] == 500


@given(st.lists(BALANCES, max_size=5))
def test_balances_add_up(balances: list[Balance]) -> None:
    """A sum of closed balances is closed, and every count is the sum of the counts."""
    total = sum(balances, Balance())
    assert total.members == sum(balance.members for balance in balances)
    if all(balance.closed for balance in balances):
        assert total.closed
    assert not Balance(total.members + 1).closed


def test_how_a_run_ended(report: Report) -> None:
    """A request to stop is told from an error, and both from an end."""
    assert report.ending().state is RunState.FINISHED
    assert report.ending(KeyboardInterrupt()).state is RunState.STOPPED
    assert report.ending(ValueError("odd")).message == "odd"


def test_how_long_a_run_took(report: Report) -> None:
    """The figure stands once it was told, whatever is still to be done."""
    report.started -= 5
    took = report.ending().seconds
    report.started -= 5
    assert took is not None
    assert took >= 5
    assert (
        took == report.ending(StoreError("no disk")).seconds == report.seconds == report.as_dict()["seconds"]
    )
