"""`ingest --plan`: judge archives from their directories alone, and write nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from pipeline.commands.closing import close
from pipeline.errors import ArchiveError
from pipeline.history import Run
from pipeline.inbox import Delivery, discover
from pipeline.intake import preflight, refusal
from pipeline.progress import result_line
from pipeline.reasons import archive_sentence
from pipeline.records import ArchiveResult, ArchiveVerdict, Balance, Member, Verdict
from pipeline.report import Report
from pipeline.settings import Settings
from pipeline.words import counted, printable

SHOWN = 50
"""Refused members printed for an archive, at most."""


def plan(settings: Settings, paths: Sequence[Path], path: Path | None) -> int:
    """Print what would become of every archive, and which members are refused unread; give an exit code."""
    report = Report(Run("plan", "none"))
    for delivery in discover(paths, settings.input) if paths or settings.input.is_dir() else ():
        result = _judge(delivery, settings, report)
        report.close(result)
    if path:
        report.write(path)
    if not report.archives:
        close(report)
    bad = {ArchiveVerdict.REJECTED, ArchiveVerdict.FAILED}
    return 1 if any(result.verdict in bad for result in report.archives) else 0


def _judge(delivery: Delivery, settings: Settings, report: Report) -> ArchiveResult:
    try:
        with preflight(delivery, settings) as zip_:
            verdicts: Counter[Verdict | None] = Counter()
            click.echo(
                f"{printable(delivery.file.name)}: {counted(zip_.count, 'member')}, "
                f"{counted(zip_.declared_bytes, 'byte')}"
            )
            for member in zip_.members():
                verdicts[member.verdict] += 1
                if member.verdict:
                    report.reasons[member.reason] += 1
                    _show(member, verdicts.total() - verdicts[None])
            click.echo(
                f"  {verdicts[None]:,} to be read, {verdicts.total() - verdicts[None]:,} refused unread"
            )
            rejected, ignored = verdicts[Verdict.REJECTED], verdicts[Verdict.IGNORED]
            balance = Balance(members=zip_.count, rejected=rejected, ignored=ignored)
            return ArchiveResult(delivery.file.name, ArchiveVerdict.WAITING, "planned", balance=balance)
    except ArchiveError as error:
        result = refusal(delivery, error)
        click.echo(f"{result_line(result)}\n  {archive_sentence(error.reason)}")
        return result


def _show(member: Member, count: int) -> None:
    if count <= SHOWN:
        detail = f"  ({printable(member.detail)})" if member.detail else ""
        click.echo(f"  {member.verdict:<8}  {member.reason:<18}  {printable(member.name)}{detail}")
    elif count == SHOWN + 1:
        click.echo("  …")
