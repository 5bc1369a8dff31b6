"""The ledger as records: archives, their balances, and what they did not store."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from app.deps import GivenDatabase
from app.messages import Sum
from app.problems import ProblemError
from pipeline.catalog import browsing
from pipeline.catalog.browsing import ArchiveEntry
from pipeline.reasons import sentence

router = APIRouter(tags=["ledger"])

ArchiveId = Annotated[int, Path(ge=1, le=2**63 - 1)]
Limit = Annotated[int, Query(ge=1, le=1000)]
LINKED: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "Link": {
                "description": 'The next page, `rel="next"`; absent on the last.',
                "schema": {"type": "string"},
            }
        }
    }
}
MISSING: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such archive"}}


class Delivered(BaseModel):
    """What is known of an archive before its members are looked at, and what became of it."""

    id: int
    digest: str = Field(description="Of its directory and size, in hex.")
    name: str
    state: str = Field(examples=["done"], description="`running`, `done`, `rejected` or `failed`.")
    reason: str
    detail: str
    size: int = Field(description="Bytes.")
    first_seen: datetime
    finished_at: datetime | None


class ArchiveRecord(Sum, Delivered):
    """One archive: every member has exactly one of the five verdicts once its state is `done`."""

    @classmethod
    def of_entry(cls, entry: ArchiveEntry) -> ArchiveRecord:
        """Make the record of a row."""
        return cls(**{**entry._asdict(), **asdict(entry.balance), "digest": entry.digest.hex()})


class UnstoredRecord(BaseModel):
    """One member that is not stored, and why."""

    member_index: int
    member_name: str
    verdict: str = Field(description="`rejected`, `ignored` or `failed`.")
    reason: str = Field(description="A stable code.", examples=["truncated"])
    sentence: str = Field(description="What the code means.")
    detail: str = Field(description="What was found in this file.")


def link_next(request: Request, response: Response, cursor: int) -> None:
    """Say where the next page is (RFC 8288)."""
    response.headers["Link"] = f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'


@router.get("/archives", responses=LINKED)
def list_archives(
    request: Request,
    response: Response,
    database: GivenDatabase,
    limit: Limit = 100,
    cursor: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
) -> list[ArchiveRecord]:
    """List archives with their balances, newest first."""
    with database.transaction() as connection:
        entries = browsing.list_archives(connection, limit + 1, cursor)
    if len(entries) > limit:
        link_next(request, response, entries[limit - 1].id)
    return [ArchiveRecord.of_entry(entry) for entry in entries[:limit]]


@router.get("/archives/{archive_id}/unstored", responses={**LINKED, **MISSING})
def list_unstored(  # noqa: PLR0913, PLR0917 - what a listing is asked
    archive_id: ArchiveId,
    request: Request,
    response: Response,
    database: GivenDatabase,
    limit: Limit = 100,
    cursor: Annotated[int, Query(ge=-1, le=2**31 - 1)] = -1,
) -> list[UnstoredRecord]:
    """List the members of an archive that are not stored, each with its reason."""
    with database.transaction() as connection:
        if browsing.get_archive(connection, archive_id) is None:
            raise ProblemError(404, "no-such-archive", f"There is no archive {archive_id}.")
        members = browsing.list_unstored(connection, archive_id, limit + 1, cursor)
    if len(members) > limit:
        link_next(request, response, members[limit - 1].member_index)
    return [
        UnstoredRecord(**member._asdict(), sentence=sentence(member.reason)) for member in members[:limit]
    ]
