"""A delivery through the API, to be compared with one straight into Postgres."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from tests.app.conftest import Api, Apis
from tests.integration.test_crash import wipe
from tests.workspace import Ran, Workspace

Catalog = dict[str, list[tuple[Any, ...]]]


class Delivery:
    """A workspace whose archives are delivered to an API on its database, or straight into it."""

    def __init__(self, workspace: Workspace, apis: Apis) -> None:
        self.workspace = workspace
        self.apis = apis

    def straight(self, *arguments: str) -> tuple[Catalog, dict[str, bytes]]:
        """Ingest straight into Postgres; give the catalog and the files, and leave nothing of them."""
        ran = self.workspace.ingest(*arguments)
        assert ran.code in {0, 1}, ran.err
        found = self.workspace.catalog(), self.workspace.files()
        wipe(self.workspace)
        return found

    def through(self, url: str, *arguments: str) -> Ran:
        """Ingest through the API at a URL, with no way to the database."""
        return self.workspace.ingest(
            "--sink", "api", "--api-url", url, "--database-url", "nowhere", *arguments
        )


def port(api: Api) -> int:
    """Give the port that a server listens on."""
    found = urlsplit(api.url).port
    assert found
    return found
