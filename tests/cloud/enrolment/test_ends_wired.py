"""What ends when, and who has a certificate of a former authority, as Grafana finds it in the store."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
import pytest

from cloud import wiring
from cloud.database.models.devices import Device
from cloud.enrolment import issuers, members, pki
from cloud.enrolment.authority import CRL_AGE, ISSUING_AGE, ROOT_AGE, SERVICE_AGE
from cloud.main import Ways
from cloud.telemetry.fleet import Watch
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.store_influx import InfluxStore
from cloud.wiring.ground import Ground
from tests.cloud.enrolment.test_members import signed_by
from tests.cloud.enrolment.test_succession import take_over
from tests.cloud.telemetry.victoria import Victoria


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[Victoria]:
    server = Victoria(tmp_path / "series")
    server.start()
    yield server
    server.kill()


def test_the_control_plane_writes_them_where_the_rules_of_grafana_look(
    ground: Ground, ways: Ways, victoria: Victoria, tmp_path: Path
) -> None:
    shutil.copytree(ground.settings.pki_dir, tmp_path / "city" / "pki")
    telemetry = msgspec.structs.replace(ground.settings.telemetry, store="influx", url=victoria.url)
    settings = msgspec.structs.replace(ground.settings, data_dir=tmp_path / "city", telemetry=telemetry)
    city = replace(ground, settings=settings)
    made = wiring.enrolment.make(city, ways.jobs)
    store = InfluxStore(victoria.url, bucket="fleet", org="fleet")
    ledger = Ledger(tmp_path / "telemetry.db")
    with closing(Watch(ground.sessions, store, ledger, ground.clock)) as watch:
        (write,) = (each.do for each in wiring.enrolment.chores(city, made, watch) if each.name == "ends")

        def told() -> dict[str, float]:
            write()
            victoria.show()
            asked = {
                "query": '{__name__=~"authority_.*",device="svc-control",site="cloud",kind="service"}',
                "time": str(ground.clock().timestamp() + 1),
                "nocache": "1",
            }
            rows = httpx.get(f"{victoria.url}/api/v1/query", params=asked).json()["data"]["result"]
            return {row["metric"]["__name__"]: float(row["value"][1]) for row in rows}

        take_over(settings.pki_dir)
        before = told()
        assert {name: round(value) for name, value in before.items() if name.endswith("left")} == {
            "authority_issuer_days_left": ISSUING_AGE.days,
            "authority_root_days_left": ROOT_AGE.days,
            "authority_servers_days_left": SERVICE_AGE.days,
            "authority_revocations_days_left": CRL_AGE.days,
        }
        former, present = pki.load(ground.settings.pki_dir), pki.load(settings.pki_dir)
        assert former.certificate in issuers.read(settings.pki_dir).former
        for signer, more in ((former, 1), (present, 0)):
            certificate, _ = signed_by(signer, tmp_path, "kiosk-ends", ground.clock())
            with ground.sessions.begin() as session:
                if session.get(Device, "kiosk-ends") is None:
                    session.add(
                        Device(device="kiosk-ends", kind="kiosk", site="x", registered_at=ground.clock())
                    )
                    session.flush()
                members.record(session, certificate, "kiosk-ends", "token", ground.clock())
            assert told()["authority_former_devices"] == before["authority_former_devices"] + more


def test_without_grafana_nothing_is_written(ground: Ground, ways: Ways) -> None:
    chores = wiring.enrolment.chores(ground, ways.members, ways.watch)
    assert [each.name for each in chores] == ["certificates", "connections"]
