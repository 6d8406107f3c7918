"""From when to when a certificate is good, read from its DER without the large library that issues them.

X.509: RFC 5280, section 4.1; DER: X.690. Only the way to `validity` is walked, and its times are read.
"""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

from contract.enrolment import BACKDATED_S
from edge_agent.errors import MalformedError

BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
CERTIFICATE_BYTES_MAX = 65_536
DAY_S = 86_400.0

_INTEGER, _SEQUENCE, _VERSION = 0x02, 0x30, 0xA0
_TIMES = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""UTCTime, whose two digits Python reads as RFC 5280 wants up to 2049, and GeneralizedTime."""


@dataclass(frozen=True)
class Life:
    """When a certificate begins and ends, in seconds since 1970 UTC."""

    not_before_s: float
    not_after_s: float

    @property
    def begins_s(self) -> float:
        """The moment of issue: `notBefore` lies `BACKDATED_S` before it, where the life is long enough."""
        issued = self.not_before_s + BACKDATED_S
        return issued if issued < self.not_after_s else self.not_before_s


def lives(pem: bytes) -> list[Life]:
    """That of each certificate in `pem`, in their order.

    Raises:
        MalformedError: there is none, or one cannot be read.
    """
    try:
        text = pem.decode("ascii")
        blocks = [f"{BEGIN}{part.partition(END)[0]}{END}" for part in text.split(BEGIN)[1:]]
        if not blocks or len(pem) > CERTIFICATE_BYTES_MAX:
            raise ValueError("no certificate, or too large")
        return [_life(ssl.PEM_cert_to_DER_cert(block)) for block in blocks]
    except (ValueError, IndexError) as error:
        raise MalformedError(f"no PEM file with certificates: {error}") from error


def _life(der: bytes) -> Life:
    _, certificate, _ = _part(der, 0, _SEQUENCE)
    _, at, _ = _part(der, certificate, _SEQUENCE)
    if der[at] == _VERSION:
        _, _, at = _part(der, at, _VERSION)
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serial number, signature, issuer
        _, _, at = _part(der, at, tag)
    _, at, _ = _part(der, at, _SEQUENCE)
    not_before, after = _time(der, at)
    not_after, _ = _time(der, after)
    return Life(not_before, not_after)


def _time(der: bytes, at: int) -> tuple[float, int]:
    tag, begin, end = _part(der, at, *_TIMES)
    text = der[begin:end].decode("ascii")
    moment = datetime.strptime(text, _TIMES[tag]).replace(tzinfo=UTC)
    if tag == 0x17 and moment.year >= 2050:
        moment = moment.replace(year=moment.year - 100)
    return moment.timestamp(), end


def _part(der: bytes, at: int, *tags: int) -> tuple[int, int, int]:
    """The tag of the part at `at`, where its content begins, and where it ends."""
    tag, first = der[at], der[at + 1]
    begin = at + 2
    if first >= 0x80:
        begin += first & 0x7F
        length = int.from_bytes(der[at + 2 : begin], "big")
    else:
        length = first
    if tag not in tags or first == 0x80 or begin + length > len(der):
        raise ValueError(f"byte {at} is not what a certificate has there")
    return tag, begin, begin + length
