"""`db`: the Postgres that holds the catalog."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import click

from pipeline.commands.options import database_options
from pipeline.errors import ServerError

_ELSEWHERE = "DATABASE_URL names another Postgres; it is started and stopped where it runs."


@click.group()
def db() -> None:
    """Start, stop, reach and migrate the catalog's Postgres."""


def _command(function: Callable[[str | None, Path], None]) -> None:
    db.command(function.__name__.rstrip("_"))(database_options(function))


@_command
def start(database_url: str | None, data: Path) -> None:
    """Start the embedded Postgres and leave it running; print its URL."""
    from pipeline.server import EmbeddedServer  # noqa: PLC0415

    if database_url:
        raise ServerError(_ELSEWHERE)
    with EmbeddedServer(data) as server:
        server.keep()
        click.echo(server.url)


@_command
def stop(database_url: str | None, data: Path) -> None:
    """Stop the embedded Postgres, or let the last program that uses it do so."""
    from pipeline.server import EmbeddedServer  # noqa: PLC0415

    if database_url:
        raise ServerError(_ELSEWHERE)
    server = EmbeddedServer(data)
    ran = server.running
    if server.release():
        click.echo("Stopped." if ran else "It was not running.", err=True)
    else:
        click.echo("Still used by another program; it stops when that ends.", err=True)


@_command
def url(database_url: str | None, data: Path) -> None:
    """Print the connection URL, and nothing else."""
    from pipeline.server import EmbeddedServer  # noqa: PLC0415

    if database_url:
        from pipeline.database import parameters  # noqa: PLC0415

        parameters(database_url)
        click.echo(database_url)
        return
    server = EmbeddedServer(data)
    click.echo(server.url)
    if not server.running:
        click.echo(
            "The server is not running; start it with: .venv/bin/python -m pipeline db start", err=True
        )


@_command
def migrate(database_url: str | None, data: Path) -> None:
    """Bring the catalog's tables up to date; print their version."""
    from pipeline.catalog.schema import migrate as bring_up_to_date  # noqa: PLC0415
    from pipeline.server import serving  # noqa: PLC0415

    with serving(database_url, data) as place:
        click.echo(bring_up_to_date(place))


@_command
def shell(database_url: str | None, data: Path) -> None:
    """Open psql on the catalog."""
    from pipeline.server import EmbeddedServer, serving  # noqa: PLC0415

    with serving(database_url, data) as place:
        psql = shutil.which("psql") if database_url else str(EmbeddedServer(data).cluster.psql)
        if psql is None:
            psql = str(EmbeddedServer(data).cluster.psql)
        done = subprocess.run([psql, place], env=os.environ, check=False)
    raise SystemExit(done.returncode)
