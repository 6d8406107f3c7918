"""What the settings take, and what they say about the rest."""

import pytest

from cloud import settings
from cloud.errors import SettingsError

TEXT = """
data_dir = "/tmp/fleet"
public_url = "https://fleet.example"
[pages]
port = 8080
[bootstrap]
port = 8443
[device]
port = 8444
[broker]
host = "localhost"
[documents]
registry_url = "http://localhost:1"
payments_url = "http://localhost:2"
"""


@pytest.fixture
def load(tmp_path):
    def read(text=TEXT, **environ):
        path = tmp_path / "cloud.toml"
        path.write_text(text)
        return settings.load(path, environ)

    return read


def test_the_environment_lies_over_the_file(load):
    chosen = load(FLEET_BROKER__PORT="1234", FLEET_HTTPS_PAGES="true", OTHER="x")
    assert (chosen.broker.port, chosen.https_pages, chosen.pages.port) == (1234, True, 8080)
    assert chosen.main_database_url == "sqlite:////tmp/fleet/fleet.db"
    assert chosen.broker.host == "localhost"


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        ("nonsense", {}, "no TOML"),
        (TEXT + "\n[more]\nx = 1", {}, "more"),
        (TEXT.replace('"https://fleet.example"', '"fleet.example"'), {}, "public_url"),
        (TEXT.replace("port = 8080", "port = 70000"), {}, r"pages\.port"),
        (TEXT.replace("port = 8080", ""), {}, "pages"),
        (TEXT.replace("http://localhost:1", "localhost:1"), {}, "registry_url"),
        (TEXT, {"FLEET_EXECUTOR_ID": "../x"}, "executor_id"),
        (TEXT, {"FLEET_DATA_DIR__X": "1"}, "data_dir is a value"),
        (TEXT, {"FLEET_NO_SUCH": "1"}, "no_such"),
    ],
)
def test_what_is_wrong_is_named(load, text, environ, said):
    with pytest.raises(SettingsError, match=said) as error:
        load(text, **environ)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SettingsError, match="--settings"):
        settings.load(tmp_path / "nothing.toml", {})
