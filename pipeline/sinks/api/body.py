"""A batch as the API takes it: multipart/form-data, streamed from the disk."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.records import Record, clean

CHUNK = 256 << 10
"""Bytes that are read and sent at once, and all that is held of a batch's images."""


class FileChanged(Exception):
    """A file is not any more as it was when its batch was put together."""


class Part(NamedTuple):
    """One image that is sent."""

    sha256: bytes
    path: Path
    size: int


class Body:
    """A manifest and the images that are sent with it; may be streamed as often as needed."""

    def __init__(self, run: str, records: Sequence[Record], parts: Sequence[Part]) -> None:
        self._boundary = secrets.token_hex(16)
        self._parts = parts
        sent = {part.sha256 for part in parts}
        manifest = {"run": run, "items": [_item(record, sent) for record in records]}
        self._manifest = json.dumps(manifest, separators=(",", ":")).encode("ascii")
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={self._boundary}",
            "Content-Length": str(self._length()),
        }

    def _length(self) -> int:
        each = len(self._head(bytes(32))) + len(b"\r\n")
        start = len(self._start())
        return start + sum(each + part.size for part in self._parts) + len(self._end())

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body, small pieces gathered; raises `FileChanged`, and `OSError` when a file cannot be read."""
        pieces = [self._start()]
        size = len(pieces[0])
        for part in self._parts:
            pieces.append(self._head(part.sha256))
            left = part.size
            with part.path.open("rb", buffering=0) as file:
                while data := file.read(CHUNK):
                    left -= len(data)
                    pieces.append(data)
                    size += len(data)
                    if size >= CHUNK:
                        yield b"".join(pieces)
                        pieces, size = [], 0
            if left:
                raise FileChanged(str(part.path))
            pieces.append(b"\r\n")
        pieces.append(self._end())
        yield b"".join(pieces)

    def _start(self) -> bytes:
        return (
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="manifest"\r\n'
            "Content-Type: application/json\r\n\r\n"
        ).encode() + self._manifest + b"\r\n"  # fmt: skip

    def _head(self, sha256: bytes) -> bytes:
        return (
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="{sha256.hex()}"; filename="image"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()  # fmt: skip

    def _end(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode()


def _item(record: Record, sent: set[bytes]) -> dict[str, object]:
    outcome = record.outcome
    item: dict[str, object] = {
        "archive": record.archive_id,
        "index": outcome.index,
        "name": clean(outcome.name),
    }
    if outcome.image:
        return {**item, "sha256": outcome.image.sha256.hex(), "sent": outcome.image.sha256 in sent}
    return {
        **item,
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "detail": clean(outcome.detail),
    }
