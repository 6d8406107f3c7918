"""Whether the device has a network at all: an unplugged cable is told from an image that cannot connect."""

from pathlib import Path

INTERFACES = Path("/sys/class/net")
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


def plugged(host: str, interfaces: Path = INTERFACES) -> bool:
    """Whether any interface but the loopback has a carrier; always, where `host` is this machine itself.

    Where the system does not tell, the network counts as there: a trial must end some day.
    """
    if host in LOOPBACK_HOSTS:
        return True
    try:
        found = [path for path in interfaces.iterdir() if path.name != "lo"]
    except OSError:
        return True
    return any(_carrier(path) for path in found)


def _carrier(interface: Path) -> bool:
    try:
        return (interface / "carrier").read_text().strip() == "1"
    except OSError:
        return False  # an interface that is down has none to read (EINVAL)
