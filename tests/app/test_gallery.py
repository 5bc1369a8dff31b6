"""Pages are whole HTML, hold what the catalog says, run no script, and look right in a browser."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image as Pillow

from tests.app.conftest import Api, Apis
from tests.app.test_addition import picture

VOID = {"meta", "link", "img", "input", "br"}
NASTY = "<script>alert(1)</script>\"'&\u202egnp.\x1b[31m.png"


class Outline(HTMLParser):
    """Checks that tags are closed in order, and keeps links and pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what opens."""
        self.tags.add(tag)
        given = dict(attrs)
        assert not any(name.startswith("on") or name == "style" for name in given), given
        if tag == "a":
            self.links.append(given["href"] or "")
        if tag == "img":
            assert given.get("alt") is not None
            self.pictures.append(given["src"] or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check what closes."""
        if tag in VOID:
            return
        assert self.open.pop() == tag


def outline(api: Api, path: str) -> Outline:
    """Fetch a page and check its form."""
    answer = api.client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert answer.text.startswith("<!doctype html>")
    parser = Outline()
    parser.feed(answer.text)
    parser.close()
    assert parser.open == []
    assert "script" not in parser.tags
    return parser


def test_the_home_page_shows_the_newest(reading: Api) -> None:
    """Counts, the images with thumbnails and the last archives are on the first page, and every link works."""
    page = outline(reading, "/")
    text = reading.client.get("/").text
    thumbnails = [source for source in page.pictures if source.endswith("/thumbnail")]
    assert len(thumbnails) == 8
    assert re.search(r"<dd>8</dd>", text)
    assert "8 stored" in text
    assert "harbour.jpg" in text
    for place in {link for link in page.links if link.startswith("/")} | set(page.pictures):
        assert reading.client.get(place).status_code == 200, place


def test_every_page_is_whole(reading: Api) -> None:
    """Following every link from the home page leads to whole pages and files."""
    seen, todo = set(), ["/"]
    while todo:
        place = todo.pop()
        seen.add(place)
        if reading.client.get(place).headers["content-type"].startswith("text/html"):
            links = [link.partition("#")[0] for link in outline(reading, place).links]
            todo += [link for link in set(links) if link.startswith("/") and link not in {*seen, *todo}]
        else:
            assert reading.client.get(place).status_code == 200, place
    assert {"/docs", "/ledger", "/openapi.json"} <= seen


def test_the_form_narrows(reading: Api) -> None:
    """What is chosen narrows the page, stays in the form; empty fields mean nothing."""
    answer = reading.client.get(
        "/", params={"q": "", "type": "gif", "archive": "", "min_width": "", "min_height": "1"}
    )
    assert answer.text.count('class="frame"') == 1
    assert "<option selected>gif" in answer.text
    assert "No image matches" in reading.client.get("/?q=nothing-like-this").text


def test_what_was_not_stored_is_told(reading: Api) -> None:
    """An archive's page lists the members that were not stored with their reasons; the same as records."""
    (archive,) = reading.client.get("/archives").json()
    assert (archive["name"], archive["state"], archive["members"], archive["stored"]) == (
        "sample.zip",
        "done",
        12,
        8,
    )
    members = reading.client.get(f"/archives/{archive['id']}/unstored").json()
    assert {member["reason"] for member in members} == {"truncated", "not-an-image", "litter"}
    text = reading.client.get(f"/ledger/{archive['id']}").text
    for member in members:
        assert member["member_name"] in text
        assert member["sentence"] in text
    first = reading.client.get(f"/archives/{archive['id']}/unstored?limit=2")
    assert reading.client.get(first.links["next"]["url"]).json() == members[2:]
    assert reading.client.get("/archives/99999/unstored").json()["code"] == "no-such-archive"
    assert reading.client.get("/ledger/99999").status_code == 404
    assert reading.client.get(f"/view/{'0' * 64}").status_code == 404


def test_a_refused_archive_is_told_in_its_own_words(changing: Api) -> None:
    """A code that members share has the archive's meaning on the pages."""
    workspace = changing.workspace
    (workspace.input / "cut.zip").write_bytes((workspace.input / "sample.zip").read_bytes()[:-100])
    assert workspace.ingest("--engine", "serial").verdict("cut.zip") == ("rejected", "truncated")
    (cut,) = [one for one in changing.client.get("/archives").json() if one["name"] == "cut.zip"]
    for place in ("/", "/ledger", f"/ledger/{cut['id']}"):
        text = changing.client.get(place).text
        assert "The archive ends too early" in text, place
        assert "The image ends too early" not in text, place
    assert "Everything in it was stored" not in text
    assert "nothing in it was taken" in text


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("path", "status", "code", "said"),
    [
        ("/ledger/99999", 404, "no-such-archive", "This archive is not in the ledger."),
        (f"/view/{'0' * 64}", 404, "no-such-image", "This image is not in the catalog."),
        ("/view/zz", 422, "invalid-request", "path.digest"),
        ("/?type=nonsense", 422, "invalid-request", "query.type"),
        ("/?cursor=x", 422, "invalid-request", "query.cursor"),
        ("/nothing/at/all", 404, "not-found", "There is nothing at this address."),
    ],
)
def test_errors_of_pages(reading: Api, path: str, status: int, code: str, said: str) -> None:
    """A person's browser gets a page, a program the problem document, both with the same code."""
    page = reading.client.get(path, headers={"Accept": BROWSER})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    for accept in ("*/*", "application/json, text/html;q=0.5"):
        document = reading.client.get(path, headers={"Accept": accept})
        assert document.headers["content-type"] == "application/problem+json"
        assert document.json()["code"] == code
        assert said in document.json()["detail"]
        assert (page.status_code, document.status_code) == (status, status)
        assert (page.headers["vary"], document.headers["vary"]) == ("Accept", "Accept")
    assert f"<code>{code}</code>" in page.text
    assert said in page.text


def test_routes_for_programs_answer_documents(reading: Api) -> None:
    """Whoever follows a link to a record gets the problem that programs get."""
    answer = reading.client.get("/images?limit=0", headers={"Accept": BROWSER})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.slow
def test_a_page_behind_a_token(apis: Apis) -> None:
    """A private server asks a browser for the token, and says so on a page when it is not given."""
    api = apis.start(IMAGE_API_PRIVATE="1", IMAGE_API_TOKEN="a secret")
    answer = api.client.get("/", headers={"Accept": BROWSER})
    assert (answer.status_code, "Basic" in answer.headers["www-authenticate"]) == (401, True)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_an_empty_catalog_says_what_to_do(api: Api) -> None:
    """The first page of a fresh server tells how to begin."""
    assert "make ingest" in api.client.get("/").text
    outline(api, "/")
    outline(api, "/ledger")


def test_styles_may_be_kept_for_ever(reading: Api) -> None:
    """A style sheet's URL changes with its content, an old one is answered but not kept."""
    place = re.search(r'href="(/assets/[^"]+\.css)"', reading.client.get("/").text)
    assert place
    answer = reading.client.get(place[1])
    assert "immutable" in answer.headers["cache-control"]
    assert hashlib.sha256(answer.content).hexdigest()[:12] in place[1]
    assert reading.client.get("/assets/old/style.css").headers["cache-control"] == "no-store"


@pytest.mark.slow
def test_hostile_names_are_text(apis: Apis) -> None:
    """A member's name is shown as text on every page that names it, whatever it holds."""
    workspace = apis.workspace
    with zipfile.ZipFile(workspace.input / "nasty<b>.zip", "w") as zip_:
        zip_.writestr(NASTY, picture(1, "PNG"))
        zip_.writestr("<i>bad.txt", "no")
    assert workspace.ingest("--engine", "serial").code == 0
    api = apis.start()
    record = api.client.get("/images").json()[0]
    assert record["sources"][0]["member_name"] == NASTY
    archive = api.client.get("/archives").json()[0]["id"]
    for place in ("/", f"/view/{record['sha256']}", "/ledger", f"/ledger/{archive}"):
        page = outline(api, place)
        assert "script" not in page.tags, place
        assert "<script" not in api.client.get(place).text
        text = api.client.get(place).text
        assert "<i>bad" not in text
        shown = re.sub(r'(href|value)="[^"]*"', "", text)
        assert not {char for char in shown if not char.isprintable()} - {"\n", "\N{NARROW NO-BREAK SPACE}"}


@pytest.mark.slow
@pytest.mark.parametrize("width", [500, 1280])
def test_the_page_in_a_browser(reading: Api, tmp_path: Path, width: int) -> None:
    """Chromium draws the page, with colours from the pictures, on a phone and on a desk."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    for record in reading.client.get("/images").json():
        reading.client.get(record["thumbnail_url"])
    shot = tmp_path / "page.png"
    command = [
        *(
            browser,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
        ),
        *(f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1000", f"--screenshot={shot}"),
        *("--virtual-time-budget=10000", f"{reading.url}/"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert shot.exists(), ran.stderr[-2000:]
    assert "Content Security Policy" not in ran.stderr
    with Pillow.open(shot) as image:
        assert image.width == width
        pixels = image.convert("RGB").resize((100, 100)).tobytes()
    triples = [pixels[place : place + 3] for place in range(0, len(pixels), 3)]
    assert sum(max(triple) - min(triple) > 90 for triple in triples) > 200
