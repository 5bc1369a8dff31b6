"""A start that fails for a reason that people can mend is told in a sentence, not by a traceback."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import PipelineError


class Starting:
    """Puts the sentence of a `PipelineError` in the place of the traceback that the framework would send."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, but for what a failed start says."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        failure: list[Message] = []

        async def held(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                failure.append(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, held)
        except PipelineError as error:
            await send({"type": "lifespan.startup.failed", "message": f"The server cannot start: {error}"})
            raise
        except BaseException:
            for message in failure:
                await send(message)
            raise
