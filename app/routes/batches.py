"""Batches, for the pipeline: which images are known, and taking those that are not."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from app import batches
from app.deps import AllServices
from app.manifest import Answers, Check, Known
from pipeline.catalog import images

router = APIRouter(tags=["for the pipeline"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["manifest"],
                    "properties": {"manifest": {"$ref": "#/components/schemas/Manifest"}},
                    "additionalProperties": {"type": "string", "format": "binary"},
                }
            }
        },
    }
}


@router.post("/images/check")
def check(asked: Check, services: AllServices) -> Known:
    """Tell which images are in the catalog, with their files whole, so that their bytes need not be sent.

    Answers 503 while a batch would be sent away, which costs less than to send it.
    """
    services.uploading.check()
    digests = {bytes.fromhex(text) for text in asked.sha256}
    with services.database.transaction() as connection:
        found = images.types(connection, digests)
    return Known(
        known=[sha256.hex() for sha256, type_ in found.items() if services.store.holds(sha256, type_)]
    )


@router.post(
    "/images/batch",
    openapi_extra=_BODY,
    responses={
        408: {"description": "The body comes too slowly."},
        409: {"description": "An archive is not, or not any more, claimed by this run."},
        415: {"description": "The body is not multipart/form-data."},
    },
)
async def take_batch(request: Request, services: AllServices) -> Answers:
    """Take a batch of members: the part `manifest` (JSON) first, then a part for each image that is sent.

    A part is named by the SHA-256 of its bytes in hex. Every file is inspected here; of what the sender says
    only the place in the archive is believed. All is recorded in one transaction. Sending a batch again changes
    nothing and is answered the same.
    """
    return Answers(items=await batches.take(request, services))
