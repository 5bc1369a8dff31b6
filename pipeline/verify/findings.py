"""What a check finds: kinds of findings, what became of each, and the steps in which they come."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Kind(StrEnum):
    """What is wrong, as a stable code."""

    STORE_MISSING = "store-missing"
    STORE_DAMAGED = "store-damaged"
    EXTRACTED_MISSING = "extracted-missing"
    EXTRACTED_DAMAGED = "extracted-damaged"
    ORPHAN = "orphan"
    LEFTOVER = "leftover"
    FOREIGN = "foreign"
    RECORD = "record"
    UNBALANCED = "unbalanced"
    UNFINISHED = "unfinished"


SENTENCES: Final = MappingProxyType(
    {
        Kind.STORE_MISSING: "The store has no file for an image of the catalog.",
        Kind.STORE_DAMAGED: "A file of the store does not hash to its record.",
        Kind.EXTRACTED_MISSING: "The extracted tree has no file for a member that is stored.",
        Kind.EXTRACTED_DAMAGED: "A file of the extracted tree does not hash to its record.",
        Kind.ORPHAN: "A file of ours that no row of the catalog names.",
        Kind.LEFTOVER: "A temporary file of a process that is gone.",
        Kind.FOREIGN: "A file that is not ours; it is left alone.",
        Kind.RECORD: "A row contradicts itself.",
        Kind.UNBALANCED: "The verdicts of an archive do not add up.",
        Kind.UNFINISHED: "An archive was interrupted; run ingest again to go on with it.",
    }
)


class Outlook(StrEnum):
    """What became of a finding: only told, repaired, beyond repair, or nothing to worry about."""

    FOUND = "found"
    REPAIRED = "repaired"
    LOST = "lost"
    NOTE = "note"


class Finding(NamedTuple):
    """One thing that is not as it should be: where, what, and what became of it."""

    kind: Kind
    path: str
    detail: str = ""
    outlook: Outlook = Outlook.FOUND

    @property
    def problem(self) -> bool:
        """Whether it is still wrong."""
        return self.outlook in {Outlook.FOUND, Outlook.LOST}


class Cursor(NamedTuple):
    """How far a check has come: a stage's name, and the last key that is done in it."""

    stage: str = ""
    after: str = ""


BEGINNING: Final = Cursor()


class Step(NamedTuple):
    """One bounded piece of a check: how many files it looked at, what it found, and where it goes on."""

    checked: int
    findings: list[Finding]
    cursor: Cursor
