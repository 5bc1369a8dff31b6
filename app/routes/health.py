"""How the server is doing: for supervisors, load balancers and Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from app.deps import AllServices, Services
from app.metrics import Metrics
from app.problems import ProblemError
from pipeline.catalog import queries, schema
from pipeline.errors import PipelineError, StoreError

router = APIRouter(tags=["operations"])
log = logging.getLogger("app.health")

PATIENCE_SECONDS = 2.0


class Health(BaseModel):
    """A server that is well."""

    status: str = Field(examples=["ready"])


@router.get("/health/live")
async def live() -> Health:
    """Tell that the server answers at all; if not, restart it."""
    return Health(status="alive")


@router.get("/health/ready", responses={503: {"description": "Something that it needs is missing"}})
def ready(services: AllServices) -> Health:
    """Tell whether requests can be served: the database answers, its schema is this program's, files can be written."""
    failing = [*_failing_catalog(services), *_failing_store(services)]
    if failing:
        raise ProblemError(503, "not-ready", f"Failing: {', '.join(failing)}.", {"Retry-After": "5"})
    return Health(status="ready")


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(request: Request, services: AllServices) -> Response:
    """Give figures for Prometheus."""
    figures: Metrics = request.app.state.metrics
    return Response(figures.text(services, _totals(services)), media_type=CONTENT_TYPE_LATEST)


def _totals(services: Services) -> queries.Totals | None:
    try:
        with services.database.transaction(PATIENCE_SECONDS) as connection:
            return queries.totals(connection)
    except (PipelineError, ProblemError) as error:
        log.warning("the catalog cannot be asked for its figures: %s", error)
        return None


def _failing_catalog(services: Services) -> Iterator[str]:
    try:
        with services.database.transaction(PATIENCE_SECONDS) as connection:
            current = schema.version(connection)
    except (PipelineError, ProblemError) as error:
        log.warning("not ready, the database does not answer: %s", error)
        yield "database"
        return
    if current != max(schema.migrations()):
        log.warning("not ready, the catalog has schema %d", current)
        yield "schema"


def _failing_store(services: Services) -> Iterator[str]:
    try:
        with services.store.scratch() as scratch:
            scratch.write_bytes(b"ready")
    except StoreError as error:
        log.warning("not ready: %s", error)
        yield "store"
