"""Every error the pipeline raises on purpose.

PipelineError
├── SettingsError            an option or environment variable that makes no sense
├── ArchiveError             an archive is refused whole; carries a reason
├── MemberError              one member cannot be read; carries a reason
├── ImageError               bytes are not an acceptable image; carries a reason
├── StoreError               files cannot be written (disk full, read-only, …)
├── SinkError                a sink cannot deliver
│   └── SinkUnavailable      it cannot be reached now; running again later goes on
├── CatalogError             the catalog cannot be used
│   ├── CatalogUnavailable   it cannot be reached now
│   │   └── CatalogFull      its disk is full, which waiting does not cure
│   └── SchemaTooNew         it was made by a newer version of this program
└── ServerError              the embedded Postgres does not start or stop

A bad image is a value by the time it leaves a worker; `ArchiveError`, `MemberError` and `ImageError`
are caught where the verdict is made. A class's docstring is its default message.
"""

from __future__ import annotations

STOPPED = "Stopped. Nothing is lost: run the same command again to go on."
"""What people read when they, or the system, stop a program."""


class PipelineError(Exception):
    """Something went wrong in the pipeline."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or type(self).__doc__ or "")


class SettingsError(PipelineError):
    """A setting makes no sense."""


class _Refusal(PipelineError):
    """Something is refused for a reason."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[_Refusal], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class ArchiveError(_Refusal):
    """The archive is refused whole."""


class MemberError(_Refusal):
    """The member cannot be read."""


class ImageError(_Refusal):
    """The bytes are not an acceptable image."""


class StoreError(PipelineError):
    """Files cannot be written."""


class SinkError(PipelineError):
    """The sink cannot deliver."""


class SinkUnavailable(SinkError):
    """The sink cannot be reached now; run again later to go on."""


class CatalogError(PipelineError):
    """The catalog cannot be used."""


class CatalogUnavailable(CatalogError):
    """The catalog's Postgres cannot be reached now; run again later to go on."""


class CatalogFull(CatalogUnavailable):
    """The catalog's Postgres has no disk space left; free some and run again."""


class SchemaTooNew(CatalogError):
    """The catalog was made by a newer version of this program; update the program."""


class ServerError(PipelineError):
    """The embedded Postgres does not start or stop."""
