"""One worker gives each member of a slice its outcome, and puts images where they belong."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from bench.sample import encoded, picture
from pipeline import work as module
from pipeline.archives import ZipArchive
from pipeline.errors import ArchiveError
from pipeline.images import inspect
from pipeline.records import Image, Outcome, Recorded, Slice, Verdict
from pipeline.settings import Limits
from pipeline.store import Store, static_path
from pipeline.work import work
from pipeline.workbench import Workbench
from tests.zips import File, zipped

PNG = encoded(picture(1, (40, 30)), "PNG")
MEMBERS = [
    File(b"good.png", PNG),
    File(b"named.jpg", PNG),
    File(b"cut.png", PNG[:-40]),
    File(b"text.txt", b"prices"),
    File(b"inner.png", zipped([File(b"a", b"b")])),
    File(b"damaged.png", PNG, crc=1),
    File(b"../out.png", PNG),
    File(b"empty.png", b""),
]
REASONS = ["", "", "truncated", "not-an-image", "nested-archive", "bad-crc", "path-escape", "empty-file"]


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """Give a workbench with folders of its own."""
    return Workbench(tmp_path / "extracted", tmp_path / "static", Limits())


@pytest.fixture
def slice_(tmp_path: Path) -> Slice:
    """Give a slice with a member of every kind."""
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(MEMBERS))
    with ZipArchive(path, Limits()) as archive:
        return Slice(1, str(path), path.stat().st_size, "a", tuple(archive.members()), last=True)


def worked(slice_: Slice, bench: Workbench) -> list[Outcome]:
    """Work a slice with a store of its own."""
    return work(slice_, bench, Store(bench.extracted, bench.static))


@pytest.mark.parametrize("stream_bytes", [32 << 20, 10], ids=["held", "streamed"])
def test_every_member_has_its_outcome(
    slice_: Slice, bench: Workbench, tmp_path: Path, stream_bytes: int
) -> None:
    """Held or streamed, the verdicts and the files are the same."""
    outcomes = worked(slice_, dataclasses.replace(bench, stream_bytes=stream_bytes))
    assert [outcome.index for outcome in outcomes] == list(range(len(MEMBERS)))
    assert [outcome.reason for outcome in outcomes] == REASONS
    assert [bool(outcome.image) for outcome in outcomes] == [not reason for reason in REASONS]
    image = outcomes[0].image
    assert image is not None
    assert image.sha256 == hashlib.sha256(PNG).digest()
    assert outcomes[1].image == image._replace(remarks=("extension: named .jpg",))
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert found == [
        "a.zip", "extracted/a/good.png", "extracted/a/named.jpg", f"static/{static_path(image.sha256, 'png')}",
    ]  # fmt: skip


def test_the_watcher_hears_of_each_member_first(slice_: Slice, bench: Workbench) -> None:
    """Positions are told in order, each before its member is looked at, and again before an image is published."""
    marks: list[int] = []
    work(slice_, bench, Store(bench.extracted, bench.static), marks.append)
    assert marks == [*range(len(MEMBERS)), 0, 1]


@pytest.mark.parametrize(("most", "most_bytes"), [(1, 1 << 20), (3, 1 << 20), (64, 1), (64, 2 * len(PNG))])
def test_groups(
    slice_: Slice,
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    most_bytes: int,
) -> None:
    """However many members are looked at before any is published, outcomes are the same, and marks true."""
    expected = worked(slice_, bench)
    marks: list[int] = []
    published: list[tuple[int, str]] = []
    publish = Store.publish

    def watched(self: Store, data: bytes, image: Image, folder: str, path: str) -> None:
        published.append((marks[-1], path))
        publish(self, data, image, folder, path)

    monkeypatch.setattr(Store, "publish", watched)
    monkeypatch.setattr(module, "GROUP", most)
    monkeypatch.setattr(module, "GROUP_BYTES", most_bytes)
    assert work(slice_, bench, Store(bench.extracted, bench.static), marks.append) == expected
    assert published == [(0, "good.png"), (1, "named.jpg")]


def test_what_is_overwritten_while_it_is_worked_is_not_taken(
    slice_: Slice, bench: Workbench, tmp_path: Path
) -> None:
    """Bytes that change between being looked at and being published are no image, and the archive fails."""
    whole = Path(slice_.path).read_bytes()
    marks: list[int] = []

    def overwrite(position: int) -> None:
        marks.append(position)
        if len(marks) == 2:
            with Path(slice_.path).open("r+b") as file:
                file.seek(whole.index(PNG) + len(PNG) // 2)
                file.write(b"spoiled")

    image = slice_._replace(members=slice_.members[:1])
    with pytest.raises(ArchiveError, match="wrote to it"):
        work(image, bench, Store(bench.extracted, bench.static), overwrite)
    Path(slice_.path).write_bytes(whole)
    assert worked(image, bench)[0].image is not None
    assert {path.read_bytes() for path in (tmp_path / "static").rglob("*.png")} == {PNG}
    assert (tmp_path / "extracted/a/good.png").read_bytes() == PNG


def test_what_was_refused_unread_needs_no_archive(slice_: Slice, bench: Workbench) -> None:
    """A slice of refused members is answered also when the archive is gone."""
    Path(slice_.path).unlink()
    refused = tuple(member for member in slice_.members if member.verdict)
    (outcome,) = worked(slice_._replace(members=refused), bench)
    assert (outcome.verdict, outcome.reason) == (Verdict.REJECTED, "path-escape")


def test_a_recorded_image_is_trusted_only_whole(slice_: Slice, bench: Workbench, tmp_path: Path) -> None:
    """What is recorded is left alone while its file has the digest, and taken anew when not."""
    image = inspect(PNG, Limits())
    recorded = Recorded(0, image.sha256, "png", Verdict.STORED, "")
    again = slice_._replace(members=(slice_.members[0]._replace(recorded=recorded),))
    assert worked(again, bench)[0].image == image
    assert worked(again, bench) == [Outcome(0, "good.png")]
    (tmp_path / "static" / static_path(image.sha256, "png")).write_bytes(b"torn")
    assert worked(again, bench)[0].image == image


def test_memory_that_runs_out_anywhere(
    slice_: Slice, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that a member wants too much costs the member its verdict, also outside its decoder."""

    def want(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "inspect", want)
    assert worked(slice_, bench)[0].reason == "decoder-memory"
