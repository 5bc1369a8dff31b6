"""The whole check: stages in order, each a generator of bounded steps that can be gone on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import psycopg

from pipeline.catalog import inventory
from pipeline.store import Store
from pipeline.verify import accounts, shelves, strays, tree
from pipeline.verify.broom import Broom
from pipeline.verify.files import Hashers, walk
from pipeline.verify.findings import BEGINNING, Cursor, Step
from pipeline.verify.rescue import Archives, Rescue
from pipeline.verify.strangers import SHELF
from pipeline.verify.tools import Tools

# The extracted tree comes before the store's orphans: a stray file is known as ours by its twin in the store.
STAGES: Final[dict[str, Callable[[Tools, str], Iterator[Step]]]] = {
    shelves.STAGE: shelves.check_store,
    tree.STAGE: tree.check_extracted,
    strays.STRAYS: strays.check_strays,
    strays.ORPHANS: strays.check_orphans,
    accounts.STAGE: accounts.check_ledger,
}
SAMPLE = 1000


@dataclass(frozen=True, slots=True)
class Places:
    """Where images are, and where their archives may still lie."""

    extracted: Path
    static: Path
    archives: Sequence[Path] = field(default=())


class Verify:
    """Checks a catalog against its files; a connection in autocommit mode, and threads that hash.

    Raises `CatalogError` when the catalog cannot be asked, wherever that happens.
    """

    def __init__(
        self, connection: psycopg.Connection, places: Places, hashers: Hashers, *, repair: bool = False
    ) -> None:
        store = Store(places.extracted, places.static)
        extracted, static = str(places.extracted.absolute()), str(places.static.absolute())
        self._store = store
        self._tools = Tools(connection, store, extracted, static, hashers)
        self.trusted = knows_store(connection, static)
        if repair:
            rescue = Rescue(store, extracted, Archives(places.archives))
            broom = Broom(connection) if self.trusted else None
            self._tools = Tools(connection, store, extracted, static, hashers, rescue, broom)

    def total(self) -> int:
        """Count the files that there should be."""
        return inventory.total(self._tools.connection)

    def identity(self) -> str:
        """Give what tells this check from one of another catalog or other folders."""
        catalog = inventory.identity(self._tools.connection)
        return "\n".join((catalog, self._tools.extracted, self._tools.static, str(bool(self._tools.rescue))))

    def run(self, cursor: Cursor = BEGINNING) -> Iterator[Step]:
        """Yield the steps after a cursor; what was repaired is on the disk when the last one is done."""
        names = list(STAGES)
        begin = names.index(cursor.stage) if cursor.stage in STAGES else 0
        for number in range(begin, len(names)):
            after = cursor.after if number == begin and cursor.stage in STAGES else ""
            yield from STAGES[names[number]](self._tools, after)
        if self._tools.rescue:
            self._store.flush()


def knows_store(connection: psycopg.Connection, static: str) -> bool:
    """Tell whether this is the catalog of that store: of a sample of its files at least half must be named.

    Pointing at the wrong database must not look like a store full of orphans.
    """
    sample = [match for path in islice(walk(static), SAMPLE) if (match := SHELF.fullmatch(path))]
    known = inventory.still_shelved(connection, [bytes.fromhex(match[3]) for match in sample])
    return len(known) * 2 >= len(sample)
