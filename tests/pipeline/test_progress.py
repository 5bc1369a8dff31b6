"""What people see cannot steer their terminal."""

from __future__ import annotations

import pytest

from pipeline.history import Run
from pipeline.progress import Display, balance_line, result_line
from pipeline.records import ArchiveResult, ArchiveVerdict, Balance
from pipeline.report import Report

RESULT = ArchiveResult("a\x1b[2Jb.zip", ArchiveVerdict.REJECTED, "overlap", "member\n1")


def test_lines() -> None:
    """A result is one line, with its reason and its balance."""
    assert result_line(RESULT) == "rejected  a\\x1b[2Jb.zip  (overlap: member\\n1)"
    assert balance_line(Balance(1234, 1234)).startswith("1,234 members = 1,234 stored + 0 duplicate")
    assert balance_line(Balance(1, 1)).startswith("1 member = 1 stored")


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal there are no bars, and what was known is not mentioned."""
    report = Report(Run("ingest", "postgres"))
    with Display(report, 2) as display:
        display.closed(RESULT)
        display.closed(ArchiveResult("old.zip", ArchiveVerdict.KNOWN))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == result_line(RESULT) + "\n"
    assert len(report.archives) == 2
