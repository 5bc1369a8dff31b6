"""Quarantine keeps what was rejected: safe names, whole files, a note of the reason, within the limits."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.sample import encoded, picture
from pipeline.archives import ZipArchive
from pipeline.quarantine import Quarantine
from pipeline.records import Archive, Entry, FileIdentity, Outcome, Slice, State, Verdict
from pipeline.settings import Limits
from pipeline.store import Store
from pipeline.work import work
from pipeline.workbench import Workbench
from tests.zips import File, zipped

GOOD = encoded(picture(1, (40, 30)), "PNG")


def quarantined(tmp_path: Path, files: list[File], limits: Limits = Limits()) -> dict[int, dict[str, Any]]:  # noqa: B008
    """Work an archive with quarantine; give the notes by member index, with the bytes that were kept."""
    path = tmp_path / "in.zip"
    path.write_bytes(zipped(files))
    bench = Workbench(tmp_path / "extracted", tmp_path / "static", limits, quarantine=tmp_path / "kept")
    with ZipArchive(path, limits) as archive:
        digest, members = archive.digest, tuple(archive.members())
    slice_ = Slice(1, str(path), path.stat().st_size, "in-1", members, True, "in.zip", digest)
    work(slice_, bench, Store(bench.extracted, bench.static))
    notes = {}
    for place in (tmp_path / "kept").rglob("*.json"):
        note = json.loads(place.read_text("utf-8"))
        assert (note["archive"], note["archive_digest"]) == ("in.zip", digest.hex())
        note["bytes"] = place.with_name(note["file"]).read_bytes() if note["file"] else None
        notes[note["member_index"]] = note
    return notes


def test_damaged_and_foreign(tmp_path: Path) -> None:
    """What is no good image is kept whole; what is good is not."""
    torn = GOOD[: len(GOOD) // 2]
    notes = quarantined(
        tmp_path, [File(b"good.png", GOOD), File(b"sub/torn.png", torn), File(b"a.txt", b"text")]
    )
    assert {index: note["reason"] for index, note in notes.items()} == {1: "truncated", 2: "not-an-image"}
    for note, data in ((notes[1], torn), (notes[2], b"text")):
        assert note["bytes"] == data
        assert (note["size"], note["complete"]) == (len(data), True)
        assert note["sha256"] == hashlib.sha256(data).hexdigest()
        assert note["verdict"] == "rejected"
    assert notes[1]["file"] == "0000001-torn.png"
    assert notes[2]["file"] == "0000002-a.txt.bin"


def test_what_the_sink_refused(tmp_path: Path) -> None:
    """An image that was extracted before the sink refused it moves from the extracted tree into the quarantine."""
    archive = Archive(tmp_path / "in.zip", FileIdentity("in.zip", 1, 1, 1), bytes(32), "in-1", 1)
    entry = Entry(1, archive, State.RUNNING, "in-1")
    refused = Outcome(3, "sub/a.png", None, Verdict.REJECTED, "too-many-pixels", "30 by 40")
    file = tmp_path / "a.png"
    file.write_bytes(GOOD)
    note = tmp_path / "kept" / "in-1" / "0000003-a.png.json"
    for _ in range(2):
        Quarantine(tmp_path / "kept").take(entry, refused, file)
        told = json.loads(note.read_text("utf-8"))
        assert (told["archive"], told["member"], told["reason"]) == ("in.zip", "sub/a.png", "too-many-pixels")
        assert note.with_suffix("").read_bytes() == GOOD
        assert not file.exists()
        file.write_bytes(GOOD)
    assert (told["sha256"], told["complete"]) == (hashlib.sha256(GOOD).hexdigest(), True)


def test_damage_on_the_way(tmp_path: Path) -> None:
    """A member with a wrong checksum is kept as far as it can be read, and the note says whether that is all."""
    notes = quarantined(tmp_path, [File(b"a.png", GOOD, crc=zlib.crc32(GOOD) ^ 1)])
    assert (notes[0]["reason"], notes[0]["bytes"], notes[0]["complete"]) == ("bad-crc", GOOD, False)


def test_names_are_safe(tmp_path: Path) -> None:
    """Whatever a member is called, its file lies in the quarantine, cannot be run, and cannot be mistaken."""
    names = [
        b"../../escape.png",
        b"/etc/passwd",
        b"C:\\run.exe",
        b"x/evil.sh",
        b"..",
        b"a" * 300 + b".html",
        b".png",
    ]
    notes = quarantined(tmp_path, [File(name, b"not an image") for name in names])
    assert len(notes) == len(names)
    outside = {path for path in tmp_path.rglob("*") if path.is_file()} - {
        path for folder in ("kept", "extracted", "static") for path in (tmp_path / folder).rglob("*")
    }
    assert outside == {tmp_path / "in.zip"}
    for note in notes.values():
        if note["file"]:
            path = tmp_path / "kept" / "in-1" / note["file"]
            assert path.suffix in {".bin", ".png"}
            assert not os.access(path, os.X_OK)
            assert len(path.name) < 130
            assert note["bytes"] == b"not an image"


def test_limits_hold(tmp_path: Path) -> None:
    """What a limit refuses is not unpacked: there is a note, and no bytes."""
    limits = replace(Limits(), max_member_bytes=500)
    notes = quarantined(tmp_path, [File(b"../big.png", bytes(1000)), File(b"big.png", bytes(1000))], limits)
    assert {index: note["reason"] for index, note in notes.items()} == {
        0: "path-escape",
        1: "member-too-large",
    }
    assert all(note["bytes"] is None and not note["complete"] for note in notes.values())
    assert not list((tmp_path / "kept").rglob("*.png"))


def test_again(tmp_path: Path) -> None:
    """Working again changes nothing; a member that is an image now is not kept any longer."""
    limits = replace(Limits(), max_pixels=100)
    assert quarantined(tmp_path, [File(b"a.png", GOOD)], limits)[0]["bytes"] == GOOD
    before = sorted(tmp_path.joinpath("kept").rglob("*"))
    assert quarantined(tmp_path, [File(b"a.png", GOOD)], limits)[0]["bytes"] == GOOD
    assert sorted(tmp_path.joinpath("kept").rglob("*")) == before
    assert quarantined(tmp_path, [File(b"a.png", GOOD)]) == {}
    assert not [path for path in tmp_path.joinpath("kept").rglob("*") if path.is_file()]
