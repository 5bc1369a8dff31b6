"""Where batches go; a sink is one file here and one line in `SINKS`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from pipeline.sinks.interface import Sink

SINKS: Final = {
    "postgres": "pipeline.sinks.postgres:opened",
    "api": "pipeline.sinks.api:opened",
}


def open_sink(settings: Settings) -> AbstractContextManager[Sink]:
    """Give the sink that the settings name, open with all it needs inside the context; only that one is imported."""
    if settings.sink not in SINKS:
        raise SettingsError(f"There is no sink {settings.sink!r}; choose one of {', '.join(SINKS)}.")
    module, attribute = SINKS[settings.sink].split(":")
    make = cast(
        "Callable[[Settings], AbstractContextManager[Sink]]", getattr(import_module(module), attribute)
    )
    return make(settings)
