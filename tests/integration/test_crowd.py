"""Two hundred clients read, add by URL and send batches at once; the catalog holds what was acknowledged, no more."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
import pytest

from tests.app.conftest import Api, Apis
from tests.app.sender import FILE, digest, item
from tests.app.test_addition import Origin, Server, picture
from tests.integration.test_deletion import torn
from tests.workspace import Workspace

CLIENTS = int(os.environ.get("CROWD_CLIENTS", "200"))
STEPS = int(os.environ.get("CROWD_STEPS", "2"))
PICTURES = 150
PER_BATCH = 4


@pytest.fixture
def origin() -> Iterator[str]:
    """Run a site with pictures; give its URL."""
    with Server(("127.0.0.1", 0), Origin) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def api(workspace: Workspace, origin: str) -> Iterator[Api]:
    """Run a server that may fetch from the site, with small limits so that it is busy."""
    port = origin.rpartition(":")[2]
    with ExitStack() as stack:
        yield Apis(workspace, stack).start(
            IMAGE_API_ALLOWED_NETWORKS="127.0.0.0/8",
            IMAGE_API_ALLOWED_PORTS=port,
            IMAGE_API_MAX_FETCHES="16",
        )


@dataclass
class Crowd:
    """What the clients were told."""

    api: Api
    origin: str
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    urls: dict[str, str] = field(default_factory=dict)
    sent: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)

    async def ask(
        self, client: httpx.AsyncClient, what: str, method: str, place: str, **more: object
    ) -> httpx.Response:
        """Ask until the answer is not that the server is busy, which must say when to come again."""
        while True:
            answer = await client.request(method, place, **more)  # type: ignore[arg-type]
            self.statuses[what, answer.status_code] += 1
            if answer.status_code not in {429, 503}:
                return answer
            assert answer.json()["code"] == "busy", answer.text
            await asyncio.sleep(float(answer.headers["Retry-After"]) * random.uniform(0.5, 1.5))

    async def read(self, client: httpx.AsyncClient) -> None:
        """Look at a page, the listing, and one image of it with its file and thumbnail."""
        assert (await self.ask(client, "page", "GET", "/")).status_code == 200
        listed = await self.ask(client, "list", "GET", "/images", params={"limit": 20})
        assert listed.status_code == 200
        if records := listed.json():
            record = random.choice(records)
            for what in ("local_url", "thumbnail_url"):
                assert (await self.ask(client, what, "GET", record[what])).status_code == 200
            found = (await self.ask(client, "record", "GET", f"/images/{record['sha1']}")).json()
            assert found["sha256"] == record["sha256"]

    async def add(self, client: httpx.AsyncClient) -> None:
        """Add an image by URL."""
        number = random.randrange(PICTURES)
        url = f"{self.origin}/{number}.jpg?{uuid.uuid4()}"
        answer = await self.ask(client, "add", "POST", "/images", json={"url": url})
        assert answer.status_code in {200, 201}, answer.text
        assert answer.json()["sha256"] == hashlib.sha256(picture(number)).hexdigest()
        self.urls[url] = answer.json()["sha256"]

    async def send(self, client: httpx.AsyncClient) -> None:
        """Send an archive of a few images."""
        run, name = str(uuid.uuid4()), uuid.uuid4().hex * 2
        archive = {"digest": name, "file": {**FILE, "name": name}, "folder": "", "members": PER_BATCH}
        asked = {"run": run, "host": "here", "process": name, "archives": [archive]}
        entry = (await self.ask(client, "open", "POST", "/archives", json=asked)).json()["entries"][0]["id"]
        files = [picture(random.randrange(PICTURES)) for _ in range(PER_BATCH)]
        items = [item(entry, index, data) for index, data in enumerate(files)]
        parts: list[tuple[str, object]] = [
            ("manifest", (None, json.dumps({"run": run, "items": items}), "application/json"))
        ]
        parts += [(digest(data), ("f", data, "application/octet-stream")) for data in dict.fromkeys(files)]
        answer = await self.ask(client, "batch", "POST", "/images/batch", files=parts)
        assert answer.status_code == 200, answer.text
        for told, answered in zip(items, answer.json()["items"], strict=True):
            self.sent[entry, told["index"]] = (told["sha256"], answered["verdict"])
        closed = await self.ask(client, "finish", "POST", f"/archives/{entry}/finish", json={"run": run})
        balance = closed.json()
        assert balance["stored"] + balance["duplicate"] == balance["members"] == PER_BATCH

    async def client(self, number: int) -> None:
        """Be one client: a few things, one after the other."""
        async with httpx.AsyncClient(base_url=self.api.url, timeout=600, trust_env=False) as client:
            for step in range(STEPS):
                await (self.read, self.add, self.send)[(number + 2 * step) % 3](client)


async def crowd_in(crowd: Crowd) -> None:
    """Let all clients come at once."""
    async with asyncio.TaskGroup() as tasks:
        for number in range(CLIENTS):
            tasks.create_task(crowd.client(number))


@pytest.mark.slow
def test_a_crowd(api: Api, origin: str) -> None:
    """No answer is wrong, and the catalog holds exactly what was acknowledged, each image stored once."""
    crowd = Crowd(api, origin)
    asyncio.run(crowd_in(crowd))
    workspace = api.workspace
    urls = dict(
        workspace.query(
            "SELECT url, encode(sha256, 'hex') FROM image_source s JOIN image_info i ON i.id = image_id WHERE url <> ''"
        )
    )
    assert urls == crowd.urls
    members = workspace.query(
        """SELECT archive_id, member_index, encode(sha256, 'hex'), verdict FROM image_source s
        JOIN image_info i ON i.id = image_id WHERE archive_id IS NOT NULL"""
    )
    assert {(archive, index): (sha256, verdict) for archive, index, sha256, verdict in members} == crowd.sent
    stored = workspace.query(
        "SELECT count(*) FILTER (WHERE verdict = 'stored') FROM image_source GROUP BY image_id"
    )
    assert set(stored) == {(1,)}
    assert torn(workspace) == []
    assert [path for path in workspace.static.rglob(".*") if path.is_file()] == []
