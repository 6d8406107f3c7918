"""Every page of the control plane in every language, with something on it: no English is left over.

What a person reads or a screen reader says is compared with the English texts of all catalogues; what stands
in an element with a `lang` of its own is in another language on purpose.
"""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from cloud import main
from cloud.database.models.captions import Sitting, SittingChange
from cloud.database.models.devices import Device
from cloud.database.models.documents import Document
from cloud.database.models.enrolment import DeviceCertificate, EnrolmentRefusal
from cloud.database.models.presence import ExpectedOff, IncidentMember, IncidentRow
from cloud.database.models.twin import DeviceTwin
from cloud.operators.access import Actor, audit
from cloud.operators.roles import Role
from cloud.operators.wording import ACTIONS
from contract.documents import DOCUMENT
from contract.languages import latin
from tests.cloud.conftest import sign_in_as
from tests.repo.test_translations import catalogue, forms, ways

SAID = ("aria-label", "title", "placeholder", "alt", "data-pause", "data-resume")
SHORT = 4
"""Texts with fewer letters can be the same word by chance."""
TAGS_WITHOUT_END = {"meta", "link", "img", "input", "br", "hr", "path", "line", "circle", "polyline", "rect"}
PAGES = [
    "/status", "/devices", "/ledger", "/maintenance", "/devices/lang-kiosk", "/devices/lang-kiosk/settings",
    "/devices/nothing", "/incidents", "/incidents/900001", "/expected-off", "/jobs", "/documents",
    "/sittings", "/recordings", "/assembly", "/updates",
    "/enrolment", "/accounts", "/tokens", "/audit", "/password", "/nothing", "/documents?state=nonsense",
]  # fmt: skip
PUBLIC = ["/{}/captions", "/{}/captions/lang-sitting", "/{}/captions/lang-sitting/transcript", "/{}/verify"]


class Reader(HTMLParser):
    """Collects what is read in the page's own language."""

    def __init__(self):
        super().__init__()
        self.texts = []
        self._open = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        foreign = tag in ("script", "style", "svg") or (tag != "html" and "lang" in given)
        inside = bool(self._open) and self._open[-1][1]
        if not (foreign or inside):
            self.texts += [given[name].strip() for name in SAID if given.get(name)]
        if tag not in TAGS_WITHOUT_END:
            self._open.append((tag, foreign or inside))

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        text = " ".join(data.split())
        if text and not (self._open and self._open[-1][1]):
            self.texts.append(text)


def english(language):
    """The English texts that are said otherwise in `language`, and patterns for those with places."""
    source = {"sr-Cyrl": "sr_Cyrl", "sr-Latn": "sr_Cyrl"}.get(language, language)
    whole, patterns = set(), []
    for way in ways():
        for text, message in catalogue(way, source).items():
            one = text if isinstance(text, tuple) else (text,)
            for each in one:
                said = [latin(form) if language == "sr-Latn" else form for form in forms(message)]
                if each in said or len(each) < SHORT:
                    continue
                whole.add(each)
                if "%(" in each:
                    parts = [re.escape(part) for part in re.split(r"%\(\w+\)[sd]", each)]
                    if sum(map(len, parts)) > 2 * SHORT:
                        patterns.append(re.compile(".+".join(parts)))
    return whole, patterns


def left_over(html, language, names=frozenset()):
    """English texts of a page; `names` are what places and sittings are called, whatever the language."""
    reader = Reader()
    reader.feed(html)
    assert reader.texts
    whole, patterns = ENGLISH[language]
    return [
        text
        for text in reader.texts
        if text not in names and (text in whole or any(pattern.fullmatch(text) for pattern in patterns))
    ]


def given_names(ground):
    """What the tests before, which share this control plane, have called places and sittings."""
    with ground.sessions() as session:
        return set(session.scalars(sa.select(Device.site))) | set(session.scalars(sa.select(Sitting.title)))


ENGLISH = {language: english(language) for language in ("sq", "sr-Cyrl", "sr-Latn")}


def _rows(now):
    yield Device(
        device="lang-kiosk", kind="kiosk", site="1", registered_at=now, enrolled_at=now, presence="online",
        presence_at=now, last_seen_at=now,
    )  # fmt: skip
    yield DeviceTwin(
        device="lang-kiosk", version=3, present=True, differs=True, last="", changed_at=now, desired_at={},
        reported_at={}, desired={"log": {"level": "debug"}, "telemetry": {"interval_s": 5}, "x": 1},
        reported={"log": {"level": "info"}, "telemetry": {"interval_s": 10},
                  "refused": {"telemetry.interval_s": "telemetry.interval_s is a whole number"}},
    )  # fmt: skip
    yield Device(device="lang-hall", kind="recorder", site="2", registered_at=now)
    yield IncidentRow(id=900001, site="1", state="open", opened_at=now)
    yield IncidentRow(
        id=900002, site="1", state="closed", opened_at=now, over_at=now, closed_at=now, acknowledged_at=now,
        acknowledged_by="lang", note="1",
    )  # fmt: skip
    yield ExpectedOff(scope="site", name="1", day=0, begins=1020, ends=450)
    yield EnrolmentRefusal(cause="wrong-token", count=2, last_at=now)
    for number, state in enumerate(["issued", "active", "superseded", "revoked", "expired"]):
        yield DeviceCertificate(
            serial=f"abc{number}", device="lang-kiosk", state=state, by="token", fingerprint_sha256="",
            issued_at=now, expires_at=now + timedelta(days=1),
        )  # fmt: skip
    yield Sitting(
        session="lang-sitting", device="lang-hall", channel="floor", title="1", lang="sq", state="open",
        version=1, created_at=now, opened_at=now,
    )  # fmt: skip
    for number, state in enumerate(DOCUMENT.states):
        yield Document(
            document=f"lang-{number}", device="lang-kiosk", visit="v", kind="possession-sheet", language="sq",
            state=state, version=1, created_at=now, changed_at=now, payment="none",
        )  # fmt: skip


@pytest.fixture(scope="module")
def staff(ground, ways):
    now = datetime.now(UTC)
    with ground.sessions.begin() as session:
        session.add_all(_rows(now))
        session.flush()
        session.add(IncidentMember(incident=900001, device="lang-kiosk", gone_at=now, times=1))
        session.add(SittingChange(session="lang-sitting", version=1, state="open", at=now))
        for action in ACTIONS:
            audit(session, Actor("lang", now), action, "x", {})
    return {
        role: sign_in_as(f"lang-{role}", main.pages_app(ground, ways), ground.sessions, now, role)
        for role in (Role.ADMINISTRATOR, Role.CLERK)
    }


@pytest.mark.parametrize("language", ENGLISH)
@pytest.mark.parametrize("path", PAGES)
def test_no_page_of_staff_speaks_english_to_others(ground, staff, path, language):
    client = staff[Role.ADMINISTRATOR].client
    page = client.get(path, headers={"Accept-Language": language})
    assert f'<html lang="{language}"' in page.text
    assert left_over(page.text, language, given_names(ground)) == []


@pytest.mark.parametrize("language", ENGLISH)
@pytest.mark.parametrize("path", PUBLIC)
def test_no_public_page_speaks_english_to_others(ground, staff, path, language):
    page = TestClient(staff[Role.CLERK].client.app).get(path.format(language))
    assert page.status_code == 200
    assert left_over(page.text, language, given_names(ground)) == []


@pytest.mark.parametrize("language", ENGLISH)
def test_no_refusal_speaks_english_to_others(ground, staff, language):
    clerk, admin = staff[Role.CLERK], staff[Role.ADMINISTRATOR]
    words = {"Accept-Language": language}
    csrf = {"csrf": admin.csrf}
    device = {"device": "A", "kind": "kiosk", "site": "1"}
    settings = "/devices/lang-kiosk/settings"
    for answer in (
        TestClient(clerk.client.app).get("/sign-in", headers=words),
        TestClient(clerk.client.app).post("/sign-in", data={"name": "x", "password": "x"}, headers=words),
        clerk.client.get("/accounts", headers=words),
        admin.client.post("/accounts", data={"name": "a b", "role": "clerk"} | csrf, headers=words),
        admin.client.post("/tokens", data={"name": "a/b", "days": "30"} | csrf, headers=words),
        admin.client.post("/tokens", data={"name": "x"}, headers=words),
        admin.client.post("/enrolment", data=device | csrf, headers=words),
        admin.client.post(settings, data={"entered": ["5", "x"], "was": ["", ""]} | csrf, headers=words),
        admin.client.post(settings, data={"entered": ["50", ""], "was": ["", ""]} | csrf, headers=words),
        admin.client.post("/jobs/op-none/cancel", data=csrf, headers=words),
        admin.client.post("/documents/lang-0/void", data=csrf, headers=words),
    ):
        assert left_over(answer.text, language, given_names(ground)) == [], answer.url


def test_a_page_in_english_would_be_noticed(staff):
    page = staff[Role.ADMINISTRATOR].client.get("/accounts", headers={"Accept-Language": "en"})
    assert "Create the account" in left_over(page.text, "sq")
