"""What a run says at its end: the closing balance, and what was not taken and why."""

from __future__ import annotations

import shutil
from collections import Counter

import click

from pipeline.progress import balance_line
from pipeline.reasons import archive_sentence, sentence
from pipeline.records import ArchiveVerdict
from pipeline.report import Report
from pipeline.words import counted, printable


def close(report: Report) -> None:
    """Print a run's account."""
    verdicts = [result.verdict for result in report.archives]
    known = verdicts.count(ArchiveVerdict.KNOWN)
    if not verdicts:
        click.echo("Nothing to do: no zip was found.")
        return
    if known == len(verdicts):
        click.echo(
            f"Nothing new: {counted(known, 'archive')} {'was' if known == 1 else 'were'} processed before."
        )
        _print_settled(report)
        return
    _print_refused(report)
    account = report.as_dict()
    parts = [f"{verdicts.count(verdict):,} {verdict}" for verdict in ArchiveVerdict if verdict in verdicts]
    click.echo(f"Archives: {', '.join(parts)}.")
    click.echo(f"Balance:  {balance_line(report.balance)}.")
    _print_waiting(report)
    _print_settled(report)
    if report.stopped:
        click.echo(f"Stopped before the end ({report.stopped}): {sentence(report.stopped)}")
    click.echo(f"Took {account['seconds']:.1f} s, {account['images_per_second']:,.0f} images/s.")


def _print_waiting(report: Report) -> None:
    """Say of archives that wait why, and when to come again; of a stop the account says it itself."""
    waiting = [result.reason for result in report.archives if result.verdict is ArchiveVerdict.WAITING]
    for reason, count in Counter(waiting).items():
        if reason != report.stopped:
            click.echo(f"Waiting:  {counted(count, 'archive')} ({reason}). {archive_sentence(reason)}")


def _print_settled(report: Report) -> None:
    """Say what was done to the delivered files."""
    done = [f"{count:,} {what}" for what, count in report.settled.items() if what]
    if done:
        click.echo(f"Zips:     {printable(', '.join(done))}.")


def _print_refused(report: Report) -> None:
    if not report.reasons:
        return
    click.echo("Not taken, and why:")
    width = max(len(reason) for reason in report.reasons)
    for reason, count in report.reasons.most_common():
        click.echo(f"  {count:>7,}  {reason:<{width}}  {sentence(reason)}")
    if not report.refused:
        click.echo()
        return
    columns = shutil.get_terminal_size((110, 24)).columns
    click.echo("\nWhich:")
    for refused in report.refused:
        line = f"  {refused.reason:<{width}}  {printable(refused.archive)}: {printable(refused.member)}"
        if refused.detail:
            line += f"  ({printable(refused.detail)})"
        click.echo(line if len(line) <= columns * 2 else line[: columns * 2 - 1] + "…")
    balance = report.balance
    if balance.rejected + balance.failed > len(report.refused):
        click.echo("  … all of them: .venv/bin/python -m pipeline rejects")
    click.echo()
