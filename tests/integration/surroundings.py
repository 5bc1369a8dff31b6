"""What surrounds a run: disks of their own, folders elsewhere, and what a run in peace leaves."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.workspace import Ran, Workspace


@dataclass(frozen=True)
class SmallDisk:
    """A file system of its own that can be filled up, made read-only and widened."""

    folder: Path

    def remount(self, options: str) -> None:
        """Change it while it is used."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True)

    @property
    def free(self) -> int:
        """Bytes that are left."""
        return shutil.disk_usage(self.folder).free


def undisturbed(workspace: Workspace, tmp_path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Give the catalog and the files that a run in peace leaves, from a workspace beside this one."""
    peace = Workspace(tmp_path / "peace", workspace.url)
    shutil.copytree(workspace.input, peace.input, dirs_exist_ok=True)
    assert peace.ingest().code == 0
    catalog, files = peace.catalog(), peace.files()
    workspace.execute("TRUNCATE image_info, image_source, unstored_member, archive, archive_file CASCADE")
    return catalog, files


def move_to(workspace: Workspace, name: str, folder: Path) -> None:
    """Have one of the workspace's folders lie elsewhere."""
    setattr(workspace, name, folder / name)
    (folder / name).mkdir()


def words(ran: Ran) -> str:
    """Give all that a run said."""
    assert "Traceback" not in ran.err
    return ran.out + ran.err
