"""Errors as RFC 9457 problem documents with a stable code, or as pages; no traceback leaves the server."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from app.pages import page
from pipeline.errors import CatalogUnavailable, StoreError

log = logging.getLogger("app")

MEDIA_TYPE = "application/problem+json"
PAGES = frozenset({"", "view", "ledger", "docs"})
"""What the paths of pages begin with."""
TITLES = {
    404: "Not found",
    422: "That makes no sense here",
    500: "Something went wrong",
    503: "Not just now",
}
"""What people read instead of the protocol's words."""
A_DIGEST = "A digest has 40 (SHA-1) or 64 (SHA-256) hexadecimal digits."
UNLIKE = {("path", "digest"): A_DIGEST, ("query", "sha1"): "A SHA-1 has 40 hexadecimal digits."}
"""What is said of values instead of the pattern that they do not match."""


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


def answer(scope: Scope, problem: ProblemError) -> Response:
    """Make the answer of a problem: a page where a person's browser asks for a page, else the document."""
    status, headers = problem.status_code, dict(problem.headers or {})
    nowhere = status == HTTPStatus.NOT_FOUND and "route" not in scope
    if not (nowhere or scope["path"].split("/")[1] in PAGES):
        return response(status, problem.code, problem.detail, headers)
    headers["Vary"] = "Accept"
    if not _asks_for_a_page(scope):
        return response(status, problem.code, problem.detail, headers)
    title = TITLES.get(status) or HTTPStatus(status).phrase
    lines = problem.detail.split("; ")
    return page("problem.html", status, headers, title=title, lines=lines, number=status, code=problem.code)


def _asks_for_a_page(scope: Scope) -> bool:
    accepted = Headers(scope=scope).get("accept", "")
    return scope["method"] in {"GET", "HEAD"} and "text/html" in accepted and "json" not in accepted


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


def _said(problem: dict[str, Any]) -> str:
    """Say what is wrong with one value of a request, and where it stands."""
    place = tuple(problem["loc"])
    unlike = UNLIKE.get(place) if problem["type"] == "string_pattern_mismatch" else None
    return f"{'.'.join(map(str, place))}: {unlike or problem['msg']}"


def install(app: FastAPI) -> None:
    """Answer every error of an application as a problem."""

    async def on_problem(request: Request, error: Exception) -> Response:
        return answer(request.scope, cast("ProblemError", error))

    async def on_http(request: Request, error: Exception) -> Response:
        problem = cast("HTTPException", error)
        phrase = HTTPStatus(problem.status_code).phrase
        headers = dict(problem.headers or {})
        detail = str(problem.detail)
        if problem.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_allowed(request))
        if problem.status_code == HTTPStatus.NOT_FOUND and detail == phrase:
            images = request.url.path.startswith("/images/")
            detail = "There is nothing at this address." + f" {A_DIGEST}" * images
        code = phrase.lower().replace(" ", "-")
        return answer(request.scope, ProblemError(problem.status_code, code, detail, headers))

    async def on_invalid(request: Request, error: Exception) -> Response:
        problems = cast("RequestValidationError", error).errors()
        lines = "; ".join(_said(problem) for problem in problems[:10])
        return answer(request.scope, ProblemError(422, "invalid-request", lines))

    async def on_unavailable(request: Request, error: Exception) -> Response:
        log.warning("database unavailable on %s: %s", request.url.path, error)
        problem = ProblemError(
            503, "database-unavailable", "The database is away; try again shortly.", {"Retry-After": "5"}
        )
        return answer(request.scope, problem)

    async def on_store(request: Request, error: Exception) -> Response:
        log.error("store failed on %s: %s", request.url.path, error)
        detail = "Files cannot be written; see the server's log."
        return answer(request.scope, ProblemError(507, "store-failed", detail))

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(CatalogUnavailable, on_unavailable)
    app.add_exception_handler(StoreError, on_store)
