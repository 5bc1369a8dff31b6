"""Every engine gives the same answers, in the same order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.sample import encoded, picture
from pipeline.engines import ENGINES, make_engine
from pipeline.engines.interface import Engine
from pipeline.errors import SettingsError, StoreError
from pipeline.workbench import Workbench
from tests.pipeline.engines.conftest import Cut
from tests.saboteur import GOOD, victim


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest, bench: Workbench) -> Iterator[Engine]:
    """Give each engine, running."""
    with make_engine(request.param, bench, 2) as running:
        yield running


def test_answers_come_in_order(engine: Engine, cut: Cut, bench: Workbench) -> None:
    """Slices and members are answered in the order in which they went in; files are where they belong."""
    contents = [(f"{number}.bmp", victim(GOOD, number)) for number in range(100)]
    contents[7] = ("7.txt", b"no image")
    done = list(engine.run(cut(contents, 9)))
    assert [one.slice.members[0].index for one in done] == list(range(0, 100, 9))
    outcomes = [outcome for one in done for outcome in one.outcomes]
    assert [outcome.index for outcome in outcomes] == list(range(100))
    assert [outcome.reason for outcome in outcomes if outcome.image is None] == ["not-an-image"]
    for outcome, (name, data) in zip(outcomes, contents, strict=True):
        if outcome.image:
            assert (bench.extracted / "a" / name).read_bytes() == data
    assert [one.slice.last for one in done] == [False] * 11 + [True]


def test_no_slices_no_answers(engine: Engine) -> None:
    """Nothing to do is nothing done."""
    assert list(engine.run([])) == []


def test_an_engine_runs_again(engine: Engine, cut: Cut) -> None:
    """A second pass of a run uses the same engine."""
    for _ in range(2):
        (done,) = engine.run(cut([("a.png", encoded(picture(1, (8, 8)), "PNG"))], 9))
        assert done.outcomes[0].image is not None


@pytest.mark.parametrize("damage", ["gone", "shorter", "longer"])
def test_an_archive_that_changed(engine: Engine, cut: Cut, damage: str) -> None:
    """An archive that vanishes or changes after preflight ends with its reason, and the next one goes on."""
    (slice_,) = cut([("a.bmp", victim(GOOD))], 9)
    path = Path(slice_.path)
    kept = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(kept[:-30] if damage == "shorter" else kept + b"more")
    (done,) = engine.run([slice_])
    assert done.error is not None
    assert (done.error.reason, done.outcomes) == ("vanished", [])
    path.write_bytes(kept)
    (done,) = engine.run([slice_])
    assert done.error is None


def test_a_disk_that_cannot_be_written(engine: Engine, cut: Cut, bench: Workbench) -> None:
    """What would be lost is an error, not a verdict."""
    bench.extracted.write_text("a file in the way")
    with pytest.raises(StoreError, match="extracted"):
        list(engine.run(cut([("a.bmp", victim(GOOD))], 9)))


def test_an_unknown_engine(bench: Workbench) -> None:
    """The error names those that there are."""
    with pytest.raises(SettingsError, match="processes, serial"):
        make_engine("steam", bench, 1)
