"""When each of it ends that the fleet's trust hangs on: read from the disk, as days and as a metric."""

import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.enrolment import ends, issuers, pki
from cloud.enrolment.authority import CRL_AGE, ISSUING_AGE, ROOT_AGE, SERVICE_AGE, found
from cloud.enrolment.ends import DAY, TOLD_BEFORE, End, What
from cloud.enrolment.revocations import Revocations
from cloud.errors import SettingsError
from contract.telemetry import AUTHORITY_METRICS
from tests.cloud.enrolment.conftest import Now
from tests.cloud.enrolment.test_succession import HOSTS, take_over


def days(folder: Path, now: datetime) -> dict[What, int]:
    return {each.what: round(each.days_left(now)) for each in ends.read(folder)}


def test_each_is_read_from_where_servers_and_broker_read_it(folder: Path, now: Now) -> None:
    assert days(folder, now()) == {
        What.ISSUER: ISSUING_AGE.days,
        What.ROOT: ROOT_AGE.days,
        What.SERVERS: SERVICE_AGE.days,
        What.REVOCATIONS: CRL_AGE.days,
    }
    assert not any(each.near(now()) for each in ends.read(folder))


def test_of_several_the_first_that_ends_is_named(folder: Path, now: Now) -> None:
    issuer = pki.load(folder)
    made = issuer.service(issuer.key.public_key(), "svc-ingest", now() - timedelta(days=355))
    (folder / "svc-ingest.pem").write_bytes(issuers.pem([made]))
    (servers,) = (each for each in ends.read(folder) if each.what is What.SERVERS)
    assert (servers.name, round(servers.days_left(now())), servers.near(now())) == ("svc-ingest", 10, True)
    assert ends.pressing(folder, now()) == 1
    lists = pki.revocations(folder)
    old = issuer.revocations([], 2, now(), timedelta(days=4))
    pki.write_revocations(folder, *lists, old)
    (revoked,) = (each for each in ends.read(folder) if each.what is What.REVOCATIONS)
    assert (revoked.name, round(revoked.days_left(now()))) == ("Civic Fleet Authority", 4)
    assert ends.pressing(folder, now()) == 2


def test_init_does_what_staff_is_told_to_do(folder: Path, now: Now) -> None:
    """From the moment at which it is told on, not before."""
    first = {each.what: each for each in ends.read(folder)}
    before = first[What.SERVERS].at - TOLD_BEFORE[What.SERVERS]
    for at, renewed in ((before - timedelta(hours=1), False), (before + timedelta(hours=1), True)):
        assert first[What.SERVERS].near(at) is renewed
        pki.prepare(folder, HOSTS, at)
        assert (days(folder, at)[What.SERVERS] > 300) is renewed
    pki.prepare(folder, HOSTS, first[What.ISSUER].at - TOLD_BEFORE[What.ISSUER])
    assert next(each.at for each in ends.read(folder) if each.what is What.ISSUER) > first[What.ISSUER].at


def test_a_list_is_signed_anew_long_before_anybody_is_told(
    folder: Path, sessions: sessionmaker[Session], now: Now
) -> None:
    signing = Revocations(sessions, folder)
    signing.publish(now())
    now.ahead_s = (CRL_AGE / 2 + timedelta(hours=1)).total_seconds()
    assert days(folder, now())[What.REVOCATIONS] > TOLD_BEFORE[What.REVOCATIONS].days
    assert signing.publish(now())
    assert days(folder, now())[What.REVOCATIONS] == CRL_AGE.days


def test_openssl_takes_nobody_once_the_list_is_too_old(folder: Path, now: Now) -> None:
    """As the broker and the listeners do, which have it from OpenSSL."""
    (until,) = (each.at for each in ends.read(folder) if each.what is What.REVOCATIONS)
    issuer = pki.load(folder)
    device = issuer.device(issuer.key.public_key(), "kiosk-01", "kiosk", now(), timedelta(days=90))
    (folder / "device.pem").write_bytes(issuers.pem([device]))

    def told(at: datetime) -> str:
        checked = ("-CAfile", "authorities.pem", "-crl_check", "-CRLfile", "crl.pem", "device.pem")
        done = subprocess.run(
            ["openssl", "verify", "-attime", str(int(at.timestamp())), *checked],
            cwd=folder, capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    assert "device.pem: OK" in told(until - timedelta(seconds=5))
    assert "CRL has expired" in told(until + timedelta(seconds=5))


def test_after_a_change_it_is_the_present_authority_that_counts(folder: Path, now: Now) -> None:
    take_over(folder)
    (issuer,) = (each for each in ends.read(folder) if each.what is What.ISSUER)
    assert issuer.name == "Civic Fleet Authority 2"


def test_where_the_root_itself_signs_there_is_no_issuer_to_replace(folder: Path, now: Now) -> None:
    alone = found("Civic Fleet", now())
    (folder / "ca.pem").write_bytes(issuers.pem([alone.certificate]))
    (folder / "ca.key").write_bytes(b"")
    assert What.ISSUER not in days(folder, now())
    assert days(folder, now())[What.ROOT] == ROOT_AGE.days


@pytest.mark.parametrize("name", ["seal.pem", "crl.pem", "issuing.pem"])
def test_what_is_no_certificate_is_named(folder: Path, name: str, now: Now) -> None:
    assert ends.pressing(folder, now()) == 0
    (folder / name).write_bytes(b"not a certificate")
    with pytest.raises(SettingsError, match=f"{name}.*init"):
        ends.read(folder)
    assert ends.pressing(folder, now()) == 1


def test_the_metrics_are_those_of_the_contract_also_after_the_end(now: Now) -> None:
    every = [End(what, "x", now() - 3 * DAY) for what in What]
    values = dict(ends.values(every, 7, now()))
    assert values == {f"{what}_days_left": -3.0 for what in What} | {"former_devices": 7}
    by_name = {metric.name: metric for metric in AUTHORITY_METRICS}
    assert values.keys() == by_name.keys()
    for name, value in values.items():
        assert type(value).__name__ == by_name[name].type
        assert by_name[name].low <= value <= by_name[name].high
