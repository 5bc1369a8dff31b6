"""Words for people: numbers of things, and names that come from strangers."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Say how many there are of something whose name takes an s: 1 archive, 2,000 archives."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def printable(text: str) -> str:
    """Escape what could steer a terminal or deceive a reader: control, bidi and invisible characters."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )
