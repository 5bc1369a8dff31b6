"""Deleting beside everything that adds: no row is ever without its file, and what was deleted can come again."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg
import pytest
from PIL import Image as Pillow

from pipeline.catalog import changes
from pipeline.errors import CatalogError
from pipeline.records import Archive, FileIdentity, Image, Outcome, Record
from pipeline.sinks.postgres import PostgresSink
from tests.app.conftest import Api, Apis
from tests.app.sender import Sender, item
from tests.app.test_addition import Origin, Server, picture
from tests.workspace import Workspace

TURNS = int(os.environ.get("DELETION_TURNS", "2"))


@pytest.fixture
def api(workspace: Workspace) -> Iterator[Api]:
    """Run a server on the workspace."""
    with ExitStack() as stack:
        yield Apis(workspace, stack).start()


def fill(path: Path, first: int, count: int) -> None:
    """Make an archive of pictures that differ by their number."""
    with zipfile.ZipFile(path, "w") as zip_:
        for number in range(first, first + count):
            stream = io.BytesIO()
            Pillow.new("RGB", (8, 8), (number % 256, number // 256, 5)).save(stream, "PNG")
            zip_.writestr(f"{number}.png", stream.getvalue())


def torn(workspace: Workspace) -> list[str]:
    """Name the rows whose file is not there, or is another one."""
    found = []
    for sha256, url in workspace.query("SELECT sha256, local_url FROM image_info"):
        path = workspace.root / url.lstrip("/")
        if not path.exists() or hashlib.sha256(path.read_bytes()).digest() != sha256:
            found.append(url)
    return found


@pytest.mark.slow
def test_deleting_beside_an_ingest(workspace: Workspace, api: Api) -> None:
    """Whatever is deleted meanwhile, a run ends well or says to run again, and no row is without its file."""
    chance = random.Random(7)
    for number in range(2):
        fill(workspace.input / f"{number}.zip", number * 300, 400)
    for turn in range(TURNS):
        run = subprocess.Popen(
            workspace.command("ingest", "--batch-size", "50"),
            cwd=workspace.root,
            env=workspace.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deletions = 0
        while run.poll() is None:
            time.sleep(chance.uniform(0.0, 0.6))
            listed = api.client.get("/images?limit=20").json()
            if turn % 2 and listed:
                answer = api.client.delete(f"/images/{chance.choice(listed)['sha256']}")
                assert answer.status_code in {200, 404}, answer.text
            elif deletions == 0:
                assert api.client.delete("/images").status_code == 200
            deletions += 1
        said, _ = run.communicate()
        assert run.returncode == 0 or "run again" in said.lower(), said
        assert "Traceback" not in said
        assert torn(workspace) == []
        assert api.client.delete("/images").status_code == 200
    assert workspace.ingest().code == 0
    assert torn(workspace) == []
    assert workspace.query("SELECT count(*), sum(stored), sum(duplicate) FROM archive") == [(2, 700, 100)]


def test_an_image_deleted_while_it_is_taken_in_is_not_recorded(database_url: str, tmp_path: Path) -> None:
    """A run that wrote a file before the image was deleted learns of it, instead of recording a row without a file."""

    def archive(number: int) -> Archive:
        file = FileIdentity(f"{number}.zip", 100, number, number)
        return Archive(tmp_path / file.name, file, bytes([number]) * 32, f"{number}-{'0' * 12}", 1)

    image = Image(b"i" * 32, b"i" * 20, "png", 1, 1, 1, "RGB", 1, None, None, None, 0)
    sink = PostgresSink(database_url)
    first, second = sink.open([archive(1), archive(2)])
    outcome = Outcome(0, "a.png", image)
    sink.write([Record(first.id, outcome)])
    with psycopg.connect(database_url) as connection, changes.alone(connection):
        assert len(changes.delete_image(connection, image.sha256)) == 1
    with pytest.raises(CatalogError, match="run again"):
        sink.write([Record(second.id, outcome)])
    sink.close()
    again = PostgresSink(database_url)
    (entry,) = again.open([archive(2)])
    again.write([Record(entry.id, outcome)])
    again.close()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM image_info").fetchone() == (1,)


def test_opening_waits_for_a_deletion(database_url: str, tmp_path: Path) -> None:
    """An archive is not opened while files are still being deleted, so that none of its own is."""
    file = FileIdentity("a.zip", 100, 1, 1)
    sink = PostgresSink(database_url)
    opened = threading.Event()

    def open_one() -> None:
        sink.open([Archive(tmp_path / "a.zip", file, b"a" * 32, f"a-{'0' * 12}", 1)])
        opened.set()

    worker = threading.Thread(target=open_one)
    with psycopg.connect(database_url) as connection, changes.alone(connection):
        worker.start()
        assert not opened.wait(0.5)
    worker.join(300)
    assert opened.is_set()
    sink.close()


@pytest.mark.slow
def test_deleting_beside_clients(workspace: Workspace) -> None:
    """Images that are added by URL or in batches while others delete are there whole, or not at all."""
    with ExitStack() as stack:
        site = stack.enter_context(Server(("127.0.0.1", 0), Origin))
        threading.Thread(target=site.serve_forever).start()
        stack.callback(site.shutdown)
        api = Apis(workspace, stack).start(
            IMAGE_API_ALLOWED_NETWORKS="127.0.0.0/8", IMAGE_API_ALLOWED_PORTS=str(site.server_port)
        )
        answers: list[httpx.Response] = []

        def add(worker: int) -> None:
            with httpx.Client(base_url=api.url, timeout=300, trust_env=False) as client:
                for turn in range(12):
                    url = f"http://127.0.0.1:{site.server_port}/{(worker + turn) % 4}.jpg"
                    answers.append(client.post("/images", json={"url": url}))

        def send(worker: int) -> None:
            with httpx.Client(base_url=api.url, timeout=300, trust_env=False) as client:
                for turn in range(12):
                    sender = Sender(client)
                    entry = sender.open(f"{worker:02x}{turn:02x}" * 16)["id"]
                    data = picture((worker + turn) % 4)
                    answers.append(sender.batch([item(entry, 0, data)], [data]))

        workers = [
            threading.Thread(target=work, args=(number,)) for number in range(3) for work in (add, send)
        ]
        for worker in workers:
            worker.start()
        chance = random.Random(3)
        while any(worker.is_alive() for worker in workers):
            time.sleep(0.05)
            listed = api.client.get("/images").json()
            digest = f"/{chance.choice(listed)['sha256']}" if listed and chance.random() < 0.7 else ""
            assert api.client.delete(f"/images{digest}").status_code in {200, 404}
        assert {answer.status_code for answer in answers} <= {200, 201, 409, 503}, [
            answer.text for answer in answers if answer.status_code not in {200, 201, 409, 503}
        ]
        assert sum(answer.status_code in {200, 201} for answer in answers) > len(answers) / 2
        assert torn(workspace) == []
        assert [path for path in workspace.static.rglob(".*") if path.is_file()] == []
