"""The ledger knows archives by content and deliveries by their files, and closes what balances."""

from __future__ import annotations

from pathlib import Path

import psycopg

from pipeline.catalog.batch import record
from pipeline.catalog.ledger import finish, known, open_archives, recorded, refuse
from pipeline.records import Archive, ArchiveResult, ArchiveVerdict, Balance, FileIdentity, State, Verdict
from tests.pipeline.catalog.conftest import Open, refused, taken


def test_an_archives_life(connection: psycopg.Connection, open_archive: Open) -> None:
    """New, going on, done; then known by its file, and by its content under another name."""
    entry = open_archive(members=2)
    assert entry.state is State.NEW
    record(connection, [taken(entry.id, 0, 1)])
    assert finish(connection, [entry.id]) == {entry.id: Balance(2, 1)}
    assert known(connection, [entry.archive.file]) == set()
    again = open_archive(members=2)
    assert (again.id, again.state, again.folder) == (entry.id, State.RUNNING, "folder")
    record(connection, [refused(entry.id, 1)])
    assert finish(connection, [entry.id])[entry.id].closed
    assert known(connection, [entry.archive.file]) == {entry.archive.file}
    other = open_archive("other.zip", members=2, inode=2)
    assert other.state is State.DONE
    assert known(connection, [other.archive.file]) == {other.archive.file}


def test_a_good_copy_of_a_damaged_archive(connection: psycopg.Connection, open_archive: Open) -> None:
    """A copy is taken again for what damage refused, the same file is not, and other refusals stand."""
    entry = open_archive(members=3)
    record(
        connection, [taken(entry.id, 0, 1), refused(entry.id, 1, "bad-crc"), refused(entry.id, 2, "corrupt")]
    )
    finish(connection, [entry.id])
    assert open_archive(members=3).state is State.DONE
    copy = open_archive("copy.zip", members=3, inode=9)
    assert copy.state is State.RUNNING
    assert [(item.index, item.verdict) for item in recorded(connection, entry.id, -1)] == [
        (0, Verdict.STORED),
        (2, Verdict.REJECTED),
    ]
    record(connection, [taken(entry.id, 1, 2)])
    assert finish(connection, [entry.id]) == {entry.id: Balance(3, 2, 0, 1)}
    assert open_archive("third.zip", members=3, inode=10).state is State.DONE


def test_pages(connection: psycopg.Connection, open_archive: Open) -> None:
    """What is recorded comes in order, and goes on behind any index."""
    entry = open_archive(members=10)
    record(connection, [taken(entry.id, i, i) if i % 3 else refused(entry.id, i) for i in range(9, -1, -1)])
    assert [item.index for item in recorded(connection, entry.id, -1)] == list(range(10))
    assert [item.index for item in recorded(connection, entry.id, 6)] == [7, 8, 9]


def test_names_that_no_index_takes(connection: psycopg.Connection) -> None:
    """Names of four thousand letters, and times and inodes at their limits, are known again."""
    files = [
        FileIdentity("ж" * 2000 + str(number), 1 << 50, (1 << 64) - 1, (1 << 64) - 1) for number in range(2)
    ]
    archives = [Archive(Path("x"), file, bytes([n]) * 32, "x", 0) for n, file in enumerate(files)]
    entries = open_archives(connection, archives)
    finish(connection, [entries[0].id])
    assert known(connection, files) == {files[0]}


def test_refusals_are_noted_and_done_stays_done(connection: psycopg.Connection, open_archive: Open) -> None:
    """A refused archive has its reason; one that is done is not spoiled by a late refusal."""
    result = ArchiveResult("bad.zip", ArchiveVerdict.REJECTED, "overlap", "why")
    for _ in range(2):
        refuse(connection, FileIdentity("bad.zip", 5, 5, 5), b"r" * 32, result)
    entry = open_archive(members=0)
    finish(connection, [entry.id])
    refuse(connection, entry.archive.file, entry.archive.digest, result)
    states = connection.execute("SELECT state, reason FROM archive ORDER BY id").fetchall()
    assert states == [("rejected", "overlap"), ("done", "")]
