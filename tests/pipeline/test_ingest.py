"""The whole walk, over a ledger in memory: what is delivered, in which order, and when an archive is closed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.sample import encoded, picture
from pipeline.brake import Brake
from pipeline.engines.serial import SerialEngine
from pipeline.inbox import discover
from pipeline.ingest import Ingest
from pipeline.records import ArchiveResult, Balance, Entry, Outcome, Recorded
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.workbench import Workbench
from tests.memory_sink import MemorySink
from tests.zips import plain

ONE, TWO, THREE = (encoded(picture(seed, (20, 10)), "PNG") for seed in range(3))


class Witness:
    """A watcher of runs that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def opened(self, entry: Entry) -> None:
        """Hear of an archive."""
        self.heard.append(f"opened {entry.archive.name}")

    def worked(self, entry: Entry, outcomes: list[Outcome]) -> None:
        """Hear of a slice."""
        del entry
        self.heard.append(f"worked {len(outcomes)}")

    def recorded(self, entry: Entry, recorded: Recorded) -> None:
        """Hear of a member of an earlier run."""
        del entry
        self.heard.append(f"recorded {recorded.index}")

    def refused(self, entry: Entry, outcome: Outcome) -> None:
        """Hear of a refusal of the sink."""
        self.heard.append(f"refused {entry.archive.name} {outcome.reason}")


class Vandal(Witness):
    """A watcher that cuts a.zip at the moment at which its work begins."""

    def opened(self, entry: Entry) -> None:
        """Spoil an archive."""
        super().opened(entry)
        if entry.archive.name == "a.zip":
            entry.archive.path.write_bytes(b"short")


class FlushedStore(Store):
    """A store that says when it flushes, in the sink's account."""

    sink: MemorySink

    def flush(self) -> None:
        """Flush, and say so."""
        super().flush()
        self.sink.calls.append("flush")


class Walk:
    """One folder, one ledger, and as many runs as a test wants."""

    def __init__(self, root: Path) -> None:
        self.sink, self.witness = MemorySink(), Witness()
        self.settings = Settings(
            input=root / "in", extracted=root / "extracted", static=root / "static", quarantine=root / "kept",
            batch_size=2, reserve=0,
        )  # fmt: skip
        self.settings.input.mkdir()
        self.stop = False

    def put(self, name: str, **contents: bytes) -> None:
        """Deliver an archive that was left alone for a while."""
        path = self.settings.input / f"{name}.zip"
        path.write_bytes(plain(**{f"{member}.png": data for member, data in contents.items()}))
        os.utime(path, (time.time() - 3600,) * 2)

    def run(self) -> dict[str, ArchiveResult]:
        """Run over the folder; give the results by name."""
        return {result.name.removesuffix(".zip"): result for result in self.results()}

    def results(self) -> Iterator[ArchiveResult]:
        """Yield the results as they come."""
        settings = self.settings
        store = FlushedStore(settings.extracted, settings.static)
        store.sink = self.sink
        bench = Workbench(settings.extracted, settings.static, settings.limits, "decode")
        brake = Brake(settings, asked=lambda: self.stop)
        walk = Ingest(self.sink, SerialEngine(bench), store, settings, self.witness, brake)
        yield from walk.run(list(discover([], settings.input)))


@pytest.fixture
def walk(tmp_path: Path) -> Walk:
    """Give an empty folder and ledger."""
    return Walk(tmp_path)


def test_batches_span_archives_and_files_are_flushed_before_their_end(walk: Walk) -> None:
    """Records go by the batch; an archive is closed after its last record, and after its files are on the disk."""
    walk.put("a", one=ONE, two=TWO, three=THREE)
    walk.put("b", one=ONE, text=b"text")
    results = walk.run()
    assert {name: result.balance for name, result in results.items()} == {
        "a": Balance(3, stored=3),
        "b": Balance(2, duplicate=1, rejected=1),
    }
    assert [result.verdict for result in results.values()] == ["done", "done"]
    calls = [call for call in walk.sink.calls if not call.startswith(("known", "open"))]
    # Files are flushed beside the work, so that the first end may come before or after the last write.
    assert sorted(call for call in calls if call != "flush") == [
        *("finish 1", "finish 1"), *("write 1", "write 2", "write 2"),
    ]  # fmt: skip
    assert "flush" in calls[calls.index("write 1") : calls.index("finish 1")]
    assert calls[-2:] == ["flush", "finish 1"]
    assert walk.witness.heard == ["opened a.zip", "worked 3", "opened b.zip", "worked 2"]


def test_a_copy_is_known_in_the_second_pass(walk: Walk) -> None:
    """Two deliveries of one archive in one run: the first is done, the second known."""
    walk.put("a", one=ONE)
    walk.put("b", one=ONE)
    assert {name: result.verdict for name, result in walk.run().items()} == {"a": "done", "b": "known"}


def test_an_interrupted_archive_goes_on(walk: Walk) -> None:
    """Members that an earlier run recorded are not delivered again while their files are there."""
    walk.put("a", one=ONE, text=b"text", three=THREE)
    walk.run()
    del walk.sink.rows[1][2]
    walk.sink.done.clear()
    walk.sink.calls.clear()
    walk.witness.heard.clear()
    assert walk.run()["a"].balance == Balance(3, stored=1, duplicate=1, rejected=1)
    assert walk.witness.heard == ["opened a.zip", "recorded 1", "worked 2"]
    assert [call for call in walk.sink.calls if call.startswith("write")] == ["write 1"]
    for path in walk.settings.extracted.rglob("one.png"):
        path.unlink()
    for path in walk.settings.static.rglob("*.png"):
        path.write_bytes(b"spoiled")
    walk.sink.done.clear()
    walk.sink.calls.clear()
    walk.run()
    assert [call for call in walk.sink.calls if call.startswith("write")] == ["write 2"]


def test_rows_that_the_ledger_lost_are_delivered_again_once(walk: Walk) -> None:
    """An archive whose balance does not close is gone through once more; what is still missing then is failed."""
    walk.put("a", one=ONE, two=TWO)
    walk.sink.forgets = {1}
    assert walk.run()["a"].balance == Balance(2, stored=2)
    assert walk.witness.heard == ["opened a.zip", "worked 2"]
    walk.put("b", one=ONE, two=THREE)

    class Forgetful(set[int]):
        """Forgets to have forgotten."""

        def discard(self, element: object) -> None:
            """Keep it."""

    walk.sink.forgets = Forgetful({0})
    result = walk.run()["b"]
    assert (result.verdict, result.reason) == ("failed", "unbalanced")
    assert result.balance == Balance(2, stored=1, failed=1)
    assert walk.sink.noted == [result]


def test_a_run_that_is_asked_to_stop(walk: Walk) -> None:
    """What is open is left for the next run, not closed and not called failed."""
    walk.put("a", one=ONE)
    walk.stop = True
    assert {name: (r.verdict, r.reason) for name, r in walk.run().items()} == {"a": ("waiting", "stopping")}
    assert walk.sink.calls == []
    walk.stop = False
    assert walk.run()["a"].verdict == "done"


def test_an_archive_that_changes_while_it_is_read(walk: Walk) -> None:
    """Its work ends early; it is left, noted as failed, and its neighbour is done."""
    walk.put("a", one=ONE)
    walk.put("b", two=TWO)
    walk.witness = Vandal()
    told = {result.name: (result.verdict, result.reason) for result in walk.results()}
    assert told == {"a.zip": ("failed", "vanished"), "b.zip": ("done", "")}
    assert "leave 1" in walk.sink.calls
    assert [result.name for result in walk.sink.noted] == ["a.zip"]


def test_what_the_sink_refuses(walk: Walk) -> None:
    """It is told with the sink's reason, counted by the ledger, and its bytes move into the quarantine."""
    walk.put("a", one=ONE, two=TWO)
    walk.sink.refusing = {1: "too-many-pixels"}
    assert walk.run()["a"].balance == Balance(2, stored=1, rejected=1)
    assert walk.witness.heard[-1] == "refused a.zip too-many-pixels"
    (kept,) = (walk.settings.quarantine or Path()).rglob("*.png")
    assert kept.read_bytes() == TWO
    assert [path.read_bytes() for path in walk.settings.extracted.rglob("*.png")] == [ONE]
