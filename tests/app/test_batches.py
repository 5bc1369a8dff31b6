"""Batches through the API: inspected here, recorded once, answered item by item."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import time
from pathlib import Path

import pytest

from bench.sample import encoded, picture
from tests.app.conftest import Api, Apis
from tests.app.sender import Sender, digest, item, photo
from tests.workspace import Workspace


def left_over(workspace: Workspace) -> list[Path]:
    """Name the scratch files."""
    return [path for path in workspace.static.rglob(".*") if path.is_file()]


def test_every_item_has_its_verdict(api: Api) -> None:
    """Stored, duplicate in the batch, duplicate of before, refused by the server, refused by the sender, needed."""
    sender = Sender(api.client)
    one = sender.open(members=9)["id"]
    first, second, third = photo(1), photo(2), photo(3)
    cut = first[: len(first) // 2]
    sender.verdicts([item(one, 0, first)], [first])
    items = [
        item(one, 1, second),
        item(one, 2, second),
        item(one, 3, first, sent=False),
        item(one, 4, cut),
        {"archive": one, "index": 5, "name": "x", "verdict": "rejected", "reason": "bad-crc", "detail": "…"},
        item(one, 6, third, sent=False),
        item(one, 7, b"text", name="a\0b"),
    ]
    expected = [
        ("stored", ""),
        ("duplicate", ""),
        ("duplicate", ""),
        ("rejected", "truncated"),
        ("rejected", "bad-crc"),
        (None, "bytes-needed"),
        ("rejected", "not-an-image"),
    ]
    for _ in range(2):
        assert sender.verdicts(items, [second, cut, b"text"]) == expected
    assert sender.verdicts([item(one, 6, third)], [third]) == [("stored", "")]
    assert sender.finish(one)["stored"] == 3
    assert len(api.workspace.query("SELECT FROM image_info")) == 3
    assert api.workspace.query("SELECT member_name FROM unstored_member WHERE member_index = 7") == [
        ("a\\0b",)
    ]
    assert left_over(api.workspace) == []


def test_the_sender_is_not_believed(api: Api) -> None:
    """A file that is not what its digest says costs its own item the verdict, and is tried again by the next run."""
    sender = Sender(api.client)
    one = sender.open()["id"]
    good, bad = photo(1), photo(2)
    manifest = {"run": sender.run, "items": [item(one, 0, good), item(one, 1, bad)]}
    parts = [
        ("manifest", (None, json.dumps(manifest), "application/json")),
        (digest(good), ("f", good)),
        (digest(bad), ("f", good)),
    ]
    answer = api.client.post("/images/batch", files=parts).json()["items"]  # type: ignore[arg-type]
    assert [(one["verdict"], one["reason"]) for one in answer] == [
        ("stored", ""),
        ("failed", "digest-mismatch"),
    ]


def test_a_wrong_extension_is_remarked(api: Api) -> None:
    """Remarks are those of a direct run: the first member's name counts."""
    sender, data = Sender(api.client), photo(1)
    one = sender.open()["id"]
    sender.verdicts([item(one, 0, data, name="a.png"), item(one, 1, data)], [data])
    ((remarks,),) = api.workspace.query("SELECT remarks FROM image_info")
    assert any("png" in remark for remark in remarks), remarks


def raw(api: Api, body: bytes, boundary: str = "b", kind: str = "multipart/form-data") -> tuple[int, str]:
    """Post a body as it is; answers the status and the problem's code."""
    headers = {"Content-Type": f"{kind}; boundary={boundary}"}
    answer = api.client.post("/images/batch", content=body, headers=headers)
    return answer.status_code, answer.json().get("code", "")


def part(name: str, data: bytes) -> bytes:
    """Make a part of a body."""
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + data + b"\r\n"


def test_hostile_bodies_are_refused(api: Api) -> None:
    """Whatever a body lacks or has too much of is said, and leaves nothing behind."""
    sender, data = Sender(api.client), photo(1)
    one = sender.open()["id"]
    manifest = json.dumps({"run": sender.run, "items": [item(one, 0, data)]}).encode()
    twice = part("manifest", manifest) + part(digest(data), data) * 2
    cases = [
        (b"", 422),
        (b"nonsense", 422),
        (b"--b--\r\n", 422),
        (part("manifest", b"{}") + b"--b--\r\n", 422),
        (part("manifest", b"[" * 100_000) + b"--b--\r\n", 422),
        (part("manifest", b'{"run": "\xff"}') + b"--b--\r\n", 422),
        (part(digest(data), data) + part("manifest", manifest) + b"--b--\r\n", 422),
        (part("manifest", manifest) + part("other", data) + b"--b--\r\n", 422),
        (part("manifest", manifest) + part("../../etc/passwd", data) + b"--b--\r\n", 422),
        (twice + b"--b--\r\n", 422),
        (part("manifest", manifest) + part(digest(data), data), 422),
        (part("manifest", manifest) + part(digest(data), data)[:-40], 422),
        (b"--b\r\n" + b"X: y\r\n" * 100 + b"\r\n\r\n--b--\r\n", 422),
        (b"--b\r\nX: " + b"y" * 100_000 + b"\r\n\r\n\r\n--b--\r\n", 422),
        (part("manifest", manifest) + part("x", b"") * 2000 + b"--b--\r\n", 422),
    ]
    for body, status in cases:
        assert raw(api, body)[0] == status, body[:100]
    assert raw(api, twice, boundary="") == (415, "not-multipart")
    assert raw(api, twice, kind="text/plain") == (415, "not-multipart")
    assert raw(api, twice, boundary="x" * 71)[0] == 422
    assert api.workspace.query("SELECT FROM image_source") == []
    assert left_over(api.workspace) == []
    assert sender.verdicts([item(one, 0, data)], [data]) == [("stored", "")]


@pytest.mark.slow
def test_bounds_on_bodies(apis: Apis) -> None:
    """A body with more bytes or parts than allowed is refused, also when it does not say its length."""
    api = apis.start(IMAGE_API_MAX_BODY_BYTES="20000", IMAGE_API_MAX_PARTS="4")
    sender = Sender(api.client)
    one = sender.open()["id"]
    many = [photo(seed) for seed in range(5)]
    answer = sender.batch([item(one, seed, data) for seed, data in enumerate(many)], many)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-many-parts")
    large = bytes(30_000)
    assert sender.batch([item(one, 0, large)], [large]).status_code == 413
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    endless = (part("manifest", b" " * 1000) for _ in range(100))
    assert api.client.post("/images/batch", content=endless, headers=headers).status_code == 413


@pytest.mark.slow
def test_a_busy_server_says_so(apis: Apis) -> None:
    """With every place for uploads taken, others are told when to come again, before they send."""
    api = apis.start(IMAGE_API_MAX_UPLOADS="1")
    sender, data = Sender(api.client), photo(1)
    one = sender.open()["id"]
    slow = http.client.HTTPConnection("127.0.0.1", int(api.url.rpartition(":")[2]))
    slow.putrequest("POST", "/images/batch")
    slow.putheader("Content-Type", "multipart/form-data; boundary=b")
    slow.putheader("Content-Length", "1000000")
    slow.endheaders(b"--b\r\n")
    deadline = time.monotonic() + 180
    while (answer := api.client.post("/images/check", json={"sha256": []})).status_code == 200:
        assert time.monotonic() < deadline
    for refused in (answer, sender.batch([item(one, 0, data)], [data])):
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert int(refused.headers["Retry-After"]) >= 1
    slow.close()
    while (answer := sender.batch([item(one, 0, data)], [data])).status_code == 503:
        assert time.monotonic() < deadline
    assert answer.status_code == 200


@pytest.mark.slow
def test_the_same_batch_from_many_at_once(api: Api) -> None:
    """A batch that is repeated while it is being taken is recorded once."""
    sender = Sender(api.client)
    one = sender.open(members=20)["id"]
    photos = [photo(seed) for seed in range(20)]
    items = [item(one, seed, data) for seed, data in enumerate(photos)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: sender.verdicts(items, photos), range(4)))
    assert answers == [[("stored", "")] * 20] * 4
    assert sender.finish(one)["stored"] == 20


@pytest.mark.slow
def test_memory_is_bounded_under_large_uploads(apis: Apis) -> None:
    """Many large uploads at once go to the disk, not into the server's memory."""
    api = apis.start()
    base = encoded(picture(1, (64, 64)), "PNG")
    files = [base + bytes([number]) + bytes(60 << 20) for number in range(6)]
    sender = Sender(api.client)
    one = sender.open(members=6)["id"]
    before = _peak(api.process.pid)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda n: sender.verdicts([item(one, n, files[n])], [files[n]]), range(6)))
    assert done == [[("stored", "")]] * 6
    assert _peak(api.process.pid) - before < 60 << 20


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))
