"""Watching the input folder: what is new there, and which of it is at rest."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import NamedTuple

from pipeline.inbox import Delivery, being_written
from pipeline.records import ArchiveResult, ArchiveVerdict, FileIdentity

TICK = 1.0
LONGEST = 300.0
FINAL = frozenset({ArchiveVerdict.DONE, ArchiveVerdict.KNOWN, ArchiveVerdict.REJECTED})


class _Sight(NamedTuple):
    """How a file looked, and from when on it may be taken if it still looks so."""

    file: FileIdentity
    ripe: float
    tries: int = 0


@dataclass(slots=True)
class Lookout:
    """Tells which deliveries are at rest and were not dealt with before; remembers no more than is in the folder.

    A file is at rest when nobody has it open for writing and it looked the same for `rest` seconds, by the
    monotonic clock. What failed or waits is tried again after `again` seconds, then after twice as long, and so on
    up to five minutes.
    """

    rest: float = TICK
    again: float = 60.0
    _seen: dict[Path, _Sight] = field(default_factory=dict)
    _dealt: dict[Path, FileIdentity] = field(default_factory=dict)

    def ready(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Give those of the folder's deliveries that may be taken now."""
        now, before, dealt = time.monotonic(), self._seen, self._dealt
        self._seen, self._dealt, ripe = {}, {}, []
        for delivery in deliveries:
            path, file = delivery.path, delivery.file
            if dealt.get(path) == file:
                self._dealt[path] = file
                continue
            sight = before.get(path)
            if sight is None or sight.file != file or delivery.partial or being_written(path):
                sight = _Sight(file, now + self.rest)
            self._seen[path] = sight
            if sight.ripe <= now:
                ripe.append(delivery)
        return ripe

    @property
    def waiting(self) -> bool:
        """Whether something is there that is not dealt with yet."""
        return bool(self._seen)

    def heard(self, deliveries: Iterable[Delivery], results: Iterable[ArchiveResult]) -> None:
        """Take in what became of deliveries: what has its verdict is dealt with until its file changes."""
        final = {result.path for result in results if result.verdict in FINAL}
        for delivery in deliveries:
            if delivery.path in final:
                self.dismiss(delivery)
                continue
            sight = self._seen.get(delivery.path)
            tries = sight.tries + 1 if sight else 1
            pause = min(self.again * 2 ** (tries - 1), max(LONGEST, self.again))
            self._seen[delivery.path] = _Sight(delivery.file, time.monotonic() + pause, tries)

    def dismiss(self, delivery: Delivery) -> None:
        """Leave a delivery alone until its file changes."""
        self._seen.pop(delivery.path, None)
        self._dealt[delivery.path] = delivery.file


def wakeups(folder: Path, interval: float, stop: Event, busy: Lookout) -> Iterator[None]:
    """Yield whenever something may have changed below a folder, until `stop` is set.

    Events of the file system are a hint that comes early; the folder is looked at every `interval` seconds
    in any case, because network shares and containers lose them. While files come to rest, every second.
    """
    yield
    looked = time.monotonic()
    for changed in _events(folder, stop):
        if changed or busy.waiting or time.monotonic() - looked >= interval:
            looked = time.monotonic()
            yield


def _events(folder: Path, stop: Event) -> Iterator[bool]:
    from watchfiles import watch  # noqa: PLC0415 - only who watches pays for it

    while not stop.is_set():
        try:
            for changes in watch(
                folder,
                watch_filter=None,
                stop_event=stop,
                debounce=200,
                rust_timeout=int(TICK * 1000),
                yield_on_timeout=True,
                raise_interrupt=False,
            ):
                yield bool(changes)
        except (OSError, RuntimeError):
            # No events here: too many watches, or the folder is away for now. Looking regularly does it too.
            pass
        stop.wait(TICK)
        yield False
