"""The shapes of work that are measured, and who is measured on each."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.archives import endless, pack, pack_many, scenes
from bench.peers import module, peers
from bench.room import Desk, Room
from bench.served import free_port, serving

Start = Callable[[Desk], list[str]]
BARE = ["-c", "import click, psycopg"]
FEW = ("pipeline, decode", "floor, decode", "plain script")


def alone(desk: Desk) -> AbstractContextManager[object]:
    """Run nothing beside a contestant."""
    return nullcontext(desk)


@dataclass(frozen=True, slots=True)
class Case:
    """One contestant on one input: how it is started, on how many images, or why it is left out."""

    name: str
    start: Start
    images: int
    archives: tuple[Path, ...]
    like: Desk | None = None
    keeps: bool = False
    """Whether all runs share the desk `like` instead of having a clean one each."""
    missing: str = ""
    beside: Callable[[Desk], AbstractContextManager[object]] = alone
    """What runs beside the contestant, started before the clock."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What shapes are made from; `scale` 1 is the full size."""

    room: Room
    scale: float
    photos: Path | None
    stack: ExitStack

    def size(self, full: int) -> int:
        """Scale a number of things."""
        return max(2, round(full * self.scale))

    def folder(self, name: str) -> Path:
        """Give a folder for a shape's archives."""
        folder = self.room.folder / name
        folder.mkdir()
        return folder


def pipeline(*options: str, embedded: bool = False) -> Start:
    """Start the pipeline into the running server, or into an embedded one of its own."""

    def start(desk: Desk) -> list[str]:
        place = [] if embedded else ["--database-url", desk.url]
        named = [str(archive) for archive in desk.archives] if len(desk.archives) == 1 else []
        return module("pipeline", "ingest", *place, *options, *named)

    return start


def floor(check: str) -> Start:
    """Start the floor."""
    return lambda desk: module("bench.floor", check, str(desk.extracted), *map(str, desk.archives))


def plain(desk: Desk) -> list[str]:
    """Start the plain script."""
    return module("bench.plain", desk.url, str(desk.extracted), *map(str, desk.archives))


def _contest(archives: tuple[Path, ...], images: int, names: Sequence[str] = ()) -> list[Case]:
    starts: dict[str, tuple[Start, str]] = {
        "pipeline, decode": (pipeline(), ""),
        "pipeline, header": (pipeline("--check", "header"), ""),
        "floor, decode": (floor("decode"), ""),
        "floor, header": (floor("header"), ""),
        "plain script": (plain, ""),
        **{name: (start, missing) for name, start, missing in peers()},
    }
    return [
        Case(name, start, images, archives, missing=missing)
        for name, (start, missing) in starts.items()
        if not names or name in names
    ]


def photos(inputs: Inputs) -> list[Case]:
    """5,000 photographs of about 115 KB in one archive."""
    count = inputs.size(5000)
    images = endless(scenes(inputs.photos, "photos"))
    return _contest((pack(inputs.folder("photos") / "photos.zip", images, count),), count)


def tiny(inputs: Inputs) -> list[Case]:
    """200,000 images of about 1 KB in one archive."""
    count = inputs.size(200_000)
    images = endless(scenes(None, "tiny"))
    return _contest((pack(inputs.folder("tiny") / "tiny.zip", images, count),), count, FEW)


def large(inputs: Inputs) -> list[Case]:
    """50 photographs of 22 megapixels in one archive."""
    count = inputs.size(50)
    images = endless(scenes(None, "large"))
    return _contest((pack(inputs.folder("large") / "large.zip", images, count),), count, FEW)


def many(inputs: Inputs) -> list[Case]:
    """2,000 archives of 5 photographs."""
    count = inputs.size(2000)
    made = pack_many(inputs.room.folder / "many", scenes(inputs.photos, "photos"), count, 5)
    return _contest(made, count * 5, FEW)


def again(inputs: Inputs) -> list[Case]:
    """Nothing new: every archive was processed before, one of them or 10,000."""
    cases = []
    originals = scenes(None, "tiny")
    for label, count in (("one", 1), ("many", inputs.size(10_000))):
        made = pack_many(inputs.room.folder / f"again-{label}", originals, count, 1)
        desk = inputs.stack.enter_context(inputs.room.desk(made))
        words = [pipeline()(desk), pipeline(embedded=True)(desk)]
        for line in words:
            subprocess.run(line, env=desk.environ, cwd=desk.folder, check=True, capture_output=True)
        bare: Start = lambda _: module("-c")[:1] + BARE  # noqa: E731
        for name, start in (
            ("import click, psycopg", bare),
            (f"pipeline, {label} known", pipeline()),
            (f"pipeline, {label} known, embedded", pipeline(embedded=True)),
        ):
            if start is not bare or count == 1:
                cases.append(Case(name, start, 1, made, like=desk, keeps=True))
    return cases


def repeated(inputs: Inputs) -> list[Case]:
    """The photographs of one archive again: as the same file under another name, and packed anew."""
    count = inputs.size(5000)
    folder = inputs.folder("repeated")
    originals = scenes(inputs.photos, "photos")
    first = (pack(folder / "first.zip", endless(originals), count),)
    anew = (pack(folder / "anew.zip", endless(originals), count, "again/"),)
    renamed = folder / "renamed.zip"
    renamed.write_bytes(first[0].read_bytes())
    desk = inputs.stack.enter_context(inputs.room.desk(first))
    subprocess.run(pipeline()(desk), env=desk.environ, cwd=desk.folder, check=True, capture_output=True)
    return [
        Case("pipeline, fresh", pipeline(), count, first),
        Case("pipeline, all duplicates", pipeline(), count, anew, like=desk),
        Case("pipeline, renamed", pipeline(), count, (renamed,), like=desk),
    ]


def growth(inputs: Inputs) -> list[Case]:
    """One to ten times the work, for time that grows with it and memory that does not."""
    folder, originals = inputs.folder("growth"), scenes(None, "tiny")
    cases = []
    for factor in (1, 2, 5, 10):
        count = inputs.size(20_000) * factor
        made = (pack(folder / f"{factor}.zip", endless(originals), count),)
        cases.append(Case(f"pipeline, ×{factor}", pipeline(), count, made))
    return cases


def delivery(inputs: Inputs) -> list[Case]:
    """The photographs through the Image API: client, server and Postgres share the cores."""
    count, port = inputs.size(5000), free_port()
    made = (pack(inputs.folder("delivery") / "photos.zip", endless(scenes(inputs.photos, "photos")), count),)
    url = f"http://127.0.0.1:{port}"

    def single(desk: Desk) -> list[str]:
        return module("bench.single", url, *map(str, desk.archives))

    beside = partial(serving, port=port)
    return [
        Case("pipeline, --sink api", pipeline("--sink", "api", "--api-url", url), count, made, beside=beside),
        Case("floor, both sides", floor("delivered"), count, made),
        Case("pipeline, --sink postgres", pipeline(), count, made),
        Case("one request an image", single, count, made, beside=beside),
    ]


SHAPES: dict[str, Callable[[Inputs], list[Case]]] = {
    "photos": photos,
    "tiny": tiny,
    "large": large,
    "many": many,
    "again": again,
    "repeated": repeated,
    "growth": growth,
    "delivery": delivery,
}


def cases(inputs: Inputs, names: Sequence[str]) -> Iterator[tuple[str, str, list[Case]]]:
    """Yield each shape's name, its sentence and its contestants, archives packed."""
    for name in names:
        yield name, (SHAPES[name].__doc__ or "").strip(), SHAPES[name](inputs)
