"""Finding the archives again whose refusals may not hold any more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipeline.archives import ZipArchive
from pipeline.errors import ArchiveError
from pipeline.inbox import Delivery
from pipeline.intake import sample_digest
from pipeline.records import Candidate
from pipeline.settings import UNLIMITED


class Found(NamedTuple):
    """The archives that are still there, as deliveries, by ledger id; and those that are gone."""

    there: dict[int, Delivery]
    gone: list[Candidate]


def look_for(candidates: Sequence[Candidate], deliveries: Iterable[Delivery]) -> Found:
    """Find archives among files by their digests; only files of the right size are opened."""
    by_size: dict[int, dict[bytes, Candidate]] = defaultdict(dict)
    for candidate in candidates:
        by_size[candidate.size][candidate.digest] = candidate
    there: dict[int, Delivery] = {}
    for delivery in deliveries:
        wanted = by_size.get(delivery.file.size)
        if wanted and not delivery.partial:
            for digest in _digests(delivery):
                if (known := wanted.get(digest)) and known.id not in there:
                    there[known.id] = delivery
    return Found(there, [candidate for candidate in candidates if candidate.id not in there])


def _digests(delivery: Delivery) -> list[bytes]:
    """Give the digests under which the ledger may know a file: of its directory, and of one refused whole."""
    found = [sample_digest(delivery)]
    try:
        with ZipArchive(delivery.path, UNLIMITED) as zip_:
            found.append(zip_.digest)
    except ArchiveError:
        pass
    return found
