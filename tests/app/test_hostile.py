"""Whatever is thrown at it, the server answers with a problem of the sender's, stays small, and goes on serving."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from app import door
from app.manifest import MAX_VALUES, Manifest
from app.multipart import Body
from app.problems import ProblemError
from pipeline.store import Store
from tests.app.conftest import Api

SECONDS = 300.0
DIGITS = "ab" * 32
SURROGATE = "\ud800"
HOSTS = [
    "[",
    "[::1",
    "]",
    "a b",
    "a<b>",
    'x>; rel="next", <y',
    "\xff",
    "a/b?c#d",
    "u@localhost",
    "localhost:x",
    "",
    "%00",
]
PATHS = f"""
    /static/../../etc/passwd /static/%2e%2e/%2e%2e/etc/passwd /static/..%2f..%2f..%2fetc%2fpasswd
    /static//ab/ab/x /static/ab/ab/../../../setup.cfg /static/ab%2fab/x /static/ab/ab/%00.jpg
    /static/ab/ab/{DIGITS}.jpg%00 /static/ab/ab/{DIGITS}.html /static/ab/ab/{DIGITS}.jpg%0a
    /static/ab/ab/.pipeline-1 /static/\\..\\..\\etc /static/%ff/%fe/x /assets/../main.py /assets/x/..%2fmain.py
    /assets/x/__init__.py /view/%00 /view/..%2f.. /images/%ff%fe /images/..%2f.. /images/{DIGITS}%0a
    /images/{DIGITS[:40]}%00/thumbnail /%ff /%0d%0aX:%20y /archives/99999999999999999999/unstored
    /archives/-1/unstored /archives/%D9%A1/recorded
"""
QUERIES = """
    q=%00 q=%5c q=%25%5f%5c q=%ff%fe q=%0d%0aX:y q=%3Cscript%3E archive=%00 limit=0 limit=1001 limit=-1
    limit=1e3 limit=%D9%A1 limit=99999999999999999999999 limit= cursor=0 cursor=x cursor=9223372036854775808
    min_width=2147483648 min_width=-1 type=html sha1=zz sha1=%00 nonsense=1 limit=1&limit=2 q[]=a a&&&=;=
"""
JSON = [
    b"",
    b"null",
    b"[]",
    b"{",
    b"\xff\xfe",
    b"NaN",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"url":1e999}',
    b'{"url":[]}',
]
JSON += [
    b'{"url":"\\ud800"}',
    b'{"url":"http://a/\\ud800"}',
    b'{"url":"\\u0000"}',
    b'{"url":"x\\r\\nHost: y"}',
    b'{"\\ud800":1}',
]
JSON += [
    b'{"url":' + b"9" * 5000 + b"}",
    b'{"sha256":[' + b"0," * 500_000 + b"0]}",
    b'{"archives":[' + b"{}," * 200_000 + b"{}]}",
]
POSTS = ["/images", "/images/check", "/archives", "/archives/known", "/archives/finish", "/archives/refused"]


def said(api: Api, data: bytes) -> tuple[int, bytes]:
    """Send bytes as they are; gives the status and the whole answer."""
    with socket.create_connection(("127.0.0.1", urlsplit(api.url).port or 0), timeout=SECONDS) as client:
        client.sendall(data)
        got = b""
        while piece := client.recv(1 << 16):
            got += piece
    return int(got.split(b" ", 2)[1]), got


def get(path: str, host: str = "localhost", more: str = "") -> bytes:
    """Write a request."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n".encode("latin-1")


def test_no_request_line_or_header_breaks_out(api: Api) -> None:
    """Odd paths, queries and hosts are refused or harmless; none reaches a file, another header, or a traceback."""
    for path in PATHS.split():
        status, answer = said(api, get(path))
        assert status in {400, 404, 422}, (path, answer)
        assert b"root:" not in answer
    for place in ("/images", "/", "/archives"):
        for query in QUERIES.split():
            status, answer = said(api, get(f"{place}?{query}"))
            assert status in {200, 422}, (place, query, answer)
            assert b"<script>" not in answer
            assert b"\r\nX:" not in answer.partition(b"\r\n\r\n")[0]
        for host in HOSTS:
            status, answer = said(api, get(place, host))
            assert status == 200, (place, host, answer)
    for more in (
        "Range: bytes=" + "0-," * 9000,
        "X-Request-ID: a\tb",
        "Cookie: " + "a=b;" * 9000,
        "Accept: \xff",
        "Expect: x",
    ):
        assert said(api, get(f"/static/ab/ab/{DIGITS}.jpg", more=more + "\r\n"))[0] in {404, 417}
    assert api.client.get("/health/ready").status_code == 200
    assert "Traceback" not in api.log.read_text("utf-8")


def test_no_json_breaks_a_route(api: Api) -> None:
    """Deep, huge, odd and wrong JSON is the sender's problem at every route that takes some."""
    for path in POSTS:
        for text in JSON:
            answer = api.client.post(path, content=text, headers={"Content-Type": "application/json"})
            assert answer.status_code in {400, 413, 422}, (path, text[:50], answer.text[:500])
            assert answer.headers["content-type"] == "application/problem+json"
            assert len(answer.content) < 10_000
            assert answer.headers["x-content-type-options"] == "nosniff"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = api.client.post(
            "/images", content=b'{"url":"http://127.0.0.1/"}', headers={"Content-Type": kind}
        )
        assert answer.status_code == 422
    assert api.client.get("/health/ready").status_code == 200
    assert "Traceback" not in api.log.read_text("utf-8")


def test_a_manifest_of_very_many_values_is_not_read() -> None:
    """Values take fifty times their text: a manifest with too many is refused before it is read."""
    for text in (b'{"items":[' + b"0," * (MAX_VALUES + 1), b'{"items":[' + b"{}," * (MAX_VALUES + 1)):
        with pytest.raises(ProblemError) as caught:
            Manifest.read(text)
        assert (caught.value.status_code, caught.value.code) == (413, "too-large")


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    st.one_of(
        st.text(st.characters(min_codepoint=32, max_codepoint=255)),
        st.builds(
            "multipart/form-data; {}".format, st.text(st.characters(min_codepoint=32, max_codepoint=255))
        ),
        st.builds(
            "multipart/form-data; boundary{}={}".format,
            st.sampled_from(["", "*", "*0", "*0*"]),
            st.text(max_size=80),
        ),
    ),
    st.lists(st.binary(max_size=200), max_size=4),
)
def test_any_multipart_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content_type: str, pieces: list[bytes]
) -> None:
    """No content type and no body gives anything but a manifest or a problem; nothing stays behind."""
    folder = tmp_path_factory.mktemp("store")
    try:
        body = Body(content_type.encode("latin-1", "replace").decode("latin-1"), Store(folder, folder), 10)
        try:
            for piece in pieces:
                body.feed(piece)
            body.end()
        finally:
            body.close()
    except ProblemError as problem:
        refused = problem
    else:
        raise AssertionError("a body without a manifest was taken")
    assert refused.status_code in {413, 415, 422}
    assert list(folder.rglob("*")) == []


class Clock:
    """What the door uses of `time` and `asyncio`, on a clock that is moved by whoever spends time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Tell the time."""
        return self.now

    @contextlib.asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        """End what took longer."""
        end = self.now + seconds
        yield
        if self.now > end:
            raise TimeoutError


@pytest.mark.parametrize(
    ("pause", "size", "own", "refused"),
    [(0.0, 1, 5.0, False), (6.0, 60 << 10, 0.0, False), (6.0, 1, 0.0, True)],
    ids=["at once to a slow server", "slow but large", "trickling"],
)
def test_a_body_that_trickles_is_refused(
    monkeypatch: pytest.MonkeyPatch, pause: float, size: int, own: float, refused: bool
) -> None:
    """A body gets time by what it brings, however it is spread; the server's own time does not count."""
    clock, sent = Clock(), 0
    for module in ("time", "asyncio"):
        monkeypatch.setattr(door, module, clock)

    async def receive() -> Message:
        nonlocal sent
        clock.now += pause
        sent += 1
        return {"type": "http.request", "body": b"x" * size, "more_body": sent < 20}

    async def run() -> None:
        bounded = door._bounded(receive, 1 << 30)
        while (await bounded())["more_body"]:
            clock.now += own

    if not refused:
        asyncio.run(run())
        assert sent == 20
        return
    with pytest.raises(ProblemError) as caught:
        asyncio.run(run())
    assert (caught.value.status_code, caught.value.code) == (408, "too-slow")
    assert sent == 6


def test_a_body_that_stops_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of which nothing more comes is not waited for."""
    monkeypatch.setattr(door, "GRACE_SECONDS", 0.1)

    async def silent() -> Message:
        await asyncio.sleep(600)
        raise AssertionError("it was waited for")

    with pytest.raises(ProblemError) as caught:
        asyncio.run(door._bounded(silent, 1 << 30)())  # type: ignore[arg-type]
    assert caught.value.code == "too-slow"


def test_a_lone_surrogate_is_answered() -> None:
    """Text that cannot be UTF-8 cannot be echoed: the answer is made without it."""
    text = json.dumps({"run": SURROGATE, "items": [{"name": SURROGATE}]}).encode()
    with pytest.raises(ProblemError) as caught:
        Manifest.read(text)
    assert caught.value.detail.encode("utf-8")
