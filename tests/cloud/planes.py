"""A control plane's applications as `cloud.main` makes them, without a broker and without listeners."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cloud import main, settings
from cloud.database import migrate
from cloud.database.engine import connect
from cloud.enrolment import pki
from cloud.wiring.ground import Ground

SETTINGS = """
data_dir = "{folder}"
public_url = "http://localhost"
[pages]
port = 0
[bootstrap]
port = 0
[device]
port = 0
[broker]
host = "localhost"
[documents]
registry_url = "http://127.0.0.1:9"
payments_url = "http://127.0.0.1:9"
"""


@contextmanager
def laid_ground(folder: Path) -> Iterator[Ground]:
    """The ground in `folder`, as after `init`; once per process, the workflow engine knows one only."""
    path = folder / "cloud.toml"
    path.write_text(SETTINGS.format(folder=folder))
    chosen = settings.load(path, {})
    pki.prepare(chosen.pki_dir, ["localhost"], datetime.now(UTC))
    engine = connect(chosen.main_database_url)
    migrate.upgrade(engine)
    engine.dispose()
    with main.lay_ground(chosen) as ground:
        yield ground
