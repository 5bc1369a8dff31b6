"""Refusals through the API: which may not hold any more, and taking them again."""

from __future__ import annotations

from tests.app.conftest import Api
from tests.app.sender import Sender, digest, item, photo


def test_a_second_chance(api: Api) -> None:
    """An archive with a refusal for one of the reasons is told, opened again, and what was refused is taken."""
    sender, data = Sender(api.client), photo(1)
    entry = sender.open(members=2)
    refused = {
        "archive": entry["id"],
        "index": 1,
        "name": "b",
        "verdict": "rejected",
        "reason": "too-many-pixels",
    }
    sender.verdicts([item(entry["id"], 0, photo(2)), refused], [photo(2)])
    sender.finish(entry["id"])
    asked = {"reasons": ["too-many-pixels", "truncated"]}
    page = api.client.post("/archives/refusals", json=asked).json()
    assert [(found["id"], found["members"]) for found in page["archives"]] == [(entry["id"], 1)]
    assert page["after"] is None
    assert api.client.post("/archives/refusals", json={"reasons": ["truncated"]}).json()["archives"] == []
    beyond = {**asked, "after": entry["id"]}
    assert api.client.post("/archives/refusals", json=beyond).json()["archives"] == []
    chosen = {**asked, "ids": [entry["id"]]}
    assert api.client.post("/archives/reconsider", json=chosen).json() == {"members": 1}
    assert sender.open(members=2)["state"] == "running"
    recorded = api.client.get(f"/archives/{entry['id']}/recorded").json()["members"]
    assert [member["index"] for member in recorded] == [0]
    assert sender.verdicts([item(entry["id"], 1, data)], [data]) == [("stored", "")]
    assert sender.finish(entry["id"])["stored"] == 2
    assert digest(data) in {record["sha256"] for record in api.client.get("/images").json()}


def test_many_pages(api: Api) -> None:
    """More archives than one answer holds come page by page."""
    api.workspace.execute(
        "INSERT INTO archive (digest, name, state, reason, size) "
        "SELECT decode(md5(n::text), 'hex'), n::text, 'rejected', 'bomb-ratio', 1 FROM generate_series(1, 1500) AS n"
    )
    asked: dict[str, object] = {"reasons": ["bomb-ratio"]}
    first = api.client.post("/archives/refusals", json=asked).json()
    second = api.client.post("/archives/refusals", json={**asked, "after": first["after"]}).json()
    assert (len(first["archives"]), len(second["archives"]), second["after"]) == (1000, 500, None)
    assert len({found["id"] for found in first["archives"] + second["archives"]}) == 1500
