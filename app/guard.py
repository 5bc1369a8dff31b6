"""Who may read and who may write."""

from __future__ import annotations

import hmac
import ipaddress

from fastapi import Request

from app.problems import ProblemError
from app.settings import ApiSettings

HOW_TO_WRITE = (
    "Without a token, writing is possible from this machine only. "
    "Start the server with IMAGE_API_TOKEN set and send 'Authorization: Bearer <token>'."
)


def check_write(request: Request, settings: ApiSettings) -> None:
    """Let a request write, or raise the 401 or 403 that says what is missing.

    Without a token only a loopback client that addresses a loopback host name may write, so that neither
    another machine nor a page in this machine's browser (by DNS rebinding) can.
    """
    if settings.token:
        _check_token(request, settings.token)
        return
    client = request.client.host if request.client else ""
    origin = request.headers.get("origin")
    foreign = origin is not None and not _is_loopback_host(_host_of_origin(origin))
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip"))
    host = _without_port(request.headers.get("host", ""))
    if foreign or forwarded or not _is_loopback(client) or not _is_loopback_host(host):
        raise ProblemError(403, "token-required", HOW_TO_WRITE)


def check_read(request: Request, settings: ApiSettings) -> None:
    """Let a request read: always, unless the API is private."""
    if settings.private:
        check_write(request, settings)


def _check_token(request: Request, token: str) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise ProblemError(
            401, "bad-token", "Send 'Authorization: Bearer <token>'.", {"WWW-Authenticate": "Bearer"}
        )


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def _is_loopback_host(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name.strip("[]"))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _host_of_origin(origin: str) -> str:
    return _without_port(origin.partition("://")[2])
