"""What one would write against the API in an afternoon: one request for each image, one after the other.

`python -m bench.single API_URL ARCHIVE...`
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import uuid
import zipfile
from collections.abc import Sequence

import httpx


def main(url: str, archives: Sequence[str]) -> None:
    """Send every member of archives; what the API refuses ends it."""
    run = str(uuid.uuid4())
    with httpx.Client(base_url=url, timeout=60) as client:
        for path in archives:
            with zipfile.ZipFile(path) as zip_:
                members = [(n, info) for n, info in enumerate(zip_.infolist()) if not info.is_dir()]
                archive = _register(client, run, path, len(members))
                for index, info in members:
                    _send(client, run, (archive, index, info.filename), zip_.read(info))
            client.post(f"/archives/{archive}/finish", json={"run": run}).raise_for_status()


def _register(client: httpx.Client, run: str, path: str, members: int) -> int:
    status = os.stat(path)
    file = {"name": path, "size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}
    digest = hashlib.sha256(path.encode()).hexdigest()
    asked = {
        "run": run,
        "archives": [{"digest": digest, "file": file, "folder": digest, "members": members}],
    }
    answer = client.post("/archives", json=asked).raise_for_status().json()
    number: int = answer["entries"][0]["id"]
    return number


def _send(client: httpx.Client, run: str, member: tuple[int, int, str], data: bytes) -> None:
    archive, index, name = member
    sha256 = hashlib.sha256(data).hexdigest()
    item = {"archive": archive, "index": index, "name": name, "sha256": sha256, "sent": True}
    manifest = json.dumps({"run": run, "items": [item]})
    files = [("manifest", (None, manifest.encode(), "application/json")), (sha256, ("image", data, None))]
    answer = client.post("/images/batch", files=files).raise_for_status().json()
    if not answer["items"][0]["verdict"]:
        sys.exit(f"{name} was not taken: {answer}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
