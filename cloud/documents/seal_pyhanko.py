"""Seals papers by pyHanko: PAdES baseline B-B with the municipality's key, PDF/A kept.

Two things of pyHanko's defaults break PDF/A, and are avoided here: an invisible field has no appearance, and
the rewritten XMP packet loses the standard's mark. Anything that is changed afterwards breaks the seal,
because it certifies that no change is allowed.
"""

import io
from pathlib import Path

from pyhanko.pdf_utils.content import RawContent
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.layout import BoxConstraints
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.sign import PdfSignatureMetadata, PdfSigner
from pyhanko.sign.fields import MDPPerm, SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers import SimpleSigner
from pyhanko.stamp import StaticStampStyle

from cloud.documents.paper import SEAL_BOX, Box
from cloud.errors import RefusedError, SettingsError

FIELD = "Seal"
DIGEST = "sha256"
POINTS_PER_MM = 72 / 25.4
ROUND = 0.5523
"""Control points of four Bézier curves that look like a circle."""


class _Unrewritten(IncrementalPdfFileWriter):
    """A writer that leaves the document's XMP packet as the renderer wrote it."""

    def _update_meta(self) -> None:
        """Do nothing; a private hook of pyHanko 0.38, held by the test that the PDF/A mark survives."""


class PyhankoSealer:
    """The seal of the municipality; safe to use from several threads."""

    def __init__(self, key: Path, certificate: Path, chain: Path, *, box: Box = SEAL_BOX) -> None:
        """Load the EC key and the certificate from PEM files; `chain` is the authority's certificate.

        Raises:
            SettingsError: a file is missing or does not hold what it should.
        """
        signer = None
        if key.is_file() and certificate.is_file() and chain.is_file():
            signer = SimpleSigner.load(  # type: ignore[no-untyped-call] # pyHanko has no types there
                str(key), str(certificate), ca_chain_files=[str(chain)]
            )
        if signer is None:
            raise SettingsError(f"the seal cannot be loaded from {key.parent}; run `python -m cloud init`")
        self._signer = signer
        self._box = box

    def __call__(self, pdf: bytes) -> bytes:
        """`pdf` with the seal on its first page; each call gives other bytes.

        Raises:
            RefusedError: it is no PDF that can be sealed.
        """
        sealed = io.BytesIO()
        metadata = PdfSignatureMetadata(
            field_name=FIELD,
            subfilter=SigSeedSubFilter.PADES,
            md_algorithm=DIGEST,
            certify=True,
            docmdp_permissions=MDPPerm.NO_CHANGES,
        )
        try:
            PdfSigner(
                metadata,
                self._signer,
                stamp_style=_appearance(self._box),
                new_field_spec=SigFieldSpec(FIELD, on_page=0, box=_points(self._box)),
            ).sign_pdf(_Unrewritten(io.BytesIO(pdf)), output=sealed)
        except (PdfError, SigningError) as error:
            raise RefusedError(f"the paper cannot be sealed: {type(error).__name__}") from None
        return sealed.getvalue()


def _points(box: Box) -> tuple[int, int, int, int]:
    left, bottom = box.x * POINTS_PER_MM, box.y * POINTS_PER_MM
    right, top = left + box.width * POINTS_PER_MM, bottom + box.height * POINTS_PER_MM
    return round(left), round(bottom), round(right), round(top)


def _appearance(box: Box) -> StaticStampStyle:
    """A drawing without letters, because a font would have to be embedded: a ring around the mark."""
    left, bottom, right, top = _points(box)
    width, height = right - left, top - bottom
    content = RawContent(_drawing(min(width, height)), box=BoxConstraints(width, height))
    return StaticStampStyle(border_width=0, background=content, background_opacity=1.0)


def _drawing(size: float) -> bytes:
    """PDF operators, on a square of `size` points: two rings, a gate, and rays between the rings."""
    middle = size / 2
    unit = size / 40
    parts = ["q 0.043 0.333 0.388 RG 0.043 0.333 0.388 rg"]
    for radius, width in ((19.0, 1.0), (14.2, 0.5)):
        parts.append(f"{width * unit:.3f} w {_circle(middle, radius * unit)} S")
    parts.append(f"[{0.5 * unit:.3f} {0.9 * unit:.3f}] 0 d {3.0 * unit:.3f} w")
    parts.append(f"{_circle(middle, 16.6 * unit)} S [] 0 d")
    parts.append(_polygon(unit, (11, 22.5), (20, 28.5), (29, 22.5)))
    parts += [
        _polygon(unit, (x, 14), (x, 21.5), (x + 2, 21.5), (x + 2, 14)) for x in (12.5, 16.8, 21.2, 25.5)
    ]
    parts += [_polygon(unit, (11, 11.2), (11, 12.8), (29, 12.8), (29, 11.2))]
    return " ".join([*parts, "Q"]).encode("ascii")


def _circle(middle: float, radius: float) -> str:
    bend = radius * ROUND
    low, high = middle - radius, middle + radius
    return (
        f"{high:.3f} {middle:.3f} m "
        f"{high:.3f} {middle + bend:.3f} {middle + bend:.3f} {high:.3f} {middle:.3f} {high:.3f} c "
        f"{middle - bend:.3f} {high:.3f} {low:.3f} {middle + bend:.3f} {low:.3f} {middle:.3f} c "
        f"{low:.3f} {middle - bend:.3f} {middle - bend:.3f} {low:.3f} {middle:.3f} {low:.3f} c "
        f"{middle + bend:.3f} {low:.3f} {high:.3f} {middle - bend:.3f} {high:.3f} {middle:.3f} c h"
    )


def _polygon(unit: float, *corners: tuple[float, float]) -> str:
    (x, y), *rest = corners
    lines = " ".join(f"{a * unit:.3f} {b * unit:.3f} l" for a, b in rest)
    return f"{x * unit:.3f} {y * unit:.3f} m {lines} h f"
