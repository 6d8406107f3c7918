"""A way to a port on the loopback that can turn into a black hole: nothing comes through, nobody is told.

While it is cut, connections stand and new ones are accepted, but not one byte nor an end is passed on. What
was on its way comes out late when it is open again, as it does on a line of the field.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CHUNK_BYTES = 65_536
START_S = 10.0


class BlackHole:
    """Forwards to `target` while it is open; `port` is where to come in."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def cut(self) -> None:
        """From now on nothing comes through."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def restore(self) -> None:
        """Everything comes through again, what was stuck first."""
        self._loop.call_soon_threadsafe(self._open.set)

    def close(self) -> None:
        """End it with all its connections."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(START_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._open.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            writer.close()  # nobody is there any more, or this is the end: asyncio wants no cancelled servers

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
            await self._open.wait()
        except OSError:
            pass  # the other end has gone, and this end is told below
        finally:
            writer.close()


@contextmanager
def black_hole(target: int) -> Iterator[BlackHole]:
    """One that is open, until the block is left."""
    made = BlackHole(target)
    try:
        yield made
    finally:
        made.close()
