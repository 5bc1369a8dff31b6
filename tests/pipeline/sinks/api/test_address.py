"""What people write for the API's address is taken, or refused with an example."""

from __future__ import annotations

import pytest

from pipeline.errors import SettingsError
from pipeline.sinks.api.address import checked, refuse_unprintable


def test_addresses() -> None:
    """A slash at the end does not matter."""
    assert checked("http://127.0.0.1:8000/") == "http://127.0.0.1:8000"
    assert checked("https://images.example/base") == "https://images.example/base"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, "needs --api-url"),
        ("", "needs --api-url"),
        ("127.0.0.1:8000", "looks like"),
        ("ftp://a", "looks like"),
        ("http://a:99999", "looks like"),
        ("http://a b", "looks like"),
        ("http://a\n", "looks like"),
        ("http://me:secret@a", "IMAGE_API_TOKEN"),
        ("http://a?x=1", "IMAGE_API_TOKEN"),
    ],
)
def test_what_is_none(url: str | None, told: str) -> None:
    """The message says what is wanted."""
    with pytest.raises(SettingsError, match=told):
        checked(url)


def test_tokens() -> None:
    """What no header can hold is refused before it is sent."""
    refuse_unprintable(None)
    refuse_unprintable("a-token")
    for token in ("é", "a\nb"):
        with pytest.raises(SettingsError, match="IMAGE_API_TOKEN"):
            refuse_unprintable(token)
