"""The control plane's half of transcription: runs are asked for here, and put into the workers' queue."""

import logging
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import for_reading
from cloud.errors import RefusedError
from cloud.recordings import runs
from cloud.recordings.turns import Reason

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 10.0
SWEPT_MAX = 50
ENDED_BADLY = frozenset({"ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})
"""States in which the engine leaves a workflow that it will never take up again."""


class Orders:
    """Asks for runs. The row is the truth, the queue only carries it: the sweep puts in what is missing."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        enqueue: Callable[[str, int], None],
        standing: Callable[[str, int], str | None],
        clock: Callable[[], datetime],
    ) -> None:
        """`enqueue(recording, attempt)` twice is once; `standing` is the engine's state, None for unknown."""
        self.sessions = sessions
        self._reading = for_reading(sessions)
        self._enqueue = enqueue
        self._standing = standing
        self._clock = clock

    def uploaded(self, recording: str) -> None:
        """A recording has become `uploaded`: transcribe it, unless somebody has asked for that already."""
        with self.sessions.begin() as database:
            if runs.newest(database, recording) is not None:
                return
            try:
                attempt = runs.ask(database, recording, self._clock())
            except RefusedError as error:
                log.warning("transcription_not_asked", extra={"recording": recording, "reason": str(error)})
                return
        self._enqueue(recording, attempt)

    def again(self, database: Session, recording: str) -> int:
        """A person asks for another run, in the caller's transaction; call `asked` after it is committed.

        Raises:
            RefusedError: it cannot be transcribed now.
        """
        return runs.ask(database, recording, self._clock())

    def asked(self, recording: str, attempt: int) -> None:
        """Put a run that is stored into the queue."""
        self._enqueue(recording, attempt)

    def sweep(self) -> None:
        """Find uploaded recordings without a run, and runs that are in no worker's hands."""
        with self._reading() as database:
            waiting = runs.unasked(database, SWEPT_MAX)
            under_way = runs.open_runs(database)
        for recording in waiting:
            self.uploaded(recording)
        for recording, attempt in under_way:
            standing = self._standing(recording, attempt)
            if standing is None:
                self._enqueue(recording, attempt)
                log.info("transcription_queued_again", extra={"recording": recording, "attempt": attempt})
            elif standing in ENDED_BADLY:
                with self.sessions.begin() as database:
                    run = runs.load(database, recording, attempt)
                    runs.end(database, run, "fail", Reason.ERROR, now=self._clock())
