"""Taking a batch: its body to the disk, its files to the workers, its members to the catalog."""

from __future__ import annotations

import asyncio

import psycopg
from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.deps import Services
from app.desk import Upload
from app.manifest import Answer, Item, Manifest
from app.multipart import Body
from app.problems import ProblemError
from pipeline.catalog import claims, images
from pipeline.catalog.batch import DELETED, record, verdicts
from pipeline.catalog.changes import share
from pipeline.errors import CatalogError, CatalogUnavailable, ImageError, StoreError
from pipeline.records import Image, Outcome, Record, Verdict

PIECE = 1 << 20
"""Bytes of a body that are gathered before they go to the disk: what an upload takes of memory, about twice."""
PATIENCE = 60.0
"""Seconds that a piece may take to come."""
RESERVE = 256 << 20
"""Bytes of disk that stay free for the database and everything else."""
UNSURE = frozenset({"digest-mismatch"})
"""Refusals that say nothing against the image: the next run tries it again."""

Taken = dict[str, Image | ImageError]


async def take(request: Request, services: Services) -> list[Answer]:
    """Take a batch from a request; answers what became of each item."""
    settings = services.settings
    with services.uploading.passing():
        _check_space(services, int(request.headers.get("content-length") or 0))
        body = Body(request.headers.get("content-type", ""), services.store, settings.max_parts)
        try:
            manifest = await _receive(request, body)
            names: dict[str, str] = {}
            for item in manifest.items:
                if item.sha256 in body.files:
                    names.setdefault(item.sha256, item.name)
            uploads = [
                Upload(body.files[sha256], bytes.fromhex(sha256), name) for sha256, name in names.items()
            ]
            taken = dict(zip(names, await services.inspectors.take(uploads), strict=True)) if uploads else {}
            return await run_in_threadpool(_record, services, manifest, taken)
        finally:
            await run_in_threadpool(body.close)


def _check_space(services: Services, size: int) -> None:
    if services.store.free_bytes() < size + RESERVE:
        raise StoreError("The disk is nearly full; free some space.")


async def _receive(request: Request, body: Body) -> Manifest:
    """Write a body to the disk as it comes, off the event loop."""
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(PATIENCE) as patience:
            async for chunk in request.stream():
                pieces.append(chunk)
                size += len(chunk)
                if size >= PIECE:
                    await run_in_threadpool(body.feed, b"".join(pieces))
                    pieces, size = [], 0
                    patience.reschedule(asyncio.get_running_loop().time() + PATIENCE)
    except TimeoutError as error:
        raise ProblemError(408, "too-slow", "The body comes too slowly.", {"Connection": "close"}) from error
    except ClientDisconnect as error:
        raise ProblemError(422, "bad-multipart", "The sender went away.") from error
    await run_in_threadpool(body.feed, b"".join(pieces))
    return body.end()


def _record(services: Services, manifest: Manifest, taken: Taken) -> list[Answer]:
    """Record a batch in one transaction; answers what became of each item."""
    with services.database.transaction() as connection:
        connection.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
        share(connection)
        _hold(connection, manifest)
        records, known = _records(services, connection, manifest, taken)
        try:
            record(connection, [found for found in records if found])
        except CatalogUnavailable:
            raise
        except CatalogError as error:
            raise ProblemError(409, "archive-gone", str(error)) from error
        if known and images.made(connection, known):
            raise CatalogUnavailable(DELETED)
        found_verdicts = iter(verdicts(connection))
        return [_answer(next(found_verdicts), found.outcome) if found else NEEDED for found in records]


NEEDED = Answer(verdict=None, reason="bytes-needed")


def _hold(connection: psycopg.Connection, manifest: Manifest) -> None:
    archives = {item.archive for item in manifest.items}
    if lost := claims.lost(connection, archives, manifest.run):
        raise ProblemError(
            409, "claim-lost", f"Another run holds archive {lost[0]}, or it was deleted; open it again."
        )
    claims.keep(connection, manifest.run)


def _records(
    services: Services, connection: psycopg.Connection, manifest: Manifest, taken: Taken
) -> tuple[list[Record | None], set[bytes]]:
    """Make the records of a batch, None for an item whose bytes are needed; and tell which images were known."""
    asked = {
        bytes.fromhex(item.sha256) for item in manifest.items if item.sha256 and item.sha256 not in taken
    }
    known = images.find(connection, asked) if asked else {}
    known = {sha256: image for sha256, image in known.items() if services.store.has(sha256, image.type)}
    for sha256, answer in taken.items():
        # Deleted since it was kept: the sender is told to come again.
        if isinstance(answer, Image) and not services.store.has(answer.sha256, answer.type):
            raise CatalogUnavailable(f"{DELETED} {sha256}")
    both: Taken = {**{sha256.hex(): image for sha256, image in known.items()}, **taken}
    return [_record_of(item, both) for item in manifest.items], set(known)


def _record_of(item: Item, found: Taken) -> Record | None:
    if item.verdict:
        outcome = Outcome(item.index, item.name, None, Verdict(item.verdict), item.reason, item.detail)
        return Record(item.archive, outcome)
    image = found.get(item.sha256 or "")
    if image is None:
        return None
    if isinstance(image, ImageError):
        verdict = Verdict.FAILED if image.reason in UNSURE else Verdict.REJECTED
        return Record(item.archive, Outcome(item.index, item.name, None, verdict, image.reason, image.detail))
    return Record(item.archive, Outcome(item.index, item.name, image))


def _answer(verdict: Verdict, outcome: Outcome) -> Answer:
    if outcome.image or verdict is not outcome.verdict:
        return Answer(verdict=verdict)
    return Answer(verdict=verdict, reason=outcome.reason, detail=outcome.detail)
