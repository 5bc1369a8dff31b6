"""A batch's body: a manifest, then files, which go to the disk as they come (RFC 7578)."""

from __future__ import annotations

import contextlib
import os
import re
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from app.manifest import Manifest
from app.problems import ProblemError
from pipeline.files import explained
from pipeline.store import Store

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MANIFEST = "manifest"
MAX_MANIFEST = 32 << 20
MAX_HEADER = 4096
MAX_HEADERS = 8
_NAME = re.compile(rb'(?:^|;)\s*name="?([^";]*)"?', re.IGNORECASE)


class Body:
    """Takes a body in pieces and keeps its files as scratch files, until it is closed.

    `feed` and `end` raise the problem that the body has. Not for the event loop: they write to the disk.
    """

    def __init__(self, content_type: str, store: Store, max_parts: int) -> None:
        self.manifest: Manifest | None = None
        self.files: dict[str, Path] = {}
        self._store = store
        self._parts_left = max_parts + 1
        self._expected: set[str] = set()
        self._text = bytearray()
        self._name = bytearray()
        self._value = bytearray()
        self._part = ""
        self._descriptor: int | None = None
        self._ended = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_headers_finished": self._open,
            "on_part_data": self._write,
            "on_part_end": self._close,
            "on_end": self._finish,
        }
        self._parser = MultipartParser(
            _boundary(content_type), callbacks, max_header_count=MAX_HEADERS, max_header_size=MAX_HEADER
        )

    def close(self) -> None:
        """Remove what is left of the files."""
        self._shut()
        for path in self.files.values():
            with contextlib.suppress(OSError):
                path.unlink()

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _bad(str(error)) from error

    def end(self) -> Manifest:
        """Take the end of the body; answers its manifest."""
        if not self._ended or self.manifest is None:
            raise _bad("the body ends too early")
        return self.manifest

    def _begin(self) -> None:
        self._parts_left -= 1
        if self._parts_left < 0:
            raise ProblemError(413, "too-many-parts", "The batch has more parts than the server takes.")
        self._part = ""

    def _header(self) -> None:
        if bytes(self._name).strip().lower() == b"content-disposition":
            self._part = _name_of(bytes(self._value))
        self._name.clear()
        self._value.clear()

    def _open(self) -> None:
        name = self._part
        if self.manifest is None:
            if name != MANIFEST:
                raise _bad("the first part is named manifest")
            return
        if name not in self._expected:
            raise _bad(
                f"part {name[:80]!r}: the manifest has no item that is sent with this digest, or twice"
            )
        self._expected.discard(name)
        path = self._store.spare()
        with explained(str(path)):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self.files[name] = path

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._descriptor is None:
            if len(self._text) + end - start > MAX_MANIFEST:
                raise ProblemError(413, "too-large", f"The manifest may have {MAX_MANIFEST:,} bytes.")
            self._text += data[start:end]
            return
        view = memoryview(data)[start:end]
        with explained("the store"):
            while view:
                view = view[os.write(self._descriptor, view) :]

    def _close(self) -> None:
        if self._descriptor is not None:
            self._shut()
            return
        self.manifest = Manifest.read(self._text)
        self._text.clear()
        self._expected = {item.sha256 for item in self.manifest.items if item.sent and item.sha256}

    def _finish(self) -> None:
        self._ended = True

    def _shut(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/form-data" or not boundary:
        raise ProblemError(415, "not-multipart", "Send multipart/form-data with a boundary.")
    if len(boundary) > 70 or not boundary.isascii():
        raise _bad("the boundary has at most 70 ASCII characters")
    return boundary.encode("ascii")


def _name_of(disposition: bytes) -> str:
    found = _NAME.search(disposition)
    return found[1].decode("latin-1") if found else ""


def _bad(detail: str) -> ProblemError:
    return ProblemError(422, "bad-multipart", f"The body makes no sense: {detail}.")
