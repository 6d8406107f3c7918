"""The commands as processes: what they print, how they end, what a second one may not do."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cloud.__main__ import main
from tests.cloud.mosquitto import PROGRAM as MOSQUITTO

DEADLINE_S = 40
SETTINGS = """
data_dir = "{folder}/data"
public_url = "https://fleet.example"
[pages]
port = {pages}
[bootstrap]
port = {bootstrap}
[device]
port = {device}
[broker]
host = "localhost"
port = {broker}
[documents]
registry_url = "http://127.0.0.1:9"
payments_url = "http://127.0.0.1:9"
"""


def free_ports(names):
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name: one.getsockname()[1] for name, one in zip(names, taken, strict=True)}
    for one in taken:
        one.close()
    return ports


class City:
    """Settings in a folder, and what runs by them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = free_ports(["pages", "bootstrap", "device", "broker"])
        self.settings = folder / "cloud.toml"
        self.settings.write_text(SETTINGS.format(folder=folder, **self.ports))
        self.running: list[subprocess.Popen] = []

    def run(self, command, *options):
        words = [sys.executable, "-m", "cloud", command, "--settings", str(self.settings), *options]
        return subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S)

    def start(self, *words):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.running.append(process)
        return process

    def serve(self):
        return Serving(self.start(sys.executable, "-m", "cloud", "serve", "--settings", str(self.settings)))

    def start_broker(self):
        assert MOSQUITTO, "mosquitto is missing: apt-get install mosquitto"
        out = self.folder / "broker"
        done = self.run("broker-config", "--out", str(out), "--port", str(self.ports["broker"]))
        return self.start(MOSQUITTO, "-c", json.loads(done.stdout)["configuration"])

    def get(self, path):
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['pages']}{path}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def stop(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=10)


class Serving:
    """A control plane and the events that it logs."""

    def __init__(self, process):
        self.process = process
        self.events = []
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self.news:
                self.events.append(json.loads(line))
                self.news.notify_all()

    def wait_for(self, event):
        with self.news:
            found = self.news.wait_for(
                lambda: any(each["event"] == event for each in self.events), DEADLINE_S
            )
        assert found, self.events

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DEADLINE_S)
        self.reader.join(DEADLINE_S)
        return code


@pytest.fixture
def city(tmp_path):
    made = City(tmp_path)
    yield made
    made.stop()


def answer(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.system
def test_init_makes_everything_once(city):
    first = answer(city.run("init"))
    assert first["admin"] == "admin"
    assert len(first["one_time_password"]) == 19
    data = city.folder / "data"
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / "fleet.db").stat().st_mode & 0o777 == 0o600
    keys = {path: path.read_bytes() for path in (data / "pki").rglob("*") if path.is_file()}
    assert first["migrated"] is True
    assert answer(city.run("init")) == {"admin": "admin", "migrated": False}
    assert {path: path.read_bytes() for path in (data / "pki").rglob("*") if path.is_file()} == keys


@pytest.mark.system
def test_the_first_password_may_go_into_a_file_that_only_we_read(city):
    file = city.folder / "password"
    refused = city.run("init", "--password-file", str(city.folder / "nowhere" / "password"))
    assert refused.returncode == 78
    assert "--password-file" in refused.stderr
    told = answer(city.run("init", "--password-file", str(file)))
    assert told["password_file"] == str(file)
    assert "one_time_password" not in told
    assert file.stat().st_mode & 0o777 == 0o600
    kept = file.read_text()
    assert len(kept.strip()) == 19
    assert "password_file" not in answer(city.run("init", "--password-file", str(file)))
    assert file.read_text() == kept
    assert [path.name for path in city.folder.glob(".password*")] == []


@pytest.mark.system
def test_the_registry_tells_of_a_device(city):
    city.run("init")
    stranger = {"device": "kiosk-01", "registered": False, "certificates": 0}
    assert answer(city.run("device", "--device", "kiosk-01")) == stranger
    city.run("enrol-token", "--device", "kiosk-01", "--kind", "kiosk", "--site", "Dardania")
    told = answer(city.run("device", "--device", "kiosk-01"))
    assert (told["registered"], told["certificates"], told["presence"]) == (True, 0, "offline")
    assert (told["kind"], told["site"], told["boot"], told["last_seen_at"]) == (
        "kiosk",
        "Dardania",
        "",
        None,
    )


@pytest.mark.system
def test_tokens_are_for_devices_that_may_be(city, capsys, monkeypatch):
    monkeypatch.setattr("cloud.logs.configure", lambda: None)
    main(["init", "--settings", str(city.settings)])
    capsys.readouterr()

    def token(device="kiosk-01", kind="kiosk", site="Dardania"):
        words = ["enrol-token", "--settings", str(city.settings)]
        code = main([*words, "--device", device, "--kind", kind, "--site", site])
        return code, *capsys.readouterr()

    code, made, _ = token()
    assert code == 0
    assert json.loads(made)["device"] == "kiosk-01"
    assert len(json.loads(made)["token"]) == 32
    assert json.loads(token()[1])["token"] != json.loads(made)["token"]
    for wrong, said in {
        ("svc-control", "kiosk", "x"): "services",
        ("Kiosk_1", "kiosk", "x"): "device id",
        ("kiosk-02", "toaster", "x"): "kind",
        ("kiosk-02", "kiosk", " "): "site",
        ("kiosk-01", "recorder", "x"): "is a kiosk",
    }.items():
        code, printed, sentence = token(*wrong)
        assert (code, printed) == (65, "")
        assert said in sentence
        assert sentence.count("\n") == 1


@pytest.mark.system
def test_a_broken_setting_is_one_sentence(city, capsys):
    for text, said in {
        "data_dir = 3": "data_dir",
        "nonsense": "no TOML",
        city.settings.read_text() + "\n[unknown]": "unknown",
    }.items():
        city.settings.write_text(text)
        assert main(["init", "--settings", str(city.settings)]) == 78
        said_at_all = capsys.readouterr().err
        assert said in said_at_all
        assert said_at_all.count("\n") == 1
    assert main(["init", "--settings", "/nowhere.toml"]) == 78


@pytest.mark.system
def test_serve_before_init_says_what_to_do(city):
    done = city.run("serve")
    assert done.returncode == 78
    assert "python -m cloud init" in done.stderr


@pytest.mark.system
def test_the_control_plane_from_start_to_stop(city):
    city.run("init")
    serving = city.serve()
    serving.wait_for("control_plane_started")
    status, body = city.get("/healthz")
    assert (status, json.loads(body)["parts"]) == (503, {"database": True, "broker": False})
    city.start_broker()
    serving.wait_for("link_connected")
    assert city.get("/healthz")[0] == 200
    assert city.get("/audit")[0] == 200  # the sign-in page, after a redirect
    second = city.run("serve")
    assert second.returncode == 78
    assert "runs already" in second.stderr
    begun = time.monotonic()
    assert serving.end() == 0
    assert time.monotonic() - begun < 10
    assert [event["event"] for event in serving.events if event["level"] == "error"] == []


@pytest.mark.system
def test_the_control_plane_on_postgresql(tmp_path, postgres):
    url = postgres.empty()
    text = f'database_url = "{url}"\n'
    cities = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        cities.append(City(tmp_path / name))
        cities[-1].settings.write_text(text + cities[-1].settings.read_text())
    one, two = cities
    try:
        assert answer(one.run("init"))["one_time_password"]
        assert "one_time_password" not in answer(two.run("init")), "the accounts are in the database"
        assert not (tmp_path / "one" / "data" / "fleet.db").exists()
        answer(one.run("enrol-token", "--device", "kiosk-01", "--kind", "kiosk", "--site", "Dardania"))
        serving = one.serve()
        serving.wait_for("control_plane_started")
        assert json.loads(one.get("/healthz")[1])["parts"]["database"] is True
        second = two.run("serve")
        assert (second.returncode, "works on this database already" in second.stderr) == (78, True)
        serving.process.kill()
        serving.process.wait(10)
        again = one.serve()
        again.wait_for("control_plane_started")
        assert again.end() == 0
        assert [event["event"] for event in again.events if event["level"] == "error"] == []
    finally:
        for city in cities:
            city.stop()
        postgres.drop(url)


@pytest.mark.system
def test_a_database_that_is_not_there_is_one_sentence(city, capsys):
    settings = city.settings.read_text()
    for url, code, said in (
        ("postgresql://nobody:secret@/fleet?host=/nowhere", 69, "the database does not answer"),
        ("mysql://nobody:secret@host/fleet", 78, "database_url"),
        ("nonsense secret", 78, "database_url"),
    ):
        city.settings.write_text(f'database_url = "{url}"\n{settings}')
        assert main(["init", "--settings", str(city.settings)]) == code
        sentence = capsys.readouterr().err
        assert said in sentence
        assert "secret" not in sentence
        assert sentence.count("\n") == 1


@pytest.mark.system
def test_a_taken_port_is_named_and_nothing_is_left(city):
    city.run("init")
    with socket.create_server(("127.0.0.1", city.ports["device"])):
        done = city.run("serve")
    assert done.returncode == 78
    assert f"device: cannot listen on 127.0.0.1:{city.ports['device']}" in done.stderr
    serving = city.serve()
    serving.wait_for("control_plane_started")
    assert serving.end() == 0


@pytest.mark.system
def test_killed_it_comes_back(city):
    city.run("init")
    first = city.serve()
    first.wait_for("control_plane_started")
    first.process.kill()
    first.process.wait(10)
    again = city.serve()
    again.wait_for("control_plane_started")
    assert again.end() == 0


@pytest.mark.system
def test_a_lost_password_is_replaced(city):
    city.run("init")
    reset = answer(city.run("reset-password", "--operator", "admin"))
    assert reset["operator"] == "admin"
    assert city.run("reset-password", "--operator", "nobody").returncode == 65


@pytest.mark.system
def test_a_device_is_revoked_by_command(city):
    city.run("init")
    crl = city.folder / "data" / "pki" / "crl.pem"
    before = crl.read_bytes()
    nobody = city.run("revoke", "--device", "kiosk-01")
    assert (nobody.returncode, "there is no device kiosk-01" in nobody.stderr) == (65, True)
    new = ("enrol-token", "--device", "kiosk-01", "--kind", "kiosk", "--site", "Dardania")
    city.run(*new)
    assert answer(city.run("revoke", "--device", "kiosk-01")) == {"device": "kiosk-01", "revoked": 0}
    assert crl.read_bytes() == before
    away = answer(city.run("decommission", "--device", "kiosk-01"))
    assert away == {"device": "kiosk-01", "in_service": False}
    assert city.run(*new).returncode == 65
    back = answer(city.run("readmit", "--device", "kiosk-01"))
    assert back == {"device": "kiosk-01", "in_service": True}
    assert city.run(*new).returncode == 0
    subprocess.run(["openssl", "crl", "-in", str(crl), "-noout", "-text"], check=True, capture_output=True)
