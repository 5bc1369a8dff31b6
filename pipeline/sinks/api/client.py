"""Speaking HTTP with the Image API: the only file that knows the HTTP client, and the rules for trying again."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from pipeline.errors import SinkError, SinkUnavailable
from pipeline.settings import Settings
from pipeline.sinks.api.body import FileChanged
from pipeline.sinks.api.window import Window

Answer = TypeVar("Answer")

PASSING = frozenset({408, 425, 429})
SLOW_DOWN = frozenset({429, 503})
CONNECT_SECONDS = 10.0
WRITE_SECONDS = 60.0
FIRST_SECONDS = 15.0
"""How long an API that was never reached is tried: it is more likely misspelt than restarting."""
MAX_AFTER = 60.0
"""The longest wait that the API's `Retry-After` is granted, in seconds."""
ROUNDS = 5
"""How many times the patience a request may take while others succeed."""
LOCKED = (
    "The Image API at {url} does not let this run write ({status})."
    " Set IMAGE_API_TOKEN to the token that the server was started with."
)


class Passing(Exception):
    """Trouble that may pass; `after` is when the API says that it may, in seconds."""

    def __init__(self, what: str, after: float = 0.0) -> None:
        super().__init__(what)
        self.after = after


class Refused(SinkError):
    """The API refuses a request, and would again."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"The Image API refuses ({status}): {detail}")
        self.status = status
        self.detail = detail


class Client:
    """Requests to one API, over connections that are kept; one event loop uses it.

    Proxies and passwords of the environment are not used: an API is mostly near, and a run by cron must not take
    another way than one by hand.
    """

    def __init__(self, url: str, settings: Settings, window: Window) -> None:
        self.url = url
        self._patience = settings.api_patience
        self._window = window
        self._heard: float | None = None
        token = settings.api_token
        connections = window.ceiling + 4
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(
                connect=CONNECT_SECONDS, read=settings.api_timeout, write=WRITE_SECONDS, pool=None
            ),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            verify=ssl.create_default_context() if url.startswith("https:") else False,
            trust_env=False,
        )

    async def ask(self, method: str, path: str, message: object = None) -> Any:
        """Send a message and give the answer, with as many tries as patience allows.

        Raises `Refused`, `SinkUnavailable`, and `SinkError` when the token is missing or wrong.
        """
        return await self.persist(lambda: self.once(method, path, message))

    async def persist(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        """Try until it succeeds; waits longer each time, at random, and at least as long as the API asks for."""
        failing: list[float] = []

        def exhausted(state: RetryCallState) -> bool:
            del state
            failing.append(time.monotonic())
            return self._out_of_patience(failing[0])

        try:
            async for trial in AsyncRetrying(
                retry=retry_if_exception_type(Passing), wait=_pause, stop=exhausted, reraise=True
            ):
                with trial:
                    return await attempt()
        except Passing as error:
            raise SinkUnavailable(
                f"The Image API at {self.url} cannot be used: {error}. Nothing is lost; run again when it is back."
            ) from error
        raise AssertionError("tenacity answers or raises")  # pragma: no cover

    def _out_of_patience(self, since: float) -> bool:
        now = time.monotonic()
        if self._heard is None:
            return now - since > min(self._patience, FIRST_SECONDS)
        return now - max(since, self._heard) > self._patience or now - since > ROUNDS * self._patience

    async def once(
        self,
        method: str,
        path: str,
        message: object = None,
        *,
        content: AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send a request once; raises `Passing` for trouble that may pass."""
        try:
            answer = await self._http.request(method, path, json=message, content=content, headers=headers)
        except httpx.TimeoutException as error:
            self._window.shrink()
            raise Passing(f"no answer in time ({type(error).__name__})") from error
        except httpx.TransportError as error:
            raise Passing(str(error) or type(error).__name__) from error
        except (FileChanged, OSError) as error:
            raise Passing(f"a file changed while it was sent: {error}") from error
        return self._read(answer)

    def _read(self, answer: httpx.Response) -> Any:
        status = answer.status_code
        if status < 300:
            try:
                found = answer.json() if answer.content else None
            except ValueError as error:
                raise Passing("the answer cannot be read") from error
            self._heard = time.monotonic()
            self._window.grow()
            return found
        detail = _detail(answer)
        if status in SLOW_DOWN:
            self._window.shrink()
        if status in PASSING or status >= 500:
            raise Passing(f"it answers {status}: {detail}", _after(answer.headers.get("Retry-After", "")))
        if status in {401, 403}:
            raise SinkError(LOCKED.format(url=self.url, status=status))
        if status < 400:
            raise SinkError(
                f"{self.url} leads to {answer.headers.get('Location', 'elsewhere')}; use that URL."
            )
        raise Refused(status, detail)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


_backoff = wait_random_exponential(multiplier=0.2, max=10)


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    after = error.after if isinstance(error, Passing) else 0.0
    # Not all at the same moment, when the API tells many the same.
    return min(after, MAX_AFTER) + _backoff(state)


def _after(text: str) -> float:
    """Read `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3)."""
    if text.strip().isdecimal():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _detail(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
    except ValueError:
        return answer.reason_phrase
    if not isinstance(problem, dict):
        return answer.reason_phrase
    return str(problem.get("detail") or problem.get("title") or answer.reason_phrase)[:500]
