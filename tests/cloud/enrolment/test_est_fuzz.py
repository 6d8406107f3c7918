"""Whatever is sent to the bootstrap listener: an answer that says what was wrong, nothing of our insides."""

import base64
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.enrolment import DeviceCertificate
from cloud.enrolment import est, pki, registry, tokens
from cloud.enrolment.est import BODY_BYTES_MAX, MEDIA_REQUEST, Desk
from cloud.web.application import build
from contract.enrolment import EST_PREFIX

NAME = "kiosk-01"
INSIDES = (b"Traceback", b"cryptography", b"sqlalchemy", b"/cloud/", b"Error", b"SELECT")
many = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    pki.prepare(folder / "pki", ["localhost"], datetime.now(UTC))
    engine = connect(f"sqlite:///{folder / 'fleet.db'}")
    complete().create_all(engine)
    sessions = sessionmaker(engine, expire_on_commit=False)
    with sessions.begin() as session:
        registry.register(session, NAME, "kiosk", "Dardania", datetime.now(UTC))
        token = tokens.issue(session, NAME, "kiosk", datetime.now(UTC), b"sixteen of these")
    desk = Desk(pki.load(folder / "pki"), sessions, lambda: datetime.now(UTC))
    app = build("bootstrap", [est.router(desk, folder / "pki")], body_bytes_max=BODY_BYTES_MAX)
    yield TestClient(app, raise_server_exceptions=False), token, desk
    engine.dispose()


def csr(key=None, algorithm=hashes.SHA256(), name=NAME):  # noqa: B008 - it has no state
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm)
    return made.public_bytes(Encoding.DER)


GOOD = csr()


@st.composite
def mangled(draw):
    """A good request in which some bytes were changed, cut out or put in."""
    body = bytearray(GOOD)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(body) - 1))
        match draw(st.sampled_from(("change", "cut", "put"))):
            case "change":
                body[at] = draw(st.integers(0, 255))
            case "cut":
                del body[at : at + draw(st.integers(1, 8))]
            case "put":
                body[at:at] = draw(st.binary(min_size=1, max_size=8))
    return bytes(body)


bodies = st.one_of(
    st.binary(max_size=2000),
    st.binary(max_size=1500).map(base64.b64encode),
    mangled().map(base64.b64encode),
    st.just(b"A" * (BODY_BYTES_MAX + 1)),
)
headers = st.dictionaries(
    st.sampled_from(
        ["authorization", "content-type", "content-transfer-encoding", "accept", "x-forwarded-for"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200),
    max_size=5,
)


def harmless(answer):
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.content[:200])
    assert not any(each in answer.content for each in INSIDES), answer.content
    told = answer.json()
    assert told["status"] == answer.status_code
    assert "detail" in told


@pytest.mark.parametrize("operation", ["simpleenroll", "simplereenroll"])
def test_any_body_with_any_headers(bootstrap, operation):
    client, token, _ = bootstrap

    @many
    @given(body=bodies, sent=headers, known=st.booleans())
    def ask(body, sent, known):
        if known:
            basic = base64.b64encode(f"{NAME}:{token}".encode()).decode()
            sent = {**sent, "authorization": f"Basic {basic}", "content-type": MEDIA_REQUEST}
        harmless(client.post(f"{EST_PREFIX}/{operation}", content=body, headers=sent))

    ask()


def test_any_credentials(bootstrap):
    client, _, _ = bootstrap

    @many
    @given(who=st.binary(max_size=200), scheme=st.sampled_from(["Basic", "basic", "Bearer", ""]))
    def ask(who, scheme):
        sent = {
            "authorization": f"{scheme} {base64.b64encode(who).decode()}",
            "content-type": MEDIA_REQUEST,
        }
        harmless(client.post(f"{EST_PREFIX}/simpleenroll", content=base64.b64encode(GOOD), headers=sent))

    ask()


@pytest.mark.parametrize(
    "request_",
    [
        csr(ed25519.Ed25519PrivateKey.generate(), None),
        csr(ec.generate_private_key(ec.SECP256K1())),
        csr(ec.generate_private_key(ec.SECP521R1()), hashes.SHA512()),
        csr(name="kiosk-01\x00"),
        GOOD[:-1],
        GOOD + b"\x00",
    ],
)
def test_requests_with_keys_and_names_that_are_not_taken(bootstrap, request_):
    client, token, _ = bootstrap
    basic = base64.b64encode(f"{NAME}:{token}".encode()).decode()
    sent = {"authorization": f"Basic {basic}", "content-type": MEDIA_REQUEST}
    harmless(client.post(f"{EST_PREFIX}/simpleenroll", content=base64.b64encode(request_), headers=sent))


def test_after_all_that_a_good_request_is_taken(bootstrap):
    client, token, desk = bootstrap
    answer = client.post(
        f"{EST_PREFIX}/simpleenroll",
        content=base64.b64encode(GOOD),
        headers={
            "authorization": "Basic " + base64.b64encode(f"{NAME}:{token}".encode()).decode(),
            "content-type": MEDIA_REQUEST,
        },
    )
    assert answer.status_code == 200
    with desk.sessions() as session:
        rows = session.scalars(sa.select(DeviceCertificate)).all()
    assert [row.device for row in rows] == [NAME], "nothing else was signed"
