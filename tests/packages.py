"""`python -m tests.packages`: the Debian packages that tests need, and what stays untested without each.

As root the missing ones are installed. Without root they are named; under `CI=true` that is a failure,
because nothing is skipped in CI.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.ansible.lab import unable

INSTALL_TIMEOUT_S = 900


@dataclass(frozen=True)
class Package:
    """A Debian package, a program by which it is recognised, and what needs it."""

    name: str
    program: str
    untested: str


PACKAGES: tuple[Package, ...] = (
    Package("mosquitto", "mosquitto", "the link on a real broker, the system story, mutual TLS"),
    Package("mosquitto-clients", "mosquitto_pub", "the broker's rules with a client that nobody here wrote"),
    Package("cups-ipp-utils", "ippeveprinter", "printing over IPP to a printer that nobody here wrote"),
    Package("dbus", "dbus-daemon", "ippeveprinter, which needs a bus to start"),
    Package("chromium", "chromium", "every page in a browser, accessibility"),
    Package(
        "fonts-dejavu-core", "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "screenshots with all letters"
    ),
    Package("poppler-utils", "pdfsig", "the seal, by a verifier that nobody here wrote"),
    Package("libnss3-tools", "certutil", "the trust of the seal's certificate"),
    Package("qpdf", "qpdf", "the structure of sealed papers"),
    Package("openssl", "openssl", "enrolment with openssl"),
    Package("curl", "curl", "enrolment with curl"),
    Package("strongswan-pki", "pki", "enrolment with a client that nobody here wrote"),
    Package(
        "libstrongswan-standard-plugins",
        "/usr/lib/ipsec/plugins/libstrongswan-openssl.so",
        "strongSwan's elliptic curves",
    ),
    Package(
        "libstrongswan-extra-plugins", "/usr/lib/ipsec/plugins/libstrongswan-curl.so", "strongSwan's HTTPS"
    ),
    Package(
        "victoria-metrics", "victoria-metrics", "the time series on VictoriaMetrics, the ingest benchmark"
    ),
    Package("systemd", "systemd-analyze", "the unit that Ansible writes for the agent"),
    Package("mmdebstrap", "mmdebstrap", "Ansible's roles on a machine of its own"),
    Package(
        "openssh-client", "ssh-keygen", "Ansible's roles on a booted machine, reached as a technician does"
    ),
    Package("systemd-container", "systemd-nspawn", "Ansible's roles on a booted machine"),
    Package("influxdb", "influxd", "the dashboards' queries on InfluxDB"),
    Package("postgresql", "/usr/lib/postgresql", "the control plane on PostgreSQL"),
    Package("iproute2", "ip", "cut links between network namespaces"),
)
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def present(package: Package) -> bool:
    """Whether the package's program (or file) is there."""
    if package.program.startswith("/"):
        return Path(package.program).exists()
    return shutil.which(package.program, path=f"{os.environ.get('PATH', '')}:{SBIN}") is not None


def install(names: list[str]) -> None:
    """Install packages by apt-get.

    Raises:
        subprocess.CalledProcessError: apt-get refused; what it said is on stderr.
    """
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=300", "-qq"]
    for words in (
        ["apt-get", *wait, "update"],
        ["apt-get", *wait, "install", "--yes", "--no-install-recommends", *names],
    ):
        subprocess.run(words, env=quiet, check=True, timeout=INSTALL_TIMEOUT_S, stdout=subprocess.DEVNULL)


def main() -> int:
    """Install or name what is missing."""
    missing = [package for package in PACKAGES if not present(package)]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"packages: installing {', '.join(package.name for package in missing)}", flush=True)
        try:
            install([package.name for package in missing])
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"packages: apt-get failed ({error}); install them by hand", file=sys.stderr)
        missing = [package for package in missing if not present(package)]
    for package in missing:
        print(
            f"packages: {package.name} is missing; untested without it: {package.untested}", file=sys.stderr
        )
    why = unable()
    if why:
        print(f"packages: {why}; untested: Ansible's roles on booted machines", file=sys.stderr)
    return 1 if (missing or why) and os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
