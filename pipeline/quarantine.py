"""Keeping the bytes of rejected members, for people who want to look at them: safe names, whole, never executable.

`<folder>/<archive's folder>/<index>-<name>` holds what could be read, `….json` beside it says why it was rejected.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pipeline.archives import MemberReader
from pipeline.archives.refusals import ENCRYPTED_BITS, RATIO_GRACE, READABLE
from pipeline.errors import MemberError
from pipeline.files import explained
from pipeline.images.kinds import KINDS
from pipeline.reasons import sentence
from pipeline.records import Entry, Member, Outcome, Slice, Verdict
from pipeline.settings import Limits
from pipeline.store import WORKSHOP
from pipeline.temporary import temporary_name

NAMED_BADLY: Final = frozenset({"path-escape", "absolute-path", "bad-name", "bad-encoding", "name-too-long"})
"""Refusals of a member's name alone; its bytes may be read like any others."""
NAME_LENGTH = 80
PIECE = 1 << 20
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
        place = self._place(slice_.folder, member.index, member.name)
        if outcome.verdict is Verdict.REJECTED:
            reader, limits = read
            pieces = reader.stream(member, limits) if _readable(member, limits) else iter(())
            self._keep(place, pieces, _note(slice_.archive, slice_.digest, outcome, member.size))
        elif outcome.image:
            for path in (f"{place}.json", place):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    os.unlink(path)

    def take(self, entry: Entry, outcome: Outcome, file: Path) -> None:
        """Keep an image that the sink rejected; it leaves the extracted tree, where only what is stored belongs."""
        place = self._place(entry.folder, outcome.index, outcome.name)
        with explained(place), contextlib.ExitStack() as stack:
            pieces: Iterable[bytes] = ()
            size = 0
            with contextlib.suppress(FileNotFoundError):
                source = stack.enter_context(file.open("rb"))
                size = os.fstat(source.fileno()).st_size
                pieces = iter(lambda: source.read(PIECE), b"")
            self._keep(place, pieces, _note(entry.archive.name, entry.archive.digest, outcome, size))
            file.unlink(missing_ok=True)

    def _place(self, folder: str, index: int, name: str) -> str:
        last = name.replace("\\", "/").rsplit("/", 1)[-1]
        stem, suffix = os.path.splitext(_ODD.sub("_", last).strip("._"))
        # Nothing that a system would run, open as a page, or take for an archive.
        suffix = suffix if suffix.lower() in _SHOWABLE else f"{suffix}.bin"
        return f"{self._folder}/{folder}/{index:07}-{stem[:NAME_LENGTH]}{suffix[-16:]}"

    def _keep(self, place: str, pieces: Iterable[bytes | memoryview], note: dict[str, object]) -> None:
        with explained(place):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with self._temporary() as temporary:
                size, digest, complete = _write(temporary, pieces)
                if size:
                    os.replace(temporary, place)
            note |= {
                "file": os.path.basename(place) if size else None,
                "size": size,
                "sha256": digest if size else None,
                "complete": complete and size == note["declared_size"],
            }
            with self._temporary() as temporary:
                _write(temporary, [json.dumps(note, indent=2).encode() + b"\n"])
                os.replace(temporary, f"{place}.json")

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[str]:
        path = f"{self._folder}/{WORKSHOP}/{temporary_name('work')}/{temporary_name('kept')}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _note(archive: str, digest: bytes, outcome: Outcome, declared: int) -> dict[str, object]:
    return {
        "archive": archive,
        "archive_digest": digest.hex(),
        "member_index": outcome.index,
        "member": outcome.name,
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "sentence": sentence(outcome.reason),
        "detail": outcome.detail,
        "declared_size": declared,
    }


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


def _write(path: str, pieces: Iterable[bytes | memoryview]) -> tuple[int, str, bool]:
    """Write what can be read; answers its size and SHA-256, and whether nothing stood in the way."""
    size, digest, complete = 0, hashlib.sha256(), True
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    with open(descriptor, "wb") as file:
        try:
            for piece in pieces:
                digest.update(piece)
                size += file.write(piece)
        except MemberError:
            complete = False
    return size, digest.hexdigest(), complete
