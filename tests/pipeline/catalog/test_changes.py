"""Images by URL and deletion: what is counted, what is told, and who waits for whom."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pipeline.catalog.batch import record
from pipeline.catalog.changes import (
    Deleted,
    DeletedImage,
    alone,
    await_deletion,
    delete_all,
    delete_image,
    insert_url_source,
    share,
)
from pipeline.catalog.ledger import finish
from pipeline.database import connect
from pipeline.errors import CatalogUnavailable
from tests.pipeline.catalog.conftest import Open, image, refused, taken

URL = "https://example.org/a.png"
ROWS = "SELECT url, verdict FROM image_source ORDER BY id"
COUNTS = "SELECT state, members, stored, duplicate, rejected, ignored FROM archive ORDER BY id"


@pytest.fixture
def other(database_url: str) -> Iterator[psycopg.Connection]:
    """Give a second connection, which commits each statement."""
    with connect(database_url, autocommit=True) as opened:
        yield opened


def test_every_url_is_kept_once(connection: psycopg.Connection) -> None:
    """The first URL of an image stores it, others are its duplicates, the same one again changes nothing."""
    assert insert_url_source(connection, image(1), URL)
    assert not insert_url_source(connection, image(1), URL)
    assert not insert_url_source(connection, image(1), f"{URL}?size=2\0")
    assert connection.execute(ROWS).fetchall() == [(URL, "stored"), (f"{URL}?size=2\\0", "duplicate")]
    assert insert_url_source(connection, image(2), URL)


def test_deleting_one_image(
    connection: psycopg.Connection, other: psycopg.Connection, open_archive: Open
) -> None:
    """Its members are ignored as deleted, so that balances stay closed; an open archive is counted at its end."""
    done, going = open_archive(members=3), open_archive("b.zip", b"b" * 32, members=2, inode=2)
    record(
        connection, [taken(done.id, 0, 1), taken(done.id, 1, 1), refused(done.id, 2), taken(going.id, 0, 1)]
    )
    finish(connection, [done.id])
    connection.commit()
    assert delete_image(other, image(2).sha256) == []
    (deleted,) = delete_image(other, image(1).sha1)
    assert deleted == DeletedImage(image(1).sha256, "png", 3, ("folder",))
    assert connection.execute(COUNTS).fetchall()[0] == ("done", 3, 0, 0, 1, 2)
    struck = connection.execute(
        "SELECT archive_id, member_index FROM unstored_member WHERE reason = 'deleted'"
    )
    assert set(struck) == {(done.id, 0), (done.id, 1), (going.id, 0)}
    record(connection, [taken(going.id, 1, 2)])
    assert finish(connection, [going.id])[going.id].closed
    assert delete_image(other, image(1).sha256) == []


def test_deleting_while_an_archive_is_closed(
    connection: psycopg.Connection, other: psycopg.Connection, open_archive: Open
) -> None:
    """Who deletes waits for whoever counts, so that the account has the members that are left."""
    entry = open_archive(members=2)
    record(connection, [taken(entry.id, 0, 1), taken(entry.id, 1, 2)])
    connection.commit()
    finish(connection, [entry.id])

    def delete() -> list[DeletedImage]:
        with alone(other):
            return delete_image(other, image(1).sha256)

    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(delete)
        with pytest.raises(TimeoutError):
            deleting.result(0.2)
        connection.commit()
        assert len(deleting.result(180)) == 1
    assert connection.execute(COUNTS).fetchall() == [("done", 2, 1, 0, 0, 1)]


def test_two_images_with_one_sha1(connection: psycopg.Connection, other: psycopg.Connection) -> None:
    """Both go when they are named by what they have in common."""
    for number in (1, 2):
        insert_url_source(connection, image(number)._replace(sha1=b"s" * 20), URL)
    connection.commit()
    assert len(delete_image(other, b"s" * 20)) == 2
    assert connection.execute(ROWS).fetchall() == []


def test_deleting_everything(
    connection: psycopg.Connection, other: psycopg.Connection, open_archive: Open
) -> None:
    """All is gone and counted; the same archive is new afterwards, under another number."""
    entry = open_archive(members=2)
    record(connection, [taken(entry.id, 0, 1), refused(entry.id, 1)])
    insert_url_source(connection, image(1), URL)
    connection.commit()
    assert delete_all(other) == Deleted(1, 2, 1, ("folder",))
    assert delete_all(other) == Deleted(0, 0, 0)
    again = open_archive(members=2)
    assert (again.state, again.id > entry.id) == ("new", True)


def test_who_records_and_who_deletes(connection: psycopg.Connection, other: psycopg.Connection) -> None:
    """Recording is refused while somebody deletes, and possible before and afterwards."""
    share(connection)
    connection.rollback()
    with alone(other):
        with pytest.raises(CatalogUnavailable, match="being deleted"):
            share(connection)
        connection.rollback()
    share(connection)
    with other.transaction():
        share(other)


def test_deletions_are_numbered(connection: psycopg.Connection, other: psycopg.Connection) -> None:
    """Who asks before writing learns later what was deleted since, also when one image is deleted twice."""
    assert await_deletion(connection) == 0
    seen = []
    for _ in range(2):
        connection.rollback()
        insert_url_source(connection, image(1), URL)
        connection.commit()
        delete_image(other, image(1).sha256)
        seen.append(await_deletion(connection))
    assert 0 < seen[0] < seen[1]
