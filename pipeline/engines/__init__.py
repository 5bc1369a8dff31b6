"""What runs the work; an engine is one file here and one line in `ENGINES`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from pipeline.engines.late import LateEngine
from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from pipeline.engines.interface import Engine
    from pipeline.workbench import Workbench

ENGINES: Final = {
    "processes": "pipeline.engines.processes:ProcessEngine",
    "serial": "pipeline.engines.serial:SerialEngine",
}


def make_engine(name: str, bench: Workbench, workers: int) -> Engine:
    """Make an engine by its name; it is imported when the first slice comes. `workers` 0 means one per core."""
    if name not in ENGINES:
        raise SettingsError(f"There is no engine {name!r}; choose one of {', '.join(ENGINES)}.")

    def make() -> Engine:
        module, attribute = ENGINES[name].split(":")
        made = cast("Callable[[Workbench, int], Engine]", getattr(import_module(module), attribute))
        return made(bench, workers)

    return LateEngine(make)
