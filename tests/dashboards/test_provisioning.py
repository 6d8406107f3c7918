"""Provisioning through `grafana-api` against the stateful stand-in: once, twice, and with everything broken.

No Grafana server can be installed from the package registries, so that no real one has been seen here.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from dashboards import generate, grafana_http
from dashboards.dialects import DIALECTS, VICTORIAMETRICS
from dashboards.errors import ProvisionError
from dashboards.fleet import FLEET
from dashboards.grafana_http import Grafana, read_token
from dashboards.provisioning import Step, Wish, covers, provision
from dashboards.rules import CONTACT
from simulators.services import grafana as simulated
from tests.ports.serving import served

WISH = Wish(VICTORIAMETRICS, "http://victoria:8428", mail_to=("ops@example.org",))
THINGS = [
    "folder civic-fleet",
    "data source civic-fleet-victoriametrics",
    "dashboard kiosk-victoriametrics",
    "dashboard fleet-victoriametrics",
    "contact point",
    "alert rules",
    "notification policy",
]


@dataclass
class Standing:
    """The stand-in: where it is, and what it remembers."""

    url: str
    kept: simulated.Grafana

    def run(self, wish: Wish = WISH) -> dict[str, str]:
        """Provision; the outcome of each thing."""
        steps = list(provision(Grafana(self.url, simulated.TOKEN), wish))
        return {step.thing: step.outcome for step in steps}

    def fails(self, wish: Wish = WISH) -> tuple[str, list[Step]]:
        """Provision in vain; the sentence, and what was done before."""
        done: list[Step] = []
        steps = provision(Grafana(self.url, simulated.TOKEN), wish)
        with pytest.raises(ProvisionError) as failed:
            done.extend(steps)
        return str(failed.value), done

    def breaks(self, **fault: Any) -> None:
        """Break it, or mend it by `answer="ok"`."""
        httpx.post(f"{self.url}/fault", json=fault).raise_for_status()


@pytest.fixture
def standing() -> Iterator[Standing]:
    app = simulated.grafana_app()
    with served(app) as url:
        yield Standing(url, app.state.grafana)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
def test_it_is_done_once_and_the_second_time_changes_nothing(standing, dialect):
    wish = replace(WISH, dialect=dialect)
    assert set(standing.run(wish).values()) == {"created"}
    written = len(standing.kept.writes)
    again = standing.run(wish)
    assert list(again) == [thing.replace("victoriametrics", dialect.name) for thing in THINGS]
    assert set(again.values()) == {"unchanged"}
    assert len(standing.kept.writes) == written


def test_what_arrives_is_what_is_committed(standing):
    standing.run()
    for name in ("fleet", "kiosk"):
        kept = standing.kept.dashboards[f"{name}-victoriametrics"]
        committed = json.loads((generate.FOLDER / f"{name}-victoriametrics.json").read_text())
        assert covers(kept["dashboard"], committed)
        assert kept["meta"]["folderUid"] == "civic-fleet"
    rules = json.loads((generate.FOLDER / "rules-victoriametrics.json").read_text())
    assert covers(standing.kept.groups["civic-fleet", "civic-fleet"], rules)
    assert standing.kept.contacts["civic-fleet"]["settings"]["addresses"] == "ops@example.org"
    source = standing.kept.sources["civic-fleet-victoriametrics"]
    assert (source["type"], source["url"]) == ("prometheus", "http://victoria:8428")


def test_influxdb_is_asked_in_influxql(standing):
    standing.run(replace(WISH, dialect=DIALECTS["influxdb"], database="city"))
    settings = standing.kept.sources["civic-fleet-influxdb"]["jsonData"]
    assert (settings["version"], settings["dbName"]) == ("InfluxQL", "city")


def test_only_what_differs_is_changed(standing):
    standing.run()
    outcome = standing.run(replace(WISH, store_url="http://other:8428", mail_to=("a@example.org",)))
    changed = {thing for thing, how in outcome.items() if how == "changed"}
    assert changed == {"data source civic-fleet-victoriametrics", "contact point"}
    standing.kept.groups["civic-fleet", "civic-fleet"]["rules"][0]["for"] = "9m"
    assert (
        standing.run(replace(WISH, store_url="http://other:8428", mail_to=("a@example.org",)))["alert rules"]
        == "changed"
    )


def test_the_policies_of_others_stay(standing):
    other = {"receiver": "grafana-default-email", "object_matchers": [["team", "=", "water"]]}
    standing.kept.policies["routes"] = [other]
    standing.kept.policies["group_wait"] = "45s"
    standing.run()
    ours, kept = standing.kept.policies["routes"]
    assert (ours["receiver"], kept) == (CONTACT, other)
    assert standing.kept.policies["group_wait"] == "45s"
    ours["repeat_interval"] = "1h"
    assert standing.run()["notification policy"] == "changed"
    assert [branch["receiver"] for branch in standing.kept.policies["routes"]] == [
        CONTACT,
        "grafana-default-email",
    ]


def test_without_an_address_notifications_are_left_alone(standing):
    outcome = standing.run(replace(WISH, mail_to=()))
    assert "contact point" not in outcome
    assert "notification policy" not in outcome
    assert not any("contact-points" in write or "policies" in write for write in standing.kept.writes)


def test_a_dashboard_that_a_person_changed_is_kept_until_it_may_be_overwritten(standing):
    standing.run()
    kept = standing.kept.dashboards["fleet-victoriametrics"]
    changed = {**kept["dashboard"], "title": "My fleet"}
    standing.kept.save_dashboard({"dashboard": changed, "folderUid": "civic-fleet"}, "ana")
    sentence, done = standing.fails()
    assert sentence.startswith("dashboard fleet-victoriametrics was changed in Grafana by ana: ")
    assert "--overwrite" in sentence
    assert [step.outcome for step in done] == ["unchanged"] * 3
    assert standing.kept.dashboards["fleet-victoriametrics"]["dashboard"]["title"] == "My fleet"
    outcome = standing.run(replace(WISH, overwrite=True))
    assert outcome["dashboard fleet-victoriametrics"] == "changed"
    assert standing.kept.dashboards["fleet-victoriametrics"]["dashboard"]["title"] == "Fleet"


def test_a_newer_version_of_ours_replaces_the_older(standing, monkeypatch):
    older = replace(FLEET, title="Fleet of last year")
    monkeypatch.setattr("dashboards.provisioning.FLEET", older)
    standing.run()
    monkeypatch.undo()
    assert standing.run()["dashboard fleet-victoriametrics"] == "changed"
    kept = standing.kept.dashboards["fleet-victoriametrics"]["dashboard"]
    assert (kept["title"], kept["version"]) == ("Fleet", 2)


def test_a_change_in_between_is_not_overwritten(standing, monkeypatch):
    monkeypatch.setattr("dashboards.provisioning.FLEET", replace(FLEET, title="Fleet of last year"))
    standing.run()
    monkeypatch.undo()
    grafana = Grafana(standing.url, simulated.TOKEN)
    read = grafana.dashboard

    def read_then_changed(uid: str) -> dict[str, Any] | None:
        found = read(uid)
        if uid == "fleet-victoriametrics":
            standing.kept.dashboards[uid]["dashboard"]["version"] += 1
        return found

    monkeypatch.setattr(grafana, "dashboard", read_then_changed)
    with pytest.raises(
        ProvisionError, match=r"dashboard fleet-victoriametrics: somebody else has changed it .*412"
    ):
        list(provision(grafana, WISH))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (400, "refuses it (400, simulated)"),
        (401, "does not know the token (401): make a new one"),
        (403, "forbids it (403): give the token's service account the role Admin"),
        (404, "does not have it (404): is http"),
        (409, "somebody else has changed it or taken its name (409, simulated): look at it"),
        (412, "somebody else has changed it"),
        (500, "a fault of its own (500, simulated): look at its log"),
        (503, "a fault of its own (503"),
        ("html", "answers a page instead of data: a proxy or a login"),
    ],
)
def test_a_write_that_fails_is_told_in_one_sentence(standing, answer, says):
    standing.breaks(answer=answer, method="POST", path="dashboards/db")
    sentence, done = standing.fails()
    assert sentence.startswith("dashboard kiosk-victoriametrics: ")
    assert says in sentence
    assert len(sentence.splitlines()) == 1
    assert [step.outcome for step in done] == ["created", "created"]


@pytest.mark.parametrize(
    ("method", "path", "done_before"),
    [
        ("POST", "folders", 0),
        ("POST", "datasources", 1),
        ("POST", "dashboards/db", 2),
        ("POST", "contact-points", 4),
        ("PUT", "rule-groups", 5),
        ("PUT", "policies", 6),
    ],
)
def test_a_failure_ends_it_and_the_next_run_goes_on(standing, method, path, done_before):
    standing.breaks(answer=503, method=method, path=path)
    _, done = standing.fails()
    assert [step.thing for step in done] == THINGS[:done_before]
    assert len(standing.kept.writes) == done_before
    standing.breaks(answer="ok")
    outcome = standing.run()
    assert list(outcome.values()) == ["unchanged"] * done_before + ["created"] * (7 - done_before)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (401, "make a new one"),
        (403, "role Admin"),
        (500, "look at its log"),
        ("html", "a proxy or a login"),
        ("empty", "is it a Grafana"),
    ],
)
def test_a_reading_that_fails_changes_nothing(standing, answer, says):
    standing.breaks(answer=answer, method="GET")
    sentence, done = standing.fails()
    assert says in sentence
    assert (done, standing.kept.writes) == ([], [])


def test_a_grafana_that_says_nothing_is_not_waited_for(standing, monkeypatch):
    monkeypatch.setattr(grafana_http, "TIMEOUT_S", 0.3)
    standing.breaks(answer="silent")
    assert "says nothing for 0.3 s: look at its log" in standing.fails()[0]


def test_where_nobody_listens_that_is_said():
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(
            ProvisionError, match=r"folder civic-fleet: http.* cannot be reached: does it run"
        ):
            list(provision(Grafana(url, "t"), WISH))


def test_an_endless_answer_is_cut(standing, monkeypatch):
    standing.run()
    monkeypatch.setattr(grafana_http, "ANSWER_BYTES_MAX", 1_000)
    assert "answers more than 1000 bytes" in standing.fails()[0]


def test_an_answer_without_content_is_one(standing):
    standing.run()
    grafana = Grafana(standing.url, simulated.TOKEN)
    path = "/v1/provisioning/alert-rules/paper-out-victoriametrics"
    assert grafana._do("rule", lambda: grafana._face.api.DELETE(path)) is None
    assert standing.run()["alert rules"] == "changed"


@pytest.mark.parametrize(
    "url", ["grafana:3000", "ftp://grafana", "http://", "http://x:99999", "http://x/?a=b"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ProvisionError, match="is no address of a Grafana"):
        Grafana(url, "t")


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(ProvisionError, match="--token-file") as refused:
        Grafana("http://admin:secret@grafana", "t")
    assert "secret" not in str(refused.value)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{simulated.TOKEN}\n")
    path.chmod(0o600)
    return path


def test_a_token_is_read_from_a_file_of_its_owner_alone(token_file, tmp_path):
    assert read_token(token_file) == simulated.TOKEN
    token_file.chmod(0o640)
    with pytest.raises(ProvisionError, match=r"mode 640\): chmod 600"):
        read_token(token_file)
    token_file.chmod(0o600)
    for content in (b"", b"\n", b"a b\x00c", b"x" * 5_000, "çelësi".encode()):
        token_file.write_bytes(content)
        with pytest.raises(ProvisionError, match="holds no token"):
            read_token(token_file)
    with pytest.raises(ProvisionError, match="cannot be read: No such file"):
        read_token(tmp_path / "nowhere")


def command(url: str, token_file: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "dashboards", "provision", "--url", url, "--token-file", str(token_file)]
    return subprocess.run(
        [*words, "--store-url", "http://victoria:8428", *more], capture_output=True, text=True, timeout=120
    )


def test_the_command_says_what_it_did_and_where_it_ended(standing, token_file):
    standing.breaks(answer=503, path="rule-groups")
    failed = command(standing.url, token_file)
    assert failed.returncode == 1
    assert failed.stdout.splitlines()[0] == "folder civic-fleet: created"
    first, second = failed.stderr.splitlines()
    assert first.startswith("provision: rule group civic-fleet: Grafana has a fault of its own (503")
    assert second == (
        "provision: done before that: folder civic-fleet created, "
        "data source civic-fleet-victoriametrics created, dashboard kiosk-victoriametrics created, "
        "dashboard fleet-victoriametrics created; nothing after it"
    )
    standing.breaks(answer="ok")
    done = command(standing.url, token_file, "--mail-to", "ops@example.org")
    assert (done.returncode, done.stderr) == (0, "")
    assert "alert rules: created" in done.stdout.splitlines()
    assert simulated.TOKEN not in failed.stdout + failed.stderr + done.stdout
