"""The door that every request passes: who may come in, and how much they may bring.

It stands before routing and before any body is read, so that no route can be added without it.
"""

from __future__ import annotations

import asyncio
import time

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import guard
from app.problems import ProblemError, answer
from app.settings import ApiSettings

READING = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"/health/live", "/health/ready"})
"""What anybody may ask, so that a supervisor needs no token."""
CLOSE = {"Connection": "close"}
MAX_JSON_BYTES = 4 << 20
GRACE_SECONDS = 30.0
SLOWEST = 8 << 10
"""Bytes a second that a body must bring on average, after the grace; time the server takes does not count."""
LARGE = frozenset({"/images/batch"})
"""Where bodies may be as large as the settings allow."""


class Door:
    """Checks each request by its method and its path, and bounds its body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        settings: ApiSettings = request.app.state.services.settings
        most = settings.max_body_bytes if scope["path"] in LARGE else MAX_JSON_BYTES
        try:
            _check(request, settings, most)
        except ProblemError as problem:
            await answer(scope, problem)(scope, receive, send)
            return
        await self._app(scope, _bounded(receive, most), send)


def _check(request: Request, settings: ApiSettings, most: int) -> None:
    if request.scope["path"] not in OPEN:
        (guard.check_read if request.method in READING else guard.check_write)(request, settings)
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > most:
        raise _too_large(most)


def _bounded(receive: Receive, most: int) -> Receive:
    got, waited, complete = 0, 0.0, False

    async def counted() -> Message:
        nonlocal got, waited, complete
        if complete:
            return await receive()
        begun = time.monotonic()
        try:
            async with asyncio.timeout(GRACE_SECONDS + got / SLOWEST - waited):
                message = await receive()
        except TimeoutError as error:
            raise ProblemError(408, "too-slow", "The body comes too slowly.", CLOSE) from error
        waited += time.monotonic() - begun
        got += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if got > most:
            raise _too_large(most)
        return message

    return counted


def _too_large(most: int) -> ProblemError:
    return ProblemError(413, "too-large", f"The body may have {most:,} bytes.", CLOSE)
