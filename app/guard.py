"""Who may read and who may write.

Without a token, writing is for programs and pages of this machine alone: the connection comes from loopback, it
addresses a loopback name (so that no foreign page gets in by DNS rebinding), nothing says that a proxy passed it
on, and no page of another origin sent it. With a token, the token alone decides.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress

from fastapi import Request

from app.problems import ProblemError
from app.settings import ApiSettings

HOW_TO_WRITE = (
    "Without a token, this is possible from this machine only, at a name like localhost and not through a proxy. "
    "Start the server with IMAGE_API_TOKEN set and send 'Authorization: Bearer <token>'."
)
PASSED_ON = (
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
)
"""Headers that proxies add, besides all that begin with X-Forwarded."""


def check_write(request: Request, settings: ApiSettings) -> None:
    """Let a request write, or raise the 401 or 403 that says what is missing."""
    if settings.token:
        if not _is(settings.token, _bearer(request)):
            raise _no_token("Bearer")
    elif not _is_from_here(request):
        raise ProblemError(403, "token-required", HOW_TO_WRITE)


def check_read(request: Request, settings: ApiSettings) -> None:
    """Let a request read: always, unless the API is private.

    Reading a private API takes the token also as the password of Basic authentication, so that a browser can ask
    for it. Writing does not: browsers send passwords along with what foreign pages make them send.
    """
    if not settings.private:
        return
    if not settings.token:
        check_write(request, settings)
    elif not (_is(settings.token, _bearer(request)) or _is(settings.token, _password(request))):
        raise _no_token('Basic realm="Image API: the token is the password", Bearer')


def _no_token(challenge: str) -> ProblemError:
    detail = "Send 'Authorization: Bearer <token>' with the token that the server was started with."
    return ProblemError(401, "bad-token", detail, {"WWW-Authenticate": challenge})


def _bearer(request: Request) -> bytes:
    return _credentials(request, "bearer")


def _password(request: Request) -> bytes:
    try:
        return base64.b64decode(_credentials(request, "basic"), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _credentials(request: Request, scheme: str) -> bytes:
    """Give what follows a scheme, in the bytes that were sent: headers are read as Latin-1, tokens are UTF-8."""
    used, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip(" \t").encode("latin-1") if used.lower() == scheme else b""


def _is(token: str, given: bytes) -> bool:
    return hmac.compare_digest(given, token.encode())


def _is_from_here(request: Request) -> bool:
    host = request.headers.get("host", "").lower()
    client = request.client.host if request.client else ""
    passed_on = any(name in PASSED_ON or name.startswith("x-forwarded") for name in request.headers)
    return _is_loopback(client) and _is_loopback_name(host) and not passed_on and _is_own_page(request, host)


def _is_own_page(request: Request, host: str) -> bool:
    """Tell whether no page sent this, or one of this very server: another port is another program's page."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "none")
    return origin in {None, f"http://{host}", f"https://{host}"} and site in {"none", "same-origin"}


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def _is_loopback_name(host: str) -> bool:
    """Tell whether a Host header, with a port or without, is localhost, below it, or a loopback address."""
    if host.startswith("["):
        address, closed, port = host[1:].partition("]")
        return closed == "]" and port[:1] in {"", ":"} and ":" in address and _is_loopback(address)
    name = host.partition(":")[0].removesuffix(".")
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)
