"""Through the API or straight into Postgres: the same archives give the same catalog, whatever the network does."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import threading
import time
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from bench.crash import make_archives
from bench.sample import encoded, picture
from pipeline.archives import ZipArchive
from pipeline.catalog import claims
from pipeline.settings import Limits
from tests.app.conftest import Api, Apis
from tests.faulty import BUSY, DELAY, FAULTS, Faulty, at_random
from tests.integration.test_crash import wipe
from tests.workspace import ROOT, Ran, Workspace

POINTS = int(os.environ.get("API_KILL_POINTS", "2"))
Catalog = dict[str, list[tuple[Any, ...]]]


class Delivery:
    """A workspace whose archives are delivered to an API on its database, or straight into it."""

    def __init__(self, workspace: Workspace, apis: Apis) -> None:
        self.workspace = workspace
        self.apis = apis

    def straight(self, *arguments: str) -> tuple[Catalog, dict[str, bytes]]:
        """Ingest straight into Postgres; give the catalog and the files, and leave nothing of them."""
        ran = self.workspace.ingest(*arguments)
        assert ran.code in {0, 1}, ran.err
        found = self.workspace.catalog(), self.workspace.files()
        wipe(self.workspace)
        return found

    def through(self, url: str, *arguments: str) -> Ran:
        """Ingest through the API at a URL, with no way to the database."""
        return self.workspace.ingest(
            "--sink", "api", "--api-url", url, "--database-url", "nowhere", *arguments
        )


@pytest.fixture
def delivery(workspace: Workspace, apis: Apis) -> Delivery:
    """Give an empty workspace."""
    return Delivery(workspace, apis)


def port(api: Api) -> int:
    """Give the port that a server listens on."""
    found = urlsplit(api.url).port
    assert found
    return found


def test_the_sample(delivery: Delivery) -> None:
    """The sample gives the same rows and the same files either way, and is known afterwards."""
    shutil.copy(ROOT / "images_zip_input" / "sample.zip", delivery.workspace.input)
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
def test_whatever_the_network_does(delivery: Delivery) -> None:
    """With a fault in three of ten requests the catalog is that of an undisturbed run."""
    make_archives(delivery.workspace.input, archives=8, members=100)
    expected, files = delivery.straight("--batch-size", "20")
    api = delivery.apis.start()
    with Faulty(port(api), at_random(7, 0.3), delay=0.3) as proxy:
        ran = delivery.through(proxy.url, "--batch-size", "20", "--concurrency", "6")
    assert ran.code == 0, ran.err
    assert delivery.workspace.catalog() == expected
    assert delivery.workspace.files() == files
    assert set(proxy.seen) == {"", *FAULTS}, proxy.seen


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
def test_an_api_that_is_not_there(delivery: Delivery) -> None:
    """A run that cannot reach the API says so, soon, and loses nothing."""
    shutil.copy(ROOT / "images_zip_input" / "sample.zip", delivery.workspace.input)
    ran = delivery.through("http://127.0.0.1:9", "--api-patience", "1")
    assert ran.code == 1
    assert "cannot be used" in ran.err
    assert "run again" in ran.err
    assert "Traceback" not in ran.err
    api = delivery.apis.start()
    assert delivery.through(api.url).verdict("sample.zip") == ("done", "")


@pytest.mark.slow
def test_an_api_that_goes_away(delivery: Delivery) -> None:
    """When the API goes away in mid-run the run stops, and the next one goes on where it stopped."""
    make_archives(delivery.workspace.input, archives=2, members=100)
    expected, files = delivery.straight()
    api = delivery.apis.start()
    count = iter(range(1000))

    def broken(asked: str) -> str:
        return BUSY if asked == "POST /images/batch" and next(count) > 3 else ""

    with Faulty(port(api), broken) as proxy:
        ran = delivery.through(proxy.url, "--batch-size", "20", "--api-patience", "1", "--concurrency", "2")
    assert ran.code == 1
    assert "503" in ran.err
    assert 0 < len(delivery.workspace.query("SELECT FROM image_source")) < 200
    assert delivery.through(api.url).code == 0
    assert delivery.workspace.catalog() == expected
    assert delivery.workspace.files() == files


@pytest.mark.slow
def test_the_token(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the token, or with a wrong one, the run says in one sentence what to set; it is nowhere else told."""
    shutil.copy(ROOT / "images_zip_input" / "sample.zip", delivery.workspace.input)
    monkeypatch.delenv("IMAGE_API_TOKEN", raising=False)
    api = delivery.apis.start(IMAGE_API_TOKEN="a right secret")
    for token in ("", "a wrong secret", "a right secret"):
        monkeypatch.setenv("IMAGE_API_TOKEN", token)
        ran = delivery.through(api.url)
        assert ran.code == (0 if token == "a right secret" else 1), ran.err
        assert ("IMAGE_API_TOKEN" in ran.err) == (ran.code == 1)
        assert "secret" not in ran.out + ran.err
    assert "secret" not in api.log.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://me:word@127.0.0.1:8000"]
)
def test_wrong_urls(delivery: Delivery, url: str) -> None:
    """What is no URL of an API is wrong usage, and no password of it is repeated."""
    ran = delivery.through(url)
    assert ran.code in {1, 2}
    assert "Traceback" not in ran.err
    assert "word@" not in ran.err


@pytest.mark.slow
def test_something_else_at_the_url(delivery: Delivery) -> None:
    """A server that is no Image API is told from one."""
    shutil.copy(ROOT / "images_zip_input" / "sample.zip", delivery.workspace.input)
    api = delivery.apis.start()
    for command in ("ingest", "retry"):
        ran = delivery.workspace.run(command, "--sink", "api", "--api-url", f"{api.url}/somewhere")
        assert (ran.code, "no Image API" in ran.err) == (1, True)


@pytest.mark.slow
def test_one_item_that_the_api_will_not_take(delivery: Delivery) -> None:
    """An image that is larger than the API takes costs its member the verdict, its neighbours are stored."""
    with zipfile.ZipFile(delivery.workspace.input / "a.zip", "w") as archive:
        for index in range(20):
            data = encoded(picture(index, (32, 32)), "PNG")
            archive.writestr(f"{index:02}.png", data + bytes(300_000 if index == 11 else 0))
    api = delivery.apis.start(IMAGE_API_MAX_BODY_BYTES="200000")
    ran = delivery.through(api.url)
    assert ran.code == 1
    assert ran.report["balance"] == {
        "members": 20, "stored": 19, "duplicate": 0, "rejected": 0, "ignored": 0, "failed": 1
    }  # fmt: skip
    assert ran.report["reasons"] == {"not-delivered": 1}
    larger = delivery.apis.start()
    assert delivery.through(larger.url).code == 0
    assert delivery.workspace.query("SELECT stored, failed FROM archive") == [(20, 0)]


@pytest.mark.slow
def test_a_claim_that_ends_in_a_moment(delivery: Delivery) -> None:
    """What a killed run's last request still locks is waited for, and taken."""
    workspace = delivery.workspace
    shutil.copy(ROOT / "images_zip_input" / "sample.zip", workspace.input)
    with ZipArchive(workspace.input / "sample.zip", Limits()) as archive:
        key = claims.key(archive.digest)
    api = delivery.apis.start()
    with psycopg.connect(workspace.url) as holder:
        holder.execute("SELECT pg_advisory_xact_lock_shared(%s)", (key,))

        def asked() -> None:
            while '"/archives"' not in api.log.read_text("utf-8"):
                time.sleep(0.01)
            holder.rollback()

        freed = threading.Thread(target=asked, daemon=True)
        freed.start()
        ran = delivery.through(api.url)
        freed.join(60)
    assert ran.verdict("sample.zip") == ("done", ""), ran.err


@pytest.mark.slow
def test_what_the_server_refuses_is_kept_and_taken_again(delivery: Delivery) -> None:
    """What only the server refuses lies in the quarantine with the server's reason; retry takes it again."""
    workspace = delivery.workspace
    large, small = encoded(picture(1, (60, 50)), "PNG"), encoded(picture(2, (20, 10)), "PNG")
    for name, members in (("a", {"large": large, "small": small}), ("b", {"again": large, "text": b"no"})):
        with zipfile.ZipFile(workspace.input / f"{name}.zip", "w") as archive:
            for member, data in members.items():
                archive.writestr(f"{member}.png", data)
    expected, files = delivery.straight()
    kept = workspace.root / "kept"
    strict = delivery.apis.start(IMAGE_API_MAX_PIXELS="1000")
    ran = delivery.through(strict.url, "--quarantine", str(kept))
    assert (ran.code, ran.report["reasons"]) == (0, {"too-many-pixels": 2, "not-an-image": 1}), ran.err
    notes = {
        note["member"]: note for path in kept.rglob("*.json") if (note := json.loads(path.read_text("utf-8")))
    }
    assert {name: note["reason"] for name, note in notes.items()} == {
        "large.png": "too-many-pixels",
        "again.png": "too-many-pixels",
        "text.png": "not-an-image",
    }
    assert notes["large.png"]["archive"] == "a.zip"
    assert sorted(path.read_bytes() for path in kept.rglob("*.png")) == sorted([large, large, b"no"])
    assert not [name for name, data in workspace.files().items() if data == large]
    options = ("--sink", "api", "--database-url", "nowhere", "--quarantine", kept, "--api-url")
    ran = workspace.run("retry", *options, strict.url)
    assert "Taking 2 members of 2 archives again" in ran.err
    assert len(list(kept.rglob("*.png"))) == 3
    assert workspace.query("SELECT count(*) FROM unstored_member WHERE again") == [(0,)]
    ran = workspace.run("retry", *options, delivery.apis.start().url)
    assert ran.code == 0, ran.err
    assert [path.read_bytes() for path in kept.rglob("*.png")] == [b"no"]
    assert workspace.catalog() == expected
    assert workspace.files() == files
    assert "Nothing to take again" in workspace.run("retry", *options, strict.url).err


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
@pytest.mark.parametrize("victim", ["pipeline", "server"])
def test_killed_and_run_again(delivery: Delivery, victim: str) -> None:
    """With the pipeline or the server killed at any moment, the next run ends with the same catalog and files."""
    workspace = delivery.workspace
    make_archives(workspace.input, archives=4, members=100)
    expected, files = delivery.straight("--batch-size", "20")
    rng = random.Random(3)
    api = delivery.apis.start()
    hasty = ("--batch-size", "20", "--api-patience", "0.5")
    for _ in range(POINTS):
        command = workspace.command("ingest", "--sink", "api", "--api-url", api.url, *hasty)
        process = subprocess.Popen(
            command,
            cwd=workspace.root,
            env=workspace.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.5 + 2.5 * rng.random())
        if victim == "server":
            api.process.kill()
            process.wait()
            api = delivery.apis.start()
        else:
            process.kill()
            process.wait()
        ran = delivery.through(api.url, "--batch-size", "20")
        assert ran.code == 0, ran.err
        assert workspace.catalog() == expected
        found = workspace.files()
        assert {name: found[name] for name in found if not Path(name).name.startswith(".")} == files
        wipe(workspace)


@pytest.mark.slow
def test_straight_on_after_everything_was_killed(delivery: Delivery) -> None:
    """A run straight into Postgres goes on at once where a killed run through a killed API stopped."""
    workspace = delivery.workspace
    make_archives(workspace.input, archives=2, members=100)
    expected, _ = delivery.straight("--batch-size", "20")
    api = delivery.apis.start()
    process = subprocess.Popen(
        workspace.command("ingest", "--sink", "api", "--api-url", api.url, "--batch-size", "20"),
        cwd=workspace.root,
        env=workspace.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not workspace.query("SELECT FROM image_source LIMIT 1"):
        time.sleep(0.02)
    for victim in (process, api.process):
        victim.kill()
        victim.wait()
    ran = workspace.ingest("--batch-size", "20")
    assert (ran.code, {archive["verdict"] for archive in ran.report["archives"]} - {"known"}) == (0, {"done"})
    assert workspace.catalog() == expected


@pytest.mark.slow
def test_postgres_restarts_below_the_api(delivery: Delivery) -> None:
    """When every connection of the API's database breaks again and again, the run comes to the same end."""
    workspace = delivery.workspace
    make_archives(workspace.input, archives=4, members=100)
    expected, files = delivery.straight("--batch-size", "20")
    api = delivery.apis.start()
    process = subprocess.Popen(
        workspace.command("ingest", "--sink", "api", "--api-url", api.url, "--batch-size", "20"),
        cwd=workspace.root,
        env=workspace.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    breaks = 0
    with psycopg.connect(workspace.url, autocommit=True) as connection:
        for recorded in (20, 150, 300):
            while process.poll() is None:
                row = connection.execute("SELECT count(*) FROM image_source").fetchone()
                if row and row[0] >= recorded:
                    break
                time.sleep(0.02)
            breaks += connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).rowcount
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert breaks > 0
    assert workspace.catalog() == expected
    assert workspace.files() == files


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
