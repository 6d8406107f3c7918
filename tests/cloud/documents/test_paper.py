"""The paper: what stands on it, the same bytes each time, sealed so that others believe it."""

import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from cloud.documents import kinds, possession_sheet, records
from cloud.documents.birth_certificate import Birth
from cloud.documents.paper import PDF_BYTES_MAX
from cloud.documents.possession_sheet import Sheet, preview
from cloud.documents.render_typst import TypstRenderer
from cloud.documents.seal_pyhanko import PyhankoSealer
from cloud.errors import RefusedError, SettingsError
from contract.documents import Kind
from contract.languages import LANGUAGES
from tests.cloud.documents import papers

KINDS = kinds.load()
BIRTH = Kind.BIRTH_CERTIFICATE
RULES = KINDS.by_name["possession-sheet"]


@pytest.fixture(scope="module")
def render() -> TypstRenderer:
    return TypstRenderer()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pki")


@pytest.fixture(scope="module")
def seal(pki: Path) -> PyhankoSealer:
    return papers.sealer(pki)


def rendered(render: TypstRenderer, sheet: Sheet = papers.SHEET, language: str = "sq") -> bytes:
    return render("possession-sheet", possession_sheet.page(sheet, papers.issue(language), RULES, KINDS))


def run(*words: str | Path, code: int = 0) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def text_of(pdf: bytes, folder: Path) -> str:
    path = folder / "paper.pdf"
    path.write_bytes(pdf)
    return " ".join(run("pdftotext", "-layout", path, "-").split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_stands_on_the_paper_and_nothing_is_converted(
    language: str, render: TypstRenderer, tmp_path: Path
) -> None:
    text = text_of(rendered(render, language=language), tmp_path)
    for value in (
        "Ђорђе Љубић",
        "Mërgim Çerkini-Đorđević",
        "UL-71914041-00027",
        "P-71914041-05682-1",
        "vineyard",
        "7514572,68",
        "4727278,30",
        "17\N{NARROW NO-BREAK SPACE}973".replace("\N{NARROW NO-BREAK SPACE}", " "),
        "EPSG:9141",
        "01.01.2018",
        "23.11.2026",
        "22.05.2027",
        "4,00 €",
        "PR-2026-000123",
        "7K3N0-QF2YV-9X4M8-ZC1D5-W6RBTA",
        "https://dokumente.example/verify",
        RULES.title[language],
        RULES.title["sq"],
        KINDS.words["not_confirmed"][language],
        KINDS.words["holders"][language],
    ):
        assert value in text.replace("\N{NARROW NO-BREAK SPACE}", " "), value
    serbian = "Уверење о власништву" if language != "sr-Latn" else "Uverenje o vlasništvu"
    assert serbian in text


def born(render: TypstRenderer, birth: Birth = papers.BIRTH, language: str = "sq") -> bytes:
    data = records.page(BIRTH, birth, papers.issue(language), KINDS)
    return render(BIRTH, data)


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_stands_on_a_birth_certificate(
    language: str, render: TypstRenderer, tmp_path: Path
) -> None:
    text = text_of(born(render, language=language), tmp_path)
    rules = KINDS.by_name[BIRTH]
    for value in (
        "Љиљана",
        "Ђорђевић-Çerkini",
        "1000000042",
        "01.02.1981",
        "09.02.1981",
        "L-1981-000042",
        "Gračanica",
        "Снежана Ђорђевић (Његован)",
        KINDS.words["not_recorded"][language],
        KINDS.words["female"][language],
        rules.title[language],
        rules.title["sq"],
        rules.statement[language].split(":")[0],
        KINDS.words["not_confirmed"][language],
        "PR-2026-000123",
    ):
        assert value in text, value
    rows = records.preview(BIRTH, papers.BIRTH, price_cents=200, language=language, kinds=KINDS)
    assert {row.value for row in rows} >= {"Љиљана", "Снежана Ђорђевић (Његован)", "2,00 €"}
    assert all(row.label for row in rows)


def test_a_birth_certificate_is_one_sealed_page_whatever_the_names_are(
    render: TypstRenderer, seal: PyhankoSealer, tmp_path: Path
) -> None:
    hostile = msgspec.structs.replace(papers.BIRTH, given_names=papers.HOSTILE, surname="Ђорђевић " * 20)
    path = tmp_path / "birth.pdf"
    path.write_bytes(seal(born(render, hostile)))
    assert re.search(r"Pages:\s+1\b", run("pdfinfo", path))
    assert '#panic("x") $x$' in text_of(path.read_bytes(), tmp_path)
    assert "No syntax or stream encoding errors" in run("qpdf", "--check", path)


@pytest.mark.parametrize(
    "wrong", [{"sex": "X"}, {"personal_number": "12"}, {"born_on": "1.2.1981"}, {"surname": ""}]
)
def test_a_birth_of_another_form_is_not_taken(wrong: dict[str, str]) -> None:
    entry = msgspec.to_builtins(papers.BIRTH) | wrong
    with pytest.raises(msgspec.ValidationError):
        records.read(BIRTH, msgspec.json.encode(entry))


def test_every_kind_has_its_rules_its_fee_and_its_template() -> None:
    for kind in Kind:
        assert KINDS.get(kind) is not None
        assert KINDS.fee(kind, papers.issue().issued_on).cents > 0
        assert (Path(kinds.FILE).parent / "templates" / f"{kind}.typ").exists()


def test_the_same_data_gives_the_same_bytes(render: TypstRenderer) -> None:
    assert rendered(render) == rendered(TypstRenderer())
    assert born(render) == born(TypstRenderer())


def test_hostile_text_is_printed_and_never_obeyed(render: TypstRenderer, tmp_path: Path) -> None:
    holder = msgspec.structs.replace(papers.SHEET.holders[0], name=papers.HOSTILE)
    text = text_of(rendered(render, msgspec.structs.replace(papers.SHEET, holders=[holder])), tmp_path)
    assert '#panic("x") $x$ *b* #read("/etc/passwd")' in text
    assert "root:" not in text


def test_templates_never_evaluate(render: TypstRenderer) -> None:
    templates = Path(kinds.FILE).parent / "templates"
    found = list(templates.glob("*.typ"))
    assert found
    for template in found:
        source = template.read_text(encoding="utf-8").replace('#import "frame.typ": ', "", 1)
        assert not re.search(r"\beval\b|@preview|\bread\(|\binclude\b|\bimport\b", source), template.name


def test_a_long_list_goes_over_pages_with_one_seal(
    render: TypstRenderer, seal: PyhankoSealer, tmp_path: Path
) -> None:
    sheet = msgspec.structs.replace(papers.SHEET, parcels=papers.SHEET.parcels * 100)
    path = tmp_path / "long.pdf"
    path.write_bytes(seal(rendered(render, sheet)))
    pages = int(re.search(r"Pages:\s+(\d+)", run("pdfinfo", path)).group(1))  # type: ignore[union-attr] # always there
    assert pages > 3
    assert f"{pages}/{pages}" in text_of(path.read_bytes(), tmp_path).replace(" ", "")


def test_what_cannot_be_set_is_refused_without_its_data(render: TypstRenderer) -> None:
    data = possession_sheet.page(papers.SHEET, papers.issue(), RULES, KINDS)
    del data["holders"]
    with pytest.raises(RefusedError) as refused:
        render("possession-sheet", data)
    assert "Te kroi" not in str(refused.value)


def test_others_believe_the_seal(
    render: TypstRenderer, seal: PyhankoSealer, pki: Path, tmp_path: Path
) -> None:
    path = tmp_path / "sealed.pdf"
    path.write_bytes(seal(rendered(render)))
    assert "No syntax or stream encoding errors" in run("qpdf", "--check", path)
    nss = tmp_path / "nss"
    nss.mkdir()
    run("certutil", "-N", "-d", f"sql:{nss}", "--empty-password")
    run("certutil", "-A", "-n", "ca", "-t", "CT,C,C", "-d", f"sql:{nss}", "-i", pki / "ca.pem")
    said = run("pdfsig", "-nssdir", f"sql:{nss}", path)
    assert "Signature is Valid." in said
    assert "Certificate is Trusted." in said
    assert "ETSI.CAdES.detached" in said
    assert "Total document signed" in said


def test_one_changed_byte_breaks_the_seal(render: TypstRenderer, seal: PyhankoSealer, tmp_path: Path) -> None:
    changed = bytearray(seal(rendered(render)))
    place = changed.index(b"stream", 2000) + 40
    changed[place] ^= 1
    path = tmp_path / "changed.pdf"
    path.write_bytes(changed)
    assert "Signature is Valid." not in run("pdfsig", path)


def test_the_seal_keeps_the_archive_standard(
    render: TypstRenderer, seal: PyhankoSealer, tmp_path: Path
) -> None:
    plain = rendered(render)
    sealed = seal(plain)
    assert sealed.startswith(plain), "the seal is added, nothing is rewritten"
    assert sealed.count(b"<pdfaid:part>2</pdfaid:part>") == 1
    assert sealed.count(b"<pdfaid:conformance>B</pdfaid:conformance>") == 1
    assert b"/OutputIntents" in sealed
    assert re.search(rb"/Subtype ?/Widget", sealed)
    assert b"/AP" in sealed[len(plain) :], "a visible field has its appearance"
    path = tmp_path / "sealed.pdf"
    path.write_bytes(sealed)
    fonts = run("pdffonts", path).splitlines()[2:]
    assert fonts
    for line in fonts:
        assert line.split()[-5] == "yes", f"not embedded: {line}"


def test_the_qr_code_is_no_micro_code() -> None:
    import segno

    from cloud.documents.render_typst import qr_svg

    assert segno.make_qr("x").version == 1
    assert qr_svg("https://x/v/1").count("<path") == 1


def test_a_seal_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="init"):
        PyhankoSealer(tmp_path / "seal.key", tmp_path / "seal.pem", tmp_path / "ca.pem")


def test_what_is_no_pdf_is_not_sealed(seal: PyhankoSealer) -> None:
    with pytest.raises(RefusedError):
        seal(b"not a PDF")


def test_sizes_are_bounded(render: TypstRenderer, seal: PyhankoSealer) -> None:
    many = msgspec.structs.replace(
        papers.SHEET, parcels=papers.SHEET.parcels * 100, holders=papers.SHEET.holders * 25
    )
    assert len(seal(rendered(render, many))) < PDF_BYTES_MAX


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_preview_says_what_the_paper_says(language: str) -> None:
    rows = preview(papers.SHEET, price_cents=400, language=language, kinds=KINDS)
    values = [row.value for row in rows]
    assert "Ђорђе Љубић (1/2)" in values
    assert "4,00 €" in values
    assert all(row.label for row in rows)
