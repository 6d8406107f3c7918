"""Sets pages by Typst, as PDF/A-2b, the same bytes for the same data on every machine.

Data goes in as one JSON string and comes out as content: a template never evaluates it. Only Typst's own
fonts are used (Libertinus Serif has all Albanian and Serbian letters), and no package is fetched.
"""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import segno
import typst

from cloud.documents.paper import PDF_BYTES_MAX
from cloud.errors import RefusedError

TEMPLATES = Path(__file__).parent / "templates"
STANDARD: Final = "a-2b"
QR_ERROR_LEVEL = "m"
QR_BORDER_MODULES = 2


class TypstRenderer:
    """Renders templates of this way; safe to use from several threads."""

    def __init__(self) -> None:
        self._fonts = typst.Fonts(include_system_fonts=False)

    def __call__(self, template: str, data: dict[str, Any]) -> bytes:
        """`template` (`possession-sheet`) with `data`, which must have `verify_url` and `date` (y, m, d).

        Raises:
            RefusedError: it cannot be set, or is larger than `PDF_BYTES_MAX`. The reason names no value.
        """
        year, month, day = data["date"]
        whole = data | {"qr_svg": qr_svg(data["verify_url"])}
        try:
            pdf: bytes = typst.compile(
                str(TEMPLATES / f"{template}.typ"),
                root=str(TEMPLATES),
                sys_inputs={"data": json.dumps(whole, ensure_ascii=False)},
                font_paths=self._fonts,
                pdf_standards=[STANDARD],
                timestamp=datetime(year, month, day, tzinfo=UTC),
            )
        except typst.TypstError as error:
            raise RefusedError(f"{template}.typ cannot be set: {type(error).__name__}") from None
        if len(pdf) > PDF_BYTES_MAX:
            raise RefusedError(f"{template}: {len(pdf)} bytes, at most {PDF_BYTES_MAX} are taken")
        return pdf


def qr_svg(address: str) -> str:
    """A QR code of `address` as SVG; never a Micro QR code, which phones do not read."""
    drawn = io.BytesIO()
    segno.make_qr(address, error=QR_ERROR_LEVEL).save(
        drawn, kind="svg", border=QR_BORDER_MODULES, xmldecl=False
    )
    return drawn.getvalue().decode()
