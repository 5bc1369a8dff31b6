"""Every request is accounted for: also the refused one, and the one whose code fails."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from app.account import Account
from app.logs import JsonLines, Lines
from app.metrics import Metrics
from tests.app.conftest import Api, Apis


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    """Fail before any answer."""
    raise RuntimeError("secret innards")


async def torn(scope: Scope, receive: Receive, send: Send) -> None:
    """Fail in the middle of an answer."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("secret innards")


def asked(app: ASGIApp, metrics: Metrics, **headers: str) -> httpx.Response:
    """Ask an application inside an account."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(Account(app, metrics))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get("/a?token=hush", headers=headers)

    return asyncio.run(run())


def test_a_bug_is_an_answer_without_its_innards(caplog: pytest.LogCaptureFixture) -> None:
    """Code that fails gives a 500 that names the entry in the log, which has the traceback."""
    metrics = Metrics()
    answer = asked(failing, metrics)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "innards" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["detail"]
    assert any(record.exc_info for record in caplog.records)
    labels = {"method": "GET", "route": "none", "status": "500"}
    assert metrics.registry.get_sample_value("image_api_requests_total", labels) == 1
    assert metrics.registry.get_sample_value("image_api_requests_running") == 0


def test_a_bug_in_the_middle_tears_the_connection() -> None:
    """An answer that has begun cannot be made good: the connection ends, so that nobody takes it for whole."""
    with pytest.raises(RuntimeError):
        asked(torn, Metrics())


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2_X", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ("", False)]
)
def test_an_id_that_is_given_is_kept(given: str, kept: bool) -> None:
    """A request id of the client is kept when it is harmless, and replaced otherwise."""
    answer = asked(failing, Metrics(), **{"X-Request-ID": given})
    assert (answer.headers["x-request-id"] == given) is kept


def lines(api: Api) -> list[dict[str, Any]]:
    """Read the log of a server."""
    return [json.loads(line) for line in api.log.read_text("utf-8").splitlines()]


def accounts(api: Api, count: int) -> list[dict[str, Any]]:
    """Give the accounts of requests once so many are written, which is after their answers were sent."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        # A line that is being written has no end yet.
        whole = api.log.read_text("utf-8").rpartition("\n")[0].splitlines()
        written = [line for line in map(json.loads, whole) if line["event"] == "app.access"]
        if len(written) >= count:
            return written
        time.sleep(0.02)
    raise AssertionError(f"fewer than {count} accounts: {api.log.read_text('utf-8')}")


@pytest.mark.slow
def test_each_request_is_one_line_of_json(apis: Apis) -> None:
    """Everything that a server writes is JSON; a request's line has no query, and no way to forge another line."""
    api = apis.start(IMAGE_API_TOKEN="hush", IMAGE_API_LOG_FORMAT="json")
    answer = api.client.get("/images?q=hush", headers={"X-Request-ID": "mine"})
    api.client.get("/a%0a%7b%22level%22:%22forged%22%7d", headers={"Authorization": "Bearer hush"})
    api.client.delete("/images")
    api.client.get("/images/" + "0" * 40)
    written = accounts(api, 4)
    told = [(line["method"], line["route"], line["status"]) for line in written]
    assert told == [
        ("GET", "/images", 200),
        ("GET", "none", 404),
        ("DELETE", "none", 401),
        ("GET", "/images/{digest}", 404),
    ]
    assert written[0]["request"] == answer.headers["x-request-id"] == "mine"
    assert written[0]["bytes"] == len(answer.content)
    assert "hush" not in api.log.read_text("utf-8")
    assert not any(line["level"] == "forged" for line in lines(api))


def test_a_line_says_what_it_says() -> None:
    """Both forms carry message and traceback."""
    try:
        raise ValueError("broken")
    except ValueError as error:
        trace = (type(error), error, error.__traceback__)
    record = logging.LogRecord("app", logging.ERROR, "", 0, "cannot %s", ("go on",), trace)
    line = json.loads(JsonLines().format(record))
    assert (line["level"], line["message"]) == ("error", "cannot go on")
    assert "ValueError: broken" in line["traceback"]
    assert "error: cannot go on\n" in Lines().format(record)
