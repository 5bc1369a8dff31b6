"""What one would write in an afternoon: extract all, load with Pillow, one INSERT a row.

`python -m bench.plain DATABASE_URL TARGET ARCHIVE...`
"""

from __future__ import annotations

import hashlib
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import psycopg
from PIL import Image


def main(url: str, target: str, archives: Sequence[str]) -> None:
    """Take archives in, without checks, resume or isolation."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE TABLE plain (id serial PRIMARY KEY, sha1 text, width int, height int, type text, path text)"
        )
        for archive in archives:
            folder = Path(target) / Path(archive).stem
            with zipfile.ZipFile(archive) as zip_:
                zip_.extractall(folder)
            for path in sorted(folder.rglob("*")):
                if not path.is_file():
                    continue
                with Image.open(path) as image:
                    image.load()
                    width, height = image.size
                    type_ = image.format
                sha1 = hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
                connection.execute(
                    "INSERT INTO plain (sha1, width, height, type, path) VALUES (%s, %s, %s, %s, %s)",
                    (sha1, width, height, type_, str(path)),
                )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
