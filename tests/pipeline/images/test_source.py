"""Bytes in memory and bytes in a file are the same to decoders."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image as Pillow

from pipeline.errors import ImageError
from pipeline.images import inspect, inspect_file
from pipeline.settings import Limits


def verdict(data: bytes, path: Path | None = None) -> tuple[object, ...]:
    """Inspect bytes, or the file that holds them; give what is found, or the refusal's reason."""
    try:
        if path is None:
            return inspect(data, Limits())[2:]
        path.write_bytes(data)
        return inspect_file(path, Limits(), "decode", sha256=b"", sha1=b"", size=len(data))[2:]
    except ImageError as error:
        return (error.reason,)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["1", "RGB"])
def test_a_file_gets_the_verdict_of_its_bytes(mode: str, tmp_path: Path) -> None:
    """Wherever a TIFF is cut, and wherever its offsets point, file and bytes are judged alike."""
    written = io.BytesIO()
    Pillow.linear_gradient("L").resize((9, 7)).convert(mode).save(written, "TIFF")
    whole = written.getvalue()
    for cut in range(1, len(whole), 7):
        assert verdict(whole[:cut], tmp_path / "a") == verdict(whole[:cut]), cut
    for place in range(4, len(whole) - 4, 2):
        astray = whole[:place] + (1 << 24).to_bytes(4, "little") + whole[place + 4 :]
        assert verdict(astray, tmp_path / "a") == verdict(astray), place
