"""Deliveries become open archives, or get the result that they have without being opened."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.brake import Brake
from pipeline.inbox import Delivery, discover
from pipeline.intake import ASKED, CHUNK, Intake, Opened, sample_digest
from pipeline.records import ArchiveResult, ArchiveVerdict, State
from pipeline.settings import Settings
from tests.memory_sink import MemorySink
from tests.zips import plain

Told = dict[str, tuple[str, str]]


@pytest.fixture
def sink() -> MemorySink:
    """Give an empty ledger."""
    return MemorySink()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Give an empty input folder."""
    return tmp_path


def intake(sink: MemorySink, inbox: Path, **more: object) -> Intake:
    """Give an intake over a sink, with endless room."""
    settings = Settings(input=inbox, **more)  # type: ignore[arg-type]  # named by the tests
    return Intake(sink, settings, lambda: 1 << 60, Brake(settings))


def put(path: Path, data: bytes, age: float = 3600) -> None:
    """Write a file that was left alone for a while."""
    path.write_bytes(data)
    os.utime(path, (time.time() - age,) * 2)


def take(intake: Intake, inbox: Path) -> Told:
    """Take everything in the folder; give each archive's verdict, or state, and its reason by name."""
    told: Told = {}
    for item in _taken(intake, list(discover([], inbox))):
        if isinstance(item, Opened):
            told[item.entry.archive.name] = "opened", item.entry.state
        else:
            told[item.name] = item.verdict, item.reason
    return told


def _taken(intake: Intake, deliveries: list[Delivery]) -> Iterator[Opened | ArchiveResult]:
    for item in intake.take(deliveries):
        if isinstance(item, Opened):
            item.zip.close()
        yield item


def test_every_kind_of_delivery(sink: MemorySink, inbox: Path) -> None:
    """What is good is opened, what is broken is refused and noted, what is unfinished waits and is not noted."""
    put(inbox / "good.zip", plain(a=b"a"))
    put(inbox / "text.zip", b"no zip at all" * 10)
    put(inbox / "empty.zip", b"")
    put(inbox / "half.zip.part", plain(b=b"b")[:20])
    (inbox / "gone.zip").symlink_to("nowhere")
    assert take(intake(sink, inbox), inbox) == {
        "good.zip": ("opened", "new"),
        "text.zip": ("rejected", "not-a-zip"),
        "empty.zip": ("rejected", "empty-file"),
        "half.zip.part": ("waiting", "still-written"),
        "gone.zip": ("failed", "vanished"),
    }
    assert {result.name for result in sink.noted} == {"text.zip", "empty.zip", "gone.zip"}


@pytest.mark.parametrize("age", [0.0, 3600.0])
def test_what_changed_since_it_was_found_waits(sink: MemorySink, inbox: Path, age: float) -> None:
    """A file that looks cut, and is another one than was found, is judged later, however old it looked then."""
    put(inbox / "a.zip", plain(a=b"a")[:30], age)
    found = list(discover([], inbox))
    put(inbox / "a.zip", plain(a=b"a")[:40])
    (told,) = _taken(intake(sink, inbox), found)
    assert isinstance(told, ArchiveResult)
    assert (told.verdict, told.reason) == (ArchiveVerdict.WAITING, "still-written")


def test_what_is_known_is_not_opened(sink: MemorySink, inbox: Path) -> None:
    """A file of an archive that is done is known by its name, size, time and inode; another copy by its content."""
    put(inbox / "a.zip", plain())
    (opened,) = (item for item in _taken(intake(sink, inbox), list(discover([], inbox))))
    assert isinstance(opened, Opened)
    sink.finish([opened.entry])
    sink.calls.clear()
    assert take(intake(sink, inbox), inbox) == {"a.zip": ("known", "already-done")}
    assert sink.calls == ["known 1"]
    (inbox / "a.zip").rename(inbox / "b.zip")
    assert take(intake(sink, inbox), inbox) == {"b.zip": ("known", "already-done")}
    assert sink.calls == ["known 1", "known 1", "open 1"]


def test_copies_wait_for_the_first(sink: MemorySink, inbox: Path) -> None:
    """Of equal archives one is worked on; the others are kept for the next pass, which finds it done."""
    for name in ("a.zip", "b.zip", "c.zip"):
        put(inbox / name, plain(a=b"a"))
    opening = intake(sink, inbox)
    assert take(opening, inbox) == {"a.zip": ("opened", "new")}
    assert [delivery.file.name for delivery in opening.deferred] == ["b.zip", "c.zip"]


def test_copies_of_what_another_run_holds(sink: MemorySink, inbox: Path) -> None:
    """They are told at once: nothing of this run will make them known."""
    for name in ("a.zip", "b.zip"):
        put(inbox / name, plain(a=b"a"))
    (first, *_) = _taken(intake(sink, inbox), list(discover([], inbox)))
    assert isinstance(first, Opened)
    sink.busy.add(first.entry.archive.digest)
    opening = intake(sink, inbox)
    assert take(opening, inbox) == {"a.zip": ("waiting", "claimed"), "b.zip": ("waiting", "claimed")}
    assert opening.deferred == []


def test_an_archive_that_was_interrupted_goes_on(sink: MemorySink, inbox: Path) -> None:
    """What the ledger knows and has not closed is opened as running."""
    put(inbox / "a.zip", plain(a=b"a"))
    take(intake(sink, inbox), inbox)
    assert take(intake(sink, inbox), inbox) == {"a.zip": ("opened", State.RUNNING)}


def test_round_trips_are_few_and_bounded(sink: MemorySink, inbox: Path) -> None:
    """Many deliveries are asked for together and opened in chunks: each that is open holds a file and a claim."""
    count = 2 * CHUNK + 1
    for number in range(count):
        put(inbox / f"{number:03}.zip", plain(**{f"n{number}": b""}))
    assert len(take(intake(sink, inbox), inbox)) == count <= ASKED
    assert sink.calls == [f"known {count}", f"open {CHUNK}", f"open {CHUNK}", "open 1"]


def test_a_brake_leaves_the_rest_waiting(sink: MemorySink, inbox: Path) -> None:
    """Once a run has to stop nothing more is asked or opened, and everything says why it waits."""
    put(inbox / "a.zip", plain(a=b"a"))
    put(inbox / "text.zip", b"no zip at all")
    stopped = intake(sink, inbox)
    stopped.brake.asked = lambda: True
    assert take(stopped, inbox) == dict.fromkeys(("a.zip", "text.zip"), ("waiting", "stopping"))
    assert (sink.calls, sink.noted) == ([], [])


@pytest.mark.parametrize(
    ("age", "settle", "verdict"),
    [
        (3600, None, ArchiveVerdict.REJECTED),
        (20, 30.0, ArchiveVerdict.WAITING),
        (-20, 30.0, ArchiveVerdict.WAITING),
    ],
)
def test_a_young_file_that_looks_cut(
    sink: MemorySink, inbox: Path, age: float, settle: float | None, verdict: ArchiveVerdict
) -> None:
    """Until it was left alone long enough it is taken for unfinished, also when the clock was set back meanwhile."""
    put(inbox / "cut.zip", plain(a=bytes(5000))[:-10], age)
    ((found, _),) = take(intake(sink, inbox, settle=settle), inbox).values()
    assert found is verdict


def test_space(sink: MemorySink, inbox: Path) -> None:
    """What an archive declares must fit, with the reserve left over."""
    put(inbox / "a.zip", plain(a=bytes(1000)))
    opening = intake(sink, inbox, reserve=500)
    (opened,) = _taken(opening, list(discover([], inbox)))
    assert isinstance(opened, Opened)
    for free, enough in ((1500, True), (1499, False)):
        opening.free_bytes = lambda free=free: free  # type: ignore[misc]  # bound now
        assert opening.enough_space(opened.entry.archive) is enough


def test_a_file_without_a_directory_has_a_digest_of_its_own(inbox: Path) -> None:
    """It is that of size, beginning and end, whatever the name; for a file that cannot be read it is the name's."""
    for name, data in (("a.zip", b"x" * 10), ("b.zip", b"x" * 10), ("c.zip", b"x" * 9 + b"y")):
        put(inbox / name, data)
    for name in ("d.zip", "e.zip"):
        (inbox / name).symlink_to("nowhere")
    a, b, c, d, e = (sample_digest(delivery) for delivery in discover([], inbox))
    assert a == b
    assert len({a, c, d, e}) == 4
