"""The pool of worker processes: pebble's, which hears of a death only after what the dead said.

A worker says which task it took before it begins. Pebble reads that in one thread and looks for the dead in another: a
worker that dies at once is found dead before it is known what it was at, and its task stays unanswered for as long as
it is allowed to take.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import ForkServerContext

from pebble import CONSTS, ProcessPool
from pebble.pool.process import PoolManager

PULSE = 0.02
"""Seconds between the pool's looks at its workers: how long a dead one is missed, and the end of a pool takes."""
HEARING = 2.0
"""Seconds that a dead worker's last words may take to be read on a busy machine."""


class Manager(PoolManager):
    """Hears what the dead said before it says what they were at: they may have ended one task and begun another."""

    _rounds = 0

    def process_next_message(self, timeout: float) -> None:
        """Hear a worker, if one says something in time."""
        super().process_next_message(timeout)
        self._rounds += 1

    def handle_worker_expiration(self, expiration: tuple[int, int]) -> None:
        """Fail the task of a worker that died."""
        deadline = time.monotonic() + HEARING
        self._hear_out(deadline)
        while time.monotonic() < deadline:
            try:
                self.find_expired_task(expiration[0])
                break
            except (LookupError, BrokenProcessPool):
                time.sleep(PULSE / 4)
        super().handle_worker_expiration(expiration)

    def _hear_out(self, deadline: float) -> None:
        """Wait until all is read that was said so far, and the last of it is understood."""
        channel = self.worker_manager.pool_channel
        with contextlib.suppress(OSError, ValueError):
            while channel and channel.poll(0) and time.monotonic() < deadline:
                time.sleep(PULSE / 4)
        rounds = self._rounds
        while self._rounds == rounds and self.context.alive and time.monotonic() < deadline:
            time.sleep(PULSE / 4)


class Pool(ProcessPool):
    """Runs tasks in worker processes that may die or be killed; each costs its own task only."""

    def __init__(
        self,
        workers: int,
        context: ForkServerContext,
        initializer: Callable[..., None],
        initargs: Iterable[object],
    ) -> None:
        super().__init__(workers, context=context, initializer=initializer, initargs=initargs)
        CONSTS.sleep_unit = PULSE
        self._pool_manager = Manager(self._context, context)

    def end(self) -> None:
        """Stop all work, and wait until the workers are gone.

        Where a signal's exception meets a queue as it wakes its reader, the next wake-up goes to nobody (CPython's
        `Condition.notify`): the reader is woken until it has ended, for a while.
        """
        self.stop()  # type: ignore[no-untyped-call]
        reader = self._task_scheduler_loop
        deadline = time.monotonic() + HEARING
        while reader is not None and reader.is_alive() and time.monotonic() < deadline:
            self._context.task_queue.put(None)
            reader.join(PULSE)
        self.join()
