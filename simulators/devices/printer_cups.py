"""`ippeveprinter` of CUPS: a real IPP printer without paper, written by people who do not know us.

It announces itself over D-Bus and does not start without a bus; one private bus serves all printers. What it
prints goes through a small command, which keeps the file, counts it, and does what the flag file says.
"""

import http.client
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

from simulators.devices.leash import Leashed
from simulators.devices.tray import COUNT, FLAG, PAGES, Fault, Tray

START_S = 10.0
STARTS_MAX = 5
"""A free port may be taken by another process before the printer has it."""
SHEETS = 250

_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={socket}</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>
"""
_COMMAND = f"""#!/bin/sh
# Run by ippeveprinter for each job; $1 is the file. What goes to standard error sets the printer's state.
cd "$(dirname "$0")" || exit 1
fault() {{ cat {FLAG} 2>/dev/null; }}
if [ "$(fault)" = {Fault.JAM} ]; then
  echo "STATE: +media-jam-error" >&2
  while [ "$(fault)" = {Fault.JAM} ]; do sleep 0.1; done
  echo "STATE: -media-jam-error" >&2
fi
[ "$(fault)" = {Fault.SLOW} ] && sleep 5
[ "$(fault)" = {Fault.BROKEN} ] && {{ echo "ERROR: broken" >&2; exit 1; }}
name=$(printf %s "$IPP_JOB_NAME" | tr -c 'A-Za-z0-9._-' _)
page="{PAGES}/$IPP_JOB_ID-$name"
cp "$1" "$page.part" && mv "$page.part" "$page.pdf"
printf '%s\\n' "$IPP_JOB_NAME" >> {COUNT}
echo "ATTR: job-impressions=1 job-impressions-completed=1" >&2
"""


class Bus:
    """A private D-Bus in a folder of its own; a path of a socket has at most 107 characters."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="civic-bus-"))
        socket_path = self._folder / "bus"
        config = self._folder / "bus.conf"
        config.write_text(_BUS.format(socket=socket_path), encoding="utf-8")
        self._program = Leashed(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--print-address"],
            pid_file=self._folder / "pid",
            stdout=subprocess.PIPE,
        )
        said = self._program.process.stdout
        assert said is not None
        ready, _, _ = select.select([said], [], [], START_S)
        if not ready or not said.readline():
            self.stop()
            raise RuntimeError(f"dbus-daemon did not start within {START_S} s; is Debian's dbus installed?")
        self.address = f"unix:path={socket_path}"

    def stop(self) -> None:
        """End it."""
        self._program.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class CupsPrinter:
    """One ippeveprinter with A4 in its tray."""

    def __init__(self, name: str, folder: Path, bus: str) -> None:
        self.tray = Tray(folder)
        command = folder / "print"
        command.write_text(_COMMAND, encoding="utf-8")
        command.chmod(0o755)
        (folder / "spool").mkdir(exist_ok=True)
        for _ in range(STARTS_MAX):
            self._port = _free_port()
            self._program = self._spawn(name, folder, bus)
            if self._answers():
                break
            self._program.kill()
        else:
            log = (folder / "printer.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"ippeveprinter did not start, it says: {log[-400:]}")
        self.uri = f"ipp://localhost:{self._port}/ipp/print"
        self._load(SHEETS)

    def set_fault(self, fault: Fault | None) -> None:
        """Break it, or mend it."""
        before = self.tray.fault
        self.tray.fault = fault
        if before == Fault.SILENT != fault:
            self._program.signal(signal.SIGCONT)
        if Fault.PAPER_OUT in (before, fault):
            self._load(0 if fault == Fault.PAPER_OUT else SHEETS)
        if fault == Fault.SILENT:
            self._program.signal(signal.SIGSTOP)

    def stop(self) -> None:
        """Switch it off at once, in the middle of a page if need be."""
        # SIGTERM is looked at only when the next client comes.
        self._program.kill()

    def _spawn(self, name: str, folder: Path, bus: str) -> Leashed:
        with (folder / "printer.log").open("ab") as log:
            return Leashed(
                [
                    "ippeveprinter",
                    *("-r", "off", "-n", "localhost", "-p", str(self._port)),
                    *("-d", str(folder / "spool"), "-c", str(folder / "print"), "-f", "application/pdf"),
                    name,
                ],
                pid_file=folder / "pid",
                environment={"DBUS_SYSTEM_BUS_ADDRESS": bus},
                stdout=log,
                stderr=log,
            )

    def _answers(self) -> bool:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            try:
                socket.create_connection(("localhost", self._port), 1.0).close()
            except OSError:
                if self._program.ended(0.05):
                    return False
            else:
                return not self._program.ended()
        return False

    def _load(self, sheets: int) -> None:
        """Fill or empty the tray by the form on the printer's own page."""
        form = urlencode(
            {"size1": "iso_a4_210x297mm", "type1": "stationery", "level1": sheets}
            | {"size3": "iso_dl_110x220mm", "type3": "envelope", "level3": 25}
        )
        connection = http.client.HTTPConnection("localhost", self._port, timeout=START_S)
        try:
            connection.request("GET", f"/media?{form}")
            connection.getresponse().read()
        finally:
            connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
