"""What people and Prometheus read of the catalog."""

from __future__ import annotations

import psycopg

from pipeline.catalog.batch import record
from pipeline.catalog.ledger import finish, refuse
from pipeline.catalog.queries import ArchiveRow, Totals, UnstoredRow, archives, count_images, totals, unstored
from pipeline.records import ArchiveResult, ArchiveVerdict, Balance, FileIdentity, Verdict
from tests.pipeline.catalog.conftest import Open, refused, taken


def test_an_empty_catalog(connection: psycopg.Connection) -> None:
    """Nothing is there, and nothing is counted."""
    assert list(archives(connection)) == []
    assert list(unstored(connection)) == []
    assert count_images(connection) == 0
    assert totals(connection) == Totals(0, {}, dict.fromkeys(map(str, Verdict), 0))


def test_archives_and_what_they_did_not_store(connection: psycopg.Connection, open_archive: Open) -> None:
    """Archives come in the order of first sight with their balances, members in that of their archives."""
    later = open_archive("z.zip", b"z" * 32, members=3)
    first = open_archive("a.zip", b"a" * 32, members=2, inode=2)
    record(connection, [taken(first.id, 0, 1), refused(first.id, 1, "truncated")])
    connection.commit()
    record(
        connection,
        [refused(later.id, 2, "litter", Verdict.IGNORED), refused(later.id, 0), taken(later.id, 1, 1)],
    )
    finish(connection, [first.id, later.id])
    lost = ArchiveResult("bad.zip", ArchiveVerdict.REJECTED, "overlap", "why")
    refuse(connection, FileIdentity("bad.zip", 5, 5, 5), b"r" * 32, lost)
    assert list(archives(connection)) == [
        ArchiveRow("z.zip", "done", "", "", Balance(3, duplicate=1, rejected=1, ignored=1)),
        ArchiveRow("a.zip", "done", "", "", Balance(2, stored=1, rejected=1)),
        ArchiveRow("bad.zip", "rejected", "overlap", "why", Balance()),
    ]
    assert list(unstored(connection)) == [
        UnstoredRow("z.zip", "0.png", "rejected", "corrupt", "why"),
        UnstoredRow("z.zip", "2.png", "ignored", "litter", "why"),
        UnstoredRow("a.zip", "1.png", "rejected", "truncated", "why"),
    ]
    assert count_images(connection) == 1
    sums = {"stored": 1, "duplicate": 1, "rejected": 2, "ignored": 1, "failed": 0}
    assert totals(connection) == Totals(1, {"done": 2, "rejected": 1}, sums)


def test_more_rows_than_are_sent_at_once(connection: psycopg.Connection, open_archive: Open) -> None:
    """Rows are streamed over a cursor, all of them, in order."""
    entry = open_archive(members=2500)
    record(connection, [refused(entry.id, index) for index in range(2500)])
    assert [row.member for row in unstored(connection)] == [f"{index}.png" for index in range(2500)]
