"""The application: what it opens at its start, its routes, its errors."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import AsyncIterator

import psycopg
from fastapi import FastAPI
from psycopg_pool import ConnectionPool
from starlette.concurrency import run_in_threadpool

from app import document, problems
from app.account import Account
from app.deps import Database, Services
from app.desk import Desk
from app.door import Door
from app.gate import Gate
from app.impatience import Impatient
from app.inspectors import Inspectors
from app.metrics import Metrics
from app.routes import archives, batches, files, gallery, health, images, ledger, retry, runs
from app.settings import ApiSettings
from app.starting import Starting
from pipeline import removal
from pipeline.catalog.batch import PREPARE
from pipeline.catalog.schema import migrate
from pipeline.database import parameters, persistent
from pipeline.errors import StoreError
from pipeline.server import serving
from pipeline.store import Store

START_SECONDS = 15.0
POOL_SECONDS = 5.0
QUERY_MILLISECONDS = 60_000

log = logging.getLogger("app")


def create_app(settings: ApiSettings | None = None) -> FastAPI:
    """Make the application; settings are read from the environment when it starts, unless given."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        told = settings or ApiSettings.from_environ(os.environ)
        stack = contextlib.ExitStack()
        try:
            app.state.services = await run_in_threadpool(_open, told, stack)
            yield
        finally:
            await run_in_threadpool(stack.close)

    app = FastAPI(
        title="Image API",
        summary="A checked, de-duplicated catalog of images.",
        version="0.1.0",
        docs_url=None,
        redoc_url=None,
        # A redirect from images/ to images would make the deletion of an unnamed image that of everything.
        redirect_slashes=False,
        lifespan=lifespan,
    )
    problems.install(app)
    document.install(app)
    for routes in (batches, runs, images, files, ledger, archives, retry, health, gallery):
        app.include_router(routes.router)
    app.state.metrics = Metrics()
    app.add_middleware(Door)
    app.add_middleware(Account, metrics=app.state.metrics)
    app.add_middleware(Starting)
    return app


def _open(settings: ApiSettings, stack: contextlib.ExitStack) -> Services:
    url = stack.enter_context(serving(settings.database_url, settings.data))
    persistent(lambda: migrate(url), START_SECONDS)
    pool = stack.enter_context(
        ConnectionPool(
            connection_class=Impatient,
            kwargs=parameters(url),
            configure=_prepare,
            min_size=min(2, settings.database_connections),
            max_size=settings.database_connections,
            timeout=POOL_SECONDS,
            # Attempts slow down until this; afterwards each request makes a fresh one.
            reconnect_timeout=POOL_SECONDS,
            open=False,
        )
    )
    store = Store(settings.static, settings.static)
    # A large store takes long to walk, and nobody waits for this.
    threading.Thread(target=_sweep, args=(settings, store), daemon=True).start()
    workers = Inspectors(Desk(settings.static, settings.limits), settings.decoders, settings.max_decodes)
    log.info("serving the images in %s", settings.static)
    if settings.private and not settings.token:
        log.warning("IMAGE_API_PRIVATE is set and IMAGE_API_TOKEN is not: only this machine can read")
    return Services(
        settings,
        Database(pool),
        store,
        stack.enter_context(workers),
        fetching=Gate(settings.max_fetches, "fetching"),
        uploading=Gate(settings.max_uploads, "taking uploads,"),
    )


def _sweep(settings: ApiSettings, store: Store) -> None:
    """Remove what programs that were killed have left."""
    try:
        store.sweep()
        removal.sweep(settings.static, settings.extracted)
    except StoreError as error:
        log.warning("leftovers cannot be removed: %s", error)


def _prepare(connection: psycopg.Connection) -> None:
    """Make a new connection fit for batches, and for reading again, whose plans want every join."""
    connection.execute(PREPARE)
    connection.execute("RESET enable_hashjoin; RESET enable_mergejoin")
    # Compiling costs more than any of these queries takes.
    connection.execute("SET jit = off")
    connection.execute(f"SET statement_timeout = {QUERY_MILLISECONDS}".encode())
    connection.commit()


app = create_app()
