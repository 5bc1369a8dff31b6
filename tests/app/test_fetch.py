"""Fetching ends: with the file, or with an error that says why, in bounded time, bytes and memory."""

from __future__ import annotations

import asyncio
import errno
import gzip
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.fetch import Fetched, fetch
from app.problems import ProblemError
from app.settings import ApiSettings
from pipeline.errors import StoreError

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SETTINGS = ApiSettings(allowed_networks=(ipaddress.ip_network("127.0.0.0/8"),), fetch_timeout=300.0)
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 5\r\n\r\nbytes"


def fetched(script: Script, target: Path, path: str = "/", **changes: object) -> Fetched:
    """Fetch from a server on this machine that does what a script says, for one connection after the other."""

    async def run() -> Fetched:
        serving: set[asyncio.Task[None] | None] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving.add(asyncio.current_task())
            try:
                await reader.readuntil(b"\r\n\r\n")
                await script(reader, writer)
            except (ConnectionError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            settings = replace(SETTINGS, allowed_ports=(port,), **changes)  # type: ignore[arg-type]
            try:
                return await fetch(f"http://127.0.0.1:{port}{path}", target, settings)
            finally:
                for task in serving:
                    if task is not None:
                        task.cancel()

    return asyncio.run(run())


def saying(*parts: bytes) -> Script:
    """Make a script that sends these bytes and closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return script


def endless(start: bytes, part: bytes, pause: float = 0.0) -> Script:
    """Make a script that never stops sending."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)

    return script


def refused(script: Script, target: Path, path: str = "/", **changes: object) -> tuple[int, str]:
    """Give the status and code with which a fetch fails, having made sure that it leaves no file."""
    with pytest.raises(ProblemError) as caught:
        fetched(script, target, path, **changes)
    assert not target.exists()
    return caught.value.status_code, caught.value.code


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Give the path to fetch into."""
    return tmp_path / "target"


def test_a_good_answer_becomes_a_file(target: Path) -> None:
    """The body is in the file; the address, size and claimed type are told."""
    found = fetched(saying(GOOD), target, "/a%20b?c=d")
    assert target.read_bytes() == b"bytes"
    assert (found.bytes, found.content_type) == (5, "image/png")
    assert found.url.endswith("/a%20b?c=d")


@pytest.mark.parametrize(
    "end", [b"5\r\nbytes\r\n0\r\n\r\n", b"1\r\nb\r\n4;x=y\r\nytes\r\n0\r\nTrailer: t\r\n\r\n"]
)
def test_a_chunked_answer_becomes_a_file(target: Path, end: bytes) -> None:
    """A body without a length is read to its end."""
    fetched(saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", end), target)
    assert target.read_bytes() == b"bytes"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nbytes", "upstream-status"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "upstream-status"),
        (b"HTTP/1.1 204 None\r\n\r\n", "upstream-status"),
        (b"HTTP/1.1 206 Part\r\nContent-Length: 5\r\n\r\nbytes", "upstream-status"),
        (b"HTTP/1.1 304 Same\r\n\r\n", "upstream-status"),
        (b"HTTP/1.1 302 Where\r\nContent-Length: 0\r\n\r\n", "upstream-status"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbytes", "fetch-failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nbytes", "fetch-failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nbytes!", "fetch-failed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbyt", "fetch-failed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nbytes", "fetch-failed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "fetch-failed"),
        (b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", "fetch-failed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "fetch-failed"),
        (b"", "fetch-failed"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n", "fetch-failed"),
        (b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe://x\r\nContent-Length: 0\r\n\r\n", "fetch-failed"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "fetch-failed"),
    ],
)
def test_a_bad_answer_is_told(target: Path, answer: bytes, expected: str) -> None:
    """What a server does wrong is 502 with a code, never a crash and never a file."""
    assert refused(saying(answer), target) == (502, expected)


def test_nothing_listening_is_told(target: Path) -> None:
    """A refused connection is 502."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        settings = replace(SETTINGS, allowed_ports=(port,))
        with pytest.raises(ProblemError) as caught:
            asyncio.run(fetch(f"http://127.0.0.1:{port}/", target, settings))
    assert (caught.value.status_code, caught.value.code) == (502, "fetch-failed")


def test_speaking_plainly_to_tls_is_told(target: Path) -> None:
    """A failed handshake is 502."""

    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await fetch(f"https://127.0.0.1:{port}/", target, replace(SETTINGS, allowed_ports=(port,)))

    with pytest.raises(ProblemError) as caught:
        asyncio.run(run())
    assert (caught.value.status_code, caught.value.code) == (502, "fetch-failed")


@pytest.mark.parametrize(
    "script",
    [
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
        endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3E8\r\n%s\r\n" % (b"x" * 1000)),
    ],
    ids=["announced", "endless", "chunked"],
)
def test_too_much_is_refused(target: Path, script: Script) -> None:
    """The cap holds for what is announced and for what comes."""
    assert refused(script, target, max_fetch_bytes=4999) == (413, "too-large")


def test_the_cap_itself_is_allowed(target: Path) -> None:
    """A file of exactly the allowed size is fetched."""
    assert fetched(saying(GOOD), target, max_fetch_bytes=5).bytes == 5


def test_single_bytes_are_refused(target: Path) -> None:
    """A server that chops its body into single bytes is left early: each costs work."""
    script = endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10000)
    assert refused(script, target) == (502, "fetch-failed")


def test_a_bomb_is_not_unpacked(target: Path) -> None:
    """A compressed body is refused instead of unpacked: identity was asked for."""
    bomb = gzip.compress(bytes(1 << 20))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    assert refused(saying(head, bomb), target) == (502, "fetch-failed")


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        endless(b"", b"", 0.01),
        endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.05),
        endless(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", b"x", 0.05),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.05),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
    ],
    ids=["silent", "slow headers", "slow body", "slow chunks", "informational"],
)
def test_a_slow_server_ends_at_the_deadline(target: Path, script: Script) -> None:
    """The deadline is for the whole fetch, however the server spends it."""
    assert refused(script, target, fetch_timeout=0.5) == (504, "fetch-timeout")


def test_endless_headers_end(target: Path) -> None:
    """Headers that come fast and never stop are cut by size, or by the deadline at the latest."""
    status, _ = refused(endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 200), target, fetch_timeout=10.0)
    assert status in {502, 504}


@pytest.mark.slow
def test_redirects_share_one_deadline(target: Path) -> None:
    """A chain of slow redirects does not get the time anew for each hop."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")

    assert refused(script, target, fetch_timeout=1.0, max_redirects=1000) == (504, "fetch-timeout")


def test_a_stalled_resolver_ends_at_the_deadline(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform's resolver cannot be interrupted; waiting for it can."""
    released, answered = threading.Event(), threading.Event()

    def stalled(*question: object) -> list[object]:
        released.wait(600)
        answered.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", stalled)

    try:
        with pytest.raises(ProblemError) as caught:
            asyncio.run(fetch("http://slow.test/", target, replace(SETTINGS, fetch_timeout=0.3)))
        assert caught.value.code == "fetch-timeout"
        assert not answered.is_set()
    finally:
        released.set()


def test_the_environment_has_no_say(target: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a proxy nor a netrc of the environment is used."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n", "utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    heads: list[bytes] = []

    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            cookie = b"Set-Cookie: a=b\r\n"
            found = b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n" + cookie + b"\r\n"
            writer.write(found if len(heads) == 1 else GOOD)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await fetch(f"http://127.0.0.1:{port}/", target, replace(SETTINGS, allowed_ports=(port,)))

    asyncio.run(run())
    assert len(heads) == 2
    for head in heads:
        assert b"authorization" not in head.lower()
        assert b"cookie" not in head.lower()
        assert b"referer" not in head.lower()
        assert b"accept-encoding: identity" in head.lower()


def test_a_file_that_cannot_be_written_is_the_stores_fault(tmp_path: Path) -> None:
    """An unwritable target is an error of the store, not of the server that was asked."""
    with pytest.raises(StoreError):
        fetched(saying(GOOD), tmp_path / "missing" / "target")


@pytest.fixture
def full_disk() -> Path:
    """Give a device that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    return Path("/dev/full")


def test_a_full_disk_is_the_stores_fault(full_disk: Path, tmp_path: Path) -> None:
    """ENOSPC while writing is an error of the store."""
    target = tmp_path / "target"
    target.symlink_to(full_disk)
    with pytest.raises(StoreError, match=str(errno.ENOSPC)):
        fetched(saying(GOOD), target)
    assert not target.is_symlink()
    assert full_disk.exists()


def test_a_cancelled_fetch_leaves_nothing(target: Path) -> None:
    """When the client goes away the partial file goes too."""

    async def run() -> None:
        started = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nstart")
            await writer.drain()
            started.set()
            await reader.read()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            settings = replace(SETTINGS, allowed_ports=(port,))
            task = asyncio.create_task(fetch(f"http://127.0.0.1:{port}/", target, settings))
            await started.wait()
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    assert not target.exists()
