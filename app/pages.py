"""Rendering pages: templates, the words they use, and headers under which no script runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from app.assets import asset_url
from pipeline.reasons import archive_sentence, sentence
from pipeline.words import printable

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_UNITS = ("bytes", "KB", "MB", "GB", "TB")


@lru_cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("app"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = asset_url
    made.filters |= {"bytes": human_bytes, "number": human_number, "when": human_time}
    made.filters |= {"sentence": sentence, "archive_sentence": archive_sentence, "plain": printable}
    return made


def page(
    name: str, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None, **values: object
) -> HTMLResponse:
    """Render a template as an answer, with more headers if given."""
    text = _templates().get_template(name).render(**values)
    return HTMLResponse(text, status, {**HEADERS, **(headers or {})})


def human_bytes(size: int) -> str:
    """Write a size as people do: 1.4 MB."""
    amount = float(size)
    for unit in _UNITS:
        if amount < 1000 or unit == _UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("the last unit takes everything")  # pragma: no cover


def human_number(number: int) -> str:
    """Write a number in groups of three."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def human_time(time: datetime) -> str:
    """Write a moment to the minute."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
