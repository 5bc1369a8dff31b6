"""The bytes of an image, in memory or in a file, as decoders want them."""

from __future__ import annotations

import io
import mmap
import os
from dataclasses import dataclass
from typing import IO

from pipeline.settings import Limits


class FileMap(mmap.mmap):
    """A file's map in which a place behind the end is empty, as in any file, and not an error."""

    def seek(self, pos: int, whence: int = os.SEEK_SET) -> None:
        """Go to a place, or to the end for one behind it."""
        try:
            super().seek(pos, whence)  # type: ignore[arg-type]  # 0 to 4, said more narrowly
        except ValueError:
            if whence == os.SEEK_SET and pos < 0:
                raise
            super().seek(0, os.SEEK_END)


@dataclass(frozen=True, slots=True)
class Source:
    """What is inspected: a view of all bytes (of memory, or of a file's map), and the limits that hold."""

    view: memoryview
    limits: Limits

    def open(self) -> IO[bytes]:
        """Give a file over the bytes, without copying them where they are a whole file's map."""
        whole = self.view.obj
        if isinstance(whole, mmap.mmap) and len(whole) == len(self.view):
            whole.seek(0)
            return whole  # type: ignore[return-value]  # a map reads and seeks like a file
        return io.BytesIO(self.view)
