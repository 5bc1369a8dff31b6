"""Files that no row names: whose they are, and what becomes of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from pipeline.images.kinds import KINDS
from pipeline.removal import THUMBNAILS
from pipeline.temporary import is_stale
from pipeline.verify.broom import remove_empty_folders, remove_file
from pipeline.verify.files import digest_of
from pipeline.verify.findings import Finding, Kind, Outlook
from pipeline.verify.tools import Tools

KEPT = frozenset({".gitkeep", THUMBNAILS})
EXTENSIONS = frozenset(kind.extension for kind in KINDS.values())
SHELF = re.compile(rf"([0-9a-f]{{2}})/([0-9a-f]{{2}})/(\1\2[0-9a-f]{{60}})\.({'|'.join(sorted(EXTENSIONS))})")
"""The shape of a path in the store."""
FOLDER = re.compile(r"[^/]+-[0-9a-f]{12}")
"""The shape of an archive's folder below the extracted tree."""


def leftovers(tools: Tools, paths: Sequence[str]) -> list[Finding]:
    """Report temporary files whose process is gone; those of living ones are nobody's business."""
    findings = []
    for path in paths:
        if is_stale(path):
            gone = tools.broom is not None and remove_file(path)
            findings.append(Finding(Kind.LEFTOVER, path, "", Outlook.REPAIRED if gone else Outlook.FOUND))
    return findings


def foreign(path: str, detail: str = "") -> Finding:
    """Report a file that is not ours."""
    return Finding(Kind.FOREIGN, path, detail, Outlook.NOTE)


def shelved_by_content(tools: Tools, path: str) -> bool:
    """Tell whether the store shows what a file holds: then the file is ours, and nothing is lost with it."""
    digits = digest_of(path).hex()
    shelf = f"{tools.static}/{digits[:2]}/{digits[2:4]}/{digits}"
    return bool(digits) and any(os.path.lexists(f"{shelf}.{extension}") for extension in EXTENSIONS)


def orphans(
    tools: Tools, paths: Sequence[str], named: Callable[[Sequence[str]], set[str]], prune: str = ""
) -> list[Finding]:
    """Report files of ours without a row; `named` tells which of them have got one meanwhile.

    Folders that removal leaves empty go as well, below `prune` where it is given.
    """
    wanted = named(paths) if paths else set()
    paths = [path for path in paths if path not in wanted and os.path.lexists(path)]
    gone = tools.broom.remove(paths, named) if tools.broom else set()
    if prune:
        for path in gone:
            remove_empty_folders(prune, path)
    detail = "left alone, because a run has begun" if tools.broom else ""
    return [
        Finding(Kind.ORPHAN, path, "removed", Outlook.REPAIRED)
        if path in gone
        else Finding(Kind.ORPHAN, path, detail)
        for path in paths
    ]
