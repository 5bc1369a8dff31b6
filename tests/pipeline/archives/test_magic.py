"""Archives are told by their first bytes, whatever their name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile

import pytest

from bench.sample import encoded, picture
from pipeline.archives import is_archive
from tests.zips import plain, zipped


def tar() -> bytes:
    """Make a tar of one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        plain(a=b"1"),
        zipped([]),
        tar(),
        gzip.compress(b"a", mtime=0),
        bz2.compress(b"a"),
        lzma.compress(b"a"),
        b"Rar!\x1a\x07\0",
        b"7z\xbc\xaf\x27\x1c",
    ],
)
def test_archives(data: bytes) -> None:
    """Zips, tars and what packs them are archives."""
    assert is_archive(data[:512])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_images_are_none(kind: str) -> None:
    """No image is taken for an archive."""
    assert not is_archive(encoded(picture(1, (20, 20)), kind)[:512])


@pytest.mark.parametrize("data", [b"", b"PK", b"BZhello world", b"text"])
def test_texts_are_none(data: bytes) -> None:
    """Neither are texts."""
    assert not is_archive(data)
