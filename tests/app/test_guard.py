"""Nobody writes who may not: not over the network, not through a proxy, not from a page of another origin."""

from __future__ import annotations

import base64
import ipaddress

import pytest
from fastapi import Request

from app.guard import check_read, check_write
from app.problems import ProblemError
from app.settings import ApiSettings
from tests.app.conftest import Api, Apis

OPEN = ApiSettings()
TOKEN = ApiSettings(token="s3cret")
PRIVATE = ApiSettings(private=True)
PRIVATE_TOKEN = ApiSettings(private=True, token="s3cret")
OK = 200


def asked(
    client: str | None = "127.0.0.1", host: str | bytes | None = "localhost:8000", **headers: str | bytes
) -> Request:
    """Make a request from a client with headers, as the server hands it on."""
    raw = [] if host is None else [(b"host", host if isinstance(host, bytes) else host.encode("latin-1"))]
    for name, value in headers.items():
        text = value if isinstance(value, bytes) else value.encode("latin-1")
        raw.append((name.replace("_", "-").encode(), text))
    scope = {"type": "http", "method": "POST", "path": "/images", "headers": raw, "query_string": b""}
    return Request({**scope, "client": None if client is None else (client, 50000)})


def answer(request: Request, settings: ApiSettings, write: bool = True) -> int:
    """Give the status with which the guard answers."""
    try:
        (check_write if write else check_read)(request, settings)
    except ProblemError as problem:
        return problem.status_code
    return OK


@pytest.mark.parametrize("client", ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LOCALHOST:1",
        "localhost.",
        "app.localhost:80",
        "127.0.0.1",
        "[::1]:8000",
        "[::1]",
    ],
)
def test_this_machine_writes_without_a_token(client: str, host: str) -> None:
    """A loopback client that addresses a loopback name may write."""
    assert answer(asked(client, host), OPEN) == OK


@pytest.mark.parametrize(
    "client",
    [
        "192.168.0.7",
        "8.8.8.8",
        "::ffff:192.168.0.7",
        "fe80::1%eth0",
        "2001:db8::1",
        "0.0.0.0",
        "",
        "testclient",
        None,
    ],
)
def test_others_do_not_write_without_a_token(client: str | None) -> None:
    """Neither another machine nor whoever has no address may write."""
    assert answer(asked(client), OPEN) == 403


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        ":",
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "0.0.0.0:8000",
        "evil-localhost",
        "xlocalhost:80",
        "2130706433",
        "0x7f.1",
        "127.1",
        "192.168.0.7:8000",
        "[::]:80",
        "[::1",
        "[::1].evil",
        "[127.0.0.1]",
        "[localhost]",
        "[::1]evil",
        "[fe80::1]",
        "[::ffff:8.8.8.8]",
        "localhost..",
        "\xa0localhost",
        "localhost@x",
    ],
)
def test_a_foreign_name_is_refused(host: str | None) -> None:
    """DNS rebinding makes a page's own name point at this machine; its name gives it away."""
    assert answer(asked(host=host), OPEN) == 403


@pytest.mark.parametrize(
    "name",
    [
        "x_forwarded_for",
        "x_forwarded_host",
        "x_forwarded_proto",
        "x_forwarded",
        "forwarded",
        "via",
        "x_real_ip",
        "x_client_ip",
        "true_client_ip",
        "cf_connecting_ip",
    ],
)
def test_what_a_proxy_passed_on_is_refused(name: str) -> None:
    """Behind a proxy everybody comes from loopback, whatever the header claims."""
    assert answer(asked(**{name: "127.0.0.1"}), OPEN) == 403


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "https://localhost.evil.example:8000",
        "http://localhost:3000",
        "http://localhost",
        "http://127.0.0.1:8000",
        "http://user@localhost:8000",
        "http://localhost:8000.evil.example",
        "file://localhost:8000",
    ],
)
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    """A form on another page, even one of this machine on another port, cannot write through the browser."""
    assert answer(asked(origin=origin), OPEN) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "same-origin, cross-site", "unheard-of"])
def test_what_the_browser_says_comes_from_elsewhere_is_refused(site: str) -> None:
    """Fetch metadata is believed when it speaks against a request."""
    assert answer(asked(sec_fetch_site=site), OPEN) == 403


def test_the_own_page_writes() -> None:
    """A page that this server gave may write to it."""
    assert answer(asked(origin="http://localhost:8000", sec_fetch_site="same-origin"), OPEN) == OK
    assert answer(asked(host="LocalHost:8000", origin="http://localhost:8000"), OPEN) == OK
    assert answer(asked(host="[::1]:8000", origin="http://[::1]:8000"), OPEN) == OK


@pytest.mark.parametrize("given", ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "])
def test_the_token_opens_from_everywhere(given: str) -> None:
    """With the token set, who has it writes, from any machine, at any name, through any proxy."""
    request = asked(
        "8.8.8.8",
        "images.example",
        authorization=given,
        x_forwarded_for="1.2.3.4",
        origin="https://a.example",
    )
    assert answer(request, TOKEN) == OK


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3cret2",
        "Bearer S3CRET",
        "Basic s3cret",
        "s3cret",
        "Bearer\ts3cret",
        "Bearer s3cret\xa0",
        "Bearer \x85s3cret",
        "Bearer tök",
        "Bearer s3cret, Bearer x",
        "Basic " + base64.b64encode(b"a:s3cret").decode(),
    ],
)
def test_without_the_token_nobody_writes(given: str) -> None:
    """With the token set, being on this machine is not enough, and nothing near the token is."""
    assert answer(asked(authorization=given), TOKEN) == 401
    assert answer(asked(), TOKEN) == 401


def test_a_token_may_have_any_characters() -> None:
    """A token that is not ASCII is compared by the bytes that are sent."""
    settings = ApiSettings(token="gehèim ☃")
    assert answer(asked(authorization="Bearer gehèim ☃".encode()), settings) == OK
    assert answer(asked(authorization="Bearer gehèim".encode("latin-1")), settings) == 401


@pytest.mark.slow
def test_private_without_a_token(apis: Apis) -> None:
    """Only this machine reads, health apart, and the log says so at the start."""
    api = apis.start(IMAGE_API_PRIVATE="1")
    for path, here, elsewhere in (("/", 200, 403), ("/images", 200, 403), ("/health/live", 200, 200)):
        assert api.client.get(path).status_code == here
        assert api.client.get(path, headers={"X-Forwarded-For": "8.8.8.8"}).status_code == elsewhere
    assert "only this machine can read" in api.log.read_text("utf-8")


def test_reading_is_open_unless_private() -> None:
    """Reading needs nothing by default; a private API wants the same as for writing."""
    assert answer(asked("8.8.8.8", "evil.example"), OPEN, write=False) == OK
    assert answer(asked("8.8.8.8"), TOKEN, write=False) == OK
    assert answer(asked("8.8.8.8"), PRIVATE, write=False) == 403
    assert answer(asked(sec_fetch_site="cross-site"), PRIVATE, write=False) == 403
    assert answer(asked(), PRIVATE, write=False) == OK
    assert answer(asked(), PRIVATE_TOKEN, write=False) == 401
    assert answer(asked("8.8.8.8", authorization="Bearer s3cret"), PRIVATE_TOKEN, write=False) == OK


@pytest.mark.parametrize(
    ("password", "status"), [("s3cret", OK), ("s3cre", 401), ("s3cret:", 401), ("", 401)]
)
def test_a_browser_reads_with_the_token_as_password(password: str, status: int) -> None:
    """The token is taken as a password for reading, never for writing: a browser sends that for foreign pages too."""
    given = "Basic " + base64.b64encode(f"me:{password}".encode()).decode()
    assert answer(asked(authorization=given), PRIVATE_TOKEN, write=False) == status
    assert answer(asked(authorization=given), PRIVATE_TOKEN) == 401
    assert answer(asked(authorization="Basic !!"), PRIVATE_TOKEN, write=False) == 401


def test_a_refusal_says_what_to_do() -> None:
    """The answers name the variable, the header and the challenge."""
    with pytest.raises(ProblemError, match="IMAGE_API_TOKEN"):
        check_write(asked("8.8.8.8"), OPEN)
    with pytest.raises(ProblemError, match="Bearer") as caught:
        check_write(asked(), TOKEN)
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}


def test_an_allowed_network_opens_nothing_here() -> None:
    """Networks that may be fetched from have no say in who may write."""
    settings = ApiSettings(allowed_networks=(ipaddress.ip_network("192.168.0.0/16"),))
    assert answer(asked("192.168.0.7"), settings) == 403


def test_a_running_server_guards_its_door(api: Api) -> None:
    """What holds for requests as made here holds for those that come over the wire."""
    assert api.client.get("/images", headers={"Host": "evil.example"}).status_code == 200
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-For": "8.8.8.8"},
        {"Forwarded": "for=127.0.0.1"},
    ):
        for method, path in (
            ("DELETE", "/images"),
            ("POST", "/images"),
            ("POST", "/archives"),
            ("POST", "/nothing"),
        ):
            answer = api.client.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "token-required"), (
                method,
                path,
                headers,
            )
    assert api.client.delete("/images").status_code == 200
