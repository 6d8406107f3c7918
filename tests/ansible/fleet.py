"""A small fleet in the lab: the example's server, its first kiosk and its first recorder, and a stranger."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.ansible.lab import TREE, Lab, Machine

ANSIBLE = TREE / "ansible"
PROGRAMS = Path(sys.executable).parent
DOMAIN = "pristina.example"
SERVER, KIOSK, RECORDER, STRANGER = "fleet", "kiosk-01", "recorder-01", "kiosk-02"
ADDRESSES = {SERVER: "10.77.0.10", KIOSK: "10.77.0.11", RECORDER: "10.77.0.12", STRANGER: "10.77.0.13"}
PLAY_S = 600


@dataclass(frozen=True)
class Play:
    """One run of a playbook: its exit status and its words."""

    status: int
    output: str

    @property
    def sentence(self) -> str:
        """The words on one line."""
        return " ".join(self.output.split())

    def changed(self) -> dict[str, int]:
        """How much was changed on each host."""
        recap = re.findall(
            rf"^(\S+)\.{re.escape(DOMAIN)} +: ok=\d+ +changed=(\d+)", self.output, re.MULTILINE
        )
        return {host: int(number) for host, number in recap}


@dataclass(frozen=True)
class Fleet:
    """Booted machines, and the playbooks of this tree for them."""

    lab: Lab
    folder: Path

    def boot(self) -> None:
        """Start all machines and write how the technician reaches them."""
        server = {f"{SERVER}.{DOMAIN}": ADDRESSES[SERVER]}
        for name, address in ADDRESSES.items():
            self.lab.boot(name, address, server)
        hosts = {f"{name}.{DOMAIN}": {"ansible_host": address} for name, address in ADDRESSES.items()}
        reached = {
            "ansible_user": "technician",
            "ansible_ssh_private_key_file": str(self.lab.key),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
            "device_batch": "100%",
        }
        (self.folder / "lab.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": reached}}))

    def machine(self, name: str) -> Machine:
        return self.lab.machines[name]

    def play(self, *words: str, hosts: tuple[str, ...] = (SERVER, KIOSK, RECORDER)) -> Play:
        """Run a playbook as the technician does, with the example's inventory."""
        limit = ",".join(f"{host}.{DOMAIN}" for host in hosts)
        inventories = ["-i", "inventories/example", "-i", str(self.folder / "lab.json")]
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(self.folder / ".ansible"),
        }
        command = [str(PROGRAMS / "ansible-playbook"), *inventories, "--limit", limit, *words]
        done = self.lab.run(command, PLAY_S, environ, ANSIBLE)
        return Play(done.returncode, done.stdout + done.stderr)

    def device(self, name: str) -> dict[str, object]:
        """What the control plane says of a device."""
        words = "runuser -u fleet-cloud -- /opt/fleet-cloud/current/bin/python -m cloud device"
        settings = ["--settings", "/etc/fleet-cloud/settings.toml", "--device", name]
        told: dict[str, object] = json.loads(self.machine(SERVER).tell(*words.split(), *settings))
        return told


def collect(*kinds: str) -> None:
    """Put what machines install under `build/wheels`, as the technician does."""
    subprocess.run(
        [sys.executable, str(ANSIBLE / "wheelhouse.py"), *kinds], check=True, timeout=600, capture_output=True
    )
