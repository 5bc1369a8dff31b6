"""What flows from the workers to the sink, and what becomes of an archive at its end."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from pipeline.errors import ArchiveError
from pipeline.reasons import PAUSES
from pipeline.records import ArchiveResult, ArchiveVerdict, Balance, Closing, Entry, Record, Slice
from pipeline.words import counted


class End(NamedTuple):
    """Marks in the flow that all records of an archive came before; `error` when it ended early."""

    entry: Entry
    error: ArchiveError | None


def weight(item: Record | End) -> int:
    """Give what an item counts for in a batch's bytes."""
    if isinstance(item, End) or item.outcome.image is None:
        return 0
    return item.outcome.image.byte_size


def size(slice_: Slice) -> int:
    """Give the bytes that a slice may write, as declared."""
    return sum(member.size for member in slice_.members if not member.verdict)


def conclude(end: End, closing: Closing) -> ArchiveResult:
    """Give an archive's result from how its work ended and what the ledger says."""
    name, path, balance = end.entry.archive.name, end.entry.archive.path, closing.balance
    if closing.differs:
        return ArchiveResult(name, ArchiveVerdict.FAILED, "ledger-differs", closing.differs, balance, path)
    if balance.closed and end.error is None and not balance.failed:
        return ArchiveResult(name, ArchiveVerdict.DONE, balance=balance, path=path)
    if end.error and end.error.reason in PAUSES:
        return _pause(end, end.error, balance)
    accounted = balance.stored + balance.duplicate + balance.rejected + balance.ignored
    missing = end.entry.archive.members - accounted
    balance = replace(balance, members=end.entry.archive.members, failed=missing)
    error = end.error or ArchiveError("unbalanced", f"{counted(missing, 'member')} not delivered")
    return ArchiveResult(name, ArchiveVerdict.FAILED, error.reason, error.detail, balance, path)


def _pause(end: End, error: ArchiveError, balance: Balance) -> ArchiveResult:
    archive = end.entry.archive
    counts = (balance.stored, balance.duplicate, balance.rejected, balance.ignored, balance.failed)
    balance = Balance(sum(counts), *counts)
    detail = f"{balance.members:,} of {counted(archive.members, 'member')} recorded"
    return ArchiveResult(archive.name, ArchiveVerdict.WAITING, error.reason, detail, balance, archive.path)
