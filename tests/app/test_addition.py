"""Adding images by URL: fetched from a real server on an allowed network, checked, kept, recorded."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image as Pillow

from pipeline.server import EmbeddedServer
from tests.app.conftest import Api, Apis
from tests.conftest import fresh_database
from tests.workspace import Workspace


def picture(number: int, kind: str = "JPEG") -> bytes:
    """Make a picture that no other number gives."""
    stream = io.BytesIO()
    Pillow.new("RGB", (64, 48), (number % 256, number // 256 % 256, 30)).save(stream, kind, quality=95)
    return stream.getvalue()


class Origin(BaseHTTPRequestHandler):
    """A site with pictures: `/N.jpg`, and things that are none."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer by the path."""
        name = self.path.partition("?")[0].strip("/")
        odd = {"page.jpg": b"<html>no</html>", "cut.jpg": picture(1)[:-50], "empty.jpg": b""}
        if name == "moved.jpg":
            self.answer(302, b"", {"Location": "/7.jpg"})
        elif name == "gone.jpg":
            self.answer(404, b"no")
        elif name in odd:
            self.answer(200, odd[name])
        else:
            self.answer(200, picture(int(name.partition(".")[0])))

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer."""
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Takes many connections at once."""

    request_queue_size = 256
    daemon_threads = True


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """Run the site; give its URL."""
    with Server(("127.0.0.1", 0), Origin) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def shared_server(
    server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory, origin: str
) -> Iterator[Api]:
    """Run a server that may fetch from the site."""
    port = origin.rpartition(":")[2]
    with fresh_database(server, template) as url, ExitStack() as stack:
        apis = Apis(Workspace(tmp_path_factory.mktemp("adding"), url), stack)
        yield apis.start(IMAGE_API_ALLOWED_NETWORKS="127.0.0.0/8", IMAGE_API_ALLOWED_PORTS=port)


@pytest.fixture
def api(shared_server: Api) -> Api:
    """Give that server with an empty catalog."""
    assert shared_server.client.delete("/images").status_code == 200
    return shared_server


def test_an_image_is_added(api: Api, origin: str) -> None:
    """A new image answers 201 with its record; its file is in the store; it is listed."""
    url = f"{origin}/1.jpg?size=large"
    answer = api.client.post("/images", json={"url": url})
    assert answer.status_code == 201, answer.text
    record, data = answer.json(), picture(1)
    assert record["sha1"] == hashlib.sha1(data).hexdigest()
    assert (record["type"], record["width"], record["height"], record["url"]) == ("jpeg", 64, 48, [url])
    assert record["sources"][0]["verdict"] == "stored"
    assert answer.headers["location"] == f"/images/{record['sha256']}"
    assert (api.workspace.root / record["local_url"][1:]).read_bytes() == data
    assert api.client.get("/images").json() == [record]
    assert api.client.get("/images?q=size%3DLARGE").json() == [record]
    files = [path for path in api.workspace.static.rglob("*") if path.is_file()]
    assert [path.name for path in files] == [f"{record['sha256']}.jpg"]


def test_a_known_image_keeps_every_url_once(api: Api, origin: str) -> None:
    """The same content again answers 200, and every URL that led to it is kept."""
    urls = [f"{origin}/1.jpg", f"{origin}/1.jpg?again", f"{origin}/1.jpg"]
    answers = [api.client.post("/images", json={"url": url}) for url in urls]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert answers[-1].json()["url"] == urls[:2]
    assert len(api.client.get("/images").json()) == 1


def test_redirects_are_followed(api: Api, origin: str) -> None:
    """The URL that was asked for is kept, not where it led."""
    answer = api.client.post("/images", json={"url": f"{origin}/moved.jpg"})
    assert (answer.status_code, answer.json()["url"]) == (201, [f"{origin}/moved.jpg"])


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("page.jpg", 422, "not-an-image"),
        ("cut.jpg", 422, "truncated"),
        ("empty.jpg", 422, "empty-file"),
        ("gone.jpg", 502, "upstream-status"),
    ],
)
def test_what_is_no_image_is_refused(api: Api, origin: str, name: str, status: int, code: str) -> None:
    """Each refusal has its code, and leaves neither row nor file."""
    answer = api.client.post("/images", json={"url": f"{origin}/{name}"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert api.client.get("/images").json() == []
    assert [path for path in api.workspace.static.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"url": "http://169.254.169.254/latest/meta-data/"}, 422),
        ({"url": "file:///etc/passwd"}, 422),
        ({"url": ""}, 422),
        ({}, 422),
        ({"url": 5}, 422),
        ({"url": "http://a/\0.jpg"}, 422),
        ({"url": "http://a/" + "x" * 9000}, 422),
    ],
)
def test_bad_orders_are_refused(api: Api, body: dict[str, object], status: int) -> None:
    """What cannot or must not be fetched is a problem document."""
    answer = api.client.post("/images", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_large_body_is_refused(api: Api) -> None:
    """A body that is larger than any order is not read to its end."""
    answer = api.client.post("/images", content=b'{"url": "' + b"x" * (5 << 20))
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    answer = api.client.post("/images", content=iter([b"x" * (1 << 20)] * 5))
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
