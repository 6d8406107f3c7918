"""The agent's settings: read whole, refused with a sentence that names the key."""

from pathlib import Path

import pytest

from edge_agent.errors import SettingsError
from edge_agent.settings import load

GOOD = """
device = "kiosk-001"
kind = "kiosk"
site = "center"
data_dir = "data"
[broker]
host = "localhost"
[cloud]
bootstrap_url = "https://localhost:1"
device_url = "https://localhost:2"
ca_file = "ca.pem"
"""


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    return file


def test_a_good_file_is_read(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD), {})
    assert settings.data_dir == Path("data")
    assert settings.cloud.ca_file == Path("ca.pem")
    assert settings.token_file is None
    assert settings.broker.port == 8883


def test_the_environment_lies_over_the_file(tmp_path: Path) -> None:
    settings = load(
        write(tmp_path, GOOD),
        {
            "FLEET_BROKER__PORT": "1234",
            "FLEET_TELEMETRY__PERIOD_S": "2.5",
            "FLEET_TOKEN_FILE": "token",
            "HOME": "x",
        },
    )
    assert (settings.broker.port, settings.telemetry.period_s) == (1234, 2.5)
    assert settings.token_file == Path("token")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + '\ncolour = "red"\n', "colour"),
        (GOOD.replace('kind = "kiosk"', 'kind = "toaster"'), "toaster"),
        (GOOD.replace('device = "kiosk-001"', ""), "device"),
        (GOOD.replace('data_dir = "data"', "data_dir = 7"), "data_dir"),
        (GOOD.replace('ca_file = "ca.pem"', 'ca_file = ""'), "ca_file"),
        (GOOD + "[telemetry]\nperiod_s = 'often'\n", "period_s"),
        (GOOD.replace("kiosk-001", "Kiosk 1"), "device id"),
        (GOOD + "[telemetry]\nperiod_s = 0\n", "period_s"),
        (GOOD.replace('host = "localhost"', 'host = "localhost"\nport = 70000'), "port"),
        ("device = ", "no TOML"),
        ("\xff", "kiosk"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(write(tmp_path, text), {})
    assert said in str(refused.value) or "no TOML" in str(refused.value)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="give a readable file with --settings"):
        load(tmp_path / "none.toml", {})
