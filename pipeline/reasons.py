"""The stable reason codes of verdicts, each with the sentence people read."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

ARCHIVE_REASONS: Final = MappingProxyType(
    {
        "not-a-zip": "The file is not a zip archive.",
        "empty-file": "The file is empty.",
        "truncated": "The archive ends too early; it was cut on its way. Send it again.",
        "structure": "The archive's records contradict each other.",
        "multi-disk": "The archive is one part of a split set; join the parts first.",
        "overlap": "Members share the same bytes, as in a zip bomb.",
        "too-many-members": "The archive has more members than --max-members allows.",
        "archive-too-large": "The members together exceed --max-archive-bytes.",
        "bomb-ratio": "The archive expands more than --max-ratio allows.",
        "disk-space": "There is not enough free disk space for what the archive holds.",
        "unreadable": "The file cannot be read; check its permissions and the disk.",
        "vanished": "The file disappeared or changed while it was being read.",
        "gone": "The file was taken away before it was read, perhaps by another run.",
        "still-written": "The file is still being written; run again when it is complete.",
        "claimed": "Another run is working on this archive; run again when that one has ended.",
        "time-limit": "The run reached its --time-limit; the next run goes on.",
        "max-errors": "More went wrong than --max-errors bears; see what, then run again.",
        "low-disk": "The disk has less free space than --reserve keeps; free some and run again.",
        "stopping": "The run was asked to stop; the next run goes on.",
        "already-done": "This archive was processed before.",
        "unbalanced": "The recorded verdicts do not add up to the number of members.",
        "ledger-differs": "The API's ledger has other verdicts than the API acknowledged.",
    }
)
MEMBER_REASONS: Final = MappingProxyType(
    {
        # names
        "path-escape": "The name leads out of the archive's folder.",
        "absolute-path": "The name is an absolute path.",
        "bad-name": "The name is empty or holds bytes that no file name may hold.",
        "bad-encoding": "The name is not valid in the encoding it claims.",
        "name-too-long": "The name is longer than file systems take.",
        # kinds of member
        "symlink": "The member is a symbolic link.",
        "special-file": "The member is a device, pipe or socket.",
        "encrypted": "The member is encrypted.",
        "unsupported-method": "The compression method is not supported.",
        "nested-archive": "The member is itself an archive; unpack it and drop what it holds.",
        "litter": "The file was left by an operating system and holds no picture.",
        # reading
        "header-mismatch": "The member's own header contradicts the archive's directory.",
        "bad-crc": "The member's checksum is wrong; it was damaged on its way.",
        "bad-stream": "The member's compressed data is broken.",
        "size-mismatch": "The member does not have the size it declares.",
        "member-truncated": "The member's data ends too early.",
        "member-too-large": "The member is larger than --max-member-bytes allows.",
        "member-ratio": "The member expands more than --max-ratio allows.",
        # images
        "empty-file": "The file is empty.",
        "not-an-image": "The content is not an image.",
        "unsupported-format": "The content is an image of a kind that is not taken.",
        "truncated": "The image ends too early.",
        "corrupt": "The image is damaged.",
        "too-many-pixels": "The image has more pixels than --max-pixels allows.",
        "too-many-frames": "The frames together have more pixels than are allowed.",
        # isolation
        "decoder-crashed": "The decoder crashed on this image.",
        "decoder-timeout": "The decoder took longer than --timeout allows.",
        "decoder-memory": "The decoder wanted more memory than a worker may have.",
        # afterwards
        "deleted": "The image was deleted from the catalog on request.",
        # delivery
        "digest-mismatch": "The file is not the one that its sender's digest names; it was damaged on its way.",
        "store-failed": "The file could not be written.",
        "not-delivered": "The sink did not take the record; the next run tries again.",
    }
)

DAMAGE: Final = frozenset({"bad-crc", "bad-stream", "size-mismatch", "member-truncated", "header-mismatch"})
"""Reasons that a good copy of the same archive may cure."""

MAY_CHANGE: Final = frozenset(
    {"member-too-large", "member-ratio", "too-many-pixels", "too-many-frames"}
    | {"decoder-crashed", "decoder-timeout", "decoder-memory", "unsupported-format", "unsupported-method"}
    | {"store-failed", "not-delivered", "digest-mismatch"}
    | {"too-many-members", "archive-too-large", "bomb-ratio", "disk-space", "unreadable"}
)
"""Reasons that other limits, new decoders or a repaired machine may take away."""

PAUSES: Final = frozenset({"time-limit", "max-errors", "low-disk", "stopping"})
"""Reasons for which a run stops before its end; what it leaves waits for the next one."""

UNREFUSED: Final = PAUSES | {"still-written", "claimed", "gone", "already-done"}
"""Reasons of archives that are no refusals: the ledger has none of them, so nothing is to be taken again."""


def sentence(reason: str) -> str:
    """Give the sentence of a reason code; the code itself for an unknown one."""
    return MEMBER_REASONS.get(reason) or ARCHIVE_REASONS.get(reason) or reason


def archive_sentence(reason: str) -> str:
    """Give the sentence of an archive's reason; members share some codes with archives, and mean other things."""
    return ARCHIVE_REASONS.get(reason) or sentence(reason)
