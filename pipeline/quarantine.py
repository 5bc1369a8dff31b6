"""Keeping the bytes of rejected members, for people who want to look at them: safe names, whole, never executable.

`<folder>/<archive's folder>/<index>-<name>` holds what could be read, `….json` beside it says why it was rejected.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pipeline.archives import MemberReader
from pipeline.archives.refusals import ENCRYPTED_BITS, RATIO_GRACE, READABLE
from pipeline.errors import MemberError
from pipeline.files import explained
from pipeline.images.kinds import KINDS
from pipeline.reasons import sentence
from pipeline.records import Member, Outcome, Slice, Verdict
from pipeline.settings import Limits
from pipeline.store import WORKSHOP
from pipeline.temporary import temporary_name

NAMED_BADLY: Final = frozenset({"path-escape", "absolute-path", "bad-name", "bad-encoding", "name-too-long"})
"""Refusals of a member's name alone; its bytes may be read like any others."""
NAME_LENGTH = 80
MODE = 0o600
_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_SHOWABLE = frozenset(f".{kind.extension}" for kind in KINDS.values()) | {".jpeg", ".tiff"}


class Quarantine:
    """A folder of rejected members; every method raises `StoreError` when it cannot be written."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder.absolute())

    def settle(
        self, slice_: Slice, member: Member, outcome: Outcome, read: tuple[MemberReader, Limits]
    ) -> None:
        """Keep a member that was rejected; drop what an earlier run kept of one that is an image now.

        What the directory alone refuses is not unpacked, except where only its name is bad: then, as for
        damage, there is a note without bytes, or with those that came before the damage.
        """
        place = self._place(slice_, member)
        if outcome.verdict is Verdict.REJECTED:
            with explained(place):
                os.makedirs(os.path.dirname(place), exist_ok=True)
                self._keep(place, slice_, member, outcome, read)
        elif outcome.image:
            for path in (f"{place}.json", place):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    os.unlink(path)

    def _place(self, slice_: Slice, member: Member) -> str:
        last = member.name.replace("\\", "/").rsplit("/", 1)[-1]
        stem, suffix = os.path.splitext(_ODD.sub("_", last).strip("._"))
        # Nothing that a system would run, open as a page, or take for an archive.
        suffix = suffix if suffix.lower() in _SHOWABLE else f"{suffix}.bin"
        return f"{self._folder}/{slice_.folder}/{member.index:07}-{stem[:NAME_LENGTH]}{suffix[-16:]}"

    def _keep(
        self,
        place: str,
        slice_: Slice,
        member: Member,
        outcome: Outcome,
        read: tuple[MemberReader, Limits],
    ) -> None:
        reader, limits = read
        pieces = reader.stream(member, limits) if _readable(member, limits) else iter(())
        temporary = f"{self._folder}/{WORKSHOP}/{temporary_name('work')}/{temporary_name('kept')}"
        os.makedirs(os.path.dirname(temporary), exist_ok=True)
        try:
            size, digest, complete = _write(temporary, pieces, member)
            if size:
                os.replace(temporary, place)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        note = {
            "archive": slice_.archive,
            "archive_digest": slice_.digest.hex(),
            "member_index": member.index,
            "member": member.name,
            "verdict": outcome.verdict,
            "reason": outcome.reason,
            "sentence": sentence(outcome.reason),
            "detail": outcome.detail,
            "file": os.path.basename(place) if size else None,
            "size": size,
            "declared_size": member.size,
            "sha256": digest if size else None,
            "complete": complete,
        }
        try:
            _write(temporary, [json.dumps(note, indent=2).encode() + b"\n"], None)
            os.replace(temporary, f"{place}.json")
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _readable(member: Member, limits: Limits) -> bool:
    """Tell whether a member's bytes may be unpacked: no limit, no encryption and no odd kind stands against it."""
    if member.verdict and member.reason not in NAMED_BADLY:
        return False
    if (
        member.flags & ENCRYPTED_BITS
        or member.method not in READABLE
        or member.size > limits.max_member_bytes
    ):
        return False
    return member.size <= (member.compressed_size + RATIO_GRACE) * limits.max_ratio


def _write(path: str, pieces: Iterable[bytes | memoryview], member: Member | None) -> tuple[int, str, bool]:
    """Write what can be read; answers its size and SHA-256, and whether that is all of the member."""
    size, digest, complete = 0, hashlib.sha256(), True
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    with open(descriptor, "wb") as file:
        try:
            for piece in pieces:
                digest.update(piece)
                size += file.write(piece)
        except MemberError:
            complete = False
    return size, digest.hexdigest(), complete and (member is None or size == member.size)
