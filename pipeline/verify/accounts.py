"""The last stage: the ledger's balances close, and are what its rows add up to."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.catalog import inventory
from pipeline.catalog.inventory import VERDICTS, Account
from pipeline.verify.findings import Cursor, Finding, Kind, Outlook, Step
from pipeline.verify.tools import Tools
from pipeline.words import counted

STAGE = "ledger"


def check_ledger(tools: Tools, after: str) -> Iterator[Step]:
    """Yield steps archive by archive; `after` is the ledger's id of the last one that is done."""
    last = int(after or 0)
    while page := inventory.accounts(tools.connection, last):
        findings = [found for account in page if (found := _judge(tools, account))]
        last = page[-1].id
        yield Step(0, findings, Cursor(STAGE, str(last)))


def _judge(tools: Tools, account: Account) -> Finding | None:
    if account.state == "running" and not _worked_on(tools, account):
        detail = f"a verdict for {sum(account.counted):,} of {counted(account.members, 'member')}"
        return Finding(Kind.UNFINISHED, account.name, detail)
    if account.state != "done" or (account.told == account.counted and sum(account.told) == account.members):
        return None
    return _unbalanced(tools, account)


def _worked_on(tools: Tools, account: Account) -> bool:
    """Tell whether a run holds the archive, or held it when it was looked at."""
    key = int.from_bytes(account.digest[:8], "big", signed=True)
    # Claimed before, done meanwhile, or claimed by now: only what is none of these was left by a dead run.
    return (
        inventory.leased(tools.connection)
        or key in inventory.claims(tools.connection)
        or inventory.state(tools.connection, account.id) != "running"
        or key in inventory.claims(tools.connection)
    )


def _unbalanced(tools: Tools, account: Account) -> Finding:
    complete = sum(account.counted) == account.members
    members = counted(account.members, "member")
    detail = f"{members}; the ledger says {_sum(account.told)}; the rows say {_sum(account.counted)}"
    if not tools.rescue:
        return Finding(Kind.UNBALANCED, account.name, detail)
    if complete:
        inventory.recount(tools.connection, account)
        return Finding(Kind.UNBALANCED, account.name, f"counted anew: {detail}", Outlook.REPAIRED)
    inventory.reopen(tools.connection, account)
    return Finding(
        Kind.UNBALANCED, account.name, f"opened again, run ingest with it in the input folder: {detail}"
    )


def _sum(counts: tuple[int, ...]) -> str:
    return " + ".join(f"{count:,} {verdict}" for count, verdict in zip(counts, VERDICTS, strict=True))
