"""Notes that worker processes leave of what they touch, so that the guilty one is known when a worker dies."""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import StoreError

SLOTS = 4096
WIDTH = 8


class Notes:
    """A map of memory shared by processes: for each of `SLOTS` tasks, the position that its worker is at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SLOTS * WIDTH)

    @classmethod
    @contextlib.contextmanager
    def made(cls) -> Iterator[Notes]:
        """Make notes for workers that open them by their path; gone when the context ends.

        The space is really taken: a map over a hole in a full disk ends the process that writes to it. Raises
        `StoreError` where there is none.
        """
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="pipeline-"))
                file.write(bytes(SLOTS * WIDTH))
                file.flush()
            except OSError as error:
                place = tempfile.gettempdir() if tempfile.tempdir else "The folder for temporary files"
                raise StoreError(
                    f"{place} cannot be written: {error.strerror}. TMPDIR names another."
                ) from error
            notes = cls(Path(file.name))
            try:
                yield notes
            finally:
                notes.close()

    def write(self, slot: int, position: int) -> None:
        """Note the position of the item that is touched next."""
        self._map[slot * WIDTH : (slot + 1) * WIDTH] = position.to_bytes(WIDTH, "little")

    def read(self, slot: int) -> int:
        """Give the position that was noted last."""
        return int.from_bytes(self._map[slot * WIDTH : (slot + 1) * WIDTH], "little")

    def close(self) -> None:
        """Let the memory go."""
        self._map.close()
