"""Through the API or straight into Postgres: the same archives give the same catalog."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from bench.crash import make_archives
from bench.sample import encoded, picture
from tests.faulty import DELAY, Faulty
from tests.integration.delivery import Delivery, port
from tests.workspace import SAMPLE


def test_the_sample(delivery: Delivery) -> None:
    """The sample gives the same rows and the same files either way, and is known afterwards."""
    shutil.copy(SAMPLE, delivery.workspace.input)
    expected, files = delivery.straight()
    api = delivery.apis.start()
    ran = delivery.through(api.url)
    assert (ran.code, ran.verdict("sample.zip")) == (0, ("done", "")), ran.err
    assert delivery.workspace.catalog() == expected
    assert delivery.workspace.files() == files
    assert ran.report["reasons"] == {"truncated": 1, "not-an-image": 1, "litter": 1}
    assert "Nothing new" in delivery.through(api.url).out
    assert delivery.workspace.query("SELECT sink, state FROM run WHERE sink = 'api'") == [
        ("api", "finished"),
        ("api", "finished"),
    ]


@pytest.mark.slow
def test_archives_of_other_projects(delivery: Delivery, shared: Path) -> None:
    """The archives and images that other projects wrote give the same tables either way."""
    folder = delivery.workspace.input
    for path in (shared / "corpus").rglob("*"):
        if path.suffix in {".zip", ".cbz"}:
            shutil.copy(path, folder / str(path.relative_to(shared / "corpus")).replace("/", "__"))
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for path in sorted((shared / "corpus").rglob("*")):
            if path.is_file() and path.suffix not in {".zip", ".tsv", ".md"}:
                archive.write(path, path.relative_to(shared / "corpus"))
    expected, _ = delivery.straight("--timeout", "20")
    ran = delivery.through(delivery.apis.start().url, "--timeout", "20")
    assert ran.code in {0, 1}, ran.err
    found = delivery.workspace.catalog()
    for table, rows in expected.items():
        assert set(map(str, found[table])) ^ set(map(str, rows)) == set(), table
    assert found == expected


@pytest.mark.slow
def test_archives_made_to_do_harm(delivery: Delivery, evil: Path) -> None:
    """Slips, bombs, lies and odd names get the same verdicts either way."""
    for path in sorted(evil.rglob("*.zip")):
        shutil.copy(path, delivery.workspace.input / str(path.relative_to(evil)).replace("/", "__"))
    expected, files = delivery.straight()
    ran = delivery.through(delivery.apis.start().url)
    assert ran.code in {0, 1}, ran.err
    assert delivery.workspace.catalog() == expected
    assert delivery.workspace.files() == files


@pytest.mark.slow
def test_batches_overlap(delivery: Delivery) -> None:
    """At a concurrency of eight, eight batches are answered together, and no more are ever on their way."""
    make_archives(delivery.workspace.input, archives=1, members=240)
    api = delivery.apis.start()
    batch = "POST /images/batch"
    with Faulty(port(api), lambda asked: DELAY if asked == batch else "", delay=300.0) as proxy:
        proxy.together = {batch: 8}
        ran = delivery.through(proxy.url, "--batch-size", "20", "--concurrency", "8")
    assert ran.code == 0, ran.err
    assert proxy.most[batch] == 8


@pytest.mark.slow
def test_known_bytes_are_not_sent(delivery: Delivery) -> None:
    """Of images that the API has, or is getting, only the places they came from are sent."""
    photos = [encoded(picture(seed, (400, 300)), "PNG") for seed in range(6)]
    for number in range(4):
        with zipfile.ZipFile(delivery.workspace.input / f"{number}.zip", "w") as archive:
            for index, data in enumerate(photos):
                archive.writestr(f"{number}/{index}.png", data)
    api = delivery.apis.start()
    ran = delivery.through(api.url, "--batch-size", "5", "--concurrency", "4")
    assert ran.report["balance"]["stored"] == 6, ran.err
    assert ran.report["balance"]["duplicate"] == 18
    written = list(delivery.workspace.static.rglob("*.png"))
    assert len(written) == 6


@pytest.mark.slow
def test_an_archive_whose_work_ends_early(delivery: Delivery) -> None:
    """An archive that a run stops in the middle of stays open, is free for others, and is gone on with."""
    make_archives(delivery.workspace.input, archives=1, members=600)
    expected, _ = delivery.straight()
    api = delivery.apis.start()
    ran = delivery.through(api.url, "--max-errors", "1", "--engine", "serial", "--batch-size", "20")
    assert ran.report["stopped"] == "max-errors", ran.err
    assert 0 < len(delivery.workspace.query("SELECT FROM image_source")) < 500
    assert delivery.workspace.query("SELECT state FROM archive") == [("running",)]
    assert delivery.workspace.query("SELECT FROM archive_claim") == []
    assert delivery.through(api.url).code == 0
    assert delivery.workspace.catalog() == expected
