"""The simulated printers: they leave no process, keep what they printed, and read only what is IPP."""

import struct
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.devices import ipp
from simulators.devices.printer import Fault, Printers, Tray, cups_installed


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_no_process_is_left_even_of_a_printer_that_was_stopped_in_its_sleep(tmp_path: Path) -> None:
    assert cups_installed(), "install Debian's cups-ipp-utils and dbus"
    before = children()
    with Printers(tmp_path, "cups") as printers:
        first, second = printers.start("kiosk-01"), printers.start("kiosk-02")
        assert first.uri != second.uri
        started = [process for process in children() if process not in before]
        assert {"ippeveprinter", "dbus-daemon"} <= {process.name() for process in started}
        second.set_fault(Fault.SILENT)
    _gone, alive = psutil.wait_procs(started, timeout=20)
    assert not alive


def test_printers_end_with_a_city_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from simulators.devices.printer import Fault, Printers;"
        "printers = Printers(Path(sys.argv[1]), 'cups'); printers.start('k1').set_fault(Fault.SILENT);"
        "printers.start('k2'); print('up', flush=True); sys.stdin.read()"
    )
    city = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert city.stdin is not None
    assert city.stdout is not None
    assert city.stdout.readline() == b"up\n"
    started = psutil.Process(city.pid).children(recursive=True)
    assert {"ippeveprinter", "dbus-daemon"} <= {process.name() for process in started}
    city.kill()
    city.wait()
    city.stdin.close()
    city.stdout.close()
    _gone, alive = psutil.wait_procs(started, timeout=20)
    assert not alive


def test_auto_takes_what_is_installed(tmp_path: Path) -> None:
    assert Printers(tmp_path).kind == ("cups" if cups_installed() else "own")


def test_the_tray_outlives_the_printer(tmp_path: Path) -> None:
    tray = Tray(tmp_path)
    assert tray.impressions() == {}
    tray.put(1, "doc-1", b"one")
    tray.put(2, "doc/../2", b"two")
    tray.put(3, "doc-1", b"again")
    again = Tray(tmp_path)
    assert again.impressions() == {"doc-1": 2, "doc/../2": 1}
    assert [path.read_bytes() for path in again.papers()] == [b"one", b"two", b"again"]
    assert all(path.parent == tmp_path / "pages" for path in again.papers())


@pytest.mark.parametrize("fault", [None, *Fault])
def test_a_fault_is_a_word_in_a_file(fault: Fault | None, tmp_path: Path) -> None:
    tray = Tray(tmp_path)
    tray.fault = fault
    assert Tray(tmp_path).fault == fault
    assert (tmp_path / "fault").exists() == (fault is not None)


def test_our_printer_answers_nonsense_with_bad_request_and_lives_on(tmp_path: Path) -> None:
    with Printers(tmp_path, "own") as printers:
        url = printers.start("kiosk-01").uri.replace("ipp://", "http://")
        for body in (b"", b"GET / HTTP", b"\x02\x00\x00\x0b\x00\x00\x00\x01\x01\x47\x00"):
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=5) as answer:
                status: int
                _major, _minor, status = struct.unpack_from(">BBH", answer.read())
                assert status == 0x0400


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_request_or_not_ipp(body: bytes) -> None:
    try:
        ipp.read_request(body)
    except ValueError:
        pass


def test_what_is_written_is_read_again() -> None:
    answer = ipp.write_answer(
        0,
        7,
        [
            (
                ipp.JOB,
                [
                    ipp.Attribute("job-id", ipp.INTEGER, (3,)),
                    ipp.Attribute("job-state-reasons", ipp.KEYWORD, ("a", "b")),
                    ipp.Attribute("x", ipp.BOOLEAN, (True,)),
                ],
            )
        ],
    )
    read = ipp.read_request(answer + b"data")
    assert (read.number, read.data) == (7, b"data")
    assert read.job_attributes == {"job-id": [3], "job-state-reasons": ["a", "b"], "x": [True]}
    assert read.first("attributes-charset") == "utf-8"
