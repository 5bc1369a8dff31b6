"""A second chance for refusals, for the pipeline: which archives have one coming, and taking them again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.deps import GivenDatabase
from app.messages import MAX_ARCHIVES, Count, Ids, Reason
from pipeline.catalog import second

router = APIRouter(tags=["for the pipeline"])

Reasons = Annotated[list[Reason], Field(max_length=200)]


class Asked(BaseModel):
    """For which reasons; and above which id, for a page that is not the first."""

    reasons: Reasons
    after: Count = 0


class Refused(BaseModel):
    """One archive with refusals that may not hold any more; `members` counts them, none for one refused whole."""

    id: int
    name: str
    digest: str
    size: int
    members: int


class Refusals(BaseModel):
    """A page of them by ascending id; `after` is where the next page begins, if there is one."""

    archives: list[Refused]
    after: int | None


class Chosen(BaseModel):
    """Archives whose refusals for these reasons are to be taken again."""

    ids: Ids
    reasons: Reasons


class Reconsidered(BaseModel):
    """How many members will be taken again."""

    members: int


@router.post("/archives/refusals")
def refusals(asked: Asked, database: GivenDatabase) -> Refusals:
    """List archives that were refused, or have members refused, for one of these reasons, or that failed."""
    with database.transaction() as connection:
        page = second.candidates(connection, asked.reasons, asked.after, MAX_ARCHIVES)
    return Refusals(
        archives=[Refused(**{**found._asdict(), "digest": found.digest.hex()}) for found in page],
        after=page[-1].id if len(page) == MAX_ARCHIVES else None,
    )


@router.post("/archives/reconsider")
def reconsider(chosen: Chosen, database: GivenDatabase) -> Reconsidered:
    """Have refusals taken again by the next run over their archives; verdicts hold until there are new ones."""
    with database.transaction() as connection:
        return Reconsidered(members=second.reconsider(connection, chosen.ids, chosen.reasons))
