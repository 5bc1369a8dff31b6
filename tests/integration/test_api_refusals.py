"""What the API does not take, and what is no API, is said so that people know what to do."""

from __future__ import annotations

import json
import shutil
import zipfile

import pytest

from bench.sample import encoded, picture
from tests.integration.delivery import Delivery
from tests.workspace import SAMPLE


@pytest.mark.slow
def test_the_token(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the token, or with a wrong one, the run says in one sentence what to set; it is nowhere else told."""
    shutil.copy(SAMPLE, delivery.workspace.input)
    monkeypatch.delenv("IMAGE_API_TOKEN", raising=False)
    api = delivery.apis.start(IMAGE_API_TOKEN="a right secret")
    for token in ("", "a wrong secret", "a right secret"):
        monkeypatch.setenv("IMAGE_API_TOKEN", token)
        ran = delivery.through(api.url)
        assert ran.code == (0 if token == "a right secret" else 1), ran.err
        assert ("IMAGE_API_TOKEN" in ran.err) == (ran.code == 1)
        assert "secret" not in ran.out + ran.err
    assert "secret" not in api.log.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://me:word@127.0.0.1:8000"]
)
def test_wrong_urls(delivery: Delivery, url: str) -> None:
    """What is no URL of an API is wrong usage, and no password of it is repeated."""
    ran = delivery.through(url)
    assert ran.code in {1, 2}
    assert "Traceback" not in ran.err
    assert "word@" not in ran.err


@pytest.mark.slow
def test_something_else_at_the_url(delivery: Delivery) -> None:
    """A server that is no Image API is told from one."""
    shutil.copy(SAMPLE, delivery.workspace.input)
    api = delivery.apis.start()
    for command in ("ingest", "retry"):
        ran = delivery.workspace.run(command, "--sink", "api", "--api-url", f"{api.url}/somewhere")
        assert (ran.code, "no Image API" in ran.err) == (1, True)


@pytest.mark.slow
def test_one_item_that_the_api_will_not_take(delivery: Delivery) -> None:
    """An image that is larger than the API takes costs its member the verdict, its neighbours are stored."""
    with zipfile.ZipFile(delivery.workspace.input / "a.zip", "w") as archive:
        for index in range(20):
            data = encoded(picture(index, (32, 32)), "PNG")
            archive.writestr(f"{index:02}.png", data + bytes(300_000 if index == 11 else 0))
    api = delivery.apis.start(IMAGE_API_MAX_BODY_BYTES="200000")
    ran = delivery.through(api.url)
    assert ran.code == 1
    assert ran.report["balance"] == {
        "members": 20, "stored": 19, "duplicate": 0, "rejected": 0, "ignored": 0, "failed": 1
    }  # fmt: skip
    assert ran.report["reasons"] == {"not-delivered": 1}
    larger = delivery.apis.start()
    assert delivery.through(larger.url).code == 0
    assert delivery.workspace.query("SELECT stored, failed FROM archive") == [(20, 0)]


@pytest.mark.slow
def test_what_the_server_refuses_is_kept_and_taken_again(delivery: Delivery) -> None:
    """What only the server refuses lies in the quarantine with the server's reason; retry takes it again."""
    workspace = delivery.workspace
    large, small = encoded(picture(1, (60, 50)), "PNG"), encoded(picture(2, (20, 10)), "PNG")
    for name, members in (("a", {"large": large, "small": small}), ("b", {"again": large, "text": b"no"})):
        with zipfile.ZipFile(workspace.input / f"{name}.zip", "w") as archive:
            for member, data in members.items():
                archive.writestr(f"{member}.png", data)
    expected, files = delivery.straight()
    kept = workspace.root / "kept"
    strict = delivery.apis.start(IMAGE_API_MAX_PIXELS="1000")
    ran = delivery.through(strict.url, "--quarantine", str(kept))
    assert (ran.code, ran.report["reasons"]) == (0, {"too-many-pixels": 2, "not-an-image": 1}), ran.err
    notes = {
        note["member"]: note for path in kept.rglob("*.json") if (note := json.loads(path.read_text("utf-8")))
    }
    assert {name: note["reason"] for name, note in notes.items()} == {
        "large.png": "too-many-pixels",
        "again.png": "too-many-pixels",
        "text.png": "not-an-image",
    }
    assert notes["large.png"]["archive"] == "a.zip"
    assert sorted(path.read_bytes() for path in kept.rglob("*.png")) == sorted([large, large, b"no"])
    assert not [name for name, data in workspace.files().items() if data == large]
    options = ("--sink", "api", "--database-url", "nowhere", "--quarantine", kept, "--api-url")
    ran = workspace.run("retry", *options, strict.url)
    assert "Taking 2 members of 2 archives again" in ran.err
    assert len(list(kept.rglob("*.png"))) == 3
    assert workspace.query("SELECT count(*) FROM unstored_member WHERE again") == [(0,)]
    ran = workspace.run("retry", *options, delivery.apis.start().url)
    assert ran.code == 0, ran.err
    assert [path.read_bytes() for path in kept.rglob("*.png")] == [b"no"]
    assert workspace.catalog() == expected
    assert workspace.files() == files
    assert "Nothing to take again" in workspace.run("retry", *options, strict.url).err
