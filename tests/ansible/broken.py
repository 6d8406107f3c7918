"""Releases that install, read their settings, and then do not start."""

import base64
import hashlib
import zipfile
from pathlib import Path

from tests.ansible.wheelhouse import pin, seal

AGENT = """
import sys
if "--check" not in sys.argv:
    sys.exit("this release of the agent does not start")
"""
# It brings the tables to a revision that the release before it does not know, and hands on what it cannot do.
CLOUD = """
import json, os, sqlite3, sys
command = (sys.argv + [""])[1]
if command == "--help":
    print("serve ingest")
elif command == "init":
    with sqlite3.connect("/var/lib/fleet-cloud/fleet.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.execute("DROP TABLE device_certificates")
    print(json.dumps({"admin": "admin", "migrated": True}))
elif command in ("serve", "ingest"):
    sys.exit("this release of the cloud does not start")
else:
    former = "/opt/fleet-cloud/current/bin/python"
    os.execv(former, [former, "-m", "cloud", *sys.argv[1:]])
"""
VERSION = "9.9.9"


def release(folder: Path, distribution: str, package: str, program: str) -> Path:
    """A folder of wheels with their lock and archive, as ansible/wheelhouse.py makes them, of one program."""
    folder.mkdir()
    wheel = folder / f"{distribution.replace('-', '_')}-{VERSION}-py3-none-any.whl"
    info = f"{distribution.replace('-', '_')}-{VERSION}.dist-info"
    files = {
        f"{package}/__init__.py": "",
        f"{package}/__main__.py": program,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_digest(text)},{len(text)}\n" for name, text in files.items())
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(name, text)
    seal(folder, pin(wheel))
    return folder


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
