"""A serial line without hardware: a pseudo-terminal whose other end is a simulated device."""

import os
import pty
import tty
from pathlib import Path


class Line:
    """A pseudo-terminal in raw mode.

    The device's end of it is kept open here, so that the line outlives a client that closes it.
    """

    def __init__(self) -> None:
        self.device, self._client = pty.openpty()
        tty.setraw(self.device)
        tty.setraw(self._client)
        self.port = Path(os.ttyname(self._client))

    def close(self) -> None:
        """Unplug it."""
        for end in (self.device, self._client):
            try:
                os.close(end)
            except OSError:
                pass  # it was closed before
