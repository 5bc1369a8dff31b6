"""The sink that writes straight into Postgres."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from typing import TypeVar

import psycopg

from pipeline.catalog import claims, ledger, runs, second
from pipeline.catalog.batch import PREPARE, record
from pipeline.catalog.changes import await_deletion
from pipeline.catalog.schema import upgrade
from pipeline.claimant import Patience, is_dead
from pipeline.database import connect, persistent, translated
from pipeline.errors import CatalogUnavailable, SinkUnavailable
from pipeline.history import Ending, Run
from pipeline.records import (
    Archive,
    ArchiveResult,
    Candidate,
    Closing,
    Entry,
    FileIdentity,
    Record,
    Recorded,
    State,
)
from pipeline.server import serving
from pipeline.settings import Settings
from pipeline.sinks.holding import Holding

Answer = TypeVar("Answer")

RETRY_SECONDS = 60.0
FIRST_SECONDS = 15.0
"""A server that was never reached is more likely misspelt than restarting."""
UNSETTLED = 8
"""Batches whose commit may still be lost in a crash of the server, at most; they are kept until it cannot."""
LAST_SECONDS = 1.0
"""A server that was given up on is asked once more, for the history's sake."""


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[PostgresSink]:
    """Give a sink into the catalog that the settings name; the embedded Postgres runs as long as it is needed."""
    with serving(settings.database_url, settings.data) as url, contextlib.closing(PostgresSink(url)) as sink:
        yield sink


class PostgresSink:
    """Delivers into a catalog over one connection, and claims archives over another.

    Claims are session-level advisory locks, which Postgres frees however this process ends. A batch's commit
    does not wait for the disk; that of every eighth one does, and that which closes an archive, and with it
    everything before it. Batches since then are kept: after a crash of the server they are delivered again,
    before anything else, so that which image came first does not change.
    """

    def __init__(self, url: str, retry_seconds: float = RETRY_SECONDS) -> None:
        self._url = url
        self._seconds = retry_seconds
        self._work: psycopg.Connection | None = None
        self._holding = Holding(url)
        self._run: Run | None = None
        self._lost = False
        self._patience = Patience()
        self._since: dict[int, int] = {}
        self._unsettled: list[Sequence[Record]] = []
        self._spare: psycopg.Connection | None = None
        self._persist(self._upgrade, min(retry_seconds, FIRST_SECONDS))

    def begin(self, run: Run) -> None:
        """Note that a run begins, and hold the lock that says so."""
        self._run = run
        if self._work is not None:
            self._work.close()

        def work(connection: psycopg.Connection) -> None:
            connection.execute("SET LOCAL synchronous_commit = off")
            runs.begin(connection, run)

        self._transact(work)

    def end(self, run: Run, ending: Ending) -> None:
        """Note how the run ended."""

        def work(connection: psycopg.Connection) -> None:
            connection.execute("SET LOCAL synchronous_commit = off")
            runs.end(connection, run, ending)

        if self._lost:
            self._seconds = LAST_SECONDS
        self._transact(work)

    def known(self, files: Sequence[FileIdentity]) -> set[FileIdentity]:
        """Tell which delivered files belong to archives that are done."""
        return self._transact(lambda connection: ledger.known(connection, files))

    def open(self, archives: Sequence[Archive]) -> list[Entry]:
        """Claim and register archives."""
        claimed = self._claim_patiently({_key(archive) for archive in archives})
        ours = [archive for archive in archives if _key(archive) in claimed]
        since, registered = self._transact(
            lambda connection: (await_deletion(connection), _open(connection, ours))
        )
        self._since |= {entry.id: since for entry in registered if entry.id and entry.state is not State.DONE}
        opened = iter(registered)
        entries = [
            next(opened) if _key(archive) in claimed else Entry(0, archive, State.BUSY, "")
            for archive in archives
        ]
        working = {entry.id for entry in entries if entry.state in {State.NEW, State.RUNNING}}
        self._holding.free(
            {
                _key(entry.archive)
                for entry in entries
                if entry.state is State.BUSY or (entry.state is State.DONE and entry.id not in working)
            }
        )
        return entries

    def recorded(self, entry: Entry) -> Iterator[Recorded]:
        """Stream what an interrupted run recorded of an archive, page by page."""
        after = -1
        while page := self._page(entry.id, after):
            yield from page
            after = page[-1].index

    def _page(self, archive_id: int, after: int) -> list[Recorded]:
        return self._transact(lambda connection: list(ledger.recorded(connection, archive_id, after)))

    def write(self, batch: Sequence[Record]) -> None:
        """Deliver a batch in one transaction."""
        settle = len(self._unsettled) + 1 >= UNSETTLED
        self._transact(lambda connection: self._record(connection, batch, settle=settle))
        self._unsettled = [] if settle else [*self._unsettled, batch]

    def _record(self, connection: psycopg.Connection, batch: Sequence[Record], *, settle: bool) -> None:
        if settle:
            ledger.make_durable(connection)
        else:
            connection.execute("SET LOCAL synchronous_commit = off")
        archives = {item.archive_id for item in batch}
        record(connection, batch, min(self._since.get(archive, 0) for archive in archives))

    def finish(self, entries: Sequence[Entry]) -> Future[list[Closing]]:
        """Close archives and free their claims."""
        return self._count(entries, close=True)

    def leave(self, entries: Sequence[Entry]) -> Future[list[Closing]]:
        """Count what is recorded of archives, and free their claims."""
        return self._count(entries, close=False)

    def _count(self, entries: Sequence[Entry], *, close: bool) -> Future[list[Closing]]:
        ids = [entry.id for entry in entries]
        balances = self._transact(lambda connection: ledger.finish(connection, ids, close=close))
        self._unsettled = []
        self._holding.free({_key(entry.archive) for entry in entries})
        for id_ in ids:
            self._since.pop(id_, None)
        closed: Future[list[Closing]] = Future()
        closed.set_result([Closing(balances[entry.id]) for entry in entries])
        return closed

    def refused(self) -> list[Record]:
        """Nothing: Postgres takes what the workers found."""
        return []

    def activity(self) -> str:
        """Nothing: one batch is written at a time."""
        return ""

    def refuse(self, file: FileIdentity, digest: bytes, result: ArchiveResult) -> None:
        """Note that an archive was refused whole or failed."""
        self._transact(lambda connection: ledger.refuse(connection, file, digest, result))

    def refusals(self, reasons: Collection[str]) -> list[Candidate]:
        """Give the archives whose refusals may not hold any more."""
        return self._transact(lambda connection: second.candidates(connection, reasons))

    def reconsider(self, ids: Sequence[int], reasons: Collection[str]) -> int:
        """Have refusals taken again by the next run."""
        return self._transact(lambda connection: second.reconsider(connection, ids, reasons))

    def close(self) -> None:
        """Close the connections, and with them free every claim."""
        for connection in (self._work, self._spare):
            if connection is not None:
                connection.close()
        self._work = self._spare = None
        self._holding.close()

    def _upgrade(self) -> None:
        """Bring the catalog up to date, over the connection that is worked on first."""
        with contextlib.ExitStack() as stack:
            connection = connect(self._url, autocommit=True)
            stack.callback(connection.close)
            upgrade(connection)
            connection.autocommit = False
            stack.pop_all()
            self._spare = connection

    def _transact(self, work: Callable[[psycopg.Connection], Answer]) -> Answer:
        """Do work in one transaction, again from its start when the connection or the server goes away."""

        def attempt() -> Answer:
            if self._work is None or self._work.closed:
                self._holding.claim(set())
                self._work, self._spare = self._spare or connect(self._url), None
                with translated():
                    self._work.execute(PREPARE)
                    if self._run:
                        runs.hold(self._work, self._run)
                    self._work.commit()
                    for batch in self._unsettled:
                        with self._work.transaction():
                            self._record(self._work, batch, settle=False)
            with translated(), self._work.transaction():
                return work(self._work)

        return self._persist(attempt)

    def _persist(self, work: Callable[[], Answer], seconds: float | None = None) -> Answer:
        def attempt() -> Answer:
            try:
                return work()
            except CatalogUnavailable:
                if self._work is not None:
                    self._work.close()
                raise

        try:
            return persistent(attempt, self._seconds if seconds is None else seconds)
        except CatalogUnavailable as error:
            self._lost = True
            raise SinkUnavailable(str(error)) from error

    def _claim_patiently(self, keys: set[int]) -> set[int]:
        """Claim archives; what a killed run's last transaction still holds is free in a moment."""
        claimed = self._persist(lambda: self._holding.claim(keys))
        while claimed != keys and self._patience.wait():
            claimed = self._persist(lambda: self._holding.claim(keys))
        return claimed


def _open(connection: psycopg.Connection, archives: Sequence[Archive]) -> list[Entry]:
    """Open archives, but for those that a run through the API holds and lives as far as can be seen from here."""
    held = claims.held(connection, [archive.digest for archive in archives])
    dead = {by.run for by in held.values() if is_dead(by.host, by.process)}
    if dead:
        claims.bury(connection, dead)
        held = {digest: by for digest, by in held.items() if by.run not in dead}
    free = [archive for archive in archives if archive.digest not in held]
    entries = iter(ledger.open_archives(connection, free))
    answer = [
        Entry(0, archive, State.BUSY, "") if archive.digest in held else next(entries) for archive in archives
    ]
    claims.seize(connection, [entry.id for entry in answer if entry.state in {State.NEW, State.RUNNING}])
    return answer


def _key(archive: Archive) -> int:
    return claims.key(archive.digest)
