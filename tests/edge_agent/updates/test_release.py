"""A release is unpacked whole or not at all, and whatever is wrong with it is one sentence."""

import zipfile
from pathlib import Path

import pytest

from edge_agent.errors import RefusedError
from edge_agent.updates import release
from tests.edge_agent.updates.bundles import agent_wheel, bundle, lock, wheel

VERSION = "2.0.0"


def install(image: Path, folder: Path, **how: str) -> None:
    chosen = {"version": VERSION, "kind": "kiosk", "lock": lock("kiosk"), **how}
    release.install(image, folder, **chosen)


def good(tmp_path: Path) -> Path:
    return bundle(tmp_path / "r.zip", VERSION, [agent_wheel(tmp_path / "w", VERSION, "print('hi')")])


def test_a_release_is_unpacked_in_place_of_the_one_before(tmp_path: Path) -> None:
    slot = tmp_path / "slots" / "a"
    slot.mkdir(parents=True)
    (slot / "old").touch()
    install(good(tmp_path), slot)
    assert (slot / "site" / "edge_agent" / "__main__.py").read_text() == "print('hi')"
    assert release.read(slot / "release.json").version == VERSION
    assert sorted(path.name for path in slot.iterdir()) == ["release.json", "site"]
    assert sorted(path.name for path in slot.parent.iterdir()) == ["a"]


def test_what_pip_would_put_elsewhere_is_left_out_but_for_libraries(tmp_path: Path) -> None:
    files = {f"x-1.data/{name}": b"1" for name in ("scripts/run", "purelib/x/y.py", "platlib/z.so")}
    wheels = [agent_wheel(tmp_path / "w", VERSION), wheel(tmp_path / "w", "x", "1.0", files)]
    install(bundle(tmp_path / "r.zip", VERSION, wheels, complete=True), tmp_path / "a")
    site = tmp_path / "a" / "site"
    assert (site / "x" / "y.py").is_file()
    assert (site / "z.so").is_file()
    assert not list(site.rglob("run"))


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil", "a/../../evil", "..\\evil"])
def test_a_wheel_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    image = bundle(tmp_path / "r.zip", VERSION, [agent_wheel(tmp_path / "w", VERSION, **{name: b"evil"})])
    with pytest.raises(RefusedError, match="leaves its folder"):
        install(image, tmp_path / "slots" / "a")
    assert not list(tmp_path.rglob("evil*"))
    assert not list((tmp_path / "slots").iterdir())


def test_a_link_in_a_wheel_is_refused(tmp_path: Path) -> None:
    path = agent_wheel(tmp_path / "w", VERSION)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("edge_agent/link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(RefusedError, match="leaves its folder"):
        install(bundle(tmp_path / "r.zip", VERSION, [path]), tmp_path / "a")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "2.0.1"}, "is version 2.0.1, not 2.0.0"),
        ({"python": "3.99"}, "needs Python 3.99"),
        ({"python": "three"}, "no manifest"),
        ({"wheels": []}, "no manifest"),
        ({"locks": {"kiosk": "0" * 64}}, "build it with --dependencies"),
        ({"wheels": [{"file": "../x.whl", "sha256": "0" * 64, "size": 1}]}, "no manifest"),
        ({"wheels": [{"file": "x.whl", "sha256": "0" * 64, "size": 1}]}, "has no x.whl"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    image = bundle(tmp_path / "r.zip", VERSION, [agent_wheel(tmp_path / "w", VERSION)], **changes)
    with pytest.raises(RefusedError, match=said):
        install(image, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_release_that_brings_its_dependencies_needs_no_fitting_lock(tmp_path: Path) -> None:
    image = bundle(
        tmp_path / "r.zip", VERSION, [agent_wheel(tmp_path / "w", VERSION)], complete=True, locks={}
    )
    install(image, tmp_path / "a", lock="")
    assert (tmp_path / "a" / "site").is_dir()


def test_a_wheel_that_is_not_what_the_manifest_says_is_refused(tmp_path: Path) -> None:
    path = agent_wheel(tmp_path / "w", VERSION)
    wrong = [{"file": path.name, "sha256": "0" * 64, "size": path.stat().st_size}]
    with pytest.raises(RefusedError, match=r"is not what release\.json says"):
        install(bundle(tmp_path / "r.zip", VERSION, [path], wheels=wrong), tmp_path / "a")


def test_an_agent_of_another_version_than_its_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"has no agent of version 2\.0\.0"):
        install(bundle(tmp_path / "r.zip", VERSION, [agent_wheel(tmp_path / "w", "1.9.0")]), tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x00" * 1000])
def test_what_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.zip").write_bytes(content)
    with pytest.raises(RefusedError, match="is no zip"):
        install(tmp_path / "r.zip", tmp_path / "a")


def test_a_cut_zip_leaves_the_slot_as_it_was(tmp_path: Path) -> None:
    slot = tmp_path / "slots" / "a"
    install(good(tmp_path), slot)
    content = (tmp_path / "r.zip").read_bytes()
    (tmp_path / "r.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(RefusedError):
        install(tmp_path / "r.zip", slot)
    assert release.read(slot / "release.json").version == VERSION
