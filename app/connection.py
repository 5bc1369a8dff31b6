"""Connections that cannot be held for ever: what uvicorn leaves unbounded about a client is bounded here.

uvicorn's protocol for httptools has no limit on the size of a request's head or trailer, on the time that a head
may take, on pipelined requests, and on how long an answer may wait for a client that does not read. Its answer when
there are too many connections is a bare text; here it is a problem that says when to come again.
"""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.problems import response

HEAD_SECONDS = 20.0
HURRIED_SECONDS = 3.0
"""How long a head may take when half of the connections are in use."""
MOST = 1000
"""Connections whose requests are served at once."""
MAX_HEAD_BYTES = 64 << 10
MAX_PIPELINED = 16
READ_SECONDS = 60.0


async def crowded(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that there are too many connections."""
    headers = {"Retry-After": "2", "Connection": "close"}
    await response(503, "busy", "Too many connections are open.", headers)(scope, receive, send)


class Connection(HttpToolsProtocol):
    """One client's connection; uvicorn makes them."""

    _waiting: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    _answering = False
    _idle_bytes = 0
    """What came since anything became of it: a whole head, or a piece of a body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin waiting for the first head."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head or a trailer never ends."""
        self._idle_bytes += len(data)
        if self._waiting is None and not self._answering:
            self._await_head()
        super().data_received(data)
        if self._idle_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.logger.warning("A request's head is larger than %d bytes.", MAX_HEAD_BYTES)
            self.send_400_response("Request head too large.")
            self._abort_later()

    def on_headers_complete(self) -> None:
        """Stop waiting for the head."""
        self._idle_bytes = 0
        self._cancel_waiting()
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests without waiting for answers")
        self._answering = True
        self.app = crowded if len(self.connections) > MOST else self.config.loaded_app
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note that a body goes on."""
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a body is there."""
        self._idle_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the client to take the last answer."""
        self._answering = bool(self.pipeline)
        super().on_response_complete()
        if self.transport.is_closing():
            self._abort_later()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that nobody uses, also if its client does not take what was sent."""
        super().timeout_keep_alive_handler()
        self._abort_later()

    def pause_writing(self) -> None:
        """Begin waiting for a client that does not read fast enough."""
        super().pause_writing()
        self._abort_later()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        if self._stuck is not None and not self.transport.is_closing():
            self._stuck.cancel()
            self._stuck = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clocks."""
        self._cancel_waiting()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        super().connection_lost(exc)

    def _await_head(self) -> None:
        patience = HURRIED_SECONDS if len(self.connections) > MOST / 2 else HEAD_SECONDS
        self._waiting = self.loop.call_later(patience, self._give_up)

    def _give_up(self) -> None:
        """End a connection whose head does not come."""
        self._waiting = None
        self.transport.abort()

    def _cancel_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _abort_later(self) -> None:
        if self._stuck is None:
            left = self.transport.get_write_buffer_size()
            self._stuck = self.loop.call_later(READ_SECONDS, self._abort_if_stuck, left)

    def _abort_if_stuck(self, left_before: int) -> None:
        """End the connection unless the client took something of what waits for it."""
        self._stuck = None
        if 0 < self.transport.get_write_buffer_size() < left_before:
            self._abort_later()
        else:
            self.transport.abort()
