"""The third and fourth stage: folders that no archive of the ledger has, and store files that no image has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

from pipeline.catalog import inventory
from pipeline.store import WORKSHOP, static_path
from pipeline.temporary import is_temporary
from pipeline.verify.broom import idle, settled
from pipeline.verify.files import names, walk
from pipeline.verify.findings import Cursor, Finding, Step
from pipeline.verify.strangers import (
    FOLDER,
    KEPT,
    SHELF,
    foreign,
    leftovers,
    orphans,
    shelved_by_content,
)
from pipeline.verify.tools import Tools

STRAYS, ORPHANS = "strays", "orphans"
PAGE = 1000


def check_strays(tools: Tools, after: str) -> Iterator[Step]:
    """Yield steps for what lies in the extracted tree and in no archive's folder, by ascending name."""
    found = iter([name for name in names(tools.extracted) if name > after])
    while page := list(islice(found, PAGE)):
        # What a deletion sets aside has a folder whose name ends like an archive's.
        tops = [name[:-1] for name in page if name.endswith("/") and not is_temporary(name[:-1])]
        known = inventory.known_folders(tools.connection, tops)
        folders = {f"{name}/" for name in tops if FOLDER.fullmatch(name)}
        for name in page:
            if name in folders:
                if name[:-1] not in known:
                    yield from _check_folder(tools, name[:-1], after)
            else:
                yield Step(0, _alone(tools, tools.extracted, name), Cursor(STRAYS, after))
        after = page[-1]
        yield Step(0, [], Cursor(STRAYS, after))


def _check_folder(tools: Tools, folder: str, after: str) -> Iterator[Step]:
    """Check a folder of our shape that no archive has: its catalog rows were deleted, or it is another catalog's."""

    def named(paths: Sequence[str]) -> set[str]:
        return set(paths) if inventory.known_folders(tools.connection, [folder]) else set()

    found = walk(f"{tools.extracted}/{folder}")
    while page := [f"{tools.extracted}/{folder}/{path}" for path in islice(found, PAGE)]:
        findings = leftovers(tools, [path for path in page if is_temporary(path)])
        files = [path for path in page if not is_temporary(path)]
        ours = [path for path in files if shelved_by_content(tools, path)]
        findings += [foreign(path) for path in files if path not in set(ours)]
        yield Step(0, findings + orphans(tools, ours, named, tools.extracted), Cursor(STRAYS, after))


def _alone(tools: Tools, root: str, name: str) -> list[Finding]:
    """Judge one thing at a place where nothing of ours is but temporary files."""
    path = f"{root}/{name}".rstrip("/")
    if name == f"{WORKSHOP}/":
        return leftovers(tools, [f"{path}/{file}" for file in walk(path)])
    if is_temporary(path):
        return leftovers(tools, [path])
    return [] if os.path.basename(path) in KEPT else [foreign(path, "a folder" if name.endswith("/") else "")]


def check_orphans(tools: Tools, after: str) -> Iterator[Step]:
    """Yield steps for store files without an image, one for each of the store's folders of two digits at least."""
    for top in names(tools.static):
        if top <= after:
            continue
        if len(top) == 3 and top[:2].strip("0123456789abcdef") == "" and top[2] == "/":
            yield from _check_shelf(tools, top[:2], after)
        else:
            yield Step(0, _alone(tools, tools.static, top), Cursor(ORPHANS, after))
        after = top
        yield Step(0, [], Cursor(ORPHANS, after))


def _check_shelf(tools: Tools, top: str, after: str) -> Iterator[Step]:
    first, last = bytes.fromhex(top) + bytes(31), bytes.fromhex(top) + b"\xff" * 31
    with tools.connection.transaction():
        rows = inventory.shelved_between(tools.connection, first, last)
        unnamed = _unnamed(
            (static_path(sha256, type_) for sha256, type_ in rows), walk(tools.static, f"{top}/")
        )
        while page := list(islice(unnamed, PAGE)):
            yield Step(0, _judge(tools, page), Cursor(ORPHANS, after))


def _unnamed(rows: Iterator[str], files: Iterator[str]) -> Iterator[str]:
    """Yield the files that are not among the rows, both in order."""
    row = next(rows, "")
    for file in files:
        while row and row < file:
            row = next(rows, "")
        if row != file:
            yield file


def _judge(tools: Tools, files: Sequence[str]) -> list[Finding]:
    paths = [f"{tools.static}/{file}" for file in files]
    findings = leftovers(tools, [path for path in paths if is_temporary(path)])
    ours = [f"{tools.static}/{file}" for file in files if SHELF.fullmatch(file)]
    known = {*ours, *(path for path in paths if is_temporary(path))}
    findings += [foreign(path) for path in paths if path not in known]
    quiet = settled(tools.connection)
    old = [path for path in ours if idle(path) >= quiet]

    return findings + orphans(tools, old, partial(_named, tools))


def _named(tools: Tools, paths: Sequence[str]) -> set[str]:
    """Tell which store files have got an image; one with another extension than its type's has not."""
    digests = [bytes.fromhex(os.path.basename(path)[:64]) for path in paths]
    known = inventory.still_shelved(tools.connection, digests)
    return {f"{tools.static}/{static_path(sha256, type_)}" for sha256, type_ in known.items()} & set(paths)
