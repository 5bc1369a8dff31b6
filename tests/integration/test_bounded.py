"""Memory does not grow with the work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import pytest

from bench.sample import encoded, picture
from tests.workspace import Workspace

pytestmark = pytest.mark.slow

MIB = 1 << 20
MEMBERS = int(os.environ.get("BOUNDED_MEMBERS", "50000"))


def peak_of_tree(process: subprocess.Popen[bytes]) -> dict[int, int]:
    """Watch a process and its descendants to the end; give each one's peak resident bytes."""
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for pid in [process.pid, *descendants(process.pid)]:
            try:
                status = Path(f"/proc/{pid}/status").read_text("ascii")
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    peaks[pid] = max(peaks.get(pid, 0), int(line.split()[1]) * 1024)
        time.sleep(0.05)
    return peaks


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


def watched(workspace: Workspace, *arguments: str) -> dict[int, int]:
    """Ingest under watch; give the peaks."""
    process = subprocess.Popen(
        workspace.command("ingest", *arguments),
        cwd=workspace.root,
        env=workspace.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    peaks = peak_of_tree(process)
    assert process.stderr is not None
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.returncode == 0, err
    return peaks


def tiny_archive(path: Path, members: int) -> None:
    """Write an archive of many small distinct images."""
    image = encoded(picture(1, (8, 8)), "PNG")
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(members):
            archive.writestr(f"{index % 100}/{index:07}.png", image + index.to_bytes(4, "big"))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_many_members(workspace: Workspace) -> None:
    """Each member of a large archive costs the processes next to nothing, compared with a small archive."""
    tiny_archive(workspace.input / "small.zip", 2_000)
    small = watched(workspace)
    tiny_archive(workspace.input / "large.zip", MEMBERS)
    large = watched(workspace)
    assert workspace.query("SELECT members, stored + duplicate FROM archive WHERE name = 'large.zip'") == [
        (MEMBERS, MEMBERS)
    ]
    growth = max(large.values()) - max(small.values())
    assert growth < 200 * MEMBERS, f"{growth / MIB:.0f} MiB more"
    assert max(large.values()) < 250 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_member_larger_than_the_allowed_memory(workspace: Workspace) -> None:
    """A member of 600 MiB goes through workers that may have 200 MiB."""
    picture_ = encoded(picture(1, (64, 64)), "PNG")
    padding = 600 * MIB
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
    assert len(peaks) >= 2


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
