"""A sender of archives and batches to the API, as plain as can be."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from typing import Any

import httpx

from bench.sample import encoded, picture

FILE = {"name": "a.zip", "size": 10, "mtime_ns": 5, "inode": 6}


def photo(seed: int) -> bytes:
    """Make a small picture of its own."""
    return encoded(picture(seed, (48, 32)), "JPEG")


def digest(data: bytes) -> str:
    """Give the name of a part."""
    return hashlib.sha256(data).hexdigest()


class Sender:
    """One run that sends to the API."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.run = str(uuid.uuid4())

    def open(self, digest_: str = "ab" * 32, members: int = 3, **more: Any) -> dict[str, Any]:
        """Open an archive; answers its entry."""
        archive = {"digest": digest_, "file": FILE, "folder": "a", "members": members}
        asked = {"run": self.run, "host": "here", "process": "1", "archives": [archive], **more}
        answer = self.client.post("/archives", json=asked)
        assert answer.status_code == 200, answer.text
        entry: dict[str, Any] = answer.json()["entries"][0]
        return entry

    def batch(self, items: Sequence[dict[str, Any]], files: Sequence[bytes] = ()) -> httpx.Response:
        """Send a batch."""
        manifest = json.dumps({"run": self.run, "items": list(items)})
        parts: list[tuple[str, Any]] = [("manifest", (None, manifest, "application/json"))]
        parts += [(digest(data), ("file", data, "application/octet-stream")) for data in files]
        return self.client.post("/images/batch", files=parts)

    def verdicts(self, items: Sequence[dict[str, Any]], files: Sequence[bytes] = ()) -> list[tuple[Any, str]]:
        """Send a batch that is taken; answers each item's verdict and reason."""
        answer = self.batch(items, files)
        assert answer.status_code == 200, answer.text
        return [(item["verdict"], item["reason"]) for item in answer.json()["items"]]

    def finish(self, archive: int) -> dict[str, int]:
        """Close an archive; answers its balance."""
        answer = self.client.post(f"/archives/{archive}/finish", json={"run": self.run})
        assert answer.status_code == 200, answer.text
        balance: dict[str, int] = answer.json()
        return balance


def item(archive: int, index: int, data: bytes, *, sent: bool = True, name: str = "") -> dict[str, Any]:
    """Make the item of an image."""
    return {
        "archive": archive,
        "index": index,
        "name": name or f"{index}.jpg",
        "sha256": digest(data),
        "sent": sent,
    }
