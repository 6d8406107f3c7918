"""Callers whose certificate TLS itself has refused: counted by cause, though no request was ever read."""

import threading
from collections import Counter
from datetime import datetime

from sqlalchemy.orm import Session, sessionmaker

from cloud.enrolment.causes import Cause
from cloud.enrolment.refusals import count
from cloud.web.listener import NO_CERTIFICATE

CAUSES = {NO_CERTIFICATE: Cause.NO_CERTIFICATE, 9: Cause.NOT_YET_VALID, 10: Cause.EXPIRED_CERTIFICATE}
"""By X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED; all others are of a foreign chain."""


class Handshakes:
    """Counts in memory: a handshake must not wait for the database, to which `store` carries them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Cause] = Counter()

    def refused(self, code: int) -> None:
        """One handshake failed with OpenSSL's verify code `code`."""
        with self._lock:
            self._counts[CAUSES.get(code, Cause.FOREIGN_CERTIFICATE)] += 1

    def store(self, sessions: sessionmaker[Session], now: datetime) -> None:
        """Write down what was counted since the last time."""
        with self._lock:
            counted, self._counts = self._counts, Counter()
        for cause, times in counted.items():
            count(sessions, cause, now, times)
