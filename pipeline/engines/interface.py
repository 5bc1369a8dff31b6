"""What the pipeline asks of an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from pipeline.errors import ArchiveError
from pipeline.records import Outcome, Slice


class Done(NamedTuple):
    """One worked slice: its outcomes in order, or the error that ends its archive."""

    slice: Slice
    outcomes: list[Outcome]
    error: ArchiveError | None = None


class Engine(Protocol):
    """Something that runs `work` over slices; a context manager that owns its workers."""

    def __enter__(self) -> Self:
        """Start the workers."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the workers."""

    def prepare(self) -> None:
        """Hear that slices will come: begin what takes a while, without waiting for it."""

    def run(self, slices: Iterable[Slice]) -> Iterator[Done]:
        """Yield every slice's outcomes in the order of the slices; raises `StoreError` when writing fails."""
