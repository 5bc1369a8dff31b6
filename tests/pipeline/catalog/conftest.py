"""Fixtures for the catalog: a connection that batches can be recorded over, and things to record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pipeline.catalog.batch import PREPARE
from pipeline.catalog.ledger import open_archives
from pipeline.database import connect
from pipeline.records import Archive, Entry, FileIdentity, Image, Outcome, Record, Verdict

Open = Callable[..., Entry]


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    """Give a connection that is prepared for batches."""
    with connect(database_url) as prepared:
        prepared.execute(PREPARE)
        prepared.commit()
        yield prepared


@pytest.fixture
def open_archive(connection: psycopg.Connection) -> Open:
    """Give a function that opens an archive in the ledger, by name, digest and number of members."""

    def open_one(name: str = "a.zip", digest: bytes = b"d" * 32, members: int = 1, inode: int = 1) -> Entry:
        file = FileIdentity(name, 100, 1, inode)
        (entry,) = open_archives(connection, [Archive(Path(name), file, digest, "folder", members)])
        connection.commit()
        return entry

    return open_one


def image(number: int) -> Image:
    """Give an image that differs from those of other numbers."""
    digest = number.to_bytes(32, "big")
    return Image(digest, digest[12:], "png", 10, 20, 30, "RGB", 1, None, None, None, number, ())


def taken(archive: int, index: int, number: int) -> Record:
    """Give the record of an image."""
    return Record(archive, Outcome(index, f"{index}.png", image(number)))


def refused(archive: int, index: int, reason: str = "corrupt", verdict: Verdict = Verdict.REJECTED) -> Record:
    """Give the record of a member that is not stored."""
    return Record(archive, Outcome(index, f"{index}.png", None, verdict, reason, "why"))
