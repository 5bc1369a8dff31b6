"""Notes that worker processes leave of what they touch, so that the guilty one is known when a worker dies."""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from collections.abc import Iterator
from multiprocessing.reduction import DupFd
from struct import Struct
from typing import Protocol

from pipeline.errors import StoreError

SLOTS = 4096
_POSITION = Struct("<Q")
WIDTH = _POSITION.size


class _Inherited(Protocol):
    def detach(self) -> int: ...


class Notes:
    """A map of memory shared by processes: for each of `SLOTS` tasks, the position that its worker is at.

    `file` is an open one without a name, so that nothing stays behind a run that is killed. It reaches workers by
    being sent to them when they start.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._map = mmap.mmap(file, SLOTS * WIDTH)

    @classmethod
    @contextlib.contextmanager
    def made(cls) -> Iterator[Notes]:
        """Make notes to be sent to workers; gone when the context ends.

        The space is really taken: a map over a hole in a full disk ends the process that writes to it. Raises
        `StoreError` where there is none.
        """
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(tempfile.TemporaryFile())
                file.write(bytes(SLOTS * WIDTH))
                file.flush()
            except OSError as error:
                place = tempfile.gettempdir() if tempfile.tempdir else "The folder for temporary files"
                raise StoreError(
                    f"{place} cannot be written: {error.strerror}. TMPDIR names another."
                ) from error
            notes = cls(file.fileno())
            try:
                yield notes
            finally:
                notes.close()

    def write(self, slot: int, position: int) -> None:
        """Note the position of the item that is touched next."""
        _POSITION.pack_into(self._map, slot * WIDTH, position)

    def read(self, slot: int) -> int:
        """Give the position that was noted last."""
        return int(_POSITION.unpack_from(self._map, slot * WIDTH)[0])

    def close(self) -> None:
        """Let the memory go."""
        self._map.close()

    def __reduce__(self) -> tuple[object, ...]:
        return _received, (DupFd(self._file),)


def _received(inherited: _Inherited) -> Notes:
    file = inherited.detach()
    try:
        # The map keeps a descriptor of its own.
        return Notes(file)
    finally:
        os.close(file)
