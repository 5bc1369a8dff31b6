"""The schema is brought up to date once, by one program at a time."""

from __future__ import annotations

import threading

import pytest

from pipeline.catalog.schema import migrate, migrations, version
from pipeline.database import connect
from pipeline.errors import SchemaTooNew


def test_numbers_have_no_gap() -> None:
    """Migrations are numbered from one, each number once."""
    assert list(migrations()) == list(range(1, len(migrations()) + 1))


def test_migrating(empty_database_url: str) -> None:
    """An empty database gets all tables; a second time nothing happens."""
    with connect(empty_database_url) as connection:
        assert version(connection) == 0
    assert migrate(empty_database_url) == migrate(empty_database_url) == len(migrations())
    with connect(empty_database_url) as connection:
        found = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        )
        names = {row[0] for row in found}
    assert {"image_info", "image_source", "archive", "unstored_member", "image", "schema_version"} <= names


def test_many_programs_at_once(empty_database_url: str) -> None:
    """Programs that start together migrate one after the other."""
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(migrate(empty_database_url))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [len(migrations())] * 6


def test_a_schema_of_the_future(database_url: str) -> None:
    """A catalog that a newer program made is a clear error, and is left alone."""
    with connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO schema_version (version) VALUES (999)")
    with pytest.raises(SchemaTooNew, match="update the program"):
        migrate(database_url)


def test_columns_that_others_build_on(database_url: str) -> None:
    """Tables have the columns of the contract, and the view shows digests in hex."""
    with connect(database_url) as connection:
        for statement in (
            "SELECT id, sha1, sha256, width, height, type, byte_size, local_url, created_at FROM image_info",
            "SELECT image_id, archive_id, member_index, member_name, url FROM image_source",
            "SELECT id, digest, name, state, reason FROM archive",
            "SELECT archive_id, member_index, member_name, verdict, reason, detail FROM unstored_member",
            "SELECT sha256 || sha1 FROM image",
        ):
            connection.execute(statement.encode())
