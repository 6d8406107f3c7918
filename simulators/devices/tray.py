"""What comes out of a simulated printer, and what can be wrong with it; both are files in its folder."""

from collections import Counter
from enum import StrEnum
from pathlib import Path

FLAG = "fault"
PAGES = "pages"
COUNT = "impressions"


class Fault(StrEnum):
    """What can be wrong with a printer; the word in the flag file `fault` of its folder.

    `paper-out` and `jam` hold jobs until they are mended; `silent` answers nothing; `slow` takes seconds a
    page; `broken` gives each job up without a page. `ippeveprinter` notices a jam only when it prints.
    """

    PAPER_OUT = "paper-out"
    JAM = "jam"
    SILENT = "silent"
    SLOW = "slow"
    BROKEN = "broken"


class Tray:
    """What came out of one printer; kept in a folder, so that it outlives the printer's process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / PAGES).mkdir(parents=True, exist_ok=True)

    def papers(self) -> list[Path]:
        """The printed files, the oldest first."""
        return sorted((self.folder / PAGES).glob("*.pdf"), key=lambda path: path.stat().st_mtime_ns)

    def impressions(self) -> Counter[str]:
        """How often each job name came out."""
        try:
            return Counter((self.folder / COUNT).read_text(encoding="utf-8").splitlines())
        except FileNotFoundError:
            return Counter()

    def put(self, ipp_job_id: int, name: str, pdf: bytes) -> None:
        """A paper comes out."""
        safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
        (self.folder / PAGES / f"{ipp_job_id}-{safe}.pdf").write_bytes(pdf)
        with (self.folder / COUNT).open("a", encoding="utf-8") as count:
            count.write(f"{name}\n")

    @property
    def fault(self) -> Fault | None:
        """What the flag file says."""
        try:
            word = (self.folder / FLAG).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        return Fault(word) if word else None

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        if fault is None:
            (self.folder / FLAG).unlink(missing_ok=True)
        else:
            (self.folder / FLAG).write_text(f"{fault.value}\n", encoding="utf-8")
