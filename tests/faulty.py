"""A proxy between a client and a server that does to requests what networks do."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate

Faults = Sequence[str]

REFUSED, RESET_BODY, RESET_ANSWER, TRUNCATED, LOST, DELAY, TOO_MANY, BUSY = FAULTS = (
    "refused",
    "reset in the body",
    "reset in the answer",
    "truncated answer",
    "answer lost after the work",
    "delay",
    "429",
    "503",
)
"""Everything that may happen to a request."""


class Faulty:
    """Passes requests on to a loopback port, all but those that `pick` gives a fault; a context manager.

    `pick` is asked once for each request, by its method and path. `upstream` may be changed at any time.
    """

    def __init__(self, upstream: int, pick: Callable[[str], str], delay: float = 0.2) -> None:
        self.upstream = upstream
        self.seen: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.together: dict[str, int] = {}
        self._now: Counter[str] = Counter()
        self._pick = pick
        self._delay = delay
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Faulty:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            self._server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._pass_on(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; tells whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        asked = " ".join(head.decode("latin-1").split(" ")[:2])
        fault = self._pick(asked)
        self.seen[fault] += 1
        length = _length(head)
        if fault == REFUSED:
            return _reset(writer)
        if fault == RESET_BODY:
            await reader.readexactly(length // 2)
            return _reset(writer)
        body = await reader.readexactly(length)
        if fault in {TOO_MANY, BUSY}:
            writer.write(_busy(fault, dated=self.seen[fault] % 2 == 0))
            await writer.drain()
            return True
        with self._counted(asked):
            if fault == DELAY:
                await self._hold(asked)
            answer = await self._ask(head + body)
        if fault == LOST:
            return _reset(writer)
        if fault in {RESET_ANSWER, TRUNCATED}:
            writer.write(answer[: max(1, len(answer) * 2 // 3)])
            await writer.drain()
            return _reset(writer) if fault == RESET_ANSWER else False
        writer.write(answer)
        await writer.drain()
        return b"connection: close" not in answer.lower()

    async def _hold(self, asked: str) -> None:
        """Keep a request back for the delay, or until as many of its kind as told have once been here together."""
        together = self.together.get(asked)
        began = time.monotonic()
        while time.monotonic() - began < self._delay and not (together and self.most[asked] >= together):
            await asyncio.sleep(0.01)

    @contextlib.contextmanager
    def _counted(self, asked: str) -> Iterator[None]:
        self._now[asked] += 1
        self.most[asked] = max(self.most[asked], self._now[asked])
        try:
            yield
        finally:
            self._now[asked] -= 1

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            return head + await reader.readexactly(_length(head))
        finally:
            writer.close()


def at_random(seed: int, rate: float, faults: Faults = FAULTS) -> Callable[[str], str]:
    """Pick a fault for a share of the requests."""
    rng = random.Random(seed)
    return lambda _: rng.choice(faults) if rng.random() < rate else ""


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def _busy(fault: str, *, dated: bool) -> bytes:
    after = formatdate(usegmt=True) if dated else "0"
    return f"HTTP/1.1 {fault} Busy\r\nRetry-After: {after}\r\nContent-Length: 0\r\n\r\n".encode()


def _reset(writer: asyncio.StreamWriter) -> bool:
    """End a connection so that the other side sees a reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False
