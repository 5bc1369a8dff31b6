"""A workspace in which the real command line runs over real archives into a real Postgres."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests" / "sample.zip"
"""What `make ingest` takes at first, in a copy: the tests hold also when that zip was moved or deleted since."""

CATALOG = {
    "image_info": """SELECT encode(sha256, 'hex'), encode(sha1, 'hex'), width, height, type, byte_size, local_url,
        mode, frames, orientation, captured_at, captured_offset, dhash, remarks FROM image_info ORDER BY 1""",
    "image_source": """SELECT encode(a.digest, 'hex'), s.member_index, s.member_name, encode(i.sha256, 'hex'), s.verdict
        FROM image_source s JOIN archive a ON a.id = s.archive_id JOIN image_info i ON i.id = s.image_id
        ORDER BY 1, 2""",
    "unstored_member": """SELECT encode(a.digest, 'hex'), u.member_index, u.member_name, u.verdict, u.reason
        FROM unstored_member u JOIN archive a ON a.id = u.archive_id ORDER BY 1, 2""",
    "archive": """SELECT encode(digest, 'hex'), name, state, reason, members, stored, duplicate, rejected, ignored,
        failed FROM archive ORDER BY 1""",
}
"""Whole tables without surrogate ids and times: equal catalogs give equal rows."""

BLOCKED = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'"""
"""How many connections wait for a lock."""


@dataclass
class Ran:
    """What one run of the command line left."""

    code: int
    out: str
    err: str
    report: dict[str, Any]

    def verdict(self, name: str) -> tuple[str, str]:
        """Give an archive's verdict and reason."""
        return next((a["verdict"], a["reason"]) for a in self.report["archives"] if a["name"] == name)


@dataclass
class Workspace:
    """Folders and a database of their own for one test."""

    root: Path
    url: str
    input: Path = field(init=False)
    extracted: Path = field(init=False)
    static: Path = field(init=False)

    def __post_init__(self) -> None:
        self.input, self.extracted, self.static = (
            self.root / name for name in ("images_zip_input", "extracted", "static")
        )
        for folder in (self.input, self.extracted, self.static):
            folder.mkdir(parents=True, exist_ok=True)

    def empty(self) -> None:
        """Forget everything that was taken in."""
        tables = "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables WHERE schemaname = 'public'"
        ((names,),) = self.query(f"{tables} AND tablename <> 'schema_version'")
        self.execute(f"TRUNCATE {names} RESTART IDENTITY")
        for folder in (self.input, self.extracted, self.static):
            shutil.rmtree(folder)
            folder.mkdir()

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which the command line finds this workspace."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("PIPELINE_")},
            "DATABASE_URL": self.url,
            "PIPELINE_INPUT": str(self.input),
            "PIPELINE_EXTRACTED": str(self.extracted),
            "PIPELINE_STATIC": str(self.static),
            # Several tests run at once, and machines have many cores.
            "PIPELINE_WORKERS": "2",
            "PYTHONPATH": str(ROOT),
            "PYTHONDEVMODE": "",
        }

    def command(self, *arguments: str | Path) -> list[str]:
        """Give the words of a command line."""
        return [sys.executable, "-m", "pipeline", *map(str, arguments)]

    def run(self, *arguments: str | Path) -> Ran:
        """Run any command to its end."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr, {})

    def ingest(self, *arguments: str | Path) -> Ran:
        """Run `ingest` to its end and read its report."""
        path = self.root / "report.json"
        path.unlink(missing_ok=True)
        ran = self.run("ingest", "--report", path, *arguments)
        if path.exists():
            ran.report = json.loads(path.read_text("utf-8"))
        return ran

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the database."""
        with psycopg.connect(self.url, row_factory=tuple_row) as connection:
            return connection.execute(sql.encode(), parameters or None).fetchall()

    def execute(self, sql: str) -> None:
        """Change the database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.encode())

    def catalog(self, tables: Sequence[str] = tuple(CATALOG)) -> dict[str, list[tuple[Any, ...]]]:
        """Give whole tables, comparable between runs."""
        return {table: self.query(CATALOG[table]) for table in tables}

    def files(self) -> dict[str, bytes]:
        """Give every file below the extracted tree and the store, with its content."""
        return {
            str(path.relative_to(folder.parent)): path.read_bytes()
            for folder in (self.extracted, self.static)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
