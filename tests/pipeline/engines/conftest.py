"""Fixtures for engines: a workbench, and archives cut into slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from pipeline.archives import ZipArchive
from pipeline.batches import batched
from pipeline.records import Slice
from pipeline.settings import Limits
from pipeline.workbench import Workbench
from tests.zips import File, zipped

Cut = Callable[[Sequence[tuple[str, bytes]], int], Iterable[Slice]]


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """Give a workbench with folders of its own."""
    return Workbench(tmp_path / "extracted", tmp_path / "static", Limits())


@pytest.fixture
def cut(tmp_path: Path) -> Cut:
    """Give a function that writes an archive and cuts it into slices of a size."""

    def slices(contents: Sequence[tuple[str, bytes]], size: int = 64) -> list[Slice]:
        path = tmp_path / "a.zip"
        path.write_bytes(zipped([File(name.encode(), content) for name, content in contents]))
        with ZipArchive(path, Limits()) as archive:
            members = list(archive.members())
        runs = list(batched(members, size, 1 << 30, lambda member: member.size))
        return [Slice(1, str(path), path.stat().st_size, "a", tuple(run), run is runs[-1]) for run in runs]

    return slices
