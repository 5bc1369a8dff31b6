"""A supervisor learns whether the server is alive and ready, and Prometheus how it does."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.app.conftest import Api, Apis
from tests.conftest import end_connections, sibling


def figures(api: Api) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Read the figures of a server."""
    text = api.client.get("/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def failing(api: Api) -> set[str]:
    """Give what the server says is failing."""
    answer = api.client.get("/health/ready")
    if answer.status_code == 200:
        return set()
    assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
    assert answer.headers["retry-after"]
    return set(answer.json()["detail"].removeprefix("Failing: ").removesuffix(".").split(", "))


@pytest.mark.slow
def test_a_server_without_its_database_is_alive_but_not_ready(apis: Apis) -> None:
    """When the database goes away the server says so, and it recovers by itself."""
    api = apis.start()
    assert api.client.get("/health/live").json() == {"status": "alive"}
    assert api.client.get("/health/ready").json() == {"status": "ready"}
    name = urlsplit(api.workspace.url).path[1:]
    with psycopg.connect(sibling(api.workspace.url, "postgres"), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        end_connections(admin, name)
        assert failing(api) == {"database"}
        assert api.client.get("/health/live").status_code == 200
        assert "image_api_database_connections" in api.client.get("/metrics").text
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    end = time.monotonic() + 180
    while failing(api):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_a_server_whose_catalog_or_store_changed_is_not_ready(apis: Apis) -> None:
    """A schema that a newer program has made meanwhile, and a store in which nothing can be created, are told."""
    api = apis.start()
    with psycopg.connect(api.workspace.url, autocommit=True) as connection:
        connection.execute("INSERT INTO schema_version (version) VALUES (9999)")
    assert failing(api) == {"schema"}
    static = api.workspace.static
    static.rename(static.with_name("away"))
    static.write_text("in the way", "utf-8")
    assert failing(api) == {"schema", "store"}


@pytest.mark.slow
def test_requests_are_counted_by_their_route(apis: Apis) -> None:
    """Figures are by template, whatever is asked for, and the catalog is counted."""
    api = apis.start()
    for number in range(3):
        api.client.get(f"/images/{number:040x}")
        api.client.get(f"/nothing/{number}")
    images = {("method", "GET"), ("route", "/images/{digest}")}
    nothing = {("method", "GET"), ("route", "none")}
    expected = {
        ("image_api_requests_total", frozenset({*images, ("status", "404")})): 3,
        ("image_api_request_seconds_count", frozenset(images)): 3,
        ("image_api_requests_total", frozenset({*nothing, ("status", "404")})): 3,
        ("image_api_catalog_images", frozenset()): 0,
        ("image_api_requests_running", frozenset()): 1,
    }
    # A request is counted after its answer was sent.
    end = time.monotonic() + 180
    while (found := figures(api)) | expected != found and time.monotonic() < end:
        time.sleep(0.02)
    assert {key: found[key] for key in expected} == expected


@pytest.mark.slow
def test_health_is_open_and_figures_are_protected_like_reading(apis: Apis) -> None:
    """A supervisor needs no token, also of a private server; Prometheus does."""
    api = apis.start(IMAGE_API_PRIVATE="1", IMAGE_API_TOKEN="hush")
    for path, status in (("/health/live", 200), ("/health/ready", 200), ("/metrics", 401)):
        assert api.client.get(path).status_code == status
        assert api.client.get(path, headers={"Authorization": "Bearer hush"}).status_code == 200
