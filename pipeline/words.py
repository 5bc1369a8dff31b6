"""Words for people: numbers of things, and names that come from strangers."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")
"""What a spreadsheet takes for the beginning of a formula, wide forms too, and the mark that says it is none."""


def counted(count: int, noun: str) -> str:
    """Say how many there are of something whose name takes an s: 1 archive, 2,000 archives."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def printable(text: str) -> str:
    """Escape what could steer a terminal or deceive a reader: control, bidi and invisible characters."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def cell(text: str) -> str:
    """Write a text for a table that may be opened with a spreadsheet, so that it can be had back exactly.

    Characters that do not print, and backslashes, are spelled as in Python and C (\\x1b, \\u202e, \\n, \\\\). What
    would be taken for a formula, or begins with an apostrophe, gets one in front (OWASP, CSV injection).
    """
    spelled = "".join(
        char if char.isprintable() and char != "\\" else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
    return f"'{spelled}" if spelled.lstrip(" ").startswith(FORMULA) else spelled
