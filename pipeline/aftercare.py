"""What becomes of a delivered file once the catalog has taken it in, or refused it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field
from pathlib import Path

from pipeline.errors import StoreError
from pipeline.inbox import Delivery, being_written
from pipeline.moves import move, put_back, remove
from pipeline.records import ArchiveResult, ArchiveVerdict
from pipeline.settings import Settings

TAKEN = frozenset({ArchiveVerdict.DONE, ArchiveVerdict.KNOWN})


@dataclass(slots=True)
class Aftercare:
    """Keeps, moves or deletes files by the verdict of their archives.

    A file is touched only after its verdict is committed, and only while it is the one that was read. What
    is taken in goes to `processed` or is deleted, what is refused whole goes to `failed`. An archive that
    failed or waits stays, because the next run goes on with it. Symbolic links stay.
    """

    settings: Settings
    deliveries: InitVar[Iterable[Delivery]]
    _deliveries: dict[Path, Delivery] = field(init=False)

    def __post_init__(self, deliveries: Iterable[Delivery]) -> None:
        kept = self.settings.after == "keep"
        self._deliveries = {} if kept else {delivery.path: delivery for delivery in deliveries}

    def settle(self, result: ArchiveResult) -> str:
        """Move or delete an archive's file, and say which, nothing when it stays; raises `StoreError`."""
        delivery = self._deliveries.get(result.path) if self._deliveries and result.path else None
        if delivery is None or delivery.path.is_symlink():
            return ""
        if result.balance.failed or being_written(delivery.path):
            return ""
        try:
            return self._settle(delivery, result.verdict)
        except FileNotFoundError:
            # Another run over the same folder settled it first.
            return ""
        except OSError as error:
            raise StoreError(
                f"{delivery.path} is {result.verdict} in the catalog, but cannot be "
                f"{'moved' if self.settings.after == 'move' else 'deleted'}: {error.strerror}. "
                "It stays where it is; the next run tries again."
            ) from error

    def _settle(self, delivery: Delivery, verdict: ArchiveVerdict) -> str:
        if delivery.path.absolute().is_relative_to(self.settings.processed_folder.absolute()):
            # Taken again from where it was moved to.
            return ""
        if verdict in TAKEN and self.settings.after == "delete":
            return "deleted" if remove(delivery.path, delivery.file) else ""
        if verdict in TAKEN:
            folder = self.settings.processed_folder
        elif verdict is ArchiveVerdict.REJECTED and self.settings.after == "move":
            folder = self.settings.failed_folder
        else:
            return ""
        return (
            f"moved to {folder}" if move(delivery.path, folder / _relative(delivery), delivery.file) else ""
        )


def recover(settings: Settings, roots: Iterable[Path]) -> None:
    """Put back what a killed run was about to delete, so that it is found again."""
    if settings.after == "delete":
        for root in roots:
            put_back(root)


def _relative(delivery: Delivery) -> str:
    """Give a file's path below the folder it was found in, or its name when a person named it."""
    path = os.path.relpath(delivery.path, delivery.root)
    return delivery.path.name if path.startswith("..") else path
