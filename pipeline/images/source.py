"""The bytes of an image, in memory or in a file, as decoders want them."""

from __future__ import annotations

import io
import mmap
from dataclasses import dataclass
from typing import IO

from pipeline.settings import Limits


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
