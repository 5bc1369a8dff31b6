"""The second stage: every stored member has its file in the extracted tree, and no other file is there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pipeline.catalog import inventory
from pipeline.catalog.inventory import Folder, Placed
from pipeline.errors import StoreError
from pipeline.store import static_path
from pipeline.temporary import is_temporary
from pipeline.verify.files import MISSING, State, Wanted, walk
from pipeline.verify.findings import Cursor, Finding, Kind, Outlook, Step
from pipeline.verify.strangers import foreign, leftovers, orphans, shelved_by_content
from pipeline.verify.tools import Tools

STAGE = "extracted"
PAGE = 1000
Pair = tuple[Placed | None, str]


def check_extracted(tools: Tools, after: str) -> Iterator[Step]:
    """Yield steps archive by archive; `after` is the ledger's id of the last one that is done."""
    last = int(after or 0)
    while page := inventory.folders(tools.connection, last):
        for folder in page:
            with tools.connection.transaction():
                pairs = merged(
                    inventory.placed(tools.connection, folder.id), walk(f"{tools.extracted}/{folder.folder}")
                )
                while part := list(islice(pairs, PAGE)):
                    yield _Part(tools, folder).step(part, Cursor(STAGE, str(last)))
            last = folder.id
            yield Step(0, [], Cursor(STAGE, str(last)))


def merged(rows: Iterable[Placed], files: Iterable[str]) -> Iterator[Pair]:
    """Pair rows with files, both in the order of the bytes of their paths; either may stand alone."""
    rows, files = iter(rows), iter(files)
    row, file = next(rows, None), next(files, "")
    while row or file:
        here, there = os.fsencode(row.path) if row else b"", os.fsencode(file)
        if row and here == there:
            yield row, file
            row, file = next(rows, None), next(files, "")
        elif row and (not file or here < there):
            yield row, ""
            row = next(rows, None)
        else:
            yield None, file
            file = next(files, "")


@dataclass(frozen=True, slots=True)
class _Part:
    """The check of a piece of one archive's folder."""

    tools: Tools
    folder: Folder

    @property
    def _root(self) -> str:
        return f"{self.tools.extracted}/{self.folder.folder}"

    def step(self, pairs: Sequence[Pair], cursor: Cursor) -> Step:
        rows = [row for row, _ in pairs if row]
        files = {row.path for row, file in pairs if row and file}
        there = [row for row in rows if row.path in files]
        states = dict(zip(there, self.tools.hashers.look([self._wanted(row) for row in there]), strict=True))
        bad = [(row, state) for row in rows if (state := states.get(row, State(MISSING))).trouble]
        strangers = [f"{self._root}/{file}" for row, file in pairs if row is None]
        return Step(len(rows), self._judge(bad) + self._judge_strangers(strangers), cursor)

    def _wanted(self, row: Placed) -> Wanted:
        shelf = f"{self.tools.static}/{static_path(row.sha256, row.type)}"
        return Wanted(f"{self._root}/{row.path}", row.sha256, shelf)

    def _judge(self, bad: Sequence[tuple[Placed, State]]) -> list[Finding]:
        """Look again at what seemed wrong: the archive may have been deleted meanwhile. Then repair what can be."""
        if not bad:
            return []
        indexes = [row.member_index for row, _ in bad]
        known = inventory.still_placed(self.tools.connection, self.folder.id, indexes)
        return [self._finding(row, state) for row, state in bad if row.member_index in known]

    def _finding(self, row: Placed, state: State) -> Finding:
        kind = Kind.EXTRACTED_MISSING if state.trouble == MISSING else Kind.EXTRACTED_DAMAGED
        path = f"{self._root}/{row.path}"
        if not self.tools.rescue:
            return Finding(kind, path, state.detail)
        try:
            if self.tools.store.restore(row.sha256, row.type, self.folder.folder, row.path):
                return Finding(kind, path, "restored from the store", Outlook.REPAIRED)
        except StoreError as error:
            return Finding(kind, path, str(error), Outlook.LOST)
        return Finding(kind, path, "the store does not have it either", Outlook.LOST)

    def _judge_strangers(self, paths: Sequence[str]) -> list[Finding]:
        """Tell files without a row apart; only in archives that are done, where nobody writes."""
        found = leftovers(self.tools, [path for path in paths if is_temporary(path)])
        paths = [path for path in paths if not is_temporary(path)]
        if (
            not paths
            or self.folder.elsewhere
            or inventory.state(self.tools.connection, self.folder.id) != "done"
        ):
            return found
        ours = {path for path in paths if shelved_by_content(self.tools, path)}
        found += [foreign(path) for path in paths if path not in ours]
        return found + orphans(self.tools, sorted(ours), self._named, self.tools.extracted)

    def _named(self, paths: Sequence[str]) -> set[str]:
        """Tell which files have got a row, or may get one because the archive is worked on again."""
        if inventory.state(self.tools.connection, self.folder.id) == "running":
            return set(paths)
        names = {path: path.removeprefix(self._root + "/") for path in paths}
        rows = inventory.named(self.tools.connection, self.folder.id, list(names.values()))
        return {path for path, name in names.items() if name in rows}
