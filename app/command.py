"""The command that runs the Image API."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
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
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_envvar=True,
    help="Port to listen on; 0 for any that is free.",
)
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
def main(host: str, port: int, **options: str | bool | None) -> None:
    """Run the Image API until it is told to stop (Ctrl-C, SIGTERM); what runs then is finished first."""
    try:
        ApiSettings.from_environ(os.environ)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    _refuse_taken(host, port)
    format_ = options.pop("log_format")
    as_json = format_ == "json" or (format_ == "auto" and not sys.stderr.isatty())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))
    try:
        uvicorn.run(
            "app.main:app",
            host=host,
            port=port,
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


def _refuse_taken(host: str, port: int) -> None:
    """Say that a port is taken, or not for this user, before anything is started; other trouble is the server's."""
    with contextlib.suppress(socket.gaierror):
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                with socket.socket(family, kind, protocol) as trial:
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    trial.bind(address)
            except OSError as error:
                if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                    raise click.ClickException(
                        f"{host} port {port}: {error.strerror}. Choose another with --port."
                    ) from error
