"""Adding one image by its URL: fetched, inspected, kept, recorded."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool

from app.deps import Services
from app.desk import Upload
from app.fetch import fetch
from app.problems import ProblemError, busy
from pipeline.catalog import changes, listing
from pipeline.catalog.listing import ImageRow
from pipeline.errors import CatalogUnavailable, ImageError
from pipeline.reasons import sentence
from pipeline.records import Image

TRIES = 3
"""An image may be deleted between being kept and being recorded; it is still at hand then."""


class Added(NamedTuple):
    """The row of an image that was added, and whether the catalog did not have it before."""

    row: ImageRow
    new: bool


async def add(url: str, services: Services) -> Added:
    """Add the image at a URL; the URL is kept also when the image is known.

    Raises problems: what `fetch` raises, and 422 with the reason for what is not an acceptable image.
    """
    with services.fetching.passing(), services.store.scratch() as scratch:
        await fetch(url, scratch, services.settings)
        for _ in range(TRIES):
            (answer,) = await services.inspectors.take([Upload(scratch, name=_path(url))])
            if isinstance(answer, ImageError):
                detail = (
                    f"{sentence(answer.reason)} ({answer.detail})"
                    if answer.detail
                    else sentence(answer.reason)
                )
                raise ProblemError(422, answer.reason, detail)
            added = await run_in_threadpool(_record, answer, url, services)
            if added:
                return added
    raise busy("The image cannot be recorded now: images are being deleted, or the database is away.")


def _record(image: Image, url: str, services: Services) -> Added | None:
    """Record an image whose file is on the disk; None when it was deleted meanwhile."""
    try:
        if not services.store.settle(image.sha256, image.type):
            return None
        with services.database.transaction() as connection:
            changes.share(connection)
            if not services.store.has(image.sha256, image.type):
                return None
            new = changes.insert_url_source(connection, image, url)
            row = listing.get_image(connection, image.sha256)
    except CatalogUnavailable:
        return None
    return Added(row, new) if row else None


def _path(url: str) -> str:
    return Path(urlsplit(url).path).name
