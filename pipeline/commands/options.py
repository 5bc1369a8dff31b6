"""Options that commands share, and the settings made of them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.errors import SettingsError
from pipeline.settings import Limits, Settings

Command = TypeVar("Command", bound=Callable[..., Any])

MAX_BYTES = 1 << 62
MAX_SECONDS = 1e9
"""What the system's counters of bytes and seconds hold, with room to add to it."""
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class ByteSize(click.ParamType[int, str | int]):
    """A number of bytes, with an optional unit: 500M, 64GiB, 1048576."""

    name = "size"

    def __init__(self, least: int = 1) -> None:
        self._least = least

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a size; fails on what is none, or less than is needed."""
        if isinstance(value, int):
            return value
        text = value.strip().lower().removesuffix("b").removesuffix("i")
        number, unit = (text[:-1], text[-1]) if text[-1:] in {"k", "m", "g", "t"} else (text, "")
        try:
            size = int(float(number) * _UNITS[unit])
        except (ValueError, OverflowError):
            size = -1
        if not 0 <= size < MAX_BYTES:
            self.fail(f"{value!r} is not a size; write for example 500M or 64GiB", param, ctx)
        if size < self._least:
            self.fail(f"{value!r} is too little; the least is {size_words(self._least)}", param, ctx)
        return size


def size_words(count: int) -> str:
    """Write a number of bytes as `ByteSize` reads it, with the largest unit that divides it."""
    for unit in ("T", "G", "M", "K"):
        if count and count % _UNITS[unit.lower()] == 0:
            return f"{count // _UNITS[unit.lower()]}{unit}iB"
    return str(count)


class Duration(click.ParamType[float, str | float]):
    """A time in seconds, with optional units: 90, 45s, 50m, 1h30m; `nothing` says whether it may be none."""

    name = "duration"

    def __init__(self, *, nothing: bool = False) -> None:
        self._nothing = nothing

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a duration; fails on what is none, and on one of nothing unless that is allowed."""
        if isinstance(value, int | float):
            return value
        parts = re.fullmatch(
            r"(?:([\d.]+)d)?(?:([\d.]+)h)?(?:([\d.]+)m(?:in)?)?(?:([\d.]+)s?)?", value.strip()
        )
        try:
            numbers = [float(part or 0) for part in parts.groups()] if parts and any(parts.groups()) else []
        except ValueError:
            numbers = []
        if not numbers:
            self.fail(f"{value!r} is not a duration; write for example 90s, 50m or 1h30m", param, ctx)
        seconds = sum(number * unit for number, unit in zip(numbers, (86400, 3600, 60, 1), strict=True))
        if not (seconds or self._nothing):
            self.fail(
                f"{value!r} is no time at all; write for example 90s or 50m, or leave it out", param, ctx
            )
        if seconds > MAX_SECONDS:
            self.fail(f"{value!r} is longer than can be counted; write for example 90s or 50m", param, ctx)
        return seconds


class Number(click.FloatRange):
    """A number of a range; what is endless or no number at all would switch off what it limits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a number; fails on nan and on infinity."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number that limits anything", param, ctx)
        return number


class Encoding(click.ParamType[str, str]):
    """The name of an encoding that Python can turn bytes into text with."""

    name = "encoding"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read the name; fails on one that is unknown or no encoding of text."""
        try:
            b"a.png".decode(value)
        except (LookupError, UnicodeError, ValueError):
            self.fail(
                f"{value!r} is not an encoding of text; write for example cp866 or shift_jis", param, ctx
            )
        return value


def option(name: str, env: str, **attributes: Any) -> Callable[[Command], Command]:
    """Declare an option with its environment variable and default shown in `--help`."""
    attributes.setdefault("show_default", True)
    return click.option(name, envvar=env, show_envvar=True, **attributes)


def format_option(env: str, *forms: str) -> Callable[[Command], Command]:
    """Declare `--format`, the first of `forms` by default; the command gets it as `form`."""
    return click.option(
        "--format",
        "form",
        envvar=env,
        show_envvar=True,
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help="For people, or for programs.",
    )


def group(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Make one decorator of several options, which `--help` shows in their order."""

    def add(command: Command) -> Command:
        for add_option in reversed(options):
            command = add_option(command)
        return command

    return add


database_options = group(
    option(
        "--database-url",
        "DATABASE_URL",
        default=None,
        help="Postgres to use instead of the embedded one.",
    ),
    option(
        "--data",
        "PIPELINE_DATA",
        type=click.Path(path_type=Path, file_okay=False),
        default=Settings().data,
        help="Folder of the embedded Postgres.",
    ),
)
"""The options that say which Postgres holds the catalog."""


def make_settings(values: dict[str, Any]) -> Settings:
    """Make settings from option values by name; raises `SettingsError` for those that make no sense."""
    limit_names = {entry.name for entry in fields(Limits)}
    limits = Limits(**{name: values[name] for name in limit_names & values.keys()})
    names = {entry.name for entry in fields(Settings)} - {"limits"}
    given = {name: values[name] for name in names & values.keys()}
    token = os.environ.get("IMAGE_API_TOKEN", "").strip() or None
    settings = Settings(**given, limits=limits, api_token=token)
    extracted, static = settings.extracted.resolve(), settings.static.resolve()
    if extracted == static or extracted in static.parents or static in extracted.parents:
        raise SettingsError(f"--extracted {extracted} and --static {static} must lie apart from each other.")
    if settings.quarantine:
        quarantine = settings.quarantine.resolve()
        for other in (extracted, static, settings.input.resolve()):
            if quarantine == other or other in quarantine.parents or quarantine in other.parents:
                raise SettingsError(f"--quarantine {quarantine} must lie apart from {other}.")
    return settings
