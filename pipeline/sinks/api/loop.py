"""An event loop in a thread of its own, for callers that are plain calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from pipeline.errors import SinkUnavailable

Answer = TypeVar("Answer")

STOPPED = SinkUnavailable("Delivery was stopped; run again to go on.")


class LoopThread:
    """Runs work meanwhile; the first error of any ends all other work, and is kept in `error`."""

    def __init__(self, name: str) -> None:
        self.error: BaseException | None = None
        self._tasks: set[Future[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, Answer], seconds: float | None = None) -> Answer:
        """Have work done and wait for it; raises `TimeoutError` when that takes longer than `seconds`."""
        return self._submit(work).result(seconds)

    def launch(
        self, work: Coroutine[Any, Any, Answer], place: threading.Semaphore | None = None
    ) -> Future[Answer]:
        """Have work done meanwhile; its error is raised by the next check. `place` is free afterwards."""
        answer: Future[Answer] = Future()
        task = self._submit(work)
        self._tasks.add(task)

        def done(ended: Future[Answer]) -> None:
            self._tasks.discard(ended)
            error = STOPPED if ended.cancelled() else ended.exception()
            if error and not self.error:
                self.error = error
                self.cancel()
            if error:
                answer.set_exception(self.error or error)
            else:
                answer.set_result(ended.result())
            if place:
                place.release()

        task.add_done_callback(done)
        return answer

    def check(self) -> None:
        """Raise the error that ended the work, if one did."""
        if self.error:
            raise self.error

    def cancel(self) -> None:
        """Stop what was launched."""
        for task in list(self._tasks):
            task.cancel()

    def end(self) -> None:
        """Stop the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _submit(self, work: Coroutine[Any, Any, Answer]) -> Future[Answer]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)
