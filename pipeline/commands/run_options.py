"""The options of commands that take archives in, declared once, a group for each concern.

To add one: an `option(…)` line in its group; its name is a field of `Settings` or `Limits`, or of `Wishes`.
"""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.options import (
    MAX_SECONDS,
    ByteSize,
    Command,
    Duration,
    Encoding,
    Number,
    database_options,
    group,
    option,
    size_words,
)
from pipeline.settings import Limits, Settings

_DEFAULT, _LIMITS = Settings(), Limits()
WORKER_MEMORY = 128 << 20
"""Bytes without which a worker does not even have its libraries."""
_FOLDER = click.Path(path_type=Path, file_okay=False)


def _there(context: click.Context, parameter: click.Parameter, folder: Path) -> Path:
    """Refuse a folder that was named and is not there; the one that nobody named is made when it is needed."""
    named = context.get_parameter_source(parameter.name or "") is not click.core.ParameterSource.DEFAULT
    if named and not folder.is_dir():
        raise click.BadParameter(f"there is no folder {str(folder)!r}.", context, parameter)
    return folder


def _in_a_folder(context: click.Context, parameter: click.Parameter, file: Path | None) -> Path | None:
    """Refuse a file whose folder is not there: found at the end of a run, that would be too late."""
    if file and not file.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(file.parent)!r}.", context, parameter)
    return file


delivery_options = group(
    option(
        "--sink",
        "PIPELINE_SINK",
        type=click.Choice(["postgres", "api"]),
        default=_DEFAULT.sink,
        help="Where records go.",
    ),
    option(
        "--after",
        "PIPELINE_AFTER",
        type=click.Choice(["keep", "move", "delete"]),
        default=_DEFAULT.after,
        help="What to do with a zip once its members are all accounted for.",
    ),
    option(
        "--quarantine",
        "PIPELINE_QUARANTINE",
        type=_FOLDER,
        default=None,
        help="Keep the bytes of rejected members in this folder, each with a note of the reason.",
    ),
    option(
        "--batch-size",
        "PIPELINE_BATCH_SIZE",
        type=click.IntRange(1, 100_000),
        default=_DEFAULT.batch_size,
        help="Records in a batch, at most.",
    ),
    option(
        "--batch-bytes",
        "PIPELINE_BATCH_BYTES",
        type=ByteSize(),
        default=size_words(_DEFAULT.batch_bytes),
        help="Bytes of images in a batch, at most.",
    ),
)
"""Where records and deliveries go."""
place_options = group(
    option(
        "--input",
        "PIPELINE_INPUT",
        type=_FOLDER,
        default=_DEFAULT.input,
        callback=_there,
        help="Folder zips are dropped into.",
    ),
    option(
        "--extracted",
        "PIPELINE_EXTRACTED",
        type=_FOLDER,
        default=_DEFAULT.extracted,
        help="Folder images are extracted to.",
    ),
    option(
        "--static",
        "PIPELINE_STATIC",
        type=_FOLDER,
        default=_DEFAULT.static,
        help="Folder of the content-addressed store.",
    ),
    option(
        "--processed",
        "PIPELINE_PROCESSED",
        type=_FOLDER,
        default=None,
        help="Folder for zips taken in, with --after move.  [default: processed, beside the input folder]",
    ),
    option(
        "--failed",
        "PIPELINE_FAILED",
        type=_FOLDER,
        default=None,
        help="Folder for zips refused whole, with --after move.  [default: failed, beside the input folder]",
    ),
)
"""Where archives come from, and where images go."""
work_options = group(
    option(
        "--workers",
        "PIPELINE_WORKERS",
        type=click.IntRange(0, 1024),
        default=_DEFAULT.workers,
        help="Worker processes; 0 means one per core.",
    ),
    option(
        "--engine",
        "PIPELINE_ENGINE",
        type=click.Choice(["serial", "processes"]),
        default=_DEFAULT.engine,
        help="What runs the work; serial is for debugging.",
    ),
    option(
        "--check",
        "PIPELINE_CHECK",
        type=click.Choice(["header", "decode"]),
        default=_DEFAULT.check,
        help="How hard to look at an image.",
    ),
    option(
        "--zip-encoding",
        "PIPELINE_ZIP_ENCODING",
        type=Encoding(),
        default=None,
        help="Encoding of names that are not marked as UTF-8.  [default: cp437]",
    ),
)
"""What runs the work, and how hard it looks."""
limit_options = group(
    option(
        "--max-member-bytes",
        "PIPELINE_MAX_MEMBER_BYTES",
        type=ByteSize(),
        default=size_words(_LIMITS.max_member_bytes),
        help="Largest member taken.",
    ),
    option(
        "--max-archive-bytes",
        "PIPELINE_MAX_ARCHIVE_BYTES",
        type=ByteSize(),
        default=size_words(_LIMITS.max_archive_bytes),
        help="Largest sum of members in an archive.",
    ),
    option(
        "--max-members",
        "PIPELINE_MAX_MEMBERS",
        type=click.IntRange(1),
        default=_LIMITS.max_members,
        help="Most members in an archive.",
    ),
    option(
        "--max-ratio",
        "PIPELINE_MAX_RATIO",
        type=Number(1),
        default=_LIMITS.max_ratio,
        help="Most bytes out for each byte in.",
    ),
    option(
        "--max-pixels",
        "PIPELINE_MAX_PIXELS",
        type=click.IntRange(1),
        default=_LIMITS.max_pixels,
        help="Most pixels in an image.",
    ),
    option(
        "--timeout",
        "PIPELINE_TIMEOUT",
        type=Number(0.001, MAX_SECONDS),
        default=_LIMITS.timeout,
        help="Seconds one image may take.",
    ),
    option(
        "--worker-memory",
        "PIPELINE_WORKER_MEMORY",
        type=ByteSize(least=WORKER_MEMORY),
        default=size_words(_LIMITS.worker_memory),
        help="Memory one worker may have, 128MiB at least.",
    ),
    option(
        "--settle",
        "PIPELINE_SETTLE",
        type=Duration(nothing=True),
        default=None,
        help="A zip that looks cut waits until it was left alone this long.  [default: watch 10s, else 0]",
    ),
    option(
        "--time-limit",
        "PIPELINE_TIME_LIMIT",
        type=Duration(),
        default=None,
        help="Stop taking work after this long, such as 50m, and exit with 3.",
    ),
    option(
        "--max-errors",
        "PIPELINE_MAX_ERRORS",
        type=click.IntRange(0),
        default=None,
        help="Stop when more members and archives than this are refused or fail.",
    ),
    option(
        "--reserve",
        "PIPELINE_RESERVE",
        type=ByteSize(least=0),
        default=size_words(_DEFAULT.reserve),
        help="Disk space that stays free; a run stops before.",
    ),
)
"""Bounds on what an archive and an image may cost."""
api_options = group(
    option(
        "--api-url",
        "IMAGE_API_URL",
        default=None,
        help="Image API that --sink api delivers to; a token goes into IMAGE_API_TOKEN.",
    ),
    option(
        "--concurrency",
        "PIPELINE_CONCURRENCY",
        type=click.IntRange(1, 256),
        default=_DEFAULT.concurrency,
        help="Batches on their way to the API at once, at most.",
    ),
    option(
        "--api-timeout",
        "PIPELINE_API_TIMEOUT",
        type=Number(0.001, MAX_SECONDS),
        default=_DEFAULT.api_timeout,
        help="Seconds to wait for an answer of the API.",
    ),
    option(
        "--api-patience",
        "PIPELINE_API_PATIENCE",
        type=Number(0, MAX_SECONDS),
        default=_DEFAULT.api_patience,
        help="Seconds to go on trying while the API answers nothing.",
    ),
)
"""How the Image API is reached."""
account_options = group(
    option(
        "--report",
        "PIPELINE_REPORT",
        type=click.Path(path_type=Path, dir_okay=False),
        callback=_in_a_folder,
        default=None,
        help="Write the account of the run to this file, as JSON.",
    ),
    option(
        "--metrics-file",
        "PIPELINE_METRICS_FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        callback=_in_a_folder,
        default=None,
        help="Write metrics of the run to this file, for Prometheus; also when it fails.",
    ),
    option(
        "--log-format",
        "PIPELINE_LOG_FORMAT",
        type=click.Choice(["auto", "human", "json"]),
        default="auto",
        help="How standard error speaks: auto is for people on a terminal, JSON lines otherwise.",
    ),
    option("--strict", "PIPELINE_STRICT", is_flag=True, help="Exit with 1 if any member is rejected."),
)
"""What a run says, and when its exit code says more."""


def run_options(command: Command) -> Command:
    """Add every option that a run of any kind understands."""
    groups = (
        delivery_options,
        api_options,
        database_options,
        place_options,
        work_options,
        limit_options,
        account_options,
    )
    for add in reversed(groups):
        command = add(command)
    return command
