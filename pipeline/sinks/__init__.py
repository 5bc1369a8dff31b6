"""Where batches go; a sink is one file here and one line in `SINKS`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from pipeline.sinks.interface import Sink

SINKS: Final = {
    "postgres": "pipeline.sinks.postgres:PostgresSink",
}


def open_sink(name: str, url: str) -> Sink:
    """Open a sink by its name at a database or API URL; only the chosen one is imported."""
    if name not in SINKS:
        raise SettingsError(f"There is no sink {name!r}; choose one of {', '.join(SINKS)}.")
    module, attribute = SINKS[name].split(":")
    make = cast("Callable[[str], Sink]", getattr(import_module(module), attribute))
    return make(url)
