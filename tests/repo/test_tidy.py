"""Rules of style that a test can hold; each failure names the cure."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from contract.topics import ROOT_DEFAULT

ROOT = Path(__file__).parents[2]
FUNCTION_LINES_MAX = 70
PACKAGES = ("contract", "edge_agent", "cloud", "firmware_tools", "dashboards", "simulators")
STRAYS = {"utils", "util", "common", "helpers", "misc", "shared"}


@cache
def tracked() -> tuple[Path, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    names = listed.stdout.decode().split("\0")
    return tuple(path for name in names if name and (path := ROOT / name).is_file())


def sources() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


def shipped() -> list[Path]:
    return [path for path in sources() if path.relative_to(ROOT).parts[0] in PACKAGES]


def test_functions_fit_a_screen() -> None:
    long = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {lines} lines")
    assert not long, "split what has two subjects:\n" + "\n".join(long)


def test_topics_are_written_in_the_contract_only() -> None:
    literal = re.compile(rf"[\"'](?:{re.escape(ROOT_DEFAULT)}|\$aws/things)/")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in shipped()
        if path != ROOT / "contract" / "topics.py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if literal.search(line)
    ]
    assert not found, "use contract.topics.build or subscription:\n" + "\n".join(found)


def test_no_module_collects_strays() -> None:
    found = [
        path for path in sources() if path.stem in STRAYS or STRAYS & set(path.relative_to(ROOT).parent.parts)
    ]
    assert not found, f"name each file for its subject: {found}"


def test_every_public_thing_says_what_it_is() -> None:
    silent = []
    for path in shipped():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not ast.get_docstring(tree) and tree.body:
            silent.append(f"{path.relative_to(ROOT)}: the module")
        silent.extend(
            f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        )
    assert not silent, "give each a docstring:\n" + "\n".join(silent)


def test_no_unfinished_work_is_committed() -> None:
    mark = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if mark.search(line)
    ]
    assert not found, "finish it or leave it out, and say so in the README's limits:\n" + "\n".join(found)


@pytest.mark.parametrize("suffix", [".html"])
def test_pages_carry_no_inline_script_or_style(suffix: str) -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=\"", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path.suffix == suffix
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if inline.search(line)
    ]
    assert not found, "the content security policy refuses these; move them into static files:\n" + "\n".join(
        found
    )


def test_locks_name_no_host_and_no_path() -> None:
    locks = [path for path in tracked() if path.suffix == ".lock"]
    assert ROOT / "requirements.lock" in locks
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert not re.search(r"https?://|file:|--index-url|--find-links|-e ", text), (
            f"{lock.name}: run make lock"
        )
        assert text.count("--hash=sha256:") >= len(re.findall(r"^[a-z0-9][\w.-]*==", text, re.MULTILINE)), (
            lock.name
        )


def test_nothing_names_a_path_of_one_machine() -> None:
    path_of_machine = re.compile(r"(?<![\w.])/(?:home/\w+|root|work|Users/\w+)/")
    found = []
    for path in tracked():
        if (
            path.suffix in {".py", ".md", ".toml", ".html", ".js", ".css", ".sh", ".json", ".yml", ".lock"}
            or path.name == "Makefile"
        ):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if path_of_machine.search(line) and path != Path(__file__):
                    found.append(f"{path.relative_to(ROOT)}:{number}")
    assert not found, found
