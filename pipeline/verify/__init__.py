"""Checking the catalog against the files, like a file-system check, and repair."""

from pipeline.verify.files import Hashers
from pipeline.verify.findings import SENTENCES, Cursor, Finding, Kind, Outlook, Step
from pipeline.verify.memory import Memory, Tally
from pipeline.verify.walk import Places, Verify

__all__ = [
    "SENTENCES",
    "Cursor",
    "Finding",
    "Hashers",
    "Kind",
    "Memory",
    "Outlook",
    "Places",
    "Step",
    "Tally",
    "Verify",
]
