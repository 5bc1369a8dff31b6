"""Batches keep order and bounds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches import batched

SIZES = st.integers(1, 20)


@given(st.lists(st.integers(0, 50)), SIZES, st.integers(1, 100))
def test_nothing_is_lost_or_moved(items: list[int], size: int, max_bytes: int) -> None:
    """The batches joined are the items in their order."""
    assert [item for batch in batched(items, size, max_bytes, lambda item: item) for item in batch] == items


@given(st.lists(st.integers(0, 50)), SIZES, st.integers(1, 100))
def test_bounds_hold(items: list[int], size: int, max_bytes: int) -> None:
    """No batch is empty, has too many items, or weighs too much unless it holds one item."""
    for batch in batched(items, size, max_bytes, lambda item: item):
        assert 1 <= len(batch) <= size
        assert len(batch) == 1 or sum(batch) <= max_bytes


@given(st.lists(st.integers(0, 50), min_size=2), SIZES, st.integers(1, 100))
def test_batches_are_as_full_as_they_can_be(items: list[int], size: int, max_bytes: int) -> None:
    """The first item of a batch would not have fitted into the one before."""
    batches = list(batched(items, size, max_bytes, lambda item: item))
    for before, after in pairwise(batches):
        assert len(before) == size or sum(before) + after[0] > max_bytes


def test_a_batch_comes_before_the_next_item_is_needed() -> None:
    """At most one item beyond a batch is taken from the source."""
    taken: list[int] = []

    def source() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    assert next(batched(source(), 3, 1000, lambda item: item)) == [0, 1, 2]
    assert len(taken) == 4


@pytest.mark.parametrize(("size", "max_bytes"), [(0, 1), (1, 0), (-1, 5)])
def test_senseless_bounds_are_refused(size: int, max_bytes: int) -> None:
    """A bound below one is an error, not an endless loop."""
    with pytest.raises(ValueError, match="at least one"):
        list(batched([1], size, max_bytes, lambda item: item))
