"""The engine that works in this process, for debugging: a crash is a crash, a hang is a hang."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from pipeline.engines.interface import Done
from pipeline.errors import ArchiveError
from pipeline.records import Slice
from pipeline.store import Store
from pipeline.work import work
from pipeline.workbench import Workbench


class SerialEngine:
    """Works one slice after the other in this process."""

    def __init__(self, bench: Workbench, workers: int = 1) -> None:
        del workers
        self._bench = bench
        self._store = Store(bench.extracted, bench.static)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def prepare(self) -> None:
        """Do nothing: there is nobody to start."""

    def run(self, slices: Iterable[Slice]) -> Iterator[Done]:
        """Yield every slice's outcomes in order."""
        for slice_ in slices:
            try:
                yield Done(slice_, work(slice_, self._bench, self._store))
            except ArchiveError as error:
                yield Done(slice_, [], error)
