"""Images: listing them, adding one by URL, deleting them."""

from __future__ import annotations

from fastapi import APIRouter

from app.deps import GivenDatabase
from app.records import ImageRecord
from pipeline.catalog import listing

router = APIRouter(tags=["images"])


@router.get("/images")
def list_images(database: GivenDatabase, limit: int = 100) -> list[ImageRecord]:
    """List images, newest first."""
    with database.transaction() as connection:
        return [ImageRecord.of(row) for row in listing.list_images(connection, limit)]
