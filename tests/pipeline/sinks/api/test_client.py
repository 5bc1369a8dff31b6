"""What passes is tried again, what does not is told at once, and waiting is bounded."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from pipeline.errors import SinkError, SinkUnavailable
from pipeline.settings import Settings
from pipeline.sinks.api import client as module
from pipeline.sinks.api.client import Client, Refused, _after
from pipeline.sinks.api.window import Window


def ask(answers: list[tuple[int, dict[str, str], bytes]], **told: Any) -> tuple[Any, int]:
    """Ask a server that gives these answers, the last one again and again; give what came of it and how often."""
    asked = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            nonlocal asked
            status, headers, body = answers[min(asked, len(answers) - 1)]
            asked += 1
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = "Content-Length" in headers

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    async def scene() -> Any:
        settings = replace(Settings(), **{"api_patience": 300.0, **told})
        client = Client(f"http://127.0.0.1:{server.server_port}", settings, Window(4))
        try:
            return await client.ask("GET", "/")
        except SinkError as error:
            return error
        finally:
            await client.close()

    try:
        return asyncio.run(scene()), asked
    finally:
        server.shutdown()
        server.server_close()


GOOD: tuple[int, dict[str, str], bytes] = (200, {}, b'{"a": 1}')


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507])
def test_what_passes_is_tried_again(status: int) -> None:
    """Trouble of the server's is waited out."""
    assert ask([(status, {}, b""), GOOD]) == ({"a": 1}, 2)


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 422])
def test_what_does_not_pass_is_told(status: int) -> None:
    """A refusal is not tried again, and is told in the server's words."""
    error, asked = ask([(status, {}, b'{"detail": "too odd"}'), GOOD])
    assert isinstance(error, Refused)
    assert (error.status, error.detail, asked) == (status, "too odd", 1)


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_token_is_told(status: int) -> None:
    """Where the token is missing or wrong, the variable to set is named."""
    error, asked = ask([(status, {}, b"")], api_token="wrong")
    assert asked == 1
    assert str(error).count("IMAGE_API_TOKEN") == 1
    assert "wrong" not in str(error)


class Clock:
    """A clock that goes on by four seconds whenever it is looked at."""

    now = 0.0

    def monotonic(self) -> float:
        """Tell the time."""
        self.now += 4
        return self.now


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble that does not pass ends the tries, and says what it was."""
    monkeypatch.setattr(module, "time", Clock())
    error, asked = ask([(503, {}, b'{"detail": "busy"}')], api_patience=10.0)
    assert isinstance(error, SinkUnavailable)
    assert asked == 2
    assert "503: busy" in str(error)


def test_answers_that_are_cut_are_asked_for_again() -> None:
    """An answer shorter than it says, or that is no JSON, is no answer."""
    assert ask([(200, {"Content-Length": "99"}, b'{"a"'), (200, {}, b'{"a'), GOOD]) == ({"a": 1}, 3)


def test_a_redirect_is_told() -> None:
    """An API that moved is named, not followed: a token would go where nobody meant it to."""
    error, asked = ask([(307, {"Location": "http://elsewhere/"}, b""), GOOD])
    assert ("http://elsewhere/" in str(error), asked) == (True, 1)


@pytest.mark.slow
def test_the_server_says_when_to_come_again() -> None:
    """`Retry-After` is kept."""
    began = time.monotonic()
    assert ask([(429, {"Retry-After": "1"}, b""), GOOD], api_timeout=5.0)[1] == 2
    assert time.monotonic() - began >= 1.0


def test_retry_after() -> None:
    """`Retry-After` is seconds or a date; nonsense and the past mean now; nobody waits for ever."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < _after(later) <= 100
    assert _after("7") == 7
    for text in ("", "soon", "-5", "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 99 Jan 1970"):
        assert _after(text) == 0
    assert min(_after("9" * 500), module.MAX_AFTER) == module.MAX_AFTER
