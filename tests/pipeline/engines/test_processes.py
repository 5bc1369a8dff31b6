"""A decoder that crashes, hangs or eats memory costs one member its verdict."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.engines.processes import ProcessEngine, check_readable
from pipeline.errors import ArchiveError
from pipeline.records import Outcome
from pipeline.settings import Limits
from pipeline.workbench import Workbench
from tests import saboteur
from tests.pipeline.engines.conftest import Cut
from tests.saboteur import GOOD, victim
from tests.workspace import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="limits and death signals are those of Linux"),
]

LIMITS = Limits(worker_memory=400 << 20)
HASTY = dataclasses.replace(LIMITS, timeout=3.0)
"""Decoders that hang are waited for, in a slice and then alone; other decoders may be slow on a busy machine."""
DEATHS = {
    saboteur.SEGFAULT: "decoder-crashed",
    saboteur.ABORT: "decoder-crashed",
    saboteur.EXIT: "decoder-crashed",
    saboteur.BUS: "decoder-crashed",
    saboteur.KILL: "decoder-memory",
    saboteur.EAT: "decoder-memory",
    saboteur.EAT_IN_C: "decoder-crashed",
}
HANGS = {saboteur.LOOP: "decoder-timeout", saboteur.SLEEP: "decoder-timeout"}


def work(
    bench: Workbench, cut: Cut, contents: list[tuple[str, bytes]], size: int, limits: Limits = LIMITS
) -> list[Outcome]:
    """Work an archive with two armed workers."""
    with ProcessEngine(saboteur.sabotaged(bench, limits), 2) as engine:
        return [outcome for done in engine.run(cut(contents, size)) for outcome in done.outcomes]


@pytest.mark.parametrize(("reasons", "limits"), [(DEATHS, LIMITS), (HANGS, HASTY)], ids=["deaths", "hangs"])
def test_every_way_to_fail_costs_one_member(
    bench: Workbench, cut: Cut, reasons: dict[int, str], limits: Limits
) -> None:
    """The guilty get the reason of what they did, their neighbours in the same slice are taken, in order."""
    contents = [(f"{number}.bmp", victim(GOOD, number)) for number in range(60)]
    for number, what in enumerate(reasons):
        contents[number * 7 + 3] = (f"{number * 7 + 3}.bmp", victim(what))
    outcomes = work(bench, cut, contents, 30, limits)
    assert [outcome.index for outcome in outcomes] == list(range(60))
    failed = {outcome.index: outcome.reason for outcome in outcomes if outcome.image is None}
    assert failed == {number * 7 + 3: reason for number, reason in enumerate(reasons.values())}
    assert len(list(bench.extracted.rglob("*.bmp"))) == 60 - len(reasons)


def test_what_cannot_be_read_is_not_refused(cut: Cut) -> None:
    """A worker that dies of reading is no verdict on an image when others cannot read it either."""
    (slice_,) = cut([("a.bmp", victim(GOOD))], 64)
    check_readable(slice_)
    # The first page of a process is nobody's: reading it is an input/output error.
    with pytest.raises(ArchiveError, match="Input/output error") as caught:
        check_readable(slice_._replace(path="/proc/self/mem"))
    assert caught.value.reason == "unreadable"


def test_first_and_last_and_all(bench: Workbench, cut: Cut) -> None:
    """The guilty may stand anywhere in a slice, side by side, or fill it."""
    crash, good = saboteur.SEGFAULT, GOOD
    for pattern in ([crash, good, good], [good, good, crash], [crash, crash, good], [crash] * 3, [crash]):
        contents = [(f"{number}.bmp", victim(what, number)) for number, what in enumerate(pattern)]
        outcomes = work(bench, cut, contents, 64)
        assert [outcome.image is not None for outcome in outcomes] == [what == good for what in pattern]


def test_decoders_are_silent(bench: Workbench, cut: Cut, capfd: pytest.CaptureFixture[str]) -> None:
    """What decoders write to the terminal does not get there."""
    assert work(bench, cut, [("a.bmp", victim(saboteur.NOISE))], 64)[0].image is not None
    assert "noise" not in "".join(capfd.readouterr())


def test_what_killed_a_worker_is_kept(bench: Workbench, cut: Cut, tmp_path: Path) -> None:
    """The bytes that a decoder crashed on go to quarantine, unpacked by a process that does not decode."""
    bench = dataclasses.replace(bench, quarantine=tmp_path / "quarantine")
    crash = victim(saboteur.SEGFAULT)
    outcomes = work(bench, cut, [("a.bmp", victim(GOOD)), ("b.bmp", crash), ("c.bmp", victim(GOOD, 1))], 64)
    assert [outcome.reason for outcome in outcomes] == ["", "decoder-crashed", ""]
    (note,) = (tmp_path / "quarantine").rglob("*.json")
    assert json.loads(note.read_text())["reason"] == "decoder-crashed"
    assert note.with_suffix("").read_bytes() == crash


def test_no_process_is_left(bench: Workbench, cut: Cut) -> None:
    """Workers end with their engine, also those that hang."""
    limits = dataclasses.replace(LIMITS, timeout=3600.0)
    before = set(workers())
    with ProcessEngine(saboteur.sabotaged(bench, limits), 2) as engine:
        running = engine.run(
            cut([(f"{n}.bmp", victim(GOOD if n < 60 else saboteur.SLEEP, n)) for n in range(90)], 3)
        )
        next(running)
        assert set(workers()) - before
    wait_until(lambda: not set(workers()) - before)


def test_workers_die_with_their_parent(tmp_path: Path, open_folder: Path) -> None:
    """A killed main process leaves no worker and no fork server, not even a worker that hangs, and no file."""
    code = f"""
import sys, time
from pathlib import Path
from pipeline.archives import ZipArchive
from pipeline.engines.processes import ProcessEngine, check_readable
from pipeline.errors import ArchiveError
from pipeline.records import Slice
from pipeline.settings import Limits
from pipeline.workbench import Workbench
from tests.saboteur import SLEEP, sabotaged, victim
from tests.zips import File, zipped
if __name__ == "__main__":
    path = Path({str(tmp_path)!r}) / "a.zip"
    path.write_bytes(zipped([File(b"%d.bmp" % n, victim(SLEEP)) for n in range(4)]))
    with ZipArchive(path, Limits()) as archive:
        members = tuple(archive.members())
    slices = [Slice(1, str(path), path.stat().st_size, "a", (member,)) for member in members]
    bench = Workbench(path.parent / "extracted", path.parent / "static", Limits())
    with ProcessEngine(sabotaged(bench, Limits(timeout=3600.0)), 2) as engine:
        print("ready", flush=True)
        list(engine.run(slices))
"""
    script = tmp_path / "main.py"
    script.write_text(code, "utf-8")
    # A short one: the path of the fork server's socket may have a hundred bytes.
    temporary = open_folder
    marks = {"CORE_TEST_MARK": str(tmp_path), "TMPDIR": str(temporary)}
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **marks}
    with subprocess.Popen([sys.executable, script], env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        wait_until(lambda: len(marked(tmp_path)) >= 4 or process.poll() is not None)
        assert process.poll() is None
        process.kill()
    wait_until(lambda: not marked(tmp_path))
    # The folder of the fork server's socket stays; Python makes it.
    assert not [path for path in temporary.rglob("*") if path.is_file()]


def workers() -> list[int]:
    """Give the process ids of this process's fork server's children; other tests' servers are left out."""
    return [pid for child in children(os.getpid()) if is_fork_server(child) for pid in children(child)]


def is_fork_server(pid: int) -> bool:
    """Tell a fork server by its command line."""
    with contextlib.suppress(OSError):
        return b"multiprocessing.forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def children(pid: int) -> list[int]:
    """Give the process ids of a process's children."""
    found: list[int] = []
    for entry in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, entry.read_text("ascii").split())
        except OSError:
            continue
    return found


def marked(place: Path) -> list[int]:
    """Give the process ids that have this test's mark in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"CORE_TEST_MARK={place}\0".encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def wait_until(condition: object, seconds: float = 180.0) -> None:
    """Wait for a condition; fails when it does not come."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
