"""The house keeps its shape: imports point down only, and importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from pipeline.sinks import SINKS
from pipeline.sinks.interface import Sink

ROOT = Path(__file__).resolve().parent.parent

LAYERS = [
    {"pipeline.errors", "pipeline.reasons", "pipeline.words", "pipeline.interpreter", "pipeline"},
    {"pipeline.records", "pipeline.locks"},
    {
        "pipeline.settings",
        "pipeline.batches",
        "pipeline.claimant",
        "pipeline.history",
        "pipeline.schedule",
        "pipeline.isolation",
        "pipeline.pool",
        "pipeline.textfile",
        "pipeline.notes",
        "pipeline.temporary",
    },
    {
        "pipeline.brake",
        "pipeline.images",
        "pipeline.archives",
        "pipeline.cluster",
        "pipeline.database",
        "pipeline.files",
    },
    {"pipeline.server", "pipeline.store", "pipeline.workbench"},
    {"pipeline.quarantine", "pipeline.removal"},
    {"pipeline.catalog", "pipeline.work"},
    {"pipeline.engines", "pipeline.sinks", "pipeline.inbox", "pipeline.moves"},
    {
        "pipeline.news",
        "pipeline.slices",
        "pipeline.flow",
        "pipeline.intake",
        "pipeline.aftercare",
        "pipeline.lookout",
    },
    {"pipeline.flusher"},
    {"pipeline.ingest", "pipeline.report", "pipeline.retry", "pipeline.verify"},
    {"pipeline.progress", "pipeline.journal", "pipeline.metrics"},
    {"pipeline.commands"},
    {"pipeline.cli"},
    {"pipeline.__main__"},
]
CORE_FOR_THE_APP = {
    "pipeline.archives",
    "pipeline.catalog",
    "pipeline.database",
    "pipeline.errors",
    "pipeline.files",
    "pipeline.history",
    "pipeline.images",
    "pipeline.interpreter",
    "pipeline.isolation",
    "pipeline.notes",
    "pipeline.pool",
    "pipeline.reasons",
    "pipeline.records",
    "pipeline.removal",
    "pipeline.server",
    "pipeline.settings",
    "pipeline.store",
    "pipeline.temporary",
    "pipeline.words",
}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """Yield the dotted names and files of a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> set[str]:
    """Give the dotted names that a file imports, at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def level(name: str) -> int:
    """Give the layer of a module of the pipeline: 0 is the ground."""
    room = ".".join(name.split(".")[:2])
    for number, layer in enumerate(LAYERS):
        if room in layer:
            return number
    raise AssertionError(f"{name} has no place in the house; give it one in LAYERS")


@pytest.mark.parametrize(("name", "path"), list(modules("pipeline")))
def test_imports_point_down(name: str, path: Path) -> None:
    """A module imports only from its own room and from below."""
    known = {module for module, _ in modules("pipeline")}
    for target in imports(path) & known:
        room, own = ".".join(target.split(".")[:2]), ".".join(name.split(".")[:2])
        assert (
            room == own
            or target == "pipeline"
            or level(target) < level(name)
            or {own, room}
            <= {
                "pipeline.server",
                "pipeline.database",
            }
        ), f"{name} imports {target}"


def test_only_the_api_sink_imports_the_http_client() -> None:
    """The HTTP client can be replaced in one file of the pipeline."""
    users = {name for name, path in modules("pipeline") if "httpx" in imports(path)}
    assert users <= {"pipeline.sinks.api.client"}


def test_every_sink_keeps_the_interface() -> None:
    """What the pipeline asks of a sink, every sink answers."""
    asked = {name for name in vars(Sink) if not name.startswith("_")}
    for target in SINKS.values():
        module, attribute = target.split(":")
        (sink,) = get_args(get_type_hints(getattr(import_module(module), attribute))["return"])
        assert asked <= set(dir(sink)), target


def test_the_app_uses_the_core_only() -> None:
    """The app stands on the catalog, the images and the store, not on the ingester."""
    known = {module for module, _ in modules("pipeline")}
    for name, path in modules("app"):
        for target in imports(path) & known - {"pipeline"}:
            assert ".".join(target.split(".")[:2]) in CORE_FOR_THE_APP, f"{name} imports {target}"


def test_the_pipeline_never_imports_the_app() -> None:
    """The ingester works without the API."""
    for name, path in modules("pipeline"):
        assert not {target for target in imports(path) if target.split(".")[0] == "app"}, name


def test_core_code_does_not_print_or_exit() -> None:
    """Only the command line speaks to people."""
    for name, path in modules("pipeline"):
        if name.startswith(("pipeline.cli", "pipeline.commands", "pipeline.__main__")):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"print", "exit", "quit"}, name


def test_starting_is_quick() -> None:
    """The command line starts without the decoders, the database driver and the HTTP client."""
    code = "import sys, pipeline.cli; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"PIL", "psycopg", "httpx", "numpy", "pebble", "tqdm", "tenacity"} & set(loaded)
