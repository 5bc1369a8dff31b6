"""Memory does not grow with the work."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.sample import encoded, picture
from tests.workspace import Workspace

pytestmark = pytest.mark.slow

MIB = 1 << 20
MEMBERS = int(os.environ.get("BOUNDED_MEMBERS", "50000"))


PEAK = """
import pathlib, resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
pathlib.Path(sys.argv[1]).write_text(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024))
sys.exit(code)
"""
"""Runs a command and writes down its most resident bytes, as the kernel counted them, without its workers'."""


@dataclass
class Peaks:
    """The most resident bytes: of the main process exactly, of everything below it by looking again and again."""

    main: int
    seen: dict[int, int]


def descendants(pid: int) -> list[int]:
    """Give the process ids below one."""
    found: list[int] = []
    for entry in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in entry.read_text("ascii").split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def watched(workspace: Workspace, *arguments: str) -> Peaks:
    """Ingest under watch; give the peaks."""
    note, log = workspace.root / "peak", workspace.root / "log"
    command = [sys.executable, "-c", PEAK, str(note), *workspace.command("ingest", *arguments)]
    seen: dict[int, int] = {}
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, cwd=workspace.root, env=workspace.environ, stdout=subprocess.DEVNULL, stderr=errors
        ) as process,
    ):
        while process.poll() is None:
            for pid in descendants(process.pid):
                seen[pid] = max(seen.get(pid, 0), peak(pid))
            time.sleep(0.05)
    assert process.returncode == 0, log.read_text("utf-8")
    return Peaks(int(note.read_text()), seen)


def peak(pid: int) -> int:
    """Give the most resident bytes that a process has had; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def tiny_archive(path: Path, members: int) -> None:
    """Write an archive of many small distinct images."""
    image = encoded(picture(1, (8, 8)), "PNG")
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(members):
            archive.writestr(f"{index % 100}/{index:07}.png", image + index.to_bytes(4, "big"))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_many_members(workspace: Workspace) -> None:
    """Each member of a large archive costs the main process next to nothing, compared with a smaller one."""
    tiny_archive(workspace.input / "small.zip", MEMBERS // 5)
    small = watched(workspace)
    tiny_archive(workspace.input / "large.zip", MEMBERS)
    large = watched(workspace)
    assert workspace.query("SELECT members, stored + duplicate FROM archive WHERE name = 'large.zip'") == [
        (MEMBERS, MEMBERS)
    ]
    growth = large.main - small.main
    assert growth < 200 * MEMBERS, f"{growth / MIB:.0f} MiB more"
    assert max(large.main, *large.seen.values()) < 250 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_member_larger_than_the_allowed_memory(workspace: Workspace) -> None:
    """A member of 320 MiB goes through workers that may have 200 MiB."""
    picture_ = encoded(picture(1, (64, 64)), "PNG")
    padding = 320 * MIB
    block = os.urandom(MIB)
    with zipfile.ZipFile(workspace.input / "big.zip", "w", zipfile.ZIP_STORED) as archive:
        with archive.open(zipfile.ZipInfo("big.png"), "w", force_zip64=True) as member:
            member.write(picture_)
            for _ in range(padding // MIB):
                member.write(block)
        archive.writestr("small.png", picture_)
    peaks = watched(workspace, "--worker-memory", "200M", "--workers", "1")
    assert workspace.query("SELECT byte_size FROM image_info ORDER BY 1") == [
        (len(picture_),),
        (len(picture_) + padding,),
    ]
    assert len(peaks.seen) >= 2


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts private memory on Linux")
def test_a_decoder_that_wants_too_much_memory(workspace: Workspace) -> None:
    """An image that decodes to more than a worker may have is refused, its neighbours are taken."""
    width = height = 12_000
    rows = zlib.compress(bytes(1 + width * 3) * height, 1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))
    huge = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    with zipfile.ZipFile(workspace.input / "a.zip", "w") as archive:
        archive.writestr("before.png", encoded(picture(1, (16, 16)), "PNG"))
        archive.writestr("huge.png", huge)
        archive.writestr("after.png", encoded(picture(2, (16, 16)), "PNG"))
    ran = workspace.ingest("--worker-memory", "300M")
    assert ran.code == 0, ran.err
    assert workspace.query("SELECT member_name, reason FROM unstored_member") == [
        ("huge.png", "decoder-memory")
    ]
    assert ran.report["balance"]["stored"] == 2
