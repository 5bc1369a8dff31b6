"""A batch is recorded once, whatever it repeats and however often it comes."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.catalog.batch import PREPARE, record, verdicts
from pipeline.database import connect
from pipeline.errors import CatalogError
from pipeline.records import Outcome, Record, Verdict
from tests.pipeline.catalog.conftest import Open, image, refused, taken


def rows(connection: psycopg.Connection) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Give what is recorded: sources with their verdicts, and members not stored."""
    sources = connection.execute(
        """SELECT archive_id, member_index, dhash, verdict
           FROM image_source JOIN image_info i ON i.id = image_id ORDER BY 1, 2"""
    ).fetchall()
    others = connection.execute(
        "SELECT archive_id, member_index, verdict, reason FROM unstored_member ORDER BY 1, 2"
    ).fetchall()
    return sources, others


def test_the_first_is_stored_the_others_are_duplicates(
    connection: psycopg.Connection, open_archive: Open
) -> None:
    """Within a batch and after it, one record of an image is `stored`."""
    one = open_archive(members=5).id
    record(connection, [taken(one, 0, 7), taken(one, 1, 7), refused(one, 2), taken(one, 3, 8)])
    assert verdicts(connection) == ["stored", "duplicate", "rejected", "stored"]
    connection.commit()
    record(connection, [taken(one, 4, 8)])
    assert verdicts(connection) == ["duplicate"]
    connection.commit()
    assert connection.execute("SELECT count(*) FROM image_info").fetchone() == (2,)


def test_again_changes_nothing(connection: psycopg.Connection, open_archive: Open) -> None:
    """A batch that was lost on the way back is delivered again without harm."""
    one = open_archive(members=3).id
    batch = [taken(one, 0, 7), taken(one, 1, 7), refused(one, 2)]
    for _ in range(3):
        record(connection, batch)
        connection.commit()
        assert verdicts(connection) in ([], ["stored", "duplicate", "rejected"])
        assert rows(connection) == (
            [(one, 0, 7, "stored"), (one, 1, 7, "duplicate")],
            [(one, 2, "rejected", "corrupt")],
        )


def test_an_image_takes_a_refusals_place(connection: psycopg.Connection, open_archive: Open) -> None:
    """And never the other way round."""
    one = open_archive().id
    for batch, expected in (
        ([refused(one, 0, "bad-crc")], ([], [(one, 0, "rejected", "bad-crc")])),
        ([refused(one, 0, "truncated")], ([], [(one, 0, "rejected", "truncated")])),
        ([taken(one, 0, 1)], ([(one, 0, 1, "stored")], [])),
        ([refused(one, 0, "bad-crc")], ([(one, 0, 1, "stored")], [])),
    ):
        record(connection, batch)
        connection.commit()
        assert rows(connection) == expected


def test_hostile_texts(connection: psycopg.Connection, open_archive: Open) -> None:
    """Whatever decoders say of hostile bytes, Postgres takes it."""
    one = open_archive(members=2).id
    odd = image(1)._replace(remarks=("nul \0", "lone \ud800"), captured_offset="+\0")
    record(
        connection,
        [
            Record(one, Outcome(0, "a", odd)),
            Record(one, Outcome(1, "b", None, Verdict.REJECTED, "corrupt", "\0\udfff")),
        ],
    )
    row = connection.execute("SELECT remarks, captured_offset FROM image_info").fetchone()
    assert row == (["nul \\0", "lone \\ud800"], "+\\0")


def test_extreme_values(connection: psycopg.Connection, open_archive: Open) -> None:
    """The largest sizes and hashes that may come fit."""
    one = open_archive().id
    large = image(1)._replace(byte_size=1 << 40, width=1 << 30, height=1, frames=20_000, dhash=-(1 << 63))
    record(connection, [Record(one, Outcome(999_999, "n" * 60_000, large))])
    assert connection.execute("SELECT dhash, byte_size FROM image_info").fetchone() == (-(1 << 63), 1 << 40)


def test_an_archive_that_is_gone(connection: psycopg.Connection) -> None:
    """A batch for an archive that was deleted meanwhile is an error that says so."""
    with pytest.raises(CatalogError, match="deleted"):
        record(connection, [taken(999, 0, 1)])


@pytest.mark.slow
def test_many_at_once(database_url: str, open_archive: Open) -> None:
    """Several runs that record the same images at the same time neither deadlock nor store one twice."""
    archives = [open_archive(f"{number}.zip", bytes([number]) * 32, 200).id for number in range(4)]
    failures: list[BaseException] = []

    def run(archive: int, step: int) -> None:
        try:
            with connect(database_url) as connection:
                connection.execute(PREPARE)
                connection.commit()
                for start in range(0, 200, 50):
                    order = range(start, start + 50)[::step]
                    record(connection, [taken(archive, index, index % 60) for index in order])
                    connection.commit()
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(one, (-1) ** one)) for one in archives]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with connect(database_url) as connection:
        counts: dict[str, int] = dict(
            connection.execute("SELECT verdict, count(*) FROM image_source GROUP BY 1").fetchall()
        )
    assert counts == {"stored": 60, "duplicate": 740}


STEPS = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 3))), min_size=1, max_size=6),
    max_size=5,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=STEPS)
def test_any_history_balances(
    connection: psycopg.Connection, open_archive: Open, batches: list[list[tuple[int, int | None]]]
) -> None:
    """However batches repeat members and images: each member ends once, and each image is stored once."""
    connection.execute("TRUNCATE image_info, image_source, unstored_member, archive, archive_file CASCADE")
    connection.commit()
    one = open_archive(members=6).id
    for batch in batches:
        record(
            connection, [refused(one, i) if number is None else taken(one, i, number) for i, number in batch]
        )
        connection.commit()
    sources, others = rows(connection)
    ended = [row[1] for row in sources] + [row[1] for row in others]
    assert sorted(ended) == sorted({index for batch in batches for index, _ in batch})
    stored = [row[2] for row in sources if row[3] == "stored"]
    assert len(stored) == len(set(stored))
    assert set(stored) <= {row[2] for row in sources}
