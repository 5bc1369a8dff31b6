"""Errors as RFC 9457 problem documents with a stable code; no traceback leaves the server."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from pipeline.errors import CatalogUnavailable, StoreError

log = logging.getLogger("app")

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """An error document (RFC 9457, section 3) with a stable `code`."""

    type: str = Field(default="about:blank", examples=["about:blank"])
    title: str
    status: int
    code: str
    detail: str = ""


class ProblemError(HTTPException):
    """An error that is answered as a problem document."""

    def __init__(
        self, status: int, code: str, detail: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code


def busy(detail: str, status: int = 503) -> ProblemError:
    """Make the answer of a server that has enough to do already."""
    return ProblemError(status, "busy", detail, {"Retry-After": "1"})


def response(status: int, code: str, detail: str = "", headers: dict[str, str] | None = None) -> JSONResponse:
    """Make the answer of a problem."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, code=code, detail=detail)
    return JSONResponse(problem.model_dump(), status, headers, MEDIA_TYPE)


def _allowed(request: Request) -> list[str]:
    """Give the methods of all routes that have a request's path; the framework names those of the first one."""
    found: set[str] = set()
    for outer in request.app.router.routes:
        # Newer versions of the framework keep included routers whole.
        included = getattr(outer, "original_router", None)
        for route in included.routes if included else [outer]:
            if route.matches(request.scope)[0] is not Match.NONE:
                found |= getattr(route, "methods", None) or set()
    return sorted(found)


def install(app: FastAPI) -> None:
    """Answer every error of an application as a problem document."""

    async def on_problem(request: Request, error: Exception) -> JSONResponse:
        del request
        problem = cast("ProblemError", error)
        return response(problem.status_code, problem.code, problem.detail, dict(problem.headers or {}))

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        problem = cast("HTTPException", error)
        code = HTTPStatus(problem.status_code).phrase.lower().replace(" ", "-")
        headers = dict(problem.headers or {})
        if problem.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_allowed(request))
        return response(problem.status_code, code, str(problem.detail), headers)

    async def on_invalid(request: Request, error: Exception) -> JSONResponse:
        del request
        problems = cast("RequestValidationError", error).errors()
        lines = [f"{'.'.join(str(part) for part in p['loc'])}: {p['msg']}" for p in problems[:10]]
        return response(422, "invalid-request", "; ".join(lines))

    async def on_unavailable(request: Request, error: Exception) -> JSONResponse:
        log.warning("database unavailable on %s: %s", request.url.path, error)
        return response(503, "database-unavailable", "Try again shortly.", {"Retry-After": "5"})

    async def on_store(request: Request, error: Exception) -> JSONResponse:
        log.error("store failed on %s: %s", request.url.path, error)
        return response(507, "store-failed", "Files cannot be written; see the server's log.")

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(CatalogUnavailable, on_unavailable)
    app.add_exception_handler(StoreError, on_store)
