"""`retry`: what was refused for a reason that may have changed is taken again, and nothing else is."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from bench.sample import encoded, picture
from pipeline.catalog.second import candidates, reconsider
from pipeline.database import connect
from tests.workspace import Workspace
from tests.zips import File, zipped

pytestmark = pytest.mark.slow

BIG = encoded(picture(1, (60, 50)), "PNG")
SMALL = encoded(picture(2, (20, 10)), "PNG")


def pack(path: Path, **members: bytes) -> None:
    """Write an archive."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.png", data)


@pytest.fixture
def refused(workspace: Workspace) -> Workspace:
    """Give a workspace in which large pictures were refused, and damaged ones."""
    pack(workspace.input / "a.zip", big=BIG, small=SMALL, torn=BIG[:300])
    pack(workspace.input / "b.zip", small=SMALL + b"b")
    pack(workspace.input / "c.zip", big=BIG)
    assert workspace.ingest("--max-pixels", "1000").code == 0
    assert reasons(workspace) == {
        ("a.zip", "too-many-pixels"),
        ("a.zip", "truncated"),
        ("c.zip", "too-many-pixels"),
    }
    return workspace


def reasons(workspace: Workspace) -> set[tuple[str, str]]:
    """Give what is not stored."""
    return set(
        workspace.query(
            "SELECT a.name, u.reason FROM unstored_member u JOIN archive a ON a.id = u.archive_id"
        )
    )


def test_new_limits(refused: Workspace) -> None:
    """With wider limits the refused images are stored, and the catalog is as if it had always been so."""
    ran = refused.run("retry")
    assert ran.code == 0, ran.err
    assert "Taking 2 members of 2 archives again" in ran.err
    assert reasons(refused) == {("a.zip", "truncated")}
    assert refused.query(
        "SELECT name, state, members, stored, duplicate, rejected FROM archive ORDER BY name"
    ) == [
        ("a.zip", "done", 3, 2, 0, 1),
        ("b.zip", "done", 1, 1, 0, 0),
        ("c.zip", "done", 1, 0, 1, 0),
    ]
    assert refused.run("verify").code == 0
    assert "Nothing to take again" in refused.run("retry").err
    assert "Nothing new" in refused.ingest().out


def test_the_same_limits(refused: Workspace) -> None:
    """With the limits as they were, the verdicts stay as they were, and balances are closed."""
    before = refused.catalog()
    assert refused.run("retry", "--max-pixels", "1000").code == 0
    assert refused.catalog() == before
    assert refused.query("SELECT count(*) FROM unstored_member WHERE again") == [(0,)]


def test_archives_that_were_moved(refused: Workspace) -> None:
    """Archives are found by content in processed/, failed/ and at paths; one that is gone is said to be."""
    (refused.root / "processed").mkdir()
    (refused.input / "a.zip").rename(refused.root / "processed" / "other.zip")
    (refused.input / "c.zip").rename(refused.root / "away.zip")
    ran = refused.run("retry")
    assert ran.code == 0, ran.err
    assert "c.zip is not there any more" in ran.err
    assert reasons(refused) == {("other.zip", "truncated"), ("c.zip", "too-many-pixels")}
    assert refused.query("SELECT state FROM archive") == [("done",)] * 3
    assert refused.run("retry", "--after", "move", refused.root / "away.zip").code == 0
    assert reasons(refused) == {("other.zip", "truncated")}
    assert (refused.root / "processed" / "other.zip").exists()


def test_chosen_reasons(refused: Workspace) -> None:
    """Only refusals for the reasons that are named are taken again."""
    ran = refused.run("retry", "--reason", "truncated")
    assert "Taking 1 member of 1 archive again" in ran.err
    assert reasons(refused) == {
        ("a.zip", "too-many-pixels"),
        ("a.zip", "truncated"),
        ("c.zip", "too-many-pixels"),
    }
    ran = refused.run("retry", "--reason", "no-such-reason")
    assert (ran.code, "'truncated'" in ran.err, "'claimed'" in ran.err) == (2, True, False)
    ran = refused.run("retry", "--reason", "claimed")
    assert (ran.code, "waits for the next ingest" in ran.err, "truncated" in ran.err) == (2, True, False)


def test_archives_refused_whole(workspace: Workspace) -> None:
    """An archive that was refused whole by a limit is taken, wherever it was moved, and its refusal is gone."""
    pack(workspace.input / "many.zip", a=SMALL, b=BIG)
    assert workspace.ingest("--max-members", "1", "--after", "move").code == 1
    assert (workspace.root / "failed" / "many.zip").exists()
    assert workspace.run("retry", "--max-members", "1").code == 1
    ran = workspace.run("retry")
    assert ran.code == 0, ran.err
    assert workspace.query("SELECT name, state, stored FROM archive") == [("many.zip", "done", 2)]


def test_an_archive_that_found_no_room(workspace: Workspace) -> None:
    """An archive for which the disk had too little space is taken again, though none of its members was looked at."""
    lies = [File(b"%d.png" % number, size=4_200_000_000) for number in range(5000)]
    (workspace.input / "large.zip").write_bytes(zipped(lies))
    wide = ("--max-ratio", "1e9", "--max-member-bytes", "5G", "--max-archive-bytes", "1000T")
    assert workspace.ingest(*wide).verdict("large.zip") == ("failed", "disk-space")
    ran = workspace.run("retry", *wide)
    assert "Taking 1 archive again." in ran.err
    assert (ran.code, "1 failed" in ran.out) == (1, True)


def test_an_interrupted_retry(refused: Workspace) -> None:
    """A retry that stopped before the work began keeps the verdicts, and the next one goes on."""
    with connect(refused.url, autocommit=True) as connection:
        found = candidates(connection, {"too-many-pixels"})
        assert reconsider(connection, [item.id for item in found], {"too-many-pixels"}) == 2
    assert len(reasons(refused)) == 3
    assert refused.run("retry", "--reason", "too-many-pixels").code == 0
    assert reasons(refused) == {("a.zip", "truncated")}
    assert refused.run("verify").code == 0
