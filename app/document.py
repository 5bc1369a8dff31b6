"""The OpenAPI document: every operation names the problems that it may answer."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from app.door import OPEN
from app.manifest import Manifest
from app.problems import MEDIA_TYPE, Problem

ALWAYS = (422, 500, 503)
GUARDED = (401, 403)
WITH_BODY = (400, 408, 413, 507)


def install(app: FastAPI) -> None:
    """Complete the document that the application makes of its routes."""
    plain = app.openapi

    def completed() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(plain())
        return app.openapi_schema or {}

    app.openapi = completed  # type: ignore[method-assign]  # FastAPI's documented way


def _complete(document: dict[str, Any]) -> None:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    manifest = Manifest.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**manifest.pop("$defs"), "Manifest": manifest}
    for made in ("HTTPValidationError", "ValidationError"):
        schemas.pop(made, None)
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operation in _operations(document):
        guarded = path not in OPEN
        operation["security"] = [{}, {"token": []}] if guarded else []
        answers = operation["responses"]
        statuses = {
            *ALWAYS,
            *(GUARDED if guarded else ()),
            *(WITH_BODY if "requestBody" in operation else ()),
        }
        for status in statuses | {int(code) for code in answers if code.isdecimal() and int(code) >= 400}:
            said = answers.get(str(status), {}).get("description")
            phrase = HTTPStatus(status).phrase
            description = said if said and said != "Validation Error" else phrase
            answers[str(status)] = _problem(description)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method in {"get", "put", "post", "delete", "patch", "head", "options"}:
                yield path, operation


def _problem(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
