"""What every stage of a check works with."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from pipeline.store import Store
from pipeline.verify.broom import Broom
from pipeline.verify.files import Hashers
from pipeline.verify.rescue import Rescue


@dataclass(frozen=True, slots=True)
class Tools:
    """The catalog's connection, in autocommit mode; the store and its two roots; what hashes; and what repairs.

    Without `rescue` nothing is repaired, without `broom` nothing is removed.
    """

    connection: psycopg.Connection
    store: Store
    extracted: str
    static: str
    hashers: Hashers
    rescue: Rescue | None = None
    broom: Broom | None = None
