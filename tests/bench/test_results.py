"""Medians, ratios and the chart are drawn from the runs."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench.chart import chart
from bench.measure import Cost
from bench.results import Line, Results


@pytest.fixture
def results() -> Results:
    """Give results in which the pipeline is half as fast as the floor, but for one bad round."""
    ours = Line("pipeline, decode", 100, runs=[Cost(2, 3, 1), Cost(20, 3, 1), Cost(4, 3, 1)])
    floor = Line("floor, decode", 100, runs=[Cost(1, 2, 0), Cost(1, 2, 0), Cost(2, 2, 0)])
    skipped = Line("identify", 100, missing="identify not installed")
    return Results(1.0, 3, "drawn", {"photos": ("Photos <1>.", [ours, floor, skipped])})


def test_a_ratio_is_the_median_of_the_rounds(results: Results) -> None:
    """One bad round does not move a ratio."""
    assert results.ratio("photos", "pipeline, decode", "floor, decode") == (0.5, 0.5)


def test_a_goal_that_is_missed_is_said(results: Results) -> None:
    """The text names goals, met or not, and who was left out."""
    text = "\n".join(results.text())
    assert "NOT MET" in text
    assert "left out: identify not installed" in text


def test_the_chart_is_well_formed(results: Results) -> None:
    """The chart has a bar for each contestant that ran."""
    drawn = ElementTree.fromstring(chart(results))
    assert len(drawn.findall("{http://www.w3.org/2000/svg}rect")) == 2
