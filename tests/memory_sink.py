"""A sink and its ledger in memory, for tests of what stands above; it notes the calls in their order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future

from pipeline.history import Ending, Run
from pipeline.records import (
    Archive,
    ArchiveResult,
    Balance,
    Candidate,
    Closing,
    Entry,
    FileIdentity,
    Outcome,
    Record,
    Recorded,
    State,
    Verdict,
)


class MemorySink:
    """Keeps the interface of `Sink`; `busy` archives are another run's, `forgets` are rows that are lost once."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.busy: set[bytes] = set()
        self.forgets: set[int] = set()
        self.refusing: dict[int, str] = {}
        self.noted: list[ArchiveResult] = []
        self.rows: dict[int, dict[int, tuple[Verdict, Outcome]]] = {}
        self._entries: dict[bytes, Entry] = {}
        self._files: dict[FileIdentity, bytes] = {}
        self.done: set[bytes] = set()
        self._images: set[bytes] = set()
        self._refused: list[Record] = []

    def begin(self, run: Run) -> None:
        """Nothing is kept of runs."""

    def end(self, run: Run, ending: Ending) -> None:
        """Nothing is kept of runs."""

    def known(self, files: Sequence[FileIdentity]) -> set[FileIdentity]:
        """Tell which files belong to archives that are done."""
        self.calls.append(f"known {len(files)}")
        return {file for file in files if self._files.get(file) in self.done}

    def open(self, archives: Sequence[Archive]) -> list[Entry]:
        """Register archives."""
        self.calls.append(f"open {len(archives)}")
        return [self._open(archive) for archive in archives]

    def _open(self, archive: Archive) -> Entry:
        digest = archive.digest
        if digest in self.busy:
            return Entry(0, archive, State.BUSY, "")
        self._files[archive.file] = digest
        state = State.RUNNING if digest in self._entries else State.NEW
        number = self._entries[digest].id if digest in self._entries else len(self._entries) + 1
        entry = Entry(number, archive, State.DONE if digest in self.done else state, archive.folder)
        self._entries[digest] = entry
        self.rows.setdefault(number, {})
        return entry

    def recorded(self, entry: Entry) -> Iterator[Recorded]:
        """Stream an archive's rows."""
        for index, (verdict, outcome) in sorted(self.rows[entry.id].items()):
            image = outcome.image
            sha256, type_ = (image.sha256, image.type) if image else (b"", "")
            yield Recorded(index, sha256, type_, verdict, outcome.reason)

    def write(self, batch: Sequence[Record]) -> None:
        """Keep rows, but for those to be forgotten, and refuse images whose member says so."""
        self.calls.append(f"write {len(batch)}")
        for archive, outcome, file in batch:
            if outcome.index in self.forgets:
                self.forgets.discard(outcome.index)
                continue
            reason = self.refusing.get(outcome.index)
            if outcome.image and reason:
                told = Outcome(outcome.index, outcome.name, None, Verdict.REJECTED, reason)
                self._refused.append(Record(archive, told, file))
                self.rows[archive][outcome.index] = Verdict.REJECTED, told
                continue
            verdict = outcome.verdict
            if outcome.image:
                verdict = Verdict.DUPLICATE if outcome.image.sha256 in self._images else Verdict.STORED
                self._images.add(outcome.image.sha256)
            assert verdict
            self.rows[archive][outcome.index] = verdict, outcome

    def finish(self, entries: Sequence[Entry]) -> Future[list[Closing]]:
        """Close archives whose rows are all there."""
        self.calls.append(f"finish {len(entries)}")
        closings = self._count(entries)
        self.done |= {
            entry.archive.digest
            for entry, closing in zip(entries, closings.result(), strict=True)
            if closing.balance.closed
        }
        return closings

    def leave(self, entries: Sequence[Entry]) -> Future[list[Closing]]:
        """Count the rows of archives."""
        self.calls.append(f"leave {len(entries)}")
        return self._count(entries)

    def _count(self, entries: Sequence[Entry]) -> Future[list[Closing]]:
        found: Future[list[Closing]] = Future()
        closings = []
        for entry in entries:
            verdicts = [verdict for verdict, _ in self.rows[entry.id].values()]
            counts = {verdict.value: verdicts.count(verdict) for verdict in Verdict}
            closings.append(Closing(Balance(entry.archive.members, **counts)))
        found.set_result(closings)
        return found

    def refused(self) -> list[Record]:
        """Take what was refused."""
        taken, self._refused = self._refused, []
        return taken

    def activity(self) -> str:
        """Say nothing."""
        return ""

    def refuse(self, file: FileIdentity, digest: bytes, result: ArchiveResult) -> None:
        """Note an archive that was refused whole."""
        del file, digest
        self.noted.append(result)

    def refusals(self, reasons: Collection[str]) -> list[Candidate]:
        """Nothing is taken again."""
        del reasons
        return []

    def reconsider(self, ids: Sequence[int], reasons: Collection[str]) -> int:
        """Nothing is taken again."""
        del ids, reasons
        return 0

    def close(self) -> None:
        """Nothing is open."""
