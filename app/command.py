"""The command that runs the Image API."""

from __future__ import annotations

import os
import resource
import sys

import click
import uvicorn

from app import logs
from app.settings import ApiSettings
from pipeline.errors import SettingsError

FILES = 8192
"""Files that may be open, where the system allows it: connections, and what is sent and received over them."""
STOP_SECONDS = 120
KEEP_ALIVE_SECONDS = 15


@click.command(context_settings={"show_default": True, "auto_envvar_prefix": "IMAGE_API"})
@click.option("--host", default="127.0.0.1", show_envvar=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8000, show_envvar=True, help="Port to listen on.")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "human", "json"]),
    default="auto",
    show_envvar=True,
    help="How to log; auto: for people on a terminal, JSON lines otherwise.",
)
@click.option("--ssl-certfile", type=click.Path(exists=True), help="Certificate, to serve over TLS.")
@click.option("--ssl-keyfile", type=click.Path(exists=True), help="Private key of the certificate.")
@click.option("--reload", is_flag=True, help="Start anew when the code changes.")
def main(**options: str | int | bool | None) -> None:
    """Run the Image API until it is told to stop (Ctrl-C, SIGTERM); what runs then is finished first."""
    try:
        ApiSettings.from_environ(os.environ)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    format_ = options.pop("log_format")
    as_json = format_ == "json" or (format_ == "auto" and not sys.stderr.isatty())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))
    try:
        uvicorn.run(
            "app.main:app",
            http="app.connection:Connection",
            ws="none",
            log_config=logs.config(as_json),
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            **options,  # type: ignore[arg-type]  # named and typed by the options above
        )
    except SystemExit as end:
        # Uvicorn's own code for a start that failed means something else here.
        raise SystemExit(1 if end.code else 0) from end
