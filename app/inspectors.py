"""Inspecting and keeping files in worker processes that can be killed; the event loop never decodes.

A crash, a hang or a memory hog costs one file its verdict: the group it was in is split around it, as in the
pipeline's process engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Self, cast

from pebble import ProcessExpired

from app.desk import Answer, Desk, Job, Sketch, Upload, sit_down, work
from app.gate import Gate
from app.problems import busy
from pipeline import isolation
from pipeline.errors import ImageError
from pipeline.notes import SLOTS, Notes
from pipeline.pool import Pool
from pipeline.records import Image

log = logging.getLogger("app")

GROUP = 32
"""Files that cross to a worker at once."""
GRACE = 30.0


class Inspectors:
    """The workers; a context manager that starts and stops them. One event loop uses them."""

    def __init__(self, desk: Desk, workers: int = 0, requests: int = 64) -> None:
        self._desk = desk
        self._workers = workers or isolation.cores()
        self._gate = Gate(requests, "inspecting")
        self._slots = list(range(SLOTS))
        self._replacing = asyncio.Lock()
        self._open = contextlib.ExitStack()
        self.outcomes: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._notes = self._open.enter_context(Notes.made())
        self._pool = self._started()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.end()
        self._open.close()

    @property
    def waiting(self) -> int:
        """How many tasks the workers have, running or in their queue."""
        return SLOTS - len(self._slots)

    async def take(self, files: Sequence[Upload]) -> list[Image | ImageError]:
        """Inspect scratch files and keep the good ones in the store; answers in order. The scratch files stay.

        Each file is hashed and decoded whole. Raises the `busy` problem when too many requests have files
        here already, and `StoreError` when nothing can be written.
        """
        answers = cast("list[Image | ImageError]", await self._admit(files))
        self.outcomes.update("good" if isinstance(answer, Image) else answer.reason for answer in answers)
        return answers

    async def sketch(self, thumbnail: Sketch) -> ImageError | None:
        """Make a thumbnail; answers why not when the image cannot be decoded. Raises the `busy` problem."""
        return cast("ImageError | None", (await self._admit([thumbnail]))[0])

    async def _admit(self, jobs: Sequence[Job]) -> list[Answer]:
        with self._gate.passing():
            return await self._share_out(jobs)

    async def _share_out(self, jobs: Sequence[Job]) -> list[Answer]:
        """Have groups worked, only so many at a time that requests take turns."""
        size = max(1, min(GROUP, -(-len(jobs) // (2 * self._workers))))
        gate = asyncio.Semaphore(2 * self._workers)

        async def one(group: Sequence[Job]) -> list[Answer]:
            async with gate:
                return await self._work(group)

        try:
            async with asyncio.TaskGroup() as tasks:
                groups = [
                    tasks.create_task(one(jobs[place : place + size])) for place in range(0, len(jobs), size)
                ]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return [answer for group in groups for answer in group.result()]

    async def _work(self, jobs: Sequence[Job]) -> list[Answer]:
        """Have a group worked; one that dies is split around the file it died of."""
        with self._slot() as slot:
            try:
                return await self._run(jobs, slot)
            except (TimeoutError, ProcessExpired) as death:
                reason, detail = isolation.cause(death, self._desk.limits.timeout)
            log.warning("an inspection worker died: %s, %s", reason, detail)
            guilty = min(self._notes.read(slot), len(jobs) - 1)
        if len(jobs) == 1:
            return [ImageError(reason, detail)]
        parts = (jobs[:guilty], jobs[guilty : guilty + 1], jobs[guilty + 1 :])
        return [answer for part in parts if part for answer in await self._work(part)]

    async def _run(self, jobs: Sequence[Job], slot: int) -> list[Answer]:
        allowance = self._desk.limits.timeout * len(jobs) + GRACE
        for _ in range(3):
            pool = self._pool
            self._notes.write(slot, 0)
            try:
                future = pool.schedule(work, args=[list(jobs), slot], timeout=allowance)
            except RuntimeError:
                await self._replace(pool)
                continue
            try:
                return cast("list[Answer]", await asyncio.wrap_future(future))
            except BrokenProcessPool:
                await self._replace(pool)
        raise busy("The inspection workers do not stay alive.")

    @contextlib.contextmanager
    def _slot(self) -> Iterator[int]:
        if not self._slots:
            raise busy("The server is inspecting as many as it can.")
        slot = self._slots.pop()
        try:
            yield slot
        finally:
            self._slots.append(slot)

    def _started(self) -> Pool:
        context = isolation.fork_server("app.desk")
        isolation.start_fork_server()
        pool = Pool(self._workers, context, sit_down, (self._desk, self._notes))
        pool.schedule(work, args=[[], 0]).result()
        return pool

    async def _replace(self, broken: Pool) -> None:
        """Put a new pool in the place of one that gave up: it does when an idle worker is killed from outside."""
        async with self._replacing:
            if self._pool is broken:
                log.error("the inspection workers are started anew")
                self._pool = await asyncio.to_thread(self._started)
                await asyncio.to_thread(broken.end)
