"""Ends jobs in time: the sweep, again and again."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from cloud.jobs.sweep import Sweep

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 2.0


async def sweep_forever(sweep: Sweep, clock: Callable[[], datetime]) -> None:
    """End what is over time until cancelled; a sweep that fails is tried again by the next."""
    while True:
        try:
            await asyncio.to_thread(sweep, clock())
        except Exception:  # a database that is away for a while must not end the sweeping for ever
            log.exception("job_sweep_failed")
        await asyncio.sleep(SWEEP_EVERY_S)
