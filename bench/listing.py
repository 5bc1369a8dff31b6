"""How long `GET /images?limit=100` takes in the database as the catalog grows, and by which plan.

    python -m bench.listing [ROWS]

Makes a catalog of ROWS images (default one million) in an embedded Postgres of its own, and prints for each kind of
listing the median of what EXPLAIN (ANALYZE) measures, and the plan of the first.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from pipeline.catalog.listing import Filters, listing
from pipeline.catalog.schema import migrate
from pipeline.server import EmbeddedServer

ROUNDS = 15
FILL = """
INSERT INTO archive (digest, name, folder, state, size, members, stored)
SELECT sha256(('archive' || n)::bytea), 'archive-' || n || '.zip', '', 'done', 1, 5000, 5000
FROM generate_series(1, greatest(1, %(rows)s / 5000)) AS n;
INSERT INTO image_info (sha256, sha1, width, height, type, byte_size, local_url, mode, frames, dhash)
SELECT sha256(n::text::bytea), substr(sha256(n::text::bytea), 1, 20), 100 + n %% 5000, 100 + n %% 3000,
    CASE WHEN n %% 1000 = 0 THEN 'gif' WHEN n %% 5 = 0 THEN 'png' ELSE 'jpeg' END, 100000,
    '/static/' || encode(sha256(n::text::bytea), 'hex'), 'RGB', 1, n
FROM generate_series(1, %(rows)s) AS n;
INSERT INTO image_source (image_id, archive_id, member_index, member_name, verdict)
SELECT n, 1 + (n - 1) / 5000 %% greatest(1, %(rows)s / 5000), n, 'folder/IMG_' || n || '.jpg', 'stored'
FROM generate_series(1, %(rows)s) AS n
"""


def questions(rows: int) -> dict[str, tuple[int, int | None, Filters]]:
    """Give the listings that are measured."""
    return {
        "limit=100": (101, None, Filters()),
        "limit=100, in the middle": (101, rows // 2, Filters()),
        "limit=1000": (1001, None, Filters()),
        "type=png": (101, None, Filters(type="png")),
        "type=gif (1 in 1,000)": (101, None, Filters(type="gif")),
        "min_width=5000": (101, None, Filters(min_width=5000)),
        "archive=archive-7.zip": (101, None, Filters(archive="archive-7.zip")),
        "q=img_ (every one)": (101, None, Filters(q="img_")),
        "q=img_12345.jpg (one)": (101, None, Filters(q="img_12345.jpg")),
    }


def measure(connection: psycopg.Connection, asked: tuple[int, int | None, Filters]) -> tuple[float, str]:
    """Give the median milliseconds of a listing, planning and execution, and its plan."""
    query, values = listing(*asked)
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}".encode()
    times = []
    for _ in range(ROUNDS):
        row: Any = connection.execute(explain, values).fetchone()
        times.append(row[0][0]["Planning Time"] + row[0][0]["Execution Time"])
    lines = connection.execute(f"EXPLAIN (ANALYZE, COSTS OFF) {query}".encode(), values).fetchall()
    return statistics.median(times), "\n".join(line[0] for line in lines)


def main() -> None:
    """Make the catalog, measure, print."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="pipeline-bench-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedServer(Path(folder) / "data") as server:
            migrate(server.url)
            with psycopg.connect(server.url, autocommit=True) as connection:
                for statement in FILL.split(";"):
                    connection.execute(statement.encode(), {"rows": rows} if "%" in statement else None)
                connection.execute("VACUUM ANALYZE")
                connection.execute("SET jit = off")
                plan = ""
                print(f"{rows:,} images; median of {ROUNDS}, planning and execution, in the database:")
                for name, asked in questions(rows).items():
                    milliseconds, found = measure(connection, asked)
                    plan = plan or found
                    print(f"{milliseconds:10.2f} ms  {name}", flush=True)
    print(f"\nPlan of the first:\n{plan}")


if __name__ == "__main__":
    main()
