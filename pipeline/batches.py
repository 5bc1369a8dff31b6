"""Gathering items into batches bounded by count and by bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def batched(
    items: Iterable[Item], size: int, max_bytes: int, weigh: Callable[[Item], int]
) -> Iterator[list[Item]]:
    """Yield lists of at most `size` items that weigh at most `max_bytes` together.

    An item heavier than `max_bytes` makes a batch of its own. Order is kept and nothing is held beyond one
    batch. Raises `ValueError` when a bound is below 1.
    """
    if size < 1 or max_bytes < 1:
        raise ValueError(f"a batch holds at least one item and one byte, not {size} and {max_bytes}")
    batch: list[Item] = []
    weight = 0
    for item in items:
        heavy = weigh(item)
        if batch and (len(batch) >= size or weight + heavy > max_bytes):
            yield batch
            batch, weight = [], 0
        batch.append(item)
        weight += heavy
    if batch:
        yield batch
