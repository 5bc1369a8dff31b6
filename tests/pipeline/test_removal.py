"""Removing takes what the catalog named, wherever links lead, and nothing else."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.removal import discard, remove_image, set_aside, sweep, thumbnail_path
from pipeline.store import static_path
from pipeline.temporary import temporary_name

DATA = b"the bytes of an image"
SHA256 = hashlib.sha256(DATA).digest()
FOLDER = "photos-0123456789ab"


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """Give a store with one image and its thumbnail, and the extracted tree that has it by a hard link."""
    static, extracted = tmp_path / "static", tmp_path / "extracted"
    shelf = static / static_path(SHA256, "png")
    shelf.parent.mkdir(parents=True)
    shelf.write_bytes(DATA)
    thumbnail = static / thumbnail_path(SHA256)
    thumbnail.parent.mkdir(parents=True)
    thumbnail.write_bytes(b"small")
    (extracted / FOLDER / "deep").mkdir(parents=True)
    os.link(shelf, extracted / FOLDER / "deep" / "a.png")
    return static, extracted


def left(*roots: Path) -> list[str]:
    """Name the files that are left."""
    return sorted(path.name for root in roots for path in root.rglob("*") if not path.is_dir())


def test_an_image_goes_with_its_copies(roots: tuple[Path, Path]) -> None:
    """The stored file, the thumbnail, hard links and equal files go; other files and temporary ones stay."""
    static, extracted = roots
    (extracted / FOLDER / "copy.png").write_bytes(DATA)
    (extracted / FOLDER / "same-size.png").write_bytes(DATA[::-1])
    (extracted / FOLDER / "link.png").symlink_to(static / static_path(SHA256, "png"))
    os.link(static / static_path(SHA256, "png"), extracted / FOLDER / temporary_name("x"))
    assert remove_image(static, extracted, (SHA256, "png"), [FOLDER]) == 2
    assert left(static, extracted) == sorted([temporary_name("x"), "link.png", "same-size.png"])
    assert remove_image(static, extracted, (SHA256, "png"), [FOLDER]) == 0


@pytest.mark.parametrize(
    "folder", ["", ".", "..", "../outside-0123456789ab", "/etc", "photos", f"x/{FOLDER}"]
)
def test_folders_that_no_run_names_are_not_touched(roots: tuple[Path, Path], folder: str) -> None:
    """What the ledger calls a folder is believed only if it has the shape of one."""
    static, extracted = roots
    outside = extracted.parent / "outside-0123456789ab"
    outside.mkdir()
    (outside / "a.png").write_bytes(DATA)
    before = left(extracted, outside)
    discard(set_aside(static, extracted, [folder]))
    assert left(extracted, outside) == before
    assert left(static) == []


def test_everything_is_out_of_sight_at_once(roots: tuple[Path, Path]) -> None:
    """What is set aside is not found any more; discarding removes it; strangers stay."""
    static, extracted = roots
    (extracted / "notes.txt").write_text("mine")
    (static / "ff").symlink_to(extracted)
    aside = set_aside(static, extracted, [FOLDER])
    assert not (static / static_path(SHA256, "png")).exists()
    assert not (extracted / FOLDER).exists()
    sweep(static, extracted)
    assert all(place.exists() for place in aside)
    discard(aside)
    assert left(static, extracted) == ["notes.txt"]
    assert (static / "ff").is_symlink()
    assert set_aside(static, extracted, [FOLDER]) == []


def test_what_a_killed_program_set_aside_is_swept(roots: tuple[Path, Path]) -> None:
    """The next start removes what a deletion left when it was killed."""
    code = f"""
from pathlib import Path
from pipeline.removal import set_aside
set_aside(Path({str(roots[0])!r}), Path({str(roots[1])!r}), [{FOLDER!r}])
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert left(*roots) == ["a.png", f"{SHA256.hex()}.png", f"{SHA256.hex()}.webp"]
    sweep(*roots)
    assert left(*roots) == []
