"""What people read is grammatical, and cannot steer their terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words import FORMULA, cell, counted, printable


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


@given(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.builds(str.__add__, st.sampled_from(FORMULA), st.text("a=\\"))
)
def test_a_cell_is_safe_and_can_be_had_back(text: str) -> None:
    """What is written prints, is no formula, and gives the text again: a leading apostrophe off, escapes read."""
    written = cell(text)
    assert written.isprintable()
    assert not written.lstrip(" ").startswith(FORMULA[:-1])
    spelled = written[1:] if written.startswith("'") else written
    assert spelled.encode("ascii", "backslashreplace").decode("unicode_escape") == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a.png", "a.png"),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("'a", "''a"),
        ("a\\b\n\u202e", "a\\\\b\\n\\u202e"),
        ("ж-1", "ж-1"),
    ],
)
def test_cells(text: str, written: str) -> None:
    """Ordinary names stay as they are."""
    assert cell(text) == written
