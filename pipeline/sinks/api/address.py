"""Where the API is and what opens it, as people write them."""

from __future__ import annotations

from urllib.parse import urlsplit

from pipeline.errors import SettingsError


def checked(url: str | None) -> str:
    """Give the API's URL without a slash at its end; raises `SettingsError` for what is none."""
    if not url:
        raise SettingsError("--sink api needs --api-url (or IMAGE_API_URL), such as http://127.0.0.1:8000.")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise SettingsError(f"{url!r} is not the URL of an API; it looks like http://127.0.0.1:8000.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError(
            "--api-url holds no name, password or query; the token goes into IMAGE_API_TOKEN."
        )
    return url.rstrip("/")


def refuse_unprintable(token: str | None) -> None:
    """Raise `SettingsError` for a token that cannot be sent."""
    if token and not (token.isascii() and token.isprintable()):
        raise SettingsError("IMAGE_API_TOKEN holds characters that no HTTP header may hold.")
