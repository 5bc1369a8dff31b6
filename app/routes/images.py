"""Images: listing them, adding one by URL, deleting them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.convertors import Convertor, register_url_convertor

from app.addition import add
from app.deps import AllServices, GivenDatabase
from app.problems import ProblemError
from app.records import ImageRecord
from app.routes.ledger import LINKED, link_next
from pipeline import removal
from pipeline.catalog import changes, listing
from pipeline.catalog.listing import Filters

router = APIRouter(tags=["images"])


class DigestConvertor(Convertor[str]):
    """Takes a path's part for a digest only when it looks like one, so that others may have their own names."""

    regex = "[0-9a-fA-F]{64}|[0-9a-fA-F]{40}"

    def convert(self, value: str) -> str:
        """Take it as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Give it as it is."""
        return value


INTEGER = 2**31 - 1
register_url_convertor("digest", DigestConvertor())
DIGEST = r"^([0-9a-fA-F]{40}|[0-9a-fA-F]{64})$"
Type = Literal["jpeg", "png", "webp", "gif", "tiff", "bmp", "avif", "heif", "jxl"]
Pixels = Annotated[int | None, Query(ge=0, le=INTEGER)]
Text = Annotated[str | None, Query(max_length=500, pattern=r"^[^\x00]*$")]
Digest = Annotated[str, Path(pattern=DIGEST, description="SHA-256 or SHA-1 in hex.", examples=["ab" * 32])]
Cursor = Annotated[int | None, Query(ge=1, le=2**63 - 1, description="Taken from a `Link` header.")]


def filters(  # noqa: PLR0913, PLR0917 - one parameter for each filter of the interface
    type: Annotated[Type | None, Query()] = None,
    min_width: Pixels = None,
    max_width: Pixels = None,
    min_height: Pixels = None,
    max_height: Pixels = None,
    archive: Annotated[Text, Query(description="The name of an archive.")] = None,
    sha1: Annotated[str | None, Query(pattern=r"^[0-9a-fA-F]{40}$")] = None,
    q: Annotated[Text, Query(description="A part of a member's name or of a URL, in any case.")] = None,
) -> Filters:
    """Read what a listing is narrowed to."""
    return Filters(
        type=type,
        min_width=min_width,
        max_width=max_width,
        min_height=min_height,
        max_height=max_height,
        archive=archive or None,
        sha1=bytes.fromhex(sha1) if sha1 else None,
        q=q or None,
    )


GivenFilters = Annotated[Filters, Depends(filters)]


class Order(BaseModel):
    """An image to be added."""

    # Without an example: trying it out would fetch it.
    url: str = Field(min_length=1, max_length=8000, description="Of a public address: http or https.")


class Gone(BaseModel):
    """What was deleted."""

    images: int
    sources: int
    archives: int


@router.get(
    "/images",
    responses=LINKED,
)
def list_images(  # noqa: PLR0913, PLR0917 - what a listing is asked
    request: Request,
    response: Response,
    database: GivenDatabase,
    narrowed: GivenFilters,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Cursor = None,
) -> list[ImageRecord]:
    """List images, newest first, page by page."""
    with database.transaction() as connection:
        rows = listing.list_images(connection, limit + 1, cursor, narrowed)
    if len(rows) > limit:
        link_next(request, response, rows[limit - 1].id)
    return [ImageRecord.of(row) for row in rows[:limit]]


@router.post(
    "/images",
    status_code=201,
    responses={
        200: {"model": ImageRecord, "description": "The image was known; its URL was added."},
        502: {"description": "The URL cannot be fetched"},
        504: {"description": "The URL takes too long"},
    },
)
async def add_image(order: Order, response: Response, services: AllServices) -> ImageRecord:
    """Add the image at a URL. It is fetched from public addresses only, and decoded to see that it is one."""
    added = await add(order.url, services)
    response.status_code = 201 if added.new else 200
    record = ImageRecord.of(added.row)
    response.headers["Location"] = f"/images/{record.sha256}"
    return record


@router.delete("/images")
def delete_images(services: AllServices) -> Gone:
    """Delete every image, its sources, the ledger of archives, and all files; afterwards the same zips are new."""
    settings = services.settings
    with services.database.connection() as connection, changes.alone(connection):
        deleted = changes.delete_all(connection)
        aside = removal.set_aside(settings.static, settings.extracted, deleted.folders)
    removal.discard(aside)
    return Gone(images=deleted.images, sources=deleted.sources, archives=deleted.archives)


@router.get("/images/{digest:digest}", responses={404: {"description": "There is no such image"}})
def get_image(digest: Digest, database: GivenDatabase) -> ImageRecord:
    """Give the record of one image."""
    with database.transaction() as connection:
        row = listing.get_image(connection, bytes.fromhex(digest))
    if row is None:
        raise no_image(digest)
    return ImageRecord.of(row)


@router.delete("/images/{digest:digest}", responses={404: {"description": "There is no such image"}})
def delete_image(digest: Digest, services: AllServices) -> Gone:
    """Delete one image, its sources and its files. The ledger stays: its archives are not taken again."""
    settings = services.settings
    with services.database.connection() as connection, changes.alone(connection):
        deleted = changes.delete_image(connection, bytes.fromhex(digest))
        for image in deleted:
            removal.remove_image(
                settings.static, settings.extracted, (image.sha256, image.type), image.folders
            )
    if not deleted:
        raise no_image(digest)
    return Gone(images=len(deleted), sources=sum(image.sources for image in deleted), archives=0)


def no_image(digest: str) -> ProblemError:
    """Make the answer about an image that is not in the catalog."""
    return ProblemError(404, "no-such-image", f"There is no image {digest}.")
