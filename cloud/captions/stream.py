"""A response that streams server-sent events (WHATWG HTML, section 9.2) until the viewer goes."""

import asyncio
from collections.abc import Callable, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cloud.captions.hub import Event, Kind, Viewer

PING_S = 15.0
"""A comment is sent after so long a silence: proxies keep the stream, a dead peer is noticed."""
SEND_S = 20.0
"""A viewer that takes nothing for so long is dropped; it comes back by itself."""
RETRY_MS = 1000
"""How long a browser waits before it comes back."""


class EventStream(Response):
    """`opening` is sent first, then what comes to `viewer`; finals up to `after` are known already.

    sse-starlette is not used: it patches uvicorn's Server and finds out about the end of the process by
    looking at signal handlers, which does not fit three servers in one process.
    """

    media_type = "text/event-stream"

    def __init__(
        self, viewer: Viewer, opening: Sequence[Event], after: int, leave: Callable[[Viewer], None]
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._viewer = viewer
        self._opening = opening
        self._after = after
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Stream until the viewer goes, is too slow, or the hub closes."""
        gone = asyncio.create_task(self._watch(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._stream(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, OSError):
            pass  # the viewer is gone or takes nothing: both end the stream, and only it
        finally:
            gone.cancel()
            self._leave(self._viewer)

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._viewer.close()

    async def _stream(self, send: Send) -> None:
        await self._put(send, f"retry: {RETRY_MS}\n\n".encode() + self._fresh(self._opening))
        while not self._viewer.closed:
            events = await self._viewer.next(PING_S)
            if not self._viewer.closed:
                await self._put(send, self._fresh(events) if events else b": ping\n\n")

    def _fresh(self, events: Sequence[Event]) -> bytes:
        frames = []
        for event in events:
            if event.kind is Kind.FINAL:
                if event.sequence <= self._after:
                    continue
                self._after = event.sequence
            frames.append(event.frame)
        return b"".join(frames)

    async def _put(self, send: Send, data: bytes) -> None:
        if data:
            async with asyncio.timeout(SEND_S):
                await send({"type": "http.response.body", "body": data, "more_body": True})
