"""The sink that the pipeline holds: plain calls here, the event loop of a thread behind them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from pipeline.claimant import Patience, is_dead, this_host, this_process
from pipeline.errors import PipelineError, SinkError, SinkUnavailable
from pipeline.history import Ending, Run
from pipeline.records import (
    Archive,
    ArchiveResult,
    Balance,
    Candidate,
    Closing,
    Entry,
    FileIdentity,
    Record,
    Recorded,
    State,
    Verdict,
)
from pipeline.settings import Settings
from pipeline.sinks.api.address import checked, refuse_unprintable
from pipeline.sinks.api.client import Client, Passing, Refused
from pipeline.sinks.api.courier import Bounds, Courier
from pipeline.sinks.api.loop import LoopThread
from pipeline.sinks.api.window import Window
from pipeline.words import counted

Answer = TypeVar("Answer")

HEARTBEAT_SECONDS = 15.0
PAGE = 500
"""Archives asked about in one request, at most."""
LAST_SECONDS = 5.0
"""How long a run that ends waits for the API to hear of it."""


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[ApiSink]:
    """Give a sink that delivers to the API that the settings name; needs no database and starts none."""
    with contextlib.closing(ApiSink(settings)) as sink:
        yield sink


class ApiSink:
    """Delivers to the Image API, several batches at a time, and counts what it acknowledges."""

    def __init__(self, settings: Settings) -> None:
        url = checked(settings.api_url)
        refuse_unprintable(settings.api_token)
        self._settings = settings
        self._window = Window(settings.concurrency)
        self._places = threading.Semaphore(settings.concurrency)
        self._run: Run | None = None
        self._patience = Patience()
        self._loop = LoopThread("api-sink")
        self._client = self._loop.wait(self._connect(url))
        self._courier = Courier("", self._client, self._window, settings.extracted)

    async def _connect(self, url: str) -> Client:
        return Client(url, self._settings, self._window)

    def begin(self, run: Run) -> None:
        """Note in the history that a run begins, and keep its claims alive from now on."""
        self._run = run
        self._courier = Courier(str(run.id), self._client, self._window, self._settings.extracted)
        told = {"command": run.command, "sink": run.sink, "host": run.host, "pid": run.pid}
        self._ask_first("PUT", f"/runs/{run.id}", told)
        self._loop.launch(self._beat())

    def _ask_first(self, method: str, path: str, message: object) -> Any:
        """Ask what every Image API answers; who does not know it is none."""
        try:
            return self._loop.wait(self._client.ask(method, path, message))
        except Refused as error:
            if error.status in {404, 405}:
                raise SinkError(
                    f"There is no Image API at {self._client.url}, or one that is older than this program; "
                    "check --api-url."
                ) from error
            raise

    def end(self, run: Run, ending: Ending) -> None:
        """Note how the run ended."""
        told = {
            "state": ending.state,
            "exit_code": ending.exit_code,
            "archives": {verdict.value: count for verdict, count in ending.archives.items()},
            "balance": _counts(ending.balance),
            "message": ending.message,
            "seconds": ending.seconds,
        }
        asked = ("POST", f"/runs/{run.id}/end", told)
        # An API that failed the run is told its end only if it is back by now.
        self._loop.wait(self._hurried(*asked) if self._loop.error else self._client.ask(*asked))

    def known(self, files: Sequence[FileIdentity]) -> set[FileIdentity]:
        """Tell which delivered files belong to archives that are done."""
        found: set[FileIdentity] = set()
        for page in _pages(files):
            asked = {"files": [file._asdict() for file in page]}
            answer = self._loop.wait(self._client.ask("POST", "/archives/known", asked))
            found |= {page[position] for position in answer["known"]}
        return found

    def open(self, archives: Sequence[Archive]) -> list[Entry]:
        """Claim and register archives; what a dead run on this host holds is taken over."""
        return [entry for page in _pages(archives) for entry in self._open(page)]

    def _open(self, archives: Sequence[Archive]) -> list[Entry]:
        found = self._ask_to_open(archives, [])
        holders = [entry["by"] for entry in found if entry["by"]]
        dead = {by["run"] for by in holders if is_dead(by["host"], by["process"])}
        if dead:
            found = self._ask_to_open(archives, sorted(dead))
        while (
            any(entry["state"] == State.BUSY and not entry["by"] for entry in found) and self._patience.wait()
        ):
            found = self._ask_to_open(archives, sorted(dead))
        entries = [
            Entry(told["id"], archive, State(told["state"]), told["folder"])
            for archive, told in zip(archives, found, strict=True)
        ]
        for entry in entries:
            if entry.state in {State.NEW, State.RUNNING}:
                self._courier.account.open(entry.id)
        return entries

    def _ask_to_open(self, archives: Sequence[Archive], dead: list[str]) -> list[dict[str, Any]]:
        asked = {
            **self._claimant(),
            "dead": dead,
            "archives": [
                {
                    "digest": archive.digest.hex(),
                    "file": archive.file._asdict(),
                    "folder": archive.folder,
                    "members": archive.members,
                }
                for archive in archives
            ],
        }
        answer = self._loop.wait(self._client.ask("POST", "/archives", asked))
        self._courier.bounds = Bounds(**answer["bounds"])
        entries: list[dict[str, Any]] = answer["entries"]
        return entries

    def recorded(self, entry: Entry) -> Iterator[Recorded]:
        """Stream what an interrupted run recorded of an archive, page by page."""
        after: int | None = -1
        while after is not None:
            page = self._loop.wait(self._client.ask("GET", f"/archives/{entry.id}/recorded?after={after}"))
            for told in page["members"]:
                verdict = Verdict(told["verdict"])
                self._courier.account.note(entry.id, told["index"], verdict)
                yield Recorded(
                    told["index"], bytes.fromhex(told["sha256"]), told["type"], verdict, told["reason"]
                )
            after = page["after"]

    def write(self, batch: Sequence[Record]) -> None:
        """Take a batch; waits while as many as may be are on their way."""
        while not self._places.acquire(timeout=1.0):
            self._loop.check()
        self._loop.check()
        self._loop.launch(self._deliver(list(batch)), self._places)

    async def _deliver(self, batch: Sequence[Record]) -> None:
        await self._courier.deliver(self._courier.accept(batch))

    def finish(self, entries: Sequence[Entry]) -> Future[list[Closing]]:
        """Close archives once all of theirs is acknowledged."""
        self._loop.check()
        return self._loop.launch(self._finish(list(entries), close=True))

    def leave(self, entries: Sequence[Entry]) -> Future[list[Closing]]:
        """Count what is recorded of archives once all of theirs is acknowledged, and free their claims."""
        self._loop.check()
        return self._loop.launch(self._finish(list(entries), close=False))

    async def _finish(self, entries: Sequence[Entry], *, close: bool) -> list[Closing]:
        await self._courier.delivered([entry.id for entry in entries])
        closings: list[Closing] = []
        for page in _pages(entries):
            ids = [entry.id for entry in page]
            asked = {"run": self._claimant()["run"], "ids": ids, "close": close}
            answer = await self._client.ask("POST", "/archives/finish", asked)
            for entry, told in zip(page, answer, strict=True):
                balance = Balance(**told)
                differs = self._courier.account.close(entry, balance)
                closings.append(Closing(balance, differs if close else ""))
        return closings

    def refused(self) -> list[Record]:
        """Take the records that the API refused."""
        taken: list[Record] = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._courier.refused.popleft())
        return taken

    def activity(self) -> str:
        """Say how many requests are on their way, of how many that may be."""
        return f"{self._window.turns} of {counted(self._window.limit, 'request')}"

    def refuse(self, file: FileIdentity, digest: bytes, result: ArchiveResult) -> None:
        """Note that an archive was refused whole or failed."""
        asked = {
            "digest": digest.hex(),
            "file": file._asdict(),
            "verdict": result.verdict,
            "reason": result.reason,
            "detail": result.detail,
        }
        self._loop.wait(self._client.ask("POST", "/archives/refused", asked))

    def refusals(self, reasons: Collection[str]) -> list[Candidate]:
        """Give the archives whose refusals may not hold any more, page by page."""
        found: list[Candidate] = []
        after: int | None = 0
        while after is not None:
            asked = {"reasons": sorted(reasons), "after": after}
            page = self._ask_first("POST", "/archives/refusals", asked)
            for told in page["archives"]:
                found.append(Candidate(**{**told, "digest": bytes.fromhex(told["digest"])}))
            after = page["after"]
        return found

    def reconsider(self, ids: Sequence[int], reasons: Collection[str]) -> int:
        """Have refusals taken again by the next run."""
        count = 0
        for page in _pages(ids):
            asked = {"ids": list(page), "reasons": sorted(reasons)}
            count += self._loop.wait(self._client.ask("POST", "/archives/reconsider", asked))["members"]
        return count

    def close(self) -> None:
        """Stop what is on its way, free the claims, and end the thread."""
        self._loop.cancel()
        with contextlib.suppress(PipelineError, TimeoutError, CancelledError):
            self._loop.wait(self._leave(), LAST_SECONDS * 2)
        self._loop.end()

    async def _leave(self) -> None:
        if self._run is not None:
            with contextlib.suppress(PipelineError, TimeoutError):
                await self._hurried("DELETE", f"/claims/{self._run.id}")
        await self._client.close()

    async def _hurried(self, method: str, path: str, message: object = None) -> Any:
        try:
            return await asyncio.wait_for(self._client.once(method, path, message), LAST_SECONDS)
        except (Passing, TimeoutError) as error:
            raise SinkUnavailable(str(error)) from error

    async def _beat(self) -> None:
        """Renew the claims as long as the run lives, whatever becomes of a single message."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            with contextlib.suppress(Passing, PipelineError):
                await self._client.once("PUT", "/claims", self._claimant())

    def _claimant(self) -> dict[str, Any]:
        if self._run is None:
            raise SinkError("The run was not begun.")
        return {"run": str(self._run.id), "host": this_host(), "process": this_process()}


def _pages(items: Sequence[Answer]) -> Iterator[Sequence[Answer]]:
    for place in range(0, len(items), PAGE):
        yield items[place : place + PAGE]


def _counts(balance: Balance) -> dict[str, int]:
    return {name: getattr(balance, name) for name in Balance.__dataclass_fields__}
