"""The account of a crash campaign."""

from __future__ import annotations

import json

from bench.crash import Campaign


def test_account() -> None:
    """Points are counted by what was killed, and the figures fit into JSON and into a table."""
    found = Campaign()
    found.note("Postgres", True, [])
    found.note("Postgres", False, ["table image_source differs"])
    assert json.loads(json.dumps(found.as_dict())) == {
        "points": {"Postgres": 2},
        "met": {"Postgres": 1},
        "failures": ["table image_source differs"],
        "seconds": 0.0,
    }
    assert list(found.lines())[-2:] == ["1 differences in 0 s", "table image_source differs"]
