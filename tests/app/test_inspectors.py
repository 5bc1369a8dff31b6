"""Files are inspected in processes that may die: that costs one file its verdict."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image as Pillow

from app.desk import Desk, Sketch, Upload
from app.inspectors import Inspectors
from app.problems import ProblemError
from pipeline.errors import ImageError
from pipeline.records import Image
from pipeline.settings import Limits
from pipeline.store import static_path


def picture(number: int, kind: str = "PNG") -> bytes:
    """Make a small picture that no other number gives."""
    colour = (number % 256, number // 256 % 256, 77)
    stream = io.BytesIO()
    Pillow.new("RGB", (20, 10), colour).save(stream, kind)
    return stream.getvalue()


def slow_picture() -> bytes:
    """Make a file that takes any decoder a minute or so: a GIF of many large frames."""
    stream = io.BytesIO()
    frames = [Pillow.new("P", (6000, 6000), number) for number in range(2)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    whole = stream.getvalue()
    second = whole.rindex(b"\x21\xf9\x04")
    return whole[:-1] + whole[second:-1] * 300 + b";"


class Shop:
    """Scratch files on their way to a store."""

    def __init__(self, root: Path) -> None:
        self.scratch, self.static = root / "scratch", root / "static"
        self.scratch.mkdir()

    def upload(self, data: bytes, sha256: bytes | None = None, name: str = "") -> Upload:
        """Give a scratch file with this content."""
        path = self.scratch / f"{len(list(self.scratch.iterdir()))}"
        path.write_bytes(data)
        return Upload(path, sha256, name)

    def stored(self) -> set[str]:
        """Give the relative paths of what the store holds."""
        return {str(path.relative_to(self.static)) for path in self.static.rglob("*") if path.is_file()}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Give an empty store and a folder for scratch files."""
    return Shop(tmp_path)


def limits(timeout: float) -> Limits:
    """Give limits that let the slow picture be decoded."""
    return Limits(timeout=timeout, max_pixels=10_000_000_000)


@pytest.fixture
def inspectors(shop: Shop) -> Iterator[Inspectors]:
    """Run two workers with much patience."""
    with Inspectors(Desk(shop.static, limits(600.0)), 2) as running:
        yield running


@pytest.fixture
def hasty(shop: Shop) -> Iterator[Inspectors]:
    """Run two workers with little patience."""
    with Inspectors(Desk(shop.static, limits(3.0)), 2) as running:
        yield running


def test_good_files_are_kept(shop: Shop, inspectors: Inspectors) -> None:
    """Every file is answered in order, and is in the store under its own digest."""
    pictures = [picture(number) for number in range(100)]
    answers = asyncio.run(inspectors.take([shop.upload(data) for data in pictures]))
    for data, answer in zip(pictures, answers, strict=True):
        assert isinstance(answer, Image)
        assert answer.sha256 == hashlib.sha256(data).digest()
        assert (shop.static / static_path(answer.sha256, "png")).read_bytes() == data
    assert len(shop.stored()) == 100


def test_bad_files_have_their_reason(shop: Shop, inspectors: Inspectors) -> None:
    """What is not an image, is cut, empty, or another file than its digest says is refused, and not kept."""
    data = picture(1, "JPEG")
    files = [
        shop.upload(b"<html>not a picture</html>"),
        shop.upload(data[:-30]),
        shop.upload(b""),
        shop.upload(data, bytes(32)),
    ]
    answers = asyncio.run(inspectors.take(files))
    reasons = [answer.reason for answer in answers if isinstance(answer, ImageError)]
    assert reasons == ["not-an-image", "truncated", "empty-file", "digest-mismatch"]
    assert shop.stored() == set()


def test_a_wrong_name_is_remarked(shop: Shop, inspectors: Inspectors) -> None:
    """A name that says another type is noted, as when the pipeline takes the file."""
    (answer,) = asyncio.run(inspectors.take([shop.upload(picture(1), name="a/b.jpg")]))
    assert isinstance(answer, Image)
    assert answer.remarks == ("extension: named .jpg",)


@pytest.mark.slow
def test_a_hang_costs_one_file(shop: Shop, hasty: Inspectors) -> None:
    """A file that takes too long is refused; those before and after it in its group are kept."""
    files = [shop.upload(picture(number)) for number in range(20)]
    files[7] = shop.upload(slow_picture())
    answers = asyncio.run(hasty.take(files))
    refused = {place: answer.reason for place, answer in enumerate(answers) if isinstance(answer, ImageError)}
    assert refused == {7: "decoder-timeout"}
    assert len(shop.stored()) == 19


@pytest.mark.skipif(sys.platform != "linux", reason="which file a process has open is read from /proc")
def test_a_crash_costs_one_file(shop: Shop, inspectors: Inspectors) -> None:
    """A worker that is killed in the middle of its work costs the file that it was at."""
    slow = shop.upload(slow_picture())

    async def killing() -> list[Image | ImageError]:
        work = asyncio.create_task(inspectors.take([shop.upload(picture(1)), slow]))
        while not (busy := [worker for worker in workers() if has_open(worker, slow.path)]):
            assert not work.done()
            await asyncio.sleep(0.01)
        busy[0].send_signal(signal.SIGSEGV)
        return await work

    good, killed = asyncio.run(killing())
    assert isinstance(good, Image)
    assert isinstance(killed, ImageError)
    assert killed.reason == "decoder-crashed"


def workers() -> list[psutil.Process]:
    """Give the workers of this process: children of its own fork server, not of the servers that other tests use."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "multiprocessing.forkserver" in " ".join(child.cmdline()):
                found += child.children()
    return found


def has_open(process: psutil.Process, path: Path) -> bool:
    """Tell whether a process has a file open or mapped."""
    with contextlib.suppress(psutil.Error, OSError):
        open_ = {file.path for file in process.open_files()}
        return str(path) in open_ or str(path) in Path(f"/proc/{process.pid}/maps").read_text("utf-8")
    return False


@pytest.mark.slow
def test_dead_idle_workers_are_replaced(shop: Shop, inspectors: Inspectors) -> None:
    """Workers that are killed while they have nothing to do are started anew."""
    idle = workers()
    assert idle
    for worker in idle:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()
    assert psutil.wait_procs(idle, timeout=180)[1] == []
    (answer,) = asyncio.run(inspectors.take([shop.upload(picture(1))]))
    assert isinstance(answer, Image)


def test_more_requests_than_allowed_are_told_to_wait(shop: Shop) -> None:
    """The queue is bounded: one request too many is answered with when to come again."""

    async def crowd() -> list[object]:
        with Inspectors(Desk(shop.static, Limits()), 1, requests=2) as inspectors:
            asked = [inspectors.take([shop.upload(picture(number))]) for number in range(5)]
            return list(await asyncio.gather(*asked, return_exceptions=True))

    answers = asyncio.run(crowd())
    assert sum(isinstance(answer, list) for answer in answers) == 2
    refused = [answer for answer in answers if isinstance(answer, ProblemError)]
    assert {(answer.status_code, (answer.headers or {})["Retry-After"]) for answer in refused} == {(503, "1")}
    assert len(refused) == 3


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_thumbnails_are_upright(shop: Shop, inspectors: Inspectors, orientation: int | None) -> None:
    """The corner that a viewer shows at the top left is there in the thumbnail."""
    source = shop.scratch / "a.png"
    image = Pillow.new("RGB", (80, 40), "white")
    corners = {1: (0, 0), 2: (40, 0), 3: (40, 20), 4: (0, 20), 5: (0, 0), 6: (0, 20), 7: (40, 20), 8: (40, 0)}
    left, top = corners[orientation or 1]
    image.paste("red", (left, top, left + 40, top + 20))
    image.save(source)
    target = shop.static / ".thumbnails" / "a.webp"
    assert asyncio.run(inspectors.sketch(Sketch(source, target, orientation))) is None
    with Pillow.open(target) as made:
        assert made.size == ((40, 80) if orientation in {5, 6, 7, 8} else (80, 40))
        red = made.convert("RGB").getpixel((4, 4))
    assert isinstance(red, tuple)
    assert red[0] > 200
    assert red[1] < 60


def test_no_thumbnail_of_a_deleted_image(shop: Shop, inspectors: Inspectors) -> None:
    """A file that is gone gives a reason and leaves nothing."""
    target = shop.static / "a.webp"
    refusal = asyncio.run(inspectors.sketch(Sketch(shop.scratch / "gone.png", target)))
    assert isinstance(refusal, ImageError)
    assert refusal.reason == "vanished"
    assert shop.stored() == set()


def test_workers_go_on_after_everything_was_deleted(shop: Shop, inspectors: Inspectors) -> None:
    """A worker does not rely on a folder that it made before."""
    data = picture(1)
    for _ in range(6):
        (answer,) = asyncio.run(inspectors.take([shop.upload(data)]))
        assert isinstance(answer, Image)
        assert len(shop.stored()) == 1
        shutil.rmtree(shop.static / hashlib.sha256(data).hexdigest()[:2])
