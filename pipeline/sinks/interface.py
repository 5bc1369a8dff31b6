"""What the pipeline asks of a sink, and of the ledger behind it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol

from pipeline.history import Ending, Run
from pipeline.records import Archive, ArchiveResult, Candidate, Closing, Entry, FileIdentity, Record, Recorded


class Sink(Protocol):
    """A place where records are delivered; every method may be called again after a failure.

    All methods raise `SinkUnavailable` when the other side cannot be reached within the retry budget. `refusals`
    and `reconsider` belong to no run and need none to have begun.
    """

    def begin(self, run: Run) -> None:
        """Note in the history that a run begins; called once, before the other methods.

        From then on until `close` the catalog can tell that the run is alive: PostgresSink holds an advisory
        lock, a sink without a connection to the catalog has `run.lease_until` renewed. Runs found dead meanwhile
        are marked `died`. Delivering it again changes nothing.
        """

    def end(self, run: Run, ending: Ending) -> None:
        """Note how the run ended; called at most once, last before `close`, also after an error.

        When the other side was just found to be unreachable it gives up soon; the history then shows the run
        as died.
        """

    def known(self, files: Sequence[FileIdentity]) -> set[FileIdentity]:
        """Tell which delivered files belong to archives that are done, so that they need not be opened."""

    def open(self, archives: Sequence[Archive]) -> list[Entry]:
        """Register and claim archives, in one round trip; answers an entry each, in the same order.

        A done archive answers DONE, unless it had members refused for damage and this delivery is another
        file: that is open again, RUNNING. An archive that another run holds answers BUSY. A repeated delivery
        of the same content is remembered, so that `known` recognises it next time.
        """

    def recorded(self, entry: Entry) -> Iterator[Recorded]:
        """Stream what is recorded of an archive, by ascending member index.

        Members refused for damage are left out: the copy at hand may be a good one.
        """

    def write(self, batch: Sequence[Record]) -> None:
        """Take a batch to deliver in one transaction; delivering it again changes nothing.

        It may still be on its way when this returns, unless too many are: then it blocks.
        The first record of an image that the catalog did not have is `stored`, the others are `duplicate`.
        An image for a member that was refused before takes the refusal's place.
        """

    def finish(self, entries: Sequence[Entry]) -> Future[list[Closing]]:
        """Close archives whose files are flushed, once all that was written of them is delivered.

        The answer comes later: their balances, in order; the claims are free then. An archive whose balance
        does not close stays open; the caller compares `Balance.closed`.
        """

    def leave(self, entries: Sequence[Entry]) -> Future[list[Closing]]:
        """Leave archives open whose work ended early, for another run to go on with.

        As `finish`, but none is closed, also not one whose balance does: its files were not all looked at.
        """

    def refused(self) -> list[Record]:
        """Take the records that the other side refused, with its verdict, since this was asked last.

        All of an archive's have come when `finish` has answered.
        """

    def activity(self) -> str:
        """Say in a few words how delivery goes, for people who watch; nothing when there is nothing to say."""

    def refuse(self, file: FileIdentity, digest: bytes, result: ArchiveResult) -> None:
        """Note in the ledger that an archive was refused whole or failed."""

    def refusals(self, reasons: Collection[str]) -> list[Candidate]:
        """Give the archives that were refused, or have members refused, for one of these reasons, or that failed."""

    def reconsider(self, ids: Sequence[int], reasons: Collection[str]) -> int:
        """Have these archives' refusals taken again by the next run over them; answers how many members that are."""

    def close(self) -> None:
        """Free connections and claims."""
