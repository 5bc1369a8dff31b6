"""What people read is grammatical, and cannot steer their terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words import counted, printable


@given(st.text())
def test_printable(text: str) -> None:
    """Whatever a name holds, what is shown of it is printable."""
    assert printable(text).isprintable()


def test_letters_stay() -> None:
    """Letters of every script are shown as they are."""
    assert printable("фото ü 写真 😀") == "фото ü 写真 😀"


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1234, "1,234 images")]
)
def test_counted(count: int, said: str) -> None:
    """One is told from many, and thousands are set apart."""
    assert counted(count, "image") == said
