"""The container files name only what exists; there is no Docker where the tests run, so their text is read."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from click import Command, Context

from app.command import main as serve
from app.main import create_app
from app.settings import ApiSettings, variable_of
from pipeline.cli import COMMANDS
from pipeline.cli import cli as pipeline
from tests.workspace import ROOT


def instructions() -> list[tuple[str, str]]:
    """Read the Dockerfile: each instruction with its words, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in joined]


def last_stage() -> list[tuple[str, str]]:
    """Give the instructions of the image that remains."""
    found = instructions()
    start = max(place for place, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def compose() -> dict[str, Any]:
    """Read the services; YAML merges what they share."""
    read: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    return read


def variables(command: Command) -> Iterator[str]:
    """Yield the environment variables that a command reads."""
    for parameter in command.params:
        yield from [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ()


def command_of(module: str, name: str = "") -> Command:
    """Give the command line of `python -m MODULE [NAME]`."""
    found = serve if module == "app" else pipeline.get_command(Context(pipeline), name)
    assert found, name
    return found


def known_variables() -> set[str]:
    """Give every variable that the programs read."""
    found = {variable_of(field.name) for field in fields(ApiSettings)}
    found |= {f"IMAGE_API_{option.name.upper()}" for option in serve.params if option.name}
    for name in COMMANDS:
        found |= set(variables(command_of("pipeline", name)))
    return found


def given_variables() -> set[str]:
    """Give every variable of ours that the container files set."""
    text = " ".join(words for name, words in instructions() if name == "ENV")
    found = set(re.findall(r"([A-Z_]+)=", text))
    for service in compose()["services"].values():
        found |= set(service.get("environment", {}))
    return {name for name in found if name.startswith(("IMAGE_API_", "PIPELINE_", "DATABASE_"))}


def test_every_variable_is_read_by_something() -> None:
    """A variable that is set has a reader; a misspelt one would be silently ignored."""
    assert given_variables()
    assert given_variables() <= known_variables()


def ignored(path: str) -> bool:
    """Tell whether .dockerignore keeps a path of the top level out; the last pattern that fits decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#") and fnmatch.fnmatch(path, pattern.removeprefix("!")):
            out = not pattern.startswith("!")
    return out


def test_what_is_copied_exists_and_nothing_else_is_sent() -> None:
    """Each file that the build copies is there and not ignored; secrets, data and history are ignored."""
    copied = [
        words.split()[:-1] for name, words in instructions() if name == "COPY" and "--from" not in words
    ]
    for path in (path for paths in copied for path in paths):
        assert (ROOT / path).exists(), path
        assert not ignored(path), path
    for path in (".env", ".git", ".data", "static", "extracted", "images_zip_input", ".venv", "tests"):
        assert ignored(path), path


def test_the_image_runs_as_nobody_special() -> None:
    """The last user is a number other than root's, set before the command; base images have a version."""
    stage = last_stage()
    users = [words for name, words in stage if name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])
    names = [name for name, _ in stage]
    assert names.index("USER") < names.index("CMD")
    assert not any(name == "ADD" for name, _ in instructions())
    for name, words in instructions():
        if name == "FROM":
            assert re.match(r"\S+:\S+", words)
            assert ":latest" not in words


def test_commands_are_programs_of_ours() -> None:
    """What the containers run exists, with these options; the health check asks a route that is open."""
    runs = [json.loads(words) for name, words in last_stage() if name == "CMD"]
    runs += [service["command"] for service in compose()["services"].values() if "command" in service]
    for interpreter, flag, module, *arguments in runs:
        assert (interpreter, flag) == ("python", "-m")
        options = arguments if module == "app" else arguments[1:]
        command_of(module, arguments[0]).make_context(module, list(options))
    check = next(words for name, words in last_stage() if name == "HEALTHCHECK")
    url = re.search(r"http://[^']+", check)
    assert url
    assert urlsplit(url[0]).path in create_app().openapi()["paths"]
    exposed = next(words for name, words in last_stage() if name == "EXPOSE")
    assert urlsplit(url[0]).port == int(exposed)
    assert exposed in shlex.split(" ".join(runs[0]))


def test_services_hang_together() -> None:
    """Dependencies and volumes are declared; ports are open to this machine only; secrets have no default."""
    read = compose()
    services = read["services"]
    assert {"api", "postgres", "ingest"} <= services.keys()
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= services.keys()
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in read["volumes"] or (ROOT / source).is_dir(), volume
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
        for variable, value in service.get("environment", {}).items():
            if "PASSWORD" in variable or "TOKEN" in variable:
                assert ":?" in value, f"{name} has a default for {variable}"
        if service["image"] == "image-pipeline":
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
            assert "/tmp" in service["tmpfs"]
        else:
            assert re.search(r":\d", service["image"])


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_programs(tmp_path: Path) -> None:
    """What is installed is what is in the repository: no template, style sheet or migration stays behind."""
    for name in ("pipeline", "app", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", ROOT / name, tmp_path], check=True)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    (tmp_path / "dist").mkdir()
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build], cwd=tmp_path, check=True, capture_output=True
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as built:
        packed = {name for name in built.namelist() if ".dist-info/" not in name}
    ours = {
        str(path.relative_to(ROOT))
        for package in ("pipeline", "app")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == ours
