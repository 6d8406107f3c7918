"""`python -m cloud.broker_log DIR`: start mosquitto with a reader beside it that counts what it refuses.

mosquitto says whom it denied a topic in its debug log only, which it keeps off its own log topic; and a line
for every packet would fill a journal. So this process makes a pipe, leaves a child at its end that reads, and
becomes mosquitto itself: whoever started it has the broker under this process id. The child passes on the
lines that are for people and reports the counts over MQTT. The pipe never makes the broker wait: what does
not fit is lost, and only counts are.

`DIR` is what `python -m cloud broker-config` has filled.
"""

import contextlib
import fcntl
import logging
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import paho.mqtt.client as paho

from cloud import logs, mqtt
from cloud.broker_refusals import REPORT_TOPIC, BrokerRefusals
from cloud.errors import SettingsError
from cloud.settings import Broker as BrokerSettings

log = logging.getLogger(__name__)

SERVICE = "svc-broker"
SETTINGS_FILE = "broker.json"
PROGRAM = "mosquitto"
PROGRAM_PATH = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
PIPE_BYTES = 1_048_576
"""So much the broker can say while the reader does not run: ten thousand lines."""
READ_BYTES_MAX = 262_144
REPORT_EVERY_S = 2.0
STDERR = 2
EXIT_SETTINGS = 78


def main(words: Sequence[str]) -> int:
    """Become the broker; returns only if that is not possible."""
    if len(words) != 1:
        print("usage: python -m cloud.broker_log DIR", file=sys.stderr)
        return EXIT_SETTINGS
    folder = Path(words[0])
    program = shutil.which(PROGRAM, path=PROGRAM_PATH)
    if program is None:
        print("broker: mosquitto is missing: apt-get install mosquitto", file=sys.stderr)
        return EXIT_SETTINGS
    logs.configure()
    command = [program, "-c", str(folder / "mosquitto.conf")]
    try:
        settings = _settings(folder)
        client = mqtt.make_client(settings, SERVICE, folder, paho.Client)
    except SettingsError as error:  # a broker that counts nothing is better than none
        log.warning("broker_refusals_not_counted", extra={"sentence": str(error)})
    else:
        _leave_reader(settings, client)
        command.append("-v")
    os.execv(program, command)


def _settings(folder: Path) -> BrokerSettings:
    path = folder / SETTINGS_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=BrokerSettings)
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError(f"{path} cannot be read ({error}); run `python -m cloud broker-config`") from error


def _leave_reader(settings: BrokerSettings, client: paho.Client) -> None:
    """Hang this process's standard error into a pipe that a child reads."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(PermissionError):  # this account has many pipes; a small one loses lines earlier
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(write_end, False)
    if os.fork() == 0:
        os.close(write_end)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # it ends when the broker has closed the pipe
        status = 1
        try:
            _read(read_end, settings, client)
            status = 0
        except Exception:  # the child must not go on as if it were to become the broker
            log.exception("broker_log_not_read")
        finally:
            os._exit(status)
    os.dup2(write_end, STDERR)


def _read(pipe: int, settings: BrokerSettings, client: paho.Client) -> None:
    """Read until the broker has ended; report every two seconds what it has refused."""
    refusals = BrokerRefusals(settings.root)
    mqtt.connect(client, settings)
    client.loop_start()
    next_report = time.monotonic() + REPORT_EVERY_S
    while True:
        timeout_s = max(0.0, next_report - time.monotonic())
        if select.select([pipe], [], [], timeout_s)[0]:
            chunk = os.read(pipe, READ_BYTES_MAX)
            if not chunk:
                return
            _pass_on(refusals.take(chunk))
        if time.monotonic() >= next_report:
            next_report = time.monotonic() + REPORT_EVERY_S
            if client.is_connected() and (report := refusals.report()) is not None:
                client.publish(REPORT_TOPIC, report, qos=1)


def _pass_on(lines: bytes) -> None:
    while lines:
        lines = lines[os.write(STDERR, lines) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
