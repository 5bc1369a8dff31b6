"""An engine that is imported and started when there is something to work: a run with nothing new never waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pipeline.engines.interface import Done, Engine
    from pipeline.records import Slice


class LateEngine:
    """Stands in for the engine that `make` gives, until there is work for it."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make
        self._started: Engine | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def prepare(self) -> None:
        """Import the engine, and have it begin what takes a while."""
        self._engine().prepare()

    def run(self, slices: Iterable[Slice]) -> Iterator[Done]:
        """Yield every slice's outcomes in the order of the slices."""
        source = iter(slices)
        for first in source:
            yield from self._engine().run(chain((first,), source))

    def _engine(self) -> Engine:
        if self._started is None:
            self._started = self._stack.enter_context(self._make())
        return self._started
