"""Whatever happens to the network, the API, the run or Postgres, the catalog comes to the same end."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import pytest

from bench.crash import make_archives
from pipeline.archives import ZipArchive
from pipeline.catalog import claims
from pipeline.settings import Limits
from tests.app.conftest import Api
from tests.faulty import BUSY, FAULTS, Faulty, at_random
from tests.integration.delivery import Delivery, port
from tests.integration.test_crash import wipe
from tests.workspace import SAMPLE

POINTS = int(os.environ.get("API_KILL_POINTS", "2"))


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
def test_an_api_that_is_not_there(delivery: Delivery) -> None:
    """A run that cannot reach the API says so, soon, and loses nothing."""
    shutil.copy(SAMPLE, delivery.workspace.input)
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
def test_a_claim_that_ends_in_a_moment(delivery: Delivery) -> None:
    """What a killed run's last request still locks is waited for, and taken."""
    workspace = delivery.workspace
    shutil.copy(SAMPLE, workspace.input)
    with ZipArchive(workspace.input / "sample.zip", Limits()) as archive:
        key = claims.key(archive.digest)
    # A moment may be over before a busy machine has let this test free the lock: that is tried again.
    for _ in range(5):
        api = delivery.apis.start()
        with psycopg.connect(workspace.url) as holder:
            holder.execute("SELECT pg_advisory_xact_lock_shared(%s)", (key,))
            freed = threading.Thread(target=free_when_asked, args=(api, holder))
            freed.start()
            ran = delivery.through(api.url)
            freed.join()
        if ran.verdict("sample.zip")[0] != "waiting":
            break
    assert ran.verdict("sample.zip") == ("done", ""), ran.err


def free_when_asked(api: Api, holder: psycopg.Connection) -> None:
    """Let go of what a connection locks once a server was asked for archives."""
    deadline = time.monotonic() + 300
    while '"/archives"' not in api.log.read_text("utf-8") and time.monotonic() < deadline:
        time.sleep(0.01)
    holder.rollback()
