"""Command-line peers: what people pipe together, and a downloader of data sets; each where it is installed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

from bench.room import Desk

_TABLE = "CREATE TABLE peer (path text, type text, width int, height int); CREATE TABLE sums (sha1 text, path text);"
_LOAD = r"""
find "$T" -type f -print0 | xargs -0 sha1sum | sed 's/  /\t/' > "$T.sums"
psql -X -q "$U" -c "$C" -c "\copy peer FROM '$T.peer'" -c "\copy sums FROM '$T.sums'"
"""
_UNPACK = 'mkdir -p "$T"\nfor zip in "$@"; do unzip -q "$zip" -d "$T/$(basename "$zip" .zip)"; done\n'
_IDENTIFY = r"""
find "$T" -type f -print0 | xargs -0 -P "$(nproc)" -n 200 identify -format '%i\t%m\t%w\t%h\n' > "$T.peer"
"""
_EXIFTOOL = r"""
exiftool -q -r -T -Directory -FileType -ImageWidth -ImageHeight "$T" > "$T.peer"
"""

Start = Callable[[Desk], list[str]]


def _script(body: str) -> Start:
    def start(desk: Desk) -> list[str]:
        names = f"set -e; T='{desk.extracted}'; U='{desk.url}'; C='{_TABLE}'\n"
        return ["/bin/sh", "-c", names + _UNPACK + body + _LOAD, "sh", *map(str, desk.archives)]

    return start


def peers() -> list[tuple[str, Start, str]]:
    """Give each peer's name, how it is started, and why it is left out; empty when it is not."""
    found = []
    for name, tool, body in (
        ("unzip, identify, sha1sum, \\copy", "identify", _IDENTIFY),
        ("unzip, exiftool, sha1sum, \\copy", "exiftool", _EXIFTOOL),
    ):
        missing = [word for word in ("unzip", tool, "sha1sum", "psql") if not shutil.which(word)]
        found.append((name, _script(body), f"{', '.join(missing)} not installed" if missing else ""))
    return found


def module(name: str, *arguments: str) -> list[str]:
    """Give the words that run a module with this Python."""
    return [sys.executable, "-m", name, *arguments]
