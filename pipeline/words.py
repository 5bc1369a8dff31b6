"""Words for people."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Say how many there are of something whose name takes an s: 1 archive, 2,000 archives."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
