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
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

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


def main(words: Sequence[str]) -> NoReturn:
    """Become the broker; ends with a sentence where that is not possible."""
    if len(words) != 1:
        _end("usage: python -m cloud.broker_log DIR")
    folder = Path(words[0])
    program = shutil.which(PROGRAM, path=PROGRAM_PATH)
    if program is None:
        _end("mosquitto is missing: apt-get install mosquitto")
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
    os.execv(program, command)  # noqa: S606 - from here on this process is the broker


def _end(sentence: str) -> NoReturn:
    print(f"broker: {sentence}", file=sys.stderr)
    sys.exit(EXIT_SETTINGS)


def _settings(folder: Path) -> BrokerSettings:
    path = folder / SETTINGS_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=BrokerSettings)
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError(
            f"{path} cannot be read ({error}); run `python -m cloud broker-config`"
        ) from error


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
    refusals, one = BrokerRefusals(settings.root), threading.Lock()
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(REPORT_EVERY_S):
            if client.is_connected():
                with one:
                    told = refusals.report()
                if told is not None:
                    client.publish(REPORT_TOPIC, told, qos=1)

    mqtt.connect(client, settings)
    client.loop_start()
    reporter = threading.Thread(target=report, name="broker-refusals")
    reporter.start()
    try:
        while chunk := os.read(pipe, READ_BYTES_MAX):
            with one:
                lines = refusals.take(chunk)
            _pass_on(lines)
    finally:
        ended.set()
        reporter.join()


def _pass_on(lines: bytes) -> None:
    while lines:
        lines = lines[os.write(STDERR, lines) :]


if __name__ == "__main__":
    main(sys.argv[1:])
