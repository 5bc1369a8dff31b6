"""Archives through the API: registered once, claimed by one run at a time, closed when they balance."""

from __future__ import annotations

import psycopg
import pytest

from pipeline.catalog import claims
from tests.app.conftest import Api
from tests.app.sender import FILE, Sender, digest, item, photo


@pytest.fixture
def claimed(api: Api) -> tuple[Sender, Sender]:
    """Give two runs of which the first holds the archive."""
    first, second = Sender(api.client), Sender(api.client)
    assert first.open()["state"] == "new"
    return first, second


def test_an_archive_from_first_sight_to_done(api: Api) -> None:
    """An archive is new, then running, then done and known."""
    sender = Sender(api.client)
    entry = sender.open(members=1)
    assert (entry["state"], entry["folder"]) == ("new", "a")
    assert sender.open(members=1)["state"] == "running"
    data = photo(1)
    assert sender.verdicts([item(entry["id"], 7, data)], [data]) == [("stored", "")]
    page = api.client.get(f"/archives/{entry['id']}/recorded").json()
    assert page == {
        "members": [{"index": 7, "sha256": digest(data), "type": "jpeg", "verdict": "stored", "reason": ""}],
        "after": 7,
    }
    assert api.client.get(f"/archives/{entry['id']}/recorded", params={"after": 7}).json()["after"] is None
    assert api.client.post("/archives/known", json={"files": [FILE]}).json() == {"known": []}
    assert sender.finish(entry["id"]) == {
        **dict.fromkeys(("duplicate", "rejected", "ignored", "failed"), 0),
        **{"members": 1, "stored": 1},
    }
    assert api.client.post("/archives/known", json={"files": [FILE]}).json() == {"known": [0]}
    assert sender.open(members=1)["state"] == "done"


def test_a_torn_file_is_not_recorded(api: Api) -> None:
    """What was recorded is told only where the stored file is whole, and its bytes are wanted again."""
    sender, data = Sender(api.client), photo(1)
    entry = sender.open(members=1)
    sender.verdicts([item(entry["id"], 0, data)], [data])
    (stored,) = [path for path in api.workspace.static.rglob("*") if path.is_file()]
    stored.write_bytes(bytes(len(data)))
    assert api.client.get(f"/archives/{entry['id']}/recorded").json()["members"] == []
    assert api.client.post("/images/check", json={"sha256": [digest(data)]}).json() == {"known": []}
    assert sender.verdicts([item(entry["id"], 0, data)], [data]) == [("stored", "")]
    assert stored.read_bytes() == data


def test_a_claim_is_exclusive(claimed: tuple[Sender, Sender]) -> None:
    """While one run holds an archive, another is told so and by whom, and may not deliver to it."""
    first, second = claimed
    entry = second.open()
    assert (entry["state"], entry["by"]["run"], entry["by"]["host"]) == ("busy", first.run, "here")
    answer = second.batch([{"archive": 1, "index": 0, "name": "x", "verdict": "ignored", "reason": "litter"}])
    assert (answer.status_code, answer.json()["code"]) == (409, "claim-lost")


def test_the_dead_do_not_hold(claimed: tuple[Sender, Sender]) -> None:
    """A run on the same host that was seen to be dead loses its claims at once, one on another host does not."""
    first, second = claimed
    assert second.open(dead=[first.run], host="elsewhere")["state"] == "busy"
    assert second.open(dead=[first.run])["state"] == "running"
    assert first.open()["state"] == "busy"


def test_a_claim_runs_out(api: Api, claimed: tuple[Sender, Sender]) -> None:
    """A run that is not heard of for the time of a lease loses its claims, one that renews them does not."""
    first, second = claimed
    with psycopg.connect(api.workspace.url, autocommit=True) as connection:
        connection.execute("UPDATE claimant SET expires_at = clock_timestamp()")
        api.client.put("/claims", json={"run": first.run, "host": "here", "process": "1"})
        assert second.open()["state"] == "busy"
        connection.execute("UPDATE claimant SET expires_at = clock_timestamp()")
    assert second.open()["state"] == "running"


def test_leaving_frees_claims(claimed: tuple[Sender, Sender]) -> None:
    """A run that says that it ends holds nothing any more."""
    first, second = claimed
    assert first.client.delete(f"/claims/{first.run}").status_code == 204
    assert second.open()["state"] == "running"


def test_a_direct_run_holds_against_the_api(api: Api) -> None:
    """An archive that a direct run holds by its advisory lock is busy, and takes no batches."""
    sender = Sender(api.client)
    entry = sender.open()
    sender.client.delete(f"/claims/{sender.run}")
    with psycopg.connect(api.workspace.url) as connection:
        key = (claims.key(bytes.fromhex("ab" * 32)),)
        connection.execute("SELECT pg_advisory_lock(%s)", key)
        assert sender.open()["state"] == "busy"
        refused = {"archive": entry["id"], "index": 0, "name": "x", "verdict": "ignored", "reason": "litter"}
        assert sender.batch([refused]).status_code == 409
        # A connection that is closed is gone from Postgres a moment later only.
        connection.execute("SELECT pg_advisory_unlock(%s)", key)
    assert sender.open()["state"] == "running"


def test_finishing_again_is_harmless(api: Api) -> None:
    """An answer that was lost can be asked for again."""
    sender = Sender(api.client)
    entry = sender.open(members=0)
    assert sender.finish(entry["id"]) == sender.finish(entry["id"])
    assert api.client.post("/archives/99/finish", json={"run": sender.run}).status_code == 404


def test_failed_members_keep_an_archive_open(api: Api) -> None:
    """An archive of which something could not be delivered is not done, so that the next run tries again."""
    sender = Sender(api.client)
    entry = sender.open(members=1)
    failed = {"archive": entry["id"], "index": 0, "name": "x", "verdict": "failed", "reason": "not-delivered"}
    assert sender.verdicts([failed]) == [("failed", "not-delivered")]
    assert sender.finish(entry["id"])["failed"] == 1
    assert sender.open(members=1)["state"] == "running"


def test_a_refused_archive_is_noted(api: Api) -> None:
    """An archive refused whole is in the ledger with its reason, whatever its name holds."""
    file = {**FILE, "name": "bad\0.zip"}
    refusal = {"digest": "cd" * 32, "file": file, "verdict": "rejected", "reason": "overlap", "detail": "\0"}
    assert api.client.post("/archives/refused", json=refusal).status_code == 204
    assert api.workspace.query("SELECT name, state, reason FROM archive") == [
        ("bad\\0.zip", "rejected", "overlap")
    ]
