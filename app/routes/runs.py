"""The history of runs and their claims, for the pipeline: a run is alive for as long as it is heard of."""

from __future__ import annotations

import os
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field, Strict

from app.deps import GivenDatabase
from app.messages import Run, Sum, Text, Whole
from pipeline.catalog import claims, runs
from pipeline.catalog.claims import LEASE_SECONDS
from pipeline.history import Ending, RunState
from pipeline.history import Run as Started
from pipeline.records import ArchiveVerdict

router = APIRouter(tags=["for the pipeline"])

Short = Annotated[Text, Field(max_length=500)]


class Begun(BaseModel):
    """A run that begins: which command, and which process on which host does it."""

    command: Short
    sink: Short = "api"
    host: Short
    pid: Whole = Field(ge=0, lt=1 << 31)


class Ended(BaseModel):
    """How a run ended."""

    state: RunState
    exit_code: Whole = Field(ge=0, lt=256)
    archives: dict[ArchiveVerdict, Annotated[Whole, Field(ge=0, lt=1 << 31)]]
    balance: Sum
    message: Text = ""
    seconds: Annotated[float, Strict(), Field(ge=0, le=1e9, allow_inf_nan=False)] | None = Field(
        None, description="How long it took, by its own clock; without it, since the server heard of it."
    )


@router.put("/runs/{run}", status_code=204)
def begin(run: UUID, begun: Begun, database: GivenDatabase) -> None:
    """Note in the history that a run begins; repeating it changes nothing."""
    with database.transaction() as connection:
        runs.begin(connection, Started(begun.command, begun.sink, begun.host, begun.pid, run), LEASE_SECONDS)


@router.post("/runs/{run}/end", status_code=204)
def end(run: UUID, ended: Ended, database: GivenDatabase) -> None:
    """Note how a run ended."""
    balance = ended.balance.balance
    ending = Ending(ended.state, ended.exit_code, ended.archives, balance, ended.message, ended.seconds)
    with database.transaction() as connection:
        runs.end(connection, Started("", "", "", os.getpid(), run), ending)


@router.put("/claims", status_code=204)
def renew(run: Run, database: GivenDatabase) -> None:
    """Say that a run lives, which prolongs its claims."""
    with database.transaction() as connection:
        claims.renew(connection, run.claimant)
        runs.renew(connection, run.run, LEASE_SECONDS)


@router.delete("/claims/{run}", status_code=204)
def leave(run: UUID, database: GivenDatabase) -> None:
    """Let go of everything that a run holds, as it ends."""
    with database.transaction() as connection:
        claims.leave(connection, run)
