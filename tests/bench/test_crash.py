"""The crash campaign's figures can be written down."""

from __future__ import annotations

import json

from bench.crash import Campaign


def test_figures_are_a_document() -> None:
    """What a campaign found is JSON, counts by what was killed among it."""
    found = Campaign()
    found.note("main process", True, ["one file is torn"])
    found.note("main process", False, [])
    told = json.loads(json.dumps(found.as_dict()))
    assert told["points"] == {"main process": 2}
    assert told["met"] == {"main process": 1}
    assert told["failures"] == ["one file is torn"]
