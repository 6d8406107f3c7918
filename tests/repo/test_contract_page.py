"""The contract's page says what the contract says."""

import importlib
import pkgutil
from pathlib import Path

import contract
from contract.lifecycle import Machine
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
    assert {machine.name for machine in MACHINES} == {machine.name for machine in machines()}


def machines() -> list[Machine]:
    """Every life cycle that a module of the contract has."""
    names = [each.name for each in pkgutil.iter_modules(contract.__path__) if each.name != "__main__"]
    modules = [importlib.import_module(f"contract.{name}") for name in names]
    return [each for module in modules for each in vars(module).values() if isinstance(each, Machine)]
