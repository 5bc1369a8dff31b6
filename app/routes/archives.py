"""Archives, for the pipeline: which are known, who works on them, what is recorded, their closing balances.

Members go to `POST /images/batch`. An archive is claimed by a run for as long as that run is heard of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import psycopg
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, Strict

from app.deps import AllServices, GivenDatabase
from app.messages import (
    BIG,
    MAX_ARCHIVES,
    Bounds,
    File,
    Ids,
    Opened,
    OpenedArchive,
    Opening,
    Page,
    RecordedMember,
    Refusal,
    Run,
    Sum,
)
from app.problems import ProblemError
from pipeline.catalog import claims, ledger
from pipeline.records import Archive, ArchiveVerdict, State

router = APIRouter(tags=["for the pipeline"])

Id = Annotated[int, Path(ge=0, le=BIG)]


class Asked(BaseModel):
    """Files that were delivered."""

    files: Annotated[list[File], Field(max_length=MAX_ARCHIVES)]


class Known(BaseModel):
    """The positions of the files that belong to archives that are done."""

    known: list[int]


class Finishing(BaseModel):
    """The run that closes archives, and which ones."""

    run: UUID
    ids: Ids
    close: Annotated[
        bool, Strict(), Field(description="Whether those that balance are done; false leaves all open.")
    ] = True


@router.post("/archives/known")
def known(asked: Asked, database: GivenDatabase) -> Known:
    """Tell which delivered files belong to archives that are done, so that they need not be opened."""
    files = [file.identity for file in asked.files]
    with database.transaction() as connection:
        found = ledger.known(connection, files)
    return Known(known=[position for position, file in enumerate(files) if file in found])


@router.post("/archives")
def open_archives(opening: Opening, services: AllServices) -> Opened:
    """Register archives and claim them for a run; `done` ones need no work, `busy` ones are claimed by another."""
    settings = services.settings
    with services.database.transaction() as connection:
        claims.renew(connection, opening.claimant, opening.dead)
        entries = _open(connection, [asked.archive for asked in opening.archives], opening.run)
    return Opened(entries=entries, bounds=Bounds(parts=settings.max_parts, bytes=settings.max_body_bytes))


def _open(connection: psycopg.Connection, archives: Sequence[Archive], run: UUID) -> list[OpenedArchive]:
    taken = claims.contested(connection, [archive.digest for archive in archives], run)
    entries = iter(
        ledger.open_archives(connection, [archive for archive in archives if archive.digest not in taken])
    )
    answer: list[OpenedArchive] = []
    for archive in archives:
        if archive.digest in taken:
            by = taken[archive.digest]
            answer.append(OpenedArchive(id=0, state=State.BUSY, folder="", by=Run.of(by) if by else None))
        else:
            answer.append(OpenedArchive.of(next(entries)))
    working = {State.NEW, State.RUNNING}
    claims.claim(connection, [entry.id for entry in answer if entry.state in working], run)
    return answer


@router.get("/archives/{archive_id}/recorded")
def recorded(
    archive_id: Id, services: AllServices, after: Annotated[int, Query(ge=-1, lt=1 << 31)] = -1
) -> Page:
    """List what is recorded of an archive, by ascending member index, page by page.

    Members refused for damage are left out, because the copy at hand may be a good one; so are images whose
    file is not whole.
    """
    with services.database.transaction() as connection:
        page = list(ledger.recorded(connection, archive_id, after))
    whole = [item for item in page if not item.sha256 or services.store.holds(item.sha256, item.type)]
    return Page(members=[RecordedMember.of(item) for item in whole], after=page[-1].index if page else None)


@router.post("/archives/finish", responses={404: {"description": "There is no such archive."}})
def finish(finishing: Finishing, services: AllServices) -> list[Sum]:
    """Close archives: their files are flushed to the disk, their members counted, their claims freed.

    Answers the balances in the order asked for. One that does not close, or has failed members, stays open.
    """
    if finishing.close:
        services.store.flush()
    with services.database.transaction() as connection:
        claims.keep(connection, finishing.run)
        balances = ledger.finish(connection, finishing.ids, close=finishing.close)
        claims.free(connection, finishing.ids, finishing.run)
    if unknown := [number for number in finishing.ids if number not in balances]:
        raise ProblemError(404, "unknown-archive", f"There is no archive {unknown[0]}.")
    return [Sum.of(balances[number]) for number in finishing.ids]


@router.post("/archives/{archive_id}/finish", responses={404: {"description": "There is no such archive."}})
def finish_one(archive_id: Id, run: Run, services: AllServices) -> Sum:
    """Close one archive."""
    return finish(Finishing(run=run.run, ids=[archive_id]), services)[0]


@router.post("/archives/refused", status_code=204)
def refuse(refusal: Refusal, database: GivenDatabase) -> None:
    """Note that an archive was refused whole, or failed; a done one stays done."""
    if refusal.verdict not in {ArchiveVerdict.REJECTED, ArchiveVerdict.FAILED}:
        raise ProblemError(422, "invalid-request", "verdict: it is rejected or failed")
    with database.transaction() as connection:
        digest = bytes.fromhex(refusal.digest)
        ledger.refuse(connection, refusal.file.identity, digest, refusal.result)
