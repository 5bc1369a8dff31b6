"""What a run is told: one frozen value, made from options and the environment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what an archive and an image may cost; sizes in bytes, `timeout` in seconds a member."""

    max_member_bytes: int = 1 << 30
    max_archive_bytes: int = 64 << 30
    max_members: int = 1_000_000
    max_ratio: float = 200.0
    max_pixels: int = 200_000_000
    timeout: float = 60.0
    worker_memory: int = 2 << 30


UNLIMITED: Final = Limits(
    max_member_bytes=1 << 62, max_archive_bytes=1 << 62, max_members=1 << 31, max_ratio=math.inf
)
"""For looking at an archive that is recognised by its digest; nothing is unpacked by it alone."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a run is told.

    `reserve` is the bytes of disk that stay free for everything else, `time_limit` is in seconds, as is
    `settle`, for which a file that looks cut must have been left alone before it is judged.
    """

    database_url: str | None = None
    data: Path = Path(".data")
    input: Path = Path("images_zip_input")
    extracted: Path = Path("extracted")
    static: Path = Path("static")
    after: str = "keep"
    quarantine: Path | None = None
    processed: Path | None = None
    failed: Path | None = None
    sink: str = "postgres"
    api_url: str | None = None
    api_token: str | None = field(default=None, repr=False)
    concurrency: int = 4
    api_timeout: float = 120.0
    api_patience: float = 60.0
    engine: str = "processes"
    workers: int = 0
    check: str = "decode"
    batch_size: int = 1000
    batch_bytes: int = 64 << 20
    zip_encoding: str | None = None
    reserve: int = 256 << 20
    settle: float | None = None
    max_errors: int | None = None
    time_limit: float | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def shelf(self) -> Path | None:
        """The folder of the store; None where the store is the API's business."""
        return None if self.sink == "api" else self.static

    @property
    def processed_folder(self) -> Path:
        """Where archives go that are taken in, with `after` "move": beside the input folder unless told."""
        return self.processed or self.input.absolute().parent / "processed"

    @property
    def failed_folder(self) -> Path:
        """Where archives go that are refused whole, with `after` "move": beside the input folder unless told."""
        return self.failed or self.input.absolute().parent / "failed"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Take the places of things from the environment; options on the command line come on top."""
        return cls(
            database_url=environ.get("DATABASE_URL") or None,
            data=Path(environ.get("PIPELINE_DATA", ".data")),
            input=Path(environ.get("PIPELINE_INPUT", "images_zip_input")),
            extracted=Path(environ.get("PIPELINE_EXTRACTED", "extracted")),
            static=Path(environ.get("PIPELINE_STATIC", "static")),
        )
