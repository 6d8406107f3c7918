"""The role laid down into a temporary folder, without root: what it writes, and that it settles."""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.settings import load
from tests.ansible.wheelhouse import fill, seal

ANSIBLE = Path(__file__).parents[2] / "ansible"
PROGRAMS = Path(sys.executable).parent
KIOSK, RECORDER = "kiosk-01", "recorder-01"
TOKEN = "one-time-token-of-this-test"  # a made-up value
NEED_ROOT = {
    "agent : Create the service account",
    "agent : Install the packages that the agent needs",
    "agent : Run it and see it online",
    "agent : Ask the control plane",
    "agent : Refuse a second device with the same name",
    "agent : Fetch the fleet's authority from the server",
    "agent : Ask the control plane for a one-time token",
    "agent : Stop where the control plane gives none",
}
"""And what needs a server."""


@dataclass(frozen=True)
class Play:
    """One run of the playbook: its exit status, its words, and what each host was told to skip."""

    status: int
    output: str

    def changed(self) -> list[int]:
        return [int(number) for number in re.findall(r"changed=(\d+)", self.output)]

    def skipped(self, host: str) -> set[str]:
        found, task = set(), ""
        for line in self.output.splitlines():
            if heading := re.match(r"(?:TASK|RUNNING HANDLER) \[(.+?)\]", line):
                task = heading[1]
            elif line.startswith(f"skipping: [{host}.pristina.example]"):
                found.add(task)
        return found


@dataclass(frozen=True)
class Place:
    """Folders of one test: what is brought, and where devices are laid down."""

    folder: Path
    wheels: Path

    def root(self, host: str) -> Path:
        return self.folder / "devices" / host

    def slot(self, host: str) -> Path:
        return (self.root(host) / "opt/fleet-agent/current").resolve()

    def play(self, *more: str, hosts: Sequence[str] = (KIOSK, RECORDER)) -> Play:
        values = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_become": "false",
            "device_batch": "100%",
            "agent_python": sys.executable,
            "agent_root": f"{self.folder}/devices/{{{{ inventory_hostname_short }}}}",
            "agent_wheels": str(self.wheels),
            "agent_control": "",
            "agent_models": str(self.folder / "models"),
            "agent_ca": str(self.folder / "ca.pem"),
            "agent_token": TOKEN,
            "agent_manage_user": "false",
            "agent_manage_packages": "false",
            "agent_manage_service": "false",
        }
        words = [str(PROGRAMS / "ansible-playbook"), "device.yml", "--limit"]
        words.append(",".join(f"{host}.pristina.example" for host in hosts))
        for name, value in values.items():
            words += ["--extra-vars", f"{name}='{value}'"]
        return run(self.folder, *words, *more)


def run(folder: Path, *words: str) -> Play:
    kept = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    environ = {**kept, "HOME": str(folder), "ANSIBLE_HOME": str(folder / ".ansible"), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        words, cwd=ANSIBLE, env=environ, capture_output=True, text=True, timeout=200, check=False
    )
    return Play(done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    assert shutil.which("systemd-analyze"), "install the Debian package systemd: the unit is checked by it"
    folder = tmp_path_factory.mktemp("ansible")
    (folder / "models/whisper-tiny.en").mkdir(parents=True)
    (folder / "models/whisper-tiny.en/model.bin").write_bytes(b"weights")
    (folder / "models/silero_vad.onnx").write_bytes(b"weights")
    (folder / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    return Place(folder, fill(folder / "release"))


@pytest.fixture(scope="module")
def first(place: Place) -> Play:
    play = place.play()
    assert play.status == 0, play.output
    return play


def test_the_syntax_holds(tmp_path: Path) -> None:
    play = run(tmp_path, str(PROGRAMS / "ansible-playbook"), "--syntax-check", "site.yml", "device.yml")
    assert play.status == 0, play.output


def test_the_commands_of_the_page_may_be_typed(tmp_path: Path) -> None:
    page = (ANSIBLE / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^ *\.\./\.venv/bin/(ansible-playbook .*)$", page, re.MULTILINE)
    reached = []
    for command in commands:
        program, *words = command.split()
        listed = run(tmp_path, str(PROGRAMS / program), *words, "--list-hosts")
        assert listed.status == 0, listed.output
        reached.append(set(re.findall(r"^ {6}(\S+)\.pristina\.example$", listed.output, re.MULTILINE)))
    server, kiosk, everybody = reached
    assert (server, kiosk, len(everybody)) == ({"fleet"}, {"kiosk-01"}, 19)
    (program,) = re.findall(r"^ *\.\./\.venv/bin/python (\S+)$", page, re.MULTILINE)
    helped = run(tmp_path, sys.executable, program, "--help")
    assert helped.status == 0, helped.output


def test_the_linter_has_nothing_to_say(tmp_path: Path) -> None:
    lint = run(tmp_path, str(PROGRAMS / "ansible-lint"), "--offline", "--profile", "production", "--strict")
    assert lint.status == 0, lint.output


def test_the_example_has_the_size_of_pristina(tmp_path: Path) -> None:
    listed = run(tmp_path, str(PROGRAMS / "ansible-inventory"), "--graph").output
    hosts = re.findall(r"--(fleet|(?:kiosk|recorder)-\d\d)\.pristina\.example$", listed, re.MULTILINE)
    assert hosts == ["fleet"] + [f"kiosk-{n:02}" for n in range(1, 17)] + ["recorder-01", "recorder-02"]


@pytest.mark.usefixtures("first")
def test_a_second_run_changes_nothing(place: Place) -> None:
    second = place.play()
    assert second.status == 0, second.output
    assert second.changed() == [0, 0], second.output


def test_only_what_needs_root_is_skipped(first: Play) -> None:
    assert first.skipped(KIOSK) == NEED_ROOT | {"agent : Bring the speech models"}
    assert first.skipped(RECORDER) == NEED_ROOT


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize("host", [KIOSK, RECORDER])
def test_the_agent_reads_the_settings(place: Place, host: str) -> None:
    etc, data = place.root(host) / "etc/fleet-agent", place.root(host) / "var/lib/fleet-agent"
    settings = load(etc / "settings.toml", {})
    assert (settings.device, settings.kind) == (host, host.removesuffix("-01"))
    assert settings.site == ("municipality" if host == KIOSK else "assembly")
    assert settings.data_dir == data
    assert settings.broker.host == "fleet.pristina.example"
    assert settings.broker.tls
    assert settings.cloud.ca_file.read_text().startswith("-----BEGIN")
    assert settings.token_file
    assert settings.token_file.read_text() == f"{TOKEN}\n"
    if host == KIOSK:
        assert settings.kiosk
        assert settings.recorder is None
    else:
        assert settings.recorder
        assert settings.kiosk is None
        assert settings.recorder.vad_model.is_file()
        assert (settings.recorder.model_dir / "model.bin").is_file()
        assert settings.recorder.microphone_command[-4:] == ["--rate", "48000", "--file-type", "raw"]


@pytest.mark.usefixtures("first")
def test_nobody_else_may_look(place: Place) -> None:
    root = place.root(RECORDER)
    for folder in ("etc/fleet-agent", "etc/fleet-agent/secrets", "var/lib/fleet-agent"):
        assert stat.S_IMODE((root / folder).stat().st_mode) == 0o700, folder
        for path in (root / folder).rglob("*"):
            wanted = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path


@pytest.mark.usefixtures("first")
def test_the_slot_runs_the_release(place: Place) -> None:
    slot = place.slot(KIOSK)
    assert re.fullmatch(r"0\.1\.0-[0-9a-f]{12}", slot.name)
    assert [path.name for path in slot.parent.iterdir()] == [slot.name]
    program = "import edge_agent.settings, contract, msgspec, sys; print(edge_agent.__file__, sys.prefix)"
    words = [str(slot / "bin/python"), "-c", program]
    told = subprocess.run(words, cwd=slot, capture_output=True, text=True, timeout=60, check=True).stdout
    assert told.split() == [
        str(next(slot.glob("lib/python3*/site-packages/edge_agent/__init__.py"))),
        str(slot),
    ]


@pytest.mark.usefixtures("first")
def test_the_unit_is_hardened(place: Place) -> None:
    unit = (place.root(KIOSK) / "etc/systemd/system/fleet-agent.service").read_text()
    for line in (
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "Restart=always",
        "RestartForceExitStatus=75",
    ):
        assert f"\n{line}\n" in unit
    assert f"\nReadWritePaths={place.root(KIOSK)}/var/lib/fleet-agent\n" in unit
    assert "\nMemoryMax=256M\n" in unit
    (place.folder / "exposure").mkdir()
    (place.folder / "exposure/fleet-agent.service").write_text(unit)
    judged = run(
        place.folder,
        "systemd-analyze",
        "security",
        "--offline=true",
        "--threshold=20",
        "--no-pager",
        str(place.folder / "exposure/fleet-agent.service"),
    )
    assert judged.status == 0, judged.output


@pytest.mark.usefixtures("first")
def test_a_wrong_setting_never_replaces_a_good_one(place: Place) -> None:
    path = place.root(KIOSK) / "etc/fleet-agent/settings.toml"
    before = path.read_text()
    play = place.play("--extra-vars", '{"agent_outbox": {"rows_maximum": 5}}', hosts=[KIOSK])
    assert play.status != 0
    assert "rows_maximum" in play.output
    assert path.read_text() == before


def test_a_device_without_token_is_refused(place: Place) -> None:
    play = place.play("--extra-vars", "agent_token=''", hosts=["kiosk-02"])
    assert play.status != 0
    assert "enrol-token --device kiosk-02 --kind kiosk --site municipality" in " ".join(play.output.split())
    assert not place.root("kiosk-02").exists()


def test_a_wheel_that_the_lock_does_not_know_is_refused(place: Place) -> None:
    wheels = Path(shutil.copytree(place.wheels, place.folder / "foreign"))
    lock = (wheels / "requirements.lock").read_text()
    seal(wheels, re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", lock, count=1))
    foreign = Place(place.folder, wheels)
    play = foreign.play(hosts=["kiosk-03"])
    assert play.status != 0
    assert "DO NOT MATCH THE HASHES" in play.output
    assert not (place.root("kiosk-03") / "opt/fleet-agent/current").exists()
    slots = place.root("kiosk-03") / "opt/fleet-agent/slots"
    assert not list(slots.glob("*/.complete"))
    assert not list(slots.glob("*.incoming"))
