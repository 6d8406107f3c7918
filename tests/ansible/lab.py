"""Machines for Ansible: Debian 12 booted by systemd-nspawn, on a network of their own, reached by SSH.

Everything lives in namespaces of one holder process, which ends when its standard input does: processes,
mounts and the network go with it, however the test ends. The root is made once by mmdebstrap and kept under
`build/`; each machine writes into an overlay of its own.
"""

import fcntl
import hashlib
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TREE = Path(__file__).parents[2]
KEPT = TREE / "build" / "lab"
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
PACKAGES = (
    "systemd-sysv", "dbus", "sudo", "iproute2", "openssh-server", "python3-minimal", "python3-apt", "procps"
)  # fmt: skip
"""What a technician finds on a new machine."""
ARCHIVED = ("python3-venv", "mosquitto", "victoria-metrics", "alsa-utils", "tzdata")
"""What the roles install: in the machine's apt archive, because its network leads nowhere."""
SET_UP = """
set -e
useradd --create-home --shell /bin/bash technician
echo 'technician ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/technician
echo 'AuthorizedKeysFile /etc/ssh/technician.keys' > /etc/ssh/sshd_config.d/technician.conf
rm -f /var/cache/apt/archives/*.deb
apt-get -qq --yes --no-install-recommends --download-only install {archived}
"""
HOLD = """
set -e
mount -t tmpfs tmpfs /run
mkdir /run/systemd
ip link set lo up
ip link add fleet type bridge
ip address add {gateway}/24 dev fleet
ip link set fleet up
echo ready
exec cat >/dev/null
"""
# systemd of two machines in one control group would take each other's processes for their own.
BOOT = """
set -e
for tree in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
  if [ -e $tree/cgroup.procs ]; then mkdir -p $tree/{group}; echo $$ > $tree/{group}/cgroup.procs; fi
done
# volatile: nothing of it needs to outlive the test, so nobody waits for the disk
mount -t overlay overlay {folder}/root \\
  -o volatile,lowerdir={lower},upperdir={folder}/upper,workdir={folder}/work
[ -e /sys/fs/cgroup/systemd ] && export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=0
export NOTIFY_SOCKET={folder}/ready
exec systemd-nspawn --quiet --directory={folder}/root --machine={name} --register=no --keep-unit --boot \
  --timezone=off --resolv-conf=off --network-bridge=fleet --notify-ready=yes </dev/null
"""
GATEWAY = "10.77.0.1"
CGROUPS = Path("/sys/fs/cgroup")
ROOT_S = 300
BOOT_S = 60
STOP_S = 30


def unable() -> str | None:
    """Why this machine cannot boot another one; None if it can."""
    if os.geteuid() != 0:
        return "booting a machine needs root"
    words = ["unshare", "--mount", "--net", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/run"]
    tried = subprocess.run(words, capture_output=True, text=True, timeout=STOP_S, check=False)
    if tried.returncode != 0:
        return f"namespaces are not to be had here: {tried.stderr.strip()}"
    return None


def root() -> Path:
    """The root that machines are laid over, made at the first call.

    Raises:
        subprocess.CalledProcessError: mmdebstrap failed; what it said is on stderr.
    """
    told = "\n".join([*PACKAGES, *ARCHIVED, SET_UP])
    folder = KEPT / f"root-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=KEPT) as beside:
                made = Path(beside) / "root"
                subprocess.run(_mmdebstrap(made), check=True, timeout=ROOT_S)
                made.rename(folder)
    return folder


def _mmdebstrap(folder: Path) -> list[str]:
    script = SET_UP.format(archived=" ".join(ARCHIVED))
    sources = [str(path) for path in SOURCES if path.exists()][:1]
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=apt",
        f"--include={','.join(PACKAGES)}",
        "--skip=cleanup/apt",
        f'--customize-hook=chroot "$1" /bin/sh -c {shlex.quote(script)}',
        "bookworm",
        str(folder),
        *sources,
    ]


@dataclass
class Machine:
    """One booted machine."""

    name: str
    address: str
    folder: Path
    process: subprocess.Popen[bytes]
    leader: int

    def run(self, *words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """A program on the machine, as root."""
        enter = ["nsenter", "--target", str(self.leader), "--all", "--"]
        return subprocess.run(
            [*enter, *words], capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def tell(self, *words: str) -> str:
        """What a program on the machine says; it must succeed."""
        done = self.run(*words)
        assert done.returncode == 0, f"{self.name}: {words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()


class Lab:
    """The machines of one test and their network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.group = f"fleet-lab-{os.getpid()}"
        self.machines: dict[str, Machine] = {}
        self.key = folder / "technician"

    def __enter__(self) -> Self:
        """Hold the namespaces."""
        for left in _groups("*"):
            if not Path(f"/proc/{left.name.split('-')[2]}").exists():
                _remove(left)  # of a run that was killed
        self._lower = root()
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "technician", "-f", str(self.key)]
        subprocess.run(keygen, check=True, timeout=STOP_S)
        spaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._holder = subprocess.Popen(
            [*spaces, "bash", "-c", HOLD.format(gateway=GATEWAY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout
        if self._holder.stdout.readline() != b"ready\n":
            self.__exit__()
            raise AssertionError("the lab's namespaces could not be set up; see above")
        self._inside = _children(self._holder.pid)[0]
        return self

    def __exit__(self, *_: object) -> None:
        """End everything at once; what was written is thrown away, so nobody needs to shut down."""
        assert self._holder.stdin
        assert self._holder.stdout
        self._holder.stdin.close()
        self._holder.wait(STOP_S)
        self._holder.stdout.close()
        for machine in self.machines.values():
            machine.process.wait(STOP_S)
            shutil.rmtree(machine.folder)
        for group in _groups(str(os.getpid())):
            _remove(group)

    def boot(self, name: str, address: str, hosts: dict[str, str]) -> Machine:
        """Start a machine that knows `hosts` (name: address); it is up when this returns.

        Raises:
            TimeoutError: it did not come up in time; its console is in `folder/NAME.log`.
        """
        folder = self.folder / name
        for part in ("upper/etc/ssh", "upper/var/lib/apt/lists", "work", "root"):
            (folder / part).mkdir(parents=True)
        told = {name: "127.0.1.1", **hosts}
        lines = "".join(f"{where} {who}\n" for who, where in {"localhost": "127.0.0.1", **told}.items())
        (folder / "upper/etc/hosts").write_text(lines)
        (folder / "upper/etc/hostname").write_text(f"{name}\n")
        shutil.copy(self.key.with_suffix(".pub"), folder / "upper/etc/ssh/technician.keys")
        with _ready(folder / "ready") as ready, (self.folder / f"{name}.log").open("wb") as console:
            script = BOOT.format(group=f"{self.group}-{name}", lower=self._lower, folder=folder, name=name)
            process = subprocess.Popen(
                [*self._enter(), "bash", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
            ready.settimeout(BOOT_S)
            while b"READY=1" not in ready.recv(4096):
                pass
        (nspawn,) = _children(process.pid)
        machine = Machine(name, address, folder, process, _children(nspawn)[0])
        self.machines[name] = machine
        network = ["nsenter", "--target", str(machine.leader), "--net", "--", "ip"]
        for words in (["address", "add", f"{address}/24", "dev", "host0"], ["link", "set", "host0", "up"]):
            subprocess.run([*network, *words], check=True, timeout=STOP_S)
        return machine

    def run(
        self, words: Sequence[str], timeout_s: float, environ: dict[str, str], at: Path
    ) -> subprocess.CompletedProcess[str]:
        """A program of this machine on the lab's network."""
        return subprocess.run(
            [*self._enter(f"--wd={at}"), *words],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=environ,
        )

    def _enter(self, *options: str) -> list[str]:
        return ["nsenter", "--target", str(self._inside), "--mount", "--net", "--pid", *options, "--"]


def _groups(pid: str) -> list[Path]:
    """Control groups of the lab of one process, or of all (`*`)."""
    trees = (CGROUPS, CGROUPS / "systemd", CGROUPS / "unified")
    return [group for tree in trees for group in tree.glob(f"fleet-lab-{pid}-*")]


def _remove(group: Path) -> None:
    """Remove a control group and those below it, which the kernel refuses while a process is in one."""
    for folder, _, _ in os.walk(group, topdown=False):
        Path(folder).rmdir()


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def _ready(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        yield listening
