"""Listing, finding and deleting images over a catalog that the pipeline filled."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import pytest

from tests.app.conftest import Api


def files_below(folder: Path) -> list[Path]:
    """Give every file below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_records_say_what_the_catalog_knows(reading: Api) -> None:
    """A record has digests, dimensions, type, places, and where its file is served."""
    records = reading.client.get("/images").json()
    assert len(records) == 8
    harbour = next(r for r in records if any(s["member_name"] == "holiday/harbour.jpg" for s in r["sources"]))
    assert (harbour["type"], harbour["width"], harbour["height"], harbour["orientation"]) == (
        "jpeg",
        320,
        240,
        6,
    )
    assert (harbour["captured_at"], harbour["captured_offset"]) == ("2026-05-17T09:30:00", "+02:00")
    assert harbour["sources"][0]["archive"] == "sample.zip"
    assert harbour["url"] == []
    data = reading.client.get(harbour["local_url"]).content
    assert hashlib.sha1(data).hexdigest() == harbour["sha1"]
    assert hashlib.sha256(data).hexdigest() == harbour["sha256"]
    assert len(data) == harbour["byte_size"]


def test_pages_give_every_image_once(reading: Api) -> None:
    """Following the links gives the whole listing in order, whatever is added meanwhile."""
    whole = [record["sha256"] for record in reading.client.get("/images").json()]
    found, url = [], "/images?limit=3"
    while url:
        answer = reading.client.get(url)
        found.append([record["sha256"] for record in answer.json()])
        url = answer.links.get("next", {}).get("url", "")
    assert [len(page) for page in found] == [3, 3, 2]
    assert list(itertools.chain(*found)) == whole


def test_links_keep_the_filters(reading: Api) -> None:
    """The next page is narrowed as the first one was."""
    answer = reading.client.get("/images", params={"limit": 1, "archive": "sample.zip", "q": "shop/"})
    following = reading.client.get(answer.links["next"]["url"]).json()
    assert following[0]["sources"][0]["member_name"].startswith("shop/")


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"type": "gif"}, 1),
        ({"archive": "sample.zip"}, 8),
        ({"archive": "other.zip"}, 0),
        ({"q": "HARBOUR"}, 1),
        ({"q": "%"}, 0),
        ({"q": "_"}, 0),
        ({"q": ""}, 8),
        ({"sha1": "00" * 20}, 0),
        ({"min_width": 100000}, 0),
        ({"max_width": 100000, "max_height": 100000, "min_height": 1}, 8),
    ],
)
def test_filters(reading: Api, asked: dict[str, str | int], count: int) -> None:
    """Each filter narrows; names are taken literally."""
    answer = reading.client.get("/images", params=asked)
    assert (answer.status_code, len(answer.json())) == (200, count)


@pytest.mark.parametrize(
    "asked",
    [
        {"limit": 0},
        {"limit": 1001},
        {"limit": "many"},
        {"cursor": 0},
        {"cursor": 2**63},
        {"type": "exe"},
        {"min_width": -1},
        {"max_height": 2**40},
        {"sha1": "abc"},
        {"q": "a\0b"},
        {"archive": "x" * 501},
    ],
)
def test_nonsense_is_refused(reading: Api, asked: dict[str, str | int]) -> None:
    """A parameter that makes no sense is a problem document that names it."""
    answer = reading.client.get("/images", params=asked)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid-request"
    assert next(iter(asked)) in answer.json()["detail"]


def test_one_image_by_either_digest(reading: Api) -> None:
    """SHA-256 and SHA-1, in either case, give the same record; others give 404."""
    record = reading.client.get("/images?limit=1").json()[0]
    for digest in (record["sha256"], record["sha1"], record["sha1"].upper()):
        assert reading.client.get(f"/images/{digest}").json() == record
    assert reading.client.get(f"/images/{'0' * 64}").json()["code"] == "no-such-image"
    assert reading.client.get("/images/xyz").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        (
            "DELETE",
            "/images/zzz",
            404,
            "There is nothing at this address. A digest has 40 (SHA-1) or 64 (SHA-256)",
        ),
        ("GET", f"/images/{'a' * 63}", 404, "A digest has 40 (SHA-1) or 64 (SHA-256) hexadecimal digits."),
        ("GET", "/images/zzz/thumbnail", 404, "A digest has 40"),
        ("GET", "/view/zzz", 422, "path.digest: A digest has 40 (SHA-1) or 64 (SHA-256) hexadecimal digits."),
        ("GET", "/images?sha1=zz", 422, "query.sha1: A SHA-1 has 40 hexadecimal digits."),
    ],
)
def test_what_is_no_digest_is_told(reading: Api, method: str, path: str, status: int, told: str) -> None:
    """Whoever asks for an image by something else learns what a digest is."""
    answer = reading.client.request(method, path)
    assert (answer.status_code, told in answer.json()["detail"]) == (status, True), answer.text


def test_deleting_all_makes_the_archive_new(changing: Api) -> None:
    """Everything is gone, rows and files, and the same zip gives the same catalog anew."""
    workspace = changing.workspace
    before, files = workspace.catalog(), workspace.files()
    record = changing.client.get("/images?limit=1").json()[0]
    assert changing.client.get(f"/images/{record['sha256']}/thumbnail").status_code == 200
    answer = changing.client.delete("/images")
    assert (answer.status_code, answer.json()) == (200, {"images": 8, "sources": 9, "archives": 1})
    assert changing.client.get("/images").json() == []
    assert changing.client.get(record["local_url"]).status_code == 404
    assert files_below(workspace.static) == files_below(workspace.extracted) == []
    assert not any(workspace.catalog().values())
    assert workspace.ingest("--engine", "serial").verdict("sample.zip") == ("done", "")
    assert (workspace.catalog(), workspace.files()) == (before, files)
    assert changing.client.get(f"/images/{record['sha256']}/thumbnail").status_code == 200


def test_deleting_all_spares_what_is_not_the_catalogs(changing: Api) -> None:
    """Files that no archive of the ledger put there stay."""
    ours = changing.workspace.extracted / "notes.txt"
    ours.write_text("mine")
    (changing.workspace.extracted / "other-0123456789ab").mkdir()
    changing.client.delete("/images")
    assert ours.read_text() == "mine"
    assert (changing.workspace.extracted / "other-0123456789ab").is_dir()


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_deleting_one_image(changing: Api, digest: str) -> None:
    """One image goes with its files, the extracted ones too; the others stay, and the archive stays known."""
    workspace = changing.workspace
    record = next(r for r in changing.client.get("/images").json() if len(r["sources"]) == 2)
    changing.client.get(f"/images/{record['sha256']}/thumbnail")
    answer = changing.client.delete(f"/images/{record[digest]}")
    assert answer.json() == {"images": 1, "sources": 2, "archives": 0}
    assert changing.client.get(f"/images/{record['sha256']}").status_code == 404
    assert changing.client.delete(f"/images/{record[digest]}").status_code == 404
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in files_below(workspace.root)}
    assert record["sha256"] not in hashes
    assert len(files_below(workspace.static)) == 7
    assert len(files_below(workspace.extracted)) == 7
    assert workspace.ingest("--engine", "serial").verdict("sample.zip") == ("known", "already-done")


@pytest.mark.parametrize("path", ["/images/", "/images//"])
def test_deleting_an_unnamed_image_deletes_nothing(reading: Api, path: str) -> None:
    """A digest that is empty by mistake leads nowhere, least of all to the deletion of everything."""
    answer = reading.client.delete(path, follow_redirects=True)
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert len(reading.client.get("/images").json()) == 8


def test_other_methods_are_told_which_there_are(reading: Api) -> None:
    """A method that a path does not have is answered with those that it has."""
    answer = reading.client.put("/images")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, POST")
    assert reading.client.get("/images/batch").headers["allow"] == "POST"
