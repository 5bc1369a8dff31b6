"""The account of every request: an id, a line in the log, figures; and a last answer when code fails."""

from __future__ import annotations

import logging
import re
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import request_id
from app.metrics import Metrics
from app.problems import ProblemError, answer

log = logging.getLogger("app.access")
bugs = logging.getLogger("app")

_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Account:
    """Stands outside of everything else, so that refused and failed requests are accounted for too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and account for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry = Entry(scope)
        mark = request_id.set(entry.id)

        async def told(message: Message) -> None:
            entry.note(message)
            await send(message)

        try:
            with self._metrics.running.track_inprogress():
                await self._answer(scope, receive, told, entry)
        finally:
            seconds = time.perf_counter() - entry.begun
            self._metrics.count(entry.method, entry.route, entry.status, seconds)
            entry.write(seconds)
            request_id.reset(mark)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, entry: Entry) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            bugs.exception("unexpected error on %s", entry.route, exc_info=error)
            if entry.status:
                raise
            detail = f"The error was logged as {entry.id}."
            problem = ProblemError(500, "internal-error", detail)
            await answer(scope, problem)(scope, receive, send)


class Entry:
    """What is written about one request: its path without the query, which may hold secrets."""

    def __init__(self, scope: Scope) -> None:
        self.begun = time.perf_counter()
        self.status = 0
        self.method: str = scope["method"]
        self._scope = scope
        self._bytes = 0
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        self.id = given.decode() if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex

    @property
    def route(self) -> str:
        """The template of the route that answered, or `none`."""
        return getattr(self._scope.get("route"), "path_format", "none")

    def note(self, message: Message) -> None:
        """Note a part of the answer; gives it the id, and keeps browsers from guessing its type."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
            if not any(name.lower() == b"x-content-type-options" for name, _ in headers):
                headers.append((b"x-content-type-options", b"nosniff"))
            message["headers"] = headers
        elif message["type"] == "http.response.body":
            self._bytes += len(message.get("body", b""))

    def write(self, seconds: float) -> None:
        """Write the line; status 0 means that the client went away before an answer."""
        if not log.isEnabledFor(logging.INFO):
            return
        client = self._scope.get("client")
        about = {
            "client": client[0] if client else None,
            "method": self.method,
            "path": self._scope["path"],
            "route": self.route,
            "status": self.status,
            "bytes": self._bytes,
            "seconds": round(seconds, 6),
        }
        line = f"{self.method} {self._scope['path']!r} {self.status} {self._bytes} B {seconds * 1000:.1f} ms"
        log.info("%s", line, extra={"about": about})
