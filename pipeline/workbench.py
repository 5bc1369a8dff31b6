"""What workers are told; apart from the work itself, which needs decoders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.settings import Limits


@dataclass(frozen=True, slots=True)
class Workbench:
    """What every worker is told once: where files go, what is allowed, how hard to look.

    Without `static` images go to the extracted tree alone.
    """

    extracted: Path
    static: Path | None
    limits: Limits
    check: str = "decode"
    stream_bytes: int = 32 << 20
    quarantine: Path | None = None
