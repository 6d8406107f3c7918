"""The contract's page says what the contract says."""

from pathlib import Path

from contract.page import MACHINES, blocks, fill

PAGE = Path(__file__).parents[2] / "contract" / "README.md"


def test_tables_and_pictures_are_printed_from_the_contract() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert fill(text) == text, (
        "run: python -m contract < contract/README.md > new && mv new contract/README.md"
    )


def test_every_table_and_picture_stands_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert {name for name in blocks() if f"<!-- from the contract: {name} -->" in text} == set(blocks())
    assert len(MACHINES) == 8
