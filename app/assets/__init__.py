"""The files of the pages, each under a URL that changes with its content."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import resources

TYPES = {"css": "text/css; charset=utf-8", "svg": "image/svg+xml"}


@lru_cache
def assets() -> dict[str, bytes]:
    """Give the files by their names."""
    folder = resources.files(__name__)
    return {
        item.name: item.read_bytes() for item in folder.iterdir() if item.name.rpartition(".")[2] in TYPES
    }


@lru_cache
def asset_url(name: str) -> str:
    """Give the URL of a file."""
    return f"/assets/{hashlib.sha256(assets()[name]).hexdigest()[:12]}/{name}"
