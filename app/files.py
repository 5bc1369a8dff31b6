"""Answering with a file: ranges, revalidation, and headers that keep browsers from taking it for a page."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import anyio
from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.problems import ProblemError

CHUNK = 256 << 10
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "public, max-age=31536000, immutable",
    "Accept-Ranges": "bytes",
}
_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(\d*)-(\d*)[ \t]*", re.IGNORECASE)


class Served(NamedTuple):
    """A file that never changes: where it is, what it is, and what it is known by."""

    path: Path
    media_type: str
    tag: str


def serve(request: Request, served: Served, private: bool) -> Response:
    """Answer a GET or HEAD with a file, or the part that is asked for (RFC 9110, section 14).

    Raises the problems 404 and 416. A request for several ranges is answered with the whole file, as is allowed.
    """
    headers = {**SAFE, "ETag": f'"{served.tag}"'}
    if private:
        headers["Cache-Control"] = "private, no-cache"
    if _is_current(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    size = _size(served.path)
    first, last = _part(request, size, headers["ETag"])
    status = 200
    if (first, last) != (0, size - 1):
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        status = 206
    headers["Content-Length"] = str(last - first + 1)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=served.media_type)
    body = _chunks(served.path, first, last)
    return StreamingResponse(body, status, headers, served.media_type)


def is_plain(root: Path, relative: str) -> bool:
    """Tell whether a path below a root leads to a regular file through folders only, no symbolic links."""
    place = root
    parts = relative.split("/")
    try:
        for part in parts[:-1]:
            place /= part
            if place.is_symlink():
                return False
        place /= parts[-1]
        return place.is_file() and not place.is_symlink()
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise ProblemError(404, "not-found", "There is no such file.") from error


def _is_current(asked: str, tag: str) -> bool:
    tags = {part.strip().removeprefix("W/") for part in asked.split(",")}
    return tag in tags or "*" in tags


def _part(request: Request, size: int, tag: str) -> tuple[int, int]:
    """Give the first and the last byte that are asked for; a range that makes no sense is as good as none."""
    whole = 0, size - 1
    found = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if not found or request.method != "GET" or request.headers.get("if-range", tag) != tag:
        return whole
    first, last = found.groups()
    if not first:
        if not last:
            return whole
        start, end = max(0, size - _bounded(last)), size - 1
        start = size if _bounded(last) == 0 else start
    else:
        start, end = _bounded(first), min(_bounded(last) if last else size - 1, size - 1)
        if last and _bounded(last) < start:
            return whole
    if start >= size:
        raise ProblemError(
            416, "range-not-satisfiable", f"The file has {size} bytes.", {"Content-Range": f"bytes */{size}"}
        )
    return start, end


def _bounded(digits: str) -> int:
    return int(digits[:20])


async def _chunks(path: Path, first: int, last: int) -> AsyncIterator[bytes]:
    descriptor = await anyio.to_thread.run_sync(os.open, path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        place = first
        while place <= last:
            chunk = await anyio.to_thread.run_sync(os.pread, descriptor, min(CHUNK, last - place + 1), place)
            if not chunk:
                return
            yield chunk
            place += len(chunk)
    finally:
        os.close(descriptor)
