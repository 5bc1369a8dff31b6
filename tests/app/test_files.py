"""Stored files are served whole or in part, never as pages, and nothing else is."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image as Pillow

from tests.app.conftest import Api

ADDRESS = "ab/cd/abcd" + "0" * 60


@pytest.fixture
def stored(reading: Api) -> tuple[str, bytes]:
    """Give the URL and the content of a stored file."""
    record = reading.client.get("/images?type=jpeg&limit=1").json()[0]
    return record["local_url"], (reading.workspace.root / record["local_url"][1:]).read_bytes()


def test_headers_keep_browsers_careful(reading: Api, stored: tuple[str, bytes]) -> None:
    """A file comes with its type, may be kept for ever, and is never a page."""
    answer = reading.client.get(stored[0])
    assert answer.content == stored[1]
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert "immutable" in answer.headers["cache-control"]
    head = reading.client.head(stored[0])
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(stored[1])))


def test_unchanged_files_are_not_sent_again(reading: Api, stored: tuple[str, bytes]) -> None:
    """Who has the file by its tag is told so."""
    tag = reading.client.get(stored[0]).headers["etag"]
    for asked in (tag, f'"other", W/{tag}', "*"):
        answer = reading.client.get(stored[0], headers={"If-None-Match": asked})
        assert (answer.status_code, answer.content) == (304, b"")
    assert reading.client.get(stored[0], headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=5-9", slice(5, 10)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=10-99999999999999999999999", slice(10, None)),
    ],
)
def test_parts(reading: Api, stored: tuple[str, bytes], asked: str, part: slice) -> None:
    """A range is answered with that part."""
    answer = reading.client.get(stored[0], headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, stored[1][part])
    start = range(len(stored[1]))[part].start
    assert (
        answer.headers["content-range"] == f"bytes {start}-{start + len(answer.content) - 1}/{len(stored[1])}"
    )


@pytest.mark.parametrize(
    "asked", ["bytes=9-5", "bytes=", "bytes=-", "bytes=a-b", "items=0-5", "bytes=0-1,5-6"]
)
def test_ranges_that_make_no_sense_are_ignored(reading: Api, stored: tuple[str, bytes], asked: str) -> None:
    """What is not one range gives the whole file."""
    answer = reading.client.get(stored[0], headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, stored[1])


def test_ranges_of_another_version_are_ignored(reading: Api, stored: tuple[str, bytes]) -> None:
    """If-Range with another tag gives the whole file."""
    answer = reading.client.get(stored[0], headers={"Range": "bytes=0-0", "If-Range": '"other"'})
    assert answer.status_code == 200


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_ranges_outside_are_told_the_size(reading: Api, stored: tuple[str, bytes], asked: str) -> None:
    """A range behind the end is a problem that says how long the file is."""
    answer = reading.client.get(stored[0], headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(stored[1])}"


@pytest.fixture(scope="module")
def traps(reading: Api) -> Api:
    """Put into the store what must not be served."""
    static = reading.workspace.static
    (static / "page.html").write_text("<script>secret</script>")
    shelf = static / "ab" / "cd"
    shelf.mkdir(parents=True)
    (static / f"{ADDRESS}.html").write_text("<script>secret</script>")
    (static / f"{ADDRESS}.svg").write_text("<svg>secret</svg>")
    (static / f"{ADDRESS}.jpg").symlink_to(Path("/etc/passwd"))
    (static / f"{ADDRESS}.png").mkdir()
    (static / f"{ADDRESS}.gif").write_bytes(b"GIF89a secret")
    (static / "aa").symlink_to(static / "ab")
    return reading


@pytest.mark.parametrize(
    "path",
    [
        "/static/../setup.cfg",
        "/static/..%2f..%2fetc%2fpasswd",
        "/static/ab/cd/..%2f..%2fpage.html",
        "/static/ab/cd/",
        "/static/page.html",
        f"/static/{ADDRESS}.html",
        f"/static/{ADDRESS}.svg",
        f"/static/{ADDRESS}.jpg%00.html",
        f"/static/{ADDRESS}.jpg",
        f"/static/{ADDRESS}.png",
        "/static/.thumbnails/ab/cd/x.webp",
        "/assets/x/..%2fmain.py",
        "/assets/x/main.py",
    ],
)
def test_nothing_else_is_served(traps: Api, path: str) -> None:
    """No page, no other file, no folder, nothing behind a symbolic link leaves the server."""
    answer = traps.client.get(path)
    assert answer.status_code in {404, 422}
    assert answer.headers["content-type"] == "application/problem+json"


def test_links_to_folders_are_not_followed(traps: Api) -> None:
    """A folder of the store that is a symbolic link is not looked into."""
    assert traps.client.get(f"/static/{ADDRESS}.gif").status_code == 200
    assert traps.client.get(f"/static/aa{ADDRESS[2:]}.gif").status_code == 404


def test_thumbnails_of_every_type(reading: Api) -> None:
    """Every kind of picture has a small WebP, upright, made once."""
    for record in reading.client.get("/images").json():
        answer = reading.client.get(record["thumbnail_url"])
        assert answer.status_code == 200, (record, answer.text)
        assert answer.headers["content-type"] == "image/webp"
        with Pillow.open(io.BytesIO(answer.content)) as small:
            assert max(small.size) <= 400
            turned = record["orientation"] in {5, 6, 7, 8}
            shown = (record["height"], record["width"]) if turned else (record["width"], record["height"])
            assert abs(small.width / small.height - shown[0] / shown[1]) < 0.05
        by_sha1 = reading.client.get(f"/images/{record['sha1']}/thumbnail")
        assert (by_sha1.content, by_sha1.headers["etag"]) == (answer.content, answer.headers["etag"])
    assert len(list((reading.workspace.static / ".thumbnails").rglob("*.webp"))) == 8
    assert reading.client.get(f"/images/{'0' * 40}/thumbnail").status_code == 404
