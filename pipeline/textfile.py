"""Writing a small text file whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pipeline.errors import StoreError


def write_text(path: Path, text: str, what: str) -> None:
    """Put a text in a file's place in one step; raises `StoreError`, and then leaves the old file as it was.

    The temporary name is hidden and ends differently, so that who reads the folder passes it over.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StoreError(f"{what} {path} cannot be written: {error.strerror}.") from error
