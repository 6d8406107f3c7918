"""Papers for tests: a possession list and a birth with everything on them, and what makes papers of them."""

from datetime import UTC, date, datetime
from pathlib import Path

from cloud.documents.birth_certificate import Birth, Parent
from cloud.documents.issue import Issue
from cloud.documents.possession_sheet import Holder, Parcel, Right, Sheet
from cloud.documents.seal_pyhanko import PyhankoSealer
from cloud.enrolment import pki

HOSTILE = '#panic("x") $x$ *b* #read("/etc/passwd") \\ <script>'
CODE = "7K3N0QF2YV9X4M8ZC1D5W6RBTA"
SHEET = Sheet(
    number="UL-71914041-00027",
    zone_code="71914041",
    zone="Çagllavicë",
    changed_on=date(2017, 11, 7),
    holders=[
        Holder(name="Ђорђе Љубић", address="Ul. Cara Dušana 12, Prishtinë", share="1/2"),
        Holder(name="Mërgim Çerkini-Đorđević", address="Rr. Nëna Terezë 3, Prishtinë", share="1/2"),
    ],
    parcels=[
        Parcel(
            number="P-71914041-05682-1",
            place="Te kroi",
            use="arable",
            area_m2=17696,
            y_m=7514572.68,
            x_m=4727278.3,
        ),
        Parcel(
            number="P-71914041-00072-0",
            place="Qendër",
            use="vineyard",
            area_m2=277,
            y_m=7511897.81,
            x_m=4726967.0,
        ),
    ],
    rights=[
        Right(
            kind="mortgage",
            parcel="P-71914041-00072-0",
            in_favour_of="Banka Qytetare sh.a.",
            reference="5926/2012",
            since=date(2018, 1, 1),
        )
    ],
)


BIRTH = Birth(
    number="L-1981-000042",
    registered_on=date(1981, 2, 9),
    given_names="Љиљана",
    surname="Ђорђевић-Çerkini",
    sex="F",
    personal_number="1000000042",
    born_on=date(1981, 2, 1),
    place="Gračanica",
    municipality="Prishtinë",
    father=None,
    mother=Parent(name="Снежана Ђорђевић", birth_surname="Његован"),
)


def issue(language: str = "sq") -> Issue:
    """What is given to a paper in `language`."""
    return Issue(
        serial="PR-2026-000123",
        code=CODE,
        verify_url=f"https://dokumente.example/v/{CODE}",
        verify_page="https://dokumente.example/verify",
        issued_on=date(2026, 11, 23),
        valid_until=date(2027, 5, 22),
        price_cents=400,
        language=language,
    )


def sealer(folder: Path) -> PyhankoSealer:
    """A seal with a new authority in `folder`."""
    pki.prepare(folder, ["localhost"], datetime.now(UTC))
    return PyhankoSealer(folder / "seal.key", folder / "seal.pem", folder / "authorities.pem")
