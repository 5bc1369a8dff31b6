"""Files: stored images, and their thumbnails."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from app import thumbnails
from app.assets import TYPES, asset_url, assets
from app.deps import AllServices, GivenSettings
from app.desk import Sketch
from app.files import Served, is_plain, serve
from app.problems import ProblemError
from app.routes.images import Digest, no_image
from pipeline.catalog import listing
from pipeline.images.kinds import KINDS
from pipeline.removal import thumbnail_path
from pipeline.store import static_path

router = APIRouter(tags=["files"])

_TYPES = {kind.extension: kind.media_type for kind in KINDS.values()}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
IMAGES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file", "content": {"image/*": _BINARY}},
    206: {"description": "A part of the file", "content": {"image/*": _BINARY}},
    304: {"description": "It has not changed"},
    404: {"description": "There is no such file"},
    416: {"description": "The range is outside the file"},
}
Digits = Annotated[str, Path(pattern=r"^[0-9a-f]{2}$", examples=["ab"])]
Name = Annotated[str, Path(pattern=r"^[0-9a-f]{64}\.[a-z]{3,4}$", examples=[f"abab{'0' * 60}.jpg"])]


@router.head("/static/{first}/{second}/{name}", include_in_schema=False)
@router.get("/static/{first}/{second}/{name}", response_class=Response, responses=IMAGES)
def get_file(
    first: Digits, second: Digits, name: Name, request: Request, settings: GivenSettings
) -> Response:
    """Give the file of an image, with the type that was found by decoding it."""
    digest, _, extension = name.partition(".")
    relative = f"{first}/{second}/{name}"
    if extension not in _TYPES or not is_plain(settings.static, relative):
        raise ProblemError(404, "not-found", "There is no such file.")
    return serve(request, Served(settings.static / relative, _TYPES[extension], digest), settings.private)


@router.head("/images/{digest:digest}/thumbnail", include_in_schema=False)
@router.get(
    "/images/{digest:digest}/thumbnail",
    response_class=Response,
    responses={**IMAGES, 404: {"description": "There is no such image"}},
)
async def get_thumbnail(digest: Digest, request: Request, services: AllServices) -> Response:
    """Give a small picture of an image, upright; made on the first request."""
    settings = services.settings
    asked = bytes.fromhex(digest)
    relative = thumbnail_path(asked)
    if len(asked) != 32 or not is_plain(settings.static, relative):
        relative = await _make(digest, services)
    served = Served(
        settings.static / relative, thumbnails.MEDIA_TYPE, f"{relative[-69:-5]}-{thumbnails.SIDE}"
    )
    return serve(request, served, settings.private)


async def _make(digest: str, services: AllServices) -> str:
    """Make a thumbnail unless it is there; answers its place."""

    def find() -> listing.ImageRow | None:
        with services.database.transaction() as connection:
            return listing.get_image(connection, bytes.fromhex(digest))

    row = await run_in_threadpool(find)
    if row is None:
        raise no_image(digest)
    static = services.settings.static
    relative = thumbnail_path(row.sha256)
    if not is_plain(static, relative):
        source = static / static_path(row.sha256, row.type)
        refusal = await services.inspectors.sketch(Sketch(source, static / relative, row.orientation))
        if refusal:
            raise ProblemError(404 if refusal.reason == "vanished" else 422, refusal.reason, refusal.detail)
    return relative


@router.get("/assets/{version}/{name}", include_in_schema=False)
def get_asset(version: str, name: str) -> Response:
    """Give a file of the pages; one with an old version may still be asked for, but must not be kept."""
    if name not in assets():
        raise ProblemError(404, "not-found", "There is no such file.")
    current = asset_url(name) == f"/assets/{version}/{name}"
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if current else "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(assets()[name], headers=headers, media_type=TYPES[name.rpartition(".")[2]])
