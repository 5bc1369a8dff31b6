"""Kinds are told by content; names are only compared with it."""

from __future__ import annotations

import pytest

from bench.sample import encoded, picture
from pipeline.images.kinds import KINDS, extension, extension_remark, foreign, media_type, sniff

SMALL = picture(1, (12, 8))


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif", "tiff", "bmp", "avif"])
def test_kinds_are_told_by_their_first_bytes(kind: str) -> None:
    """64 bytes are enough."""
    data = encoded(SMALL.copy(), kind.upper())
    assert sniff(data[:64]) == kind
    assert foreign(data[:64]) == ""


@pytest.mark.parametrize(
    "head", [b"", b"BM", b"BM is how this text begins", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x18ftypmp42"]
)
def test_what_only_looks_like_one(head: bytes) -> None:
    """Texts, sounds and films are none."""
    assert sniff(head) == ""


def test_every_kind_has_an_extension_and_a_media_type() -> None:
    """Both are what servers and browsers know."""
    for kind in KINDS:
        assert extension(kind).isalnum()
        assert media_type(kind).startswith("image/")


@pytest.mark.parametrize(
    ("name", "kind", "remark"),
    [
        ("a.jpg", "jpeg", None),
        ("a.JPEG", "jpeg", None),
        ("a.png", "jpeg", "extension: named .png"),
        ("folder.png/a", "jpeg", None),
        ("a.unknown", "jpeg", None),
        ("a", "png", None),
        ("scan.pdf", "tiff", "extension: named .pdf"),
    ],
)
def test_wrong_extensions_are_noted(name: str, kind: str, remark: str | None) -> None:
    """Only an extension that says another type is worth a remark."""
    assert extension_remark(name, kind) == remark
