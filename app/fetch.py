"""Fetching a URL into a file without being turned against the network or the server."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin

import httpx
from ssrfguard import SSRFGuardError, Target
from ssrfguard.httpx import AsyncSafeTransport

from app.problems import ProblemError
from app.reach import check, policy_of, refusal
from app.settings import ApiSettings
from pipeline.errors import StoreError

log = logging.getLogger("app.fetch")

Address = tuple[int, int, int, str, tuple[Any, ...]]
T = TypeVar("T")

CHUNK = 256 << 10
SMALLEST = 64
PATIENCE = 1000
"""Pieces of a body that may be small; after these they must have SMALLEST bytes on average."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
LOOKUPS = 64
"""Threads that look names up: the platform's resolver cannot be interrupted, a stalled one holds its thread."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched: the URL that answered after redirects, its size, and the type it claims (a remark only)."""

    url: str
    bytes: int
    content_type: str


async def fetch(url: str, target: Path, settings: ApiSettings) -> Fetched:
    """Fetch a URL into a file.

    Raises `ProblemError`: 422 `bad-url` or `address-not-allowed`, 413 `too-large`, 504 `fetch-timeout`, and 502
    `fetch-failed` or `upstream-status`; `StoreError` when the file cannot be written. No file is left then.
    """
    try:
        async with asyncio.timeout(settings.fetch_timeout):
            return await _follow(url, target, settings)
    except (TimeoutError, httpx.TimeoutException) as error:
        _gone(target)
        detail = f"The fetch did not end within {settings.fetch_timeout:g} seconds."
        raise ProblemError(504, "fetch-timeout", detail) from error
    except BaseException:
        _gone(target)
        raise


async def _follow(url: str, target: Path, settings: ApiSettings) -> Fetched:
    """Fetch, asking the policy anew at every redirect; nothing (cookies, connections) is carried from hop to hop."""
    for hop in range(settings.max_redirects + 1):
        here, origin = _checked(url, settings, hop)
        try:
            async with _answer(here, await _look_up(origin), settings) as response:
                if response.status_code not in REDIRECTS or "location" not in response.headers:
                    return await _save(response, target, settings)
                url = urljoin(str(here), response.headers["location"].strip().replace(" ", "%20"))
        except SSRFGuardError as error:
            log.warning("refused to fetch %r: %s", url, error)
            raise refusal(error) from error
        except httpx.TimeoutException:
            raise
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise ProblemError(502, "fetch-failed", f"The fetch failed: {str(error)[:200]}") from error
    raise ProblemError(502, "fetch-failed", f"The server redirects more than {settings.max_redirects} times.")


def _checked(url: str, settings: ApiSettings, hop: int) -> tuple[httpx.URL, Target]:
    try:
        return check(url, settings)
    except ProblemError as problem:
        if not hop:
            raise
        raise ProblemError(
            problem.status_code, problem.code, f"After a redirect: {problem.detail}"
        ) from problem


async def _look_up(origin: Target) -> Sequence[Address]:
    """Resolve a name, once; waiting ends with the deadline, though the thread may not."""
    flags = socket.AI_NUMERICHOST if origin.is_literal_address else 0
    ask = functools.partial(socket.getaddrinfo, origin.host, origin.port, 0, socket.SOCK_STREAM, 0, flags)
    try:
        answers = await asyncio.get_running_loop().run_in_executor(_threads(), ask)
    except (OSError, UnicodeError) as error:
        raise ProblemError(502, "fetch-failed", f"The name {origin.host} cannot be found.") from error
    if not answers:
        raise ProblemError(502, "fetch-failed", f"The name {origin.host} has no address.")
    return answers


@asynccontextmanager
async def _answer(
    url: httpx.URL, addresses: Sequence[Address], settings: ApiSettings
) -> AsyncIterator[httpx.Response]:
    """Ask one of these addresses, each of them checked, and no other.

    The transport is used without a client, so that no proxy, netrc, cookie or redirect can come between.
    """

    def known(*question: object) -> Sequence[Address]:
        del question
        return addresses

    timeout = httpx.Timeout(settings.fetch_timeout, connect=settings.fetch_timeout / 4)
    request = httpx.Request("GET", url, headers=_headers(), extensions={"timeout": timeout.as_dict()})
    async with AsyncSafeTransport(policy=policy_of(settings), resolver=known, verify=_trust()) as transport:
        response = await transport.handle_async_request(request)
        response.request = request
        try:
            yield response
        finally:
            await response.aclose()


async def _save(response: httpx.Response, target: Path, settings: ApiSettings) -> Fetched:
    """Write the body of a good answer to the file, as it comes."""
    if response.status_code != 200:
        raise ProblemError(502, "upstream-status", f"The server answered {response.status_code}.")
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise ProblemError(
            502, "fetch-failed", f"The server sent {encoding[:40]!r} though identity was asked for."
        )
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > settings.max_fetch_bytes:
        raise _too_large(settings)
    size = 0
    file = await _write(open, target, "wb", CHUNK)
    try:
        async for piece in _pieces(response, settings):
            size += len(piece)
            await _write(file.write, piece)
    finally:
        await _write(file.close)
    return Fetched(str(response.url), size, response.headers.get("content-type", "")[:200])


async def _pieces(response: httpx.Response, settings: ApiSettings) -> AsyncIterator[bytes]:
    """Yield the body in pieces of a useful size, letting others run in between.

    A body chopped into single bytes costs the server a thousand times its size in work: that is refused.
    """
    held = bytearray()
    count = size = 0
    async for piece in response.aiter_raw():
        held += piece
        count += 1
        size += len(piece)
        if size > settings.max_fetch_bytes:
            raise _too_large(settings)
        if count > PATIENCE and size < count * SMALLEST:
            raise ProblemError(502, "fetch-failed", "The server sends the file in far too small pieces.")
        if len(held) >= CHUNK:
            yield bytes(held)
            held.clear()
        elif count % 16 == 0:
            await asyncio.sleep(0)
    yield bytes(held)


def _too_large(settings: ApiSettings) -> ProblemError:
    return ProblemError(413, "too-large", f"The file has more than {settings.max_fetch_bytes} bytes.")


async def _write(work: Callable[..., T], *arguments: Any) -> T:
    """Do one piece of writing in a thread; its errors must not be taken for the network's."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except OSError as error:
        raise StoreError(f"A fetched file cannot be written: {error}.") from error


def _gone(target: Path) -> None:
    target.unlink(missing_ok=True)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(LOOKUPS, "look-up")


def _headers() -> dict[str, str]:
    return {
        "User-Agent": f"image-pipeline/{version('image-pipeline')}",
        "Accept": "image/*, */*;q=0.1",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


@functools.cache
def _trust() -> ssl.SSLContext:
    """Read the trusted authorities once; SSL_CERT_FILE and SSL_CERT_DIR replace them."""
    return httpx.create_ssl_context()
