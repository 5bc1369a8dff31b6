"""What a name shows in the trees is whole, and the same bytes are there once."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.sample import encoded, picture
from pipeline.errors import StoreError
from pipeline.images import inspect
from pipeline.records import Image
from pipeline.settings import Limits
from pipeline.store import UNNAMED, WORKSHOP, Store, local_url, static_path
from pipeline.temporary import is_temporary, temporary_name

DATA = encoded(picture(1, (16, 12)), "PNG")
IMAGE = inspect(DATA, Limits())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Give a store with folders of its own."""
    return Store(tmp_path / "extracted", tmp_path / "static")


def files(root: Path) -> dict[str, bytes]:
    """Give every file below a folder, with its content."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_places() -> None:
    """An image's place follows from its digest and type."""
    digits = IMAGE.sha256.hex()
    assert static_path(IMAGE.sha256, "png") == f"{digits[:2]}/{digits[2:4]}/{digits}.png"
    assert local_url(IMAGE.sha256, "jpeg").endswith(".jpg")


def test_published_once_and_linked(store: Store, tmp_path: Path) -> None:
    """The same bytes under two names are one file on the disk, in both trees."""
    store.publish(DATA, IMAGE, "archive", "a/b.png")
    store.publish(DATA, IMAGE, "archive", "c.png")
    shelf = tmp_path / "static" / static_path(IMAGE.sha256, "png")
    for path in (tmp_path / "extracted/archive/a/b.png", tmp_path / "extracted/archive/c.png"):
        assert path.samefile(shelf)
    assert shelf.stat().st_nlink == 3
    assert store.holds(IMAGE.sha256, "png")
    assert len(files(tmp_path)) == 3


@pytest.mark.skipif(not UNNAMED, reason="this system knows no files without a name")
def test_a_file_has_no_name_until_it_is_whole(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an image is written nothing of it can be seen, so that a kill leaves nothing to sweep."""
    seen: list[dict[str, bytes]] = []
    write = os.write

    def watched(descriptor: int, data: bytes) -> int:
        seen.append(files(tmp_path))
        return write(descriptor, data[:7])

    monkeypatch.setattr(os, "write", watched)
    store.publish(DATA, IMAGE, "archive", "a.png")
    assert len(seen) == -(-len(DATA) // 7)
    assert not any(seen)
    assert list(files(tmp_path).values()) == [DATA, DATA]
    assert not (tmp_path / "extracted" / WORKSHOP).exists()


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT])
@pytest.mark.parametrize("place", ["", "/proc"])
def test_where_files_need_a_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, place: str
) -> None:
    """File systems that know no files without a name, and systems without /proc, get a temporary one."""
    open_, link = os.open, os.link

    def without(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(number, os.strerror(number))
        return open_(path, flags, mode)

    def hidden(source: str, target: str, **options: Any) -> None:
        if source.startswith(place):
            raise OSError(number, os.strerror(number))
        link(source, target, **options)

    if place:
        monkeypatch.setattr(os, "link", hidden)
    else:
        monkeypatch.setattr(os, "open", without)
    for name in ("a.png", "b.png"):
        store.publish(DATA, IMAGE, "archive", name)
    Store(tmp_path / "alone", None).publish(DATA, IMAGE, "archive", "a.png")
    assert len(files(tmp_path)) == 4
    assert set(files(tmp_path).values()) == {DATA}
    store.sweep()


def test_publishing_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    """A repeated run leaves the same files."""
    for _ in range(3):
        store.publish(DATA, IMAGE, "archive", "a.png")
    assert len(files(tmp_path)) == 2


def test_torn_files_are_made_whole(store: Store, tmp_path: Path) -> None:
    """A file that a crash of the system left torn, in either tree, is replaced."""
    store.publish(DATA, IMAGE, "archive", "a.png")
    for torn in (
        tmp_path / "static" / static_path(IMAGE.sha256, "png"),
        tmp_path / "extracted/archive/a.png",
    ):
        torn.unlink()
        torn.write_bytes(DATA[:10])
        store.publish(DATA, IMAGE, "archive", "a.png")
        assert set(files(tmp_path).values()) == {DATA}
        assert len(files(tmp_path)) == 2


def test_a_streamed_file(store: Store, tmp_path: Path) -> None:
    """A scratch file becomes the image, once; nothing of it stays."""
    for name in ("a.png", "b.png"):
        with store.scratch() as scratch:
            scratch.write_bytes(DATA)
            store.publish_file(scratch, IMAGE, "archive", name)
    assert set(files(tmp_path)) == {
        "extracted/archive/a.png", "extracted/archive/b.png", f"static/{static_path(IMAGE.sha256, 'png')}",
    }  # fmt: skip


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_where_links_are_impossible(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Other file systems, and full link counts, get copies."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    for name in ("a.png", "b.png"):
        store.publish(DATA, IMAGE, "archive", name)
    with store.scratch() as scratch:
        scratch.write_bytes(DATA)
        store.publish_file(scratch, IMAGE, "archive", "c.png")
    assert len(files(tmp_path)) == 4
    assert set(files(tmp_path).values()) == {DATA}
    (tmp_path / "static" / static_path(IMAGE.sha256, "png")).write_bytes(b"torn")
    store.publish(DATA, IMAGE, "archive", "d.png")
    assert set(files(tmp_path).values()) == {DATA}


def test_restoring(store: Store, tmp_path: Path) -> None:
    """The extracted tree is made again from the store, when that still has the bytes."""
    store.publish(DATA, IMAGE, "archive", "a.png")
    (tmp_path / "extracted/archive/a.png").unlink()
    assert store.restore(IMAGE.sha256, "png", "archive", "a.png")
    assert (tmp_path / "extracted/archive/a.png").read_bytes() == DATA
    (tmp_path / "static" / static_path(IMAGE.sha256, "png")).write_bytes(b"torn")
    assert not store.restore(IMAGE.sha256, "png", "archive", "a.png")


def test_links_planted_in_the_way(store: Store, tmp_path: Path) -> None:
    """A symbolic link where a folder belongs is not followed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "extracted").mkdir()
    (tmp_path / "extracted/archive").symlink_to(elsewhere)
    with pytest.raises(StoreError, match="in the way"):
        store.publish(DATA, IMAGE, "archive", "a.png")
    assert list(elsewhere.iterdir()) == []


def test_a_folder_in_the_way_is_named(store: Store, tmp_path: Path) -> None:
    """A folder where an image belongs is told by its own name, not by that of a temporary file."""
    place = tmp_path / "extracted/archive/a.png"
    place.mkdir(parents=True)
    with pytest.raises(StoreError, match=re.escape(f"{place} cannot be written: Is a directory.")):
        store.publish(DATA, IMAGE, "archive", "a.png")


def test_a_link_planted_as_the_file_is_replaced(store: Store, tmp_path: Path) -> None:
    """A symbolic link where an image belongs does not lead its bytes astray."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "extracted/archive").mkdir(parents=True)
    (tmp_path / "extracted/archive/a.png").symlink_to(victim)
    store.publish(DATA, IMAGE, "archive", "a.png")
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "extracted/archive/a.png").is_symlink()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("place", ["extracted/archive/a.png", f"static/{static_path(IMAGE.sha256, 'png')}"])
def test_a_pipe_in_the_way_is_replaced(store: Store, tmp_path: Path, place: str) -> None:
    """Nobody waits for what a named pipe may have to say."""
    (tmp_path / place).parent.mkdir(parents=True)
    os.mkfifo(tmp_path / place)
    for _ in range(2):
        store.publish(DATA, IMAGE, "archive", "a.png")
    assert store.restore(IMAGE.sha256, "png", "archive", "a.png")
    assert list(files(tmp_path).values()) == [DATA, DATA]
    os.unlink(tmp_path / "static" / static_path(IMAGE.sha256, "png"))
    os.mkfifo(tmp_path / "static" / static_path(IMAGE.sha256, "png"))
    assert not store.restore(IMAGE.sha256, "png", "archive", "a.png")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_folders_that_cannot_be_written(store: Store, tmp_path: Path) -> None:
    """The error says where and why."""
    (tmp_path / "extracted").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="may not write"):
        store.publish(DATA, IMAGE, "archive", "a.png")


def test_a_full_disk(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to do, and nothing torn stays."""

    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError, match="free some space"):
        store.publish(DATA, IMAGE, "archive", "a.png")
    assert files(tmp_path) == {}


def dead_process() -> int:
    """Give the id of a process that is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_sweeping(store: Store, tmp_path: Path) -> None:
    """What a killed process left goes, what is still written stays."""
    store.publish(DATA, IMAGE, "archive", "deep/a.png")
    before = files(tmp_path)
    ours = temporary_name("work")
    theirs = ours.replace(str(os.getpid()), str(dead_process()), 1)
    assert is_temporary(theirs)
    for root in (tmp_path / "extracted", tmp_path / "static"):
        for name in (ours, theirs):
            (root / WORKSHOP / name).mkdir(parents=True, exist_ok=True)
            (root / WORKSHOP / name / "left").touch()
    store.sweep()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("left")}
    assert left == {f"{root}/{WORKSHOP}/{ours}/left" for root in ("extracted", "static")}
    assert before.keys() < files(tmp_path).keys()


def test_flushing_and_space(store: Store, tmp_path: Path) -> None:
    """Flushing works also before there is anything; free space is that of the folder that will be made."""
    store.flush()
    assert store.free_bytes() > 0
    store.publish(DATA, IMAGE, "archive", "a.png")
    store.flush()


def test_the_name_is_the_digest(store: Store, tmp_path: Path) -> None:
    """Whatever the type says, the store's file hashes to its name."""
    data = b"any bytes"
    image: Image = IMAGE._replace(sha256=hashlib.sha256(data).digest(), type="webp")
    store.publish(memoryview(data), image, "archive", "a.webp")
    (path,) = (tmp_path / "static").rglob("*.webp")
    assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
