"""What was acknowledged is counted by member and compared with the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.records import Archive, Balance, Entry, FileIdentity, State, Verdict
from pipeline.sinks.api.account import Account


def entry(members: int) -> Entry:
    """Give an archive's entry."""
    return Entry(1, Archive(Path("a"), FileIdentity("a", 1, 1, 1), b"", "a", members), State.NEW, "a")


@pytest.fixture
def account() -> Account:
    """Give an account with three members acknowledged, one of them twice."""
    account = Account()
    account.open(1)
    for index, verdict in (
        (0, Verdict.STORED),
        (9, Verdict.REJECTED),
        (4, Verdict.FAILED),
        (4, Verdict.DUPLICATE),
    ):
        account.note(1, index, verdict)
    return account


def test_equal_balances(account: Account) -> None:
    """A member that is acknowledged again counts once, with its last verdict."""
    assert account.close(entry(3), Balance(3, stored=1, duplicate=1, rejected=1)) == ""


def test_a_difference_is_named(account: Account) -> None:
    """Where the ledger has other verdicts than were acknowledged, it is said which."""
    told = account.close(entry(3), Balance(3, stored=2, rejected=1))
    assert told == "stored: 1 acknowledged, 2 in the ledger; duplicate: 1 acknowledged, 0 in the ledger"


def test_what_the_ledger_lost_is_named(account: Account) -> None:
    """A ledger that does not balance, while what was acknowledged does, is a difference."""
    assert "rejected" in account.close(entry(3), Balance(3, stored=1, duplicate=1))


def test_an_archive_that_ended_early(account: Account) -> None:
    """Where neither balances nothing is compared: an earlier run may have recorded what this one did not get to."""
    assert account.close(entry(9), Balance(9, stored=5)) == ""
