"""No client can hold a connection for ever or fill the memory: not with its head, its body, nor by not reading."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from app import connection
from app.connection import Connection

BIG = b"x" * (32 << 20)
DEADLINE = 180.0
SOON = 0.4
"""How long an impatient server waits. A test whose client must not be late in its eyes uses another one."""


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, then answer: much for `/big`, its size otherwise."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = BIG if scope["path"] == "/big" else str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Running:
    """A server in a thread."""

    def __init__(self) -> None:
        config = uvicorn.Config(
            answer,
            port=0,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            loop="asyncio",
            timeout_keep_alive=int(DEADLINE),
        )
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()))
        self._thread.start()
        self.until(lambda: self.server.started)
        self.port: int = self.server.servers[0].sockets[0].getsockname()[1]

    @property
    def connections(self) -> int:
        """How many connections the server holds."""
        return len(self.server.server_state.connections)

    def until(self, holds: object) -> None:
        """Wait until something holds; fails when it never does."""
        assert callable(holds)
        end = time.monotonic() + DEADLINE
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.01)

    def dial(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)

    def stop(self) -> None:
        """End the server."""
        self.server.should_exit = True
        self._thread.join()


@pytest.fixture
def running() -> Iterator[Running]:
    """Run a server."""
    server = Running()
    yield server
    server.stop()


@pytest.fixture
def impatient(running: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """Give the server with little patience."""
    for name in ("HEAD_SECONDS", "READ_SECONDS"):
        monkeypatch.setattr(connection, name, SOON)
    monkeypatch.setattr(running.server.config, "timeout_keep_alive", 1)
    return running


def ended(client: socket.socket) -> bytes:
    """Read until the server ends the connection."""
    got = b""
    try:
        while piece := client.recv(1 << 16):
            got += piece
    except ConnectionError:
        pass
    return got


def pour(client: socket.socket, piece: bytes, most: int) -> int:
    """Send a piece again and again, until the server has enough; gives how often."""
    for count in range(most):
        try:
            client.sendall(piece)
        except ConnectionError:
            return count
    return most


def test_requests_are_answered_one_after_the_other(running: Running) -> None:
    """An ordinary client keeps its connection, with bodies, chunks and a few pipelined requests."""
    with running.dial() as client:
        for body, size in (
            (b"Content-Length: 4\r\n\r\nabcd", b"4"),
            (b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", b"2"),
        ):
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + body)
            got = b""
            while not got.endswith(b"\r\n\r\n" + size):
                piece = client.recv(1000)
                assert piece, "the server ended the connection"
                got += piece
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 4
            + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        assert ended(client).count(b"200 OK") == 5


@pytest.mark.parametrize(
    "start", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"]
)
def test_a_head_that_does_not_come_ends_the_connection(impatient: Running, start: bytes) -> None:
    """Silence, half a head, or half a second head: the connection ends soon."""
    with impatient.dial() as client:
        client.sendall(start)
        ended(client)
    impatient.until(lambda: impatient.connections == 0)


@pytest.mark.slow
def test_a_head_that_trickles_ends_the_connection(impatient: Running) -> None:
    """A head that comes byte by byte gets no more time than any other."""
    with impatient.dial() as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        end = time.monotonic() + DEADLINE
        while pour(client, b"a: b\r\n", 1) and time.monotonic() < end:
            time.sleep(0.05)
        assert time.monotonic() < end


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET /", b"a" * 1000),
        (b"GET / HTTP/1.1\r\nX: ", b"a" * 1000),
        (b"GET / HTTP/1.1\r\n", b"name: value\r\n" * 100),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"name: value\r\n" * 100),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a" * 1000),
    ],
    ids=["path", "one header", "headers", "trailer", "chunk extension"],
)
def test_a_head_that_never_ends_is_cut(running: Running, start: bytes, piece: bytes) -> None:
    """What comes before or after a body is bounded in size, wherever it is put."""
    with running.dial() as client:
        client.sendall(start)
        assert pour(client, piece, 100_000) < 100_000
    running.until(lambda: running.connections == 0)


def test_pipelined_requests_are_bounded(impatient: Running) -> None:
    """Requests that do not wait for answers are refused beyond a few."""
    with impatient.dial() as client:
        pour(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2000, 50)
        ended(client)
    impatient.until(lambda: impatient.connections == 0)


@pytest.mark.slow
def test_a_client_that_does_not_read_is_left(impatient: Running) -> None:
    """An answer that nobody takes does not keep its connection."""
    with impatient.dial() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        impatient.until(lambda: impatient.connections == 1)
        impatient.until(lambda: impatient.connections == 0)


def read_slowly(client: socket.socket, pause: float) -> tuple[int, float]:
    """Read to the end with a pause after each megabyte; give how much came and the longest time without reading."""
    got, rested, longest, last = 0, 0, 0.0, time.monotonic()
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(1 << 20):
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
            got += len(piece)
            if got - rested >= 1 << 20:
                rested = got
                time.sleep(pause)
    return got, max(longest, time.monotonic() - last)


@pytest.mark.slow
def test_a_client_that_reads_slowly_is_served(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it reads, a client gets its answer, however long that takes altogether."""
    for patience in (0.4, 1.0, 3.0, 10.0, 30.0):
        monkeypatch.setattr(connection, "READ_SECONDS", patience)
        with running.dial() as client:
            begun = time.monotonic()
            client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            got, longest = read_slowly(client, patience / 10)
            took = time.monotonic() - begun
        # A machine that was busy with something else has made this client really slow: no test of the server.
        if got > len(BIG) or longest < patience / 2:
            break
    assert got > len(BIG)
    assert took > patience


NONSENSE = [
    b"\x16\x03\x01\x02\x00\x01",
    b"GET http://[ HTTP/1.1\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\n\r\n",
    b"A: B\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_400(running: Running, text: bytes) -> None:
    """What is not HTTP gets a 400 and no more."""
    with running.dial() as client:
        client.sendall(text)
        assert ended(client).startswith(b"HTTP/1.1 400 ")


def test_a_crowd_is_told_to_come_again(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too many connections the answer is an honest 503; silent ones are soon gone, and service goes on."""
    monkeypatch.setattr(connection, "HURRIED_SECONDS", DEADLINE)
    monkeypatch.setattr(connection, "HEAD_SECONDS", DEADLINE)
    monkeypatch.setattr(connection, "MOST", 8)
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with ExitStack() as silent:
        for _ in range(8):
            silent.enter_context(running.dial())
        running.until(lambda: running.connections == 8)
        with running.dial() as client:
            client.sendall(request)
            answer = ended(client)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 2" in answer
    assert b"application/problem+json" in answer
    running.until(lambda: running.connections == 0)
    monkeypatch.setattr(connection, "HURRIED_SECONDS", SOON)
    with ExitStack() as silent:
        for _ in range(8):
            silent.enter_context(running.dial())
        running.until(lambda: running.connections == 4)
        with running.dial() as client:
            client.sendall(request)
            assert ended(client).startswith(b"HTTP/1.1 200 ")
