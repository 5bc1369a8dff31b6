"""Write the README's reference anew from the code: commands, settings, routes, reasons; `--check` only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import click

from app.command import main as serve
from app.main import create_app
from app.settings import ApiSettings, variable_of
from pipeline.cli import cli
from pipeline.reasons import ARCHIVE_REASONS, MEMBER_REASONS

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- reference: begin -->", "<!-- reference: end -->"


def reference() -> str:
    """Give the reference as Markdown."""
    return "\n".join([*_commands(), *_settings(), *_routes(), *_reasons()])


def inserted(text: str) -> str:
    """Put the reference between its marks in a document."""
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    return f"{head}{BEGIN}\n{reference()}\n{END}{tail}"


def _commands() -> Iterator[str]:
    yield "### Commands\n"
    yield "Every option can be set by the environment variable beside it; what the command line says wins.\n"
    described: dict[str, str] = {}
    for path, command in (*walk(cli, "python -m pipeline"), ("python -m app", serve)):
        with click.Context(command, info_name=path, **command.context_settings) as context:
            yield f"#### `{path}`\n"
            yield f"{command.get_short_help_str(300)} `{' '.join(command.collect_usage_pieces(context))}`\n"
            rows = {p.opts[0]: _option(p, context) for p in command.params if isinstance(p, click.Option)}
        again = [name for name, row in rows.items() if described.get(name) == row]
        fresh = {name: row for name, row in rows.items() if name not in again}
        described |= fresh
        if fresh:
            yield "| option | environment | default | meaning |\n| --- | --- | --- | --- |"
            yield from (*fresh.values(), "")
        if again:
            yield f"{'Also' if fresh else 'Options'}, as above: {', '.join(f'`{name}`' for name in again)}.\n"


def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command below one, with the words that call it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        if child is not None:
            yield from walk(child, f"{path} {name}")


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    metavar = "" if option.is_flag else f" `{option.make_metavar(context)}`"
    prefix = context.auto_envvar_prefix
    variable = option.envvar or (f"{prefix}_{(option.name or '').upper()}" if prefix else "")
    variable = f"`{variable}`" if variable else ""
    extra = option.get_help_extra(context)
    default = extra.get("default") or ""
    return _row(names + metavar, variable, f"`{default}`" if default else "", option.help or "")


def _settings() -> Iterator[str]:
    yield "### Settings of the API\n"
    yield "Environment variables; sizes in bytes, times in seconds, lists with commas.\n"
    yield "| variable | default | meaning |\n| --- | --- | --- |"
    hints = get_type_hints(ApiSettings, include_extras=True)
    for setting in fields(ApiSettings):
        default = setting.default
        if isinstance(default, tuple):
            default = ",".join(str(part) for part in default)
        shown = "" if default is None or default is False or default == "" else f"`{default}`"
        yield _row(f"`{variable_of(setting.name)}`", shown, hints[setting.name].__metadata__[0])
    yield ""


def _routes() -> Iterator[str]:
    yield "### Routes of the API\n"
    yield "`/openapi.json` has every parameter and answer. Errors are problem documents (RFC 9457) with a `code`.\n"
    yield "| route | what it does | answers |\n| --- | --- | --- |"
    for path, methods in create_app().openapi()["paths"].items():
        for method, operation in methods.items():
            said = operation.get("description") or operation.get("summary", "")
            answers = ", ".join(sorted(operation["responses"]))
            yield _row(f"`{method.upper()} {path}`", said.split("\n\n")[0], answers)
    yield ""


def _reasons() -> Iterator[str]:
    yield "### Reasons\n"
    yield "Of members:\n"
    yield "| reason | meaning |\n| --- | --- |"
    yield from (_row(f"`{code}`", sentence) for code, sentence in MEMBER_REASONS.items())
    yield "\nOf archives:\n"
    yield "| reason | meaning |\n| --- | --- |"
    yield from (_row(f"`{code}`", sentence) for code, sentence in ARCHIVE_REASONS.items())


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    before = README.read_text("utf-8")
    after = inserted(before)
    if "--check" in sys.argv[1:]:
        sys.exit(0 if after == before else "README.md does not say what the code says; run: make reference")
    README.write_text(after, "utf-8")
