"""Pages for people: the gallery, one image, the ledger, the documentation. They work without JavaScript."""

from __future__ import annotations

from typing import Annotated, Any, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BeforeValidator, Field

from app.deps import GivenDatabase
from app.pages import page
from app.problems import ProblemError
from app.records import ImageRecord
from app.routes.images import INTEGER, Cursor, Digest, Text, Type
from app.routes.ledger import ArchiveId
from pipeline.catalog import browsing, listing
from pipeline.catalog.listing import Filters

router = APIRouter(include_in_schema=False)

PER_PAGE = 60
LINES = 200
FIRST = ("images", "files", "ledger")
LAST = "for the pipeline"
"""The order in which people want to read of the operations."""
SHOWN_BY_BROWSERS = frozenset({"jpeg", "png", "webp", "gif", "avif", "bmp"})
LARGE = 12 << 20
"""Bytes above which a page shows the thumbnail instead of the file."""


def _or_none(value: object) -> object:
    """A form sends what was not filled in as an empty text."""
    return None if value == "" else value


Blank = BeforeValidator(_or_none)
Chosen = Annotated[Type | None, Blank, Query()]
Pixels = Annotated[Annotated[int, Field(ge=0, le=INTEGER)] | None, Blank, Query()]


@router.head("/")
@router.get("/")
def home(  # noqa: PLR0913, PLR0917 - one parameter for each field of the form
    database: GivenDatabase,
    q: Text = None,
    type: Chosen = None,
    archive: Text = None,
    min_width: Pixels = None,
    min_height: Pixels = None,
    cursor: Cursor = None,
) -> HTMLResponse:
    """Show the newest images, and what there is."""
    asked = {
        "q": q or None,
        "type": type,
        "archive": archive or None,
        "min_width": min_width,
        "min_height": min_height,
    }
    narrowed = {name: value for name, value in asked.items() if value is not None}
    with database.transaction() as connection:
        rows = listing.list_images(connection, PER_PAGE + 1, cursor, Filters(**asked))  # type: ignore[arg-type]
        totals = browsing.totals(connection)
        archives = browsing.list_archives(connection, 5)
    older = urlencode({**narrowed, "cursor": rows[PER_PAGE - 1].id}) if len(rows) > PER_PAGE else ""
    return page(
        "home.html",
        images=[ImageRecord.of(row) for row in rows[:PER_PAGE]],
        asked=asked,
        narrowed=bool(narrowed),
        first=cursor is None,
        older=older,
        newest=urlencode(narrowed),
        totals=totals,
        archives=archives,
        types=get_args(Type),
    )


@router.get("/view/{digest}")
def view(digest: Digest, database: GivenDatabase) -> HTMLResponse:
    """Show one image and everything the catalog knows of it."""
    with database.transaction() as connection:
        row = listing.get_image(connection, bytes.fromhex(digest))
    if row is None:
        raise ProblemError(404, "no-such-image", "This image is not in the catalog.")
    record = ImageRecord.of(row)
    shown = record.local_url if record.type in SHOWN_BY_BROWSERS and record.byte_size < LARGE else None
    return page("view.html", image=record, shown=shown or record.thumbnail_url)


@router.get("/ledger")
def ledger(database: GivenDatabase, cursor: Cursor = None) -> HTMLResponse:
    """Show archives with their balances."""
    with database.transaction() as connection:
        entries = browsing.list_archives(connection, LINES + 1, cursor)
    older = entries[LINES - 1].id if len(entries) > LINES else None
    return page("ledger.html", archives=entries[:LINES], older=older, first=cursor is None)


@router.get("/ledger/{archive_id}")
def archive_page(
    archive_id: ArchiveId,
    database: GivenDatabase,
    cursor: Annotated[int, Query(ge=-1, le=INTEGER)] = -1,
) -> HTMLResponse:
    """Show one archive: its balance, and what it did not store and why."""
    with database.transaction() as connection:
        entry = browsing.get_archive(connection, archive_id)
        members = browsing.list_unstored(connection, archive_id, LINES + 1, cursor)
    if entry is None:
        raise ProblemError(404, "no-such-archive", "This archive is not in the ledger.")
    more = members[LINES - 1].member_index if len(members) > LINES else None
    return page("archive.html", archive=entry, members=members[:LINES], more=more, first=cursor < 0)


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """Show what the API offers, from its own OpenAPI document; nothing comes from another host."""
    document: dict[str, Any] = request.app.openapi()
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    found = dict.fromkeys(tag for operation in operations for tag in operation.get("tags", ["other"]))
    tags = sorted(
        found, key=lambda tag: (tag not in FIRST, tag == LAST, FIRST.index(tag) if tag in FIRST else 0)
    )
    return page(
        "docs.html",
        document=document,
        operations=operations,
        tags=tags,
        base=str(request.base_url).rstrip("/"),
    )
