"""`python -m edge_agent.updates.fetch --settings FILE PATH`: gets one target from the TUF repository.

A process of its own, so that the libraries of TUF and cryptography leave the memory with it. It prints one
line of JSON: `{"image": …, "sha256": …}`, or `{"code": …, "sentence": …, "again": bool}`. Exit status 0 if it
printed one.
"""

import argparse
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import TargetFile
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from contract.errors import MalformedError
from contract.updates import Component, UpdateCode, target_path
from edge_agent.errors import AgentError, SettingsError, UnavailableError
from edge_agent.link.https import connect
from edge_agent.link.membership import membership
from edge_agent.settings import Settings, load

PREFIX = "/tuf"
BLOCK_BYTES = 1 << 18
ROOT_BYTES_MAX = 512_000
IMAGE_BYTES_MAX = {Component.AGENT: 1_000_000_000, Component.FIRMWARE: 16_777_216}
"""A recorder's whole set of wheels has 400 MB; an MCUboot image is bounded as in `firmware_tools.image`."""
SPARE_BYTES = 50_000_000
CONFIG = UpdaterConfig(
    max_root_rotations=64,
    max_delegations=8,
    root_max_length=ROOT_BYTES_MAX,
    timestamp_max_length=16_384,
    snapshot_max_length=200_000,
    targets_max_length=2_000_000,
)
SENTENCES = {
    UpdateCode.METADATA_EXPIRED: "the repository's {what} has expired; sign it anew and publish it",
    UpdateCode.METADATA_ROLLED_BACK: (
        "the repository's {what} is older than what this device has seen; publish the newest again"
    ),
    UpdateCode.METADATA_UNDER_SIGNED: (
        "the repository's {what} has too few signatures of its keys; sign it with all keys of the role"
    ),
    UpdateCode.METADATA_BROKEN: "the repository's {what} is not what it should be; publish it anew",
    UpdateCode.TARGET_TAMPERED: "{what} is not what was signed; publish it anew, and look who changed it",
    UpdateCode.TARGET_TOO_LARGE: "{what} is larger than was signed or than a device takes; publish it anew",
    UpdateCode.UNKNOWN_TARGET: "{what} is no target that the repository's keys vouch for; publish it first",
}


class TargetRefusedError(Exception):
    """What came is not to be trusted."""

    def __init__(self, code: UpdateCode, what: str) -> None:
        super().__init__(SENTENCES[code].format(what=what))
        self.code = code


class MutualTls(FetcherInterface):
    """Requests to the device API with the device's certificate; each one is a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wallet = membership(settings, _wall_ms).wallet

    def _fetch(self, url: str) -> Iterator[bytes]:
        """The body of `url` in blocks; the status is looked at before the first."""
        cloud = self._settings.cloud
        connection = connect(cloud.device_url, self._wallet.context(), cloud.timeout_s)
        try:
            connection.request("GET", urlsplit(url).path)
            response = connection.getresponse()
        except (OSError, HTTPException) as error:
            connection.close()
            raise tuf_errors.DownloadError(f"{url}: {error or type(error).__name__}") from error
        if response.status != HTTPStatus.OK:
            connection.close()
            raise tuf_errors.DownloadHTTPError(f"{url} was answered with {response.status}", response.status)

        def blocks() -> Iterator[bytes]:
            try:
                while block := response.read(BLOCK_BYTES):
                    yield block
            except (OSError, HTTPException) as error:
                raise tuf_errors.DownloadError(f"{url}: {error or type(error).__name__}") from error
            finally:
                connection.close()

        return blocks()


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.updates.fetch", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="the agent's TOML file")
    parser.add_argument("path", help="the target's path, agent/NAME or firmware/NAME")
    given = parser.parse_args()
    logging.getLogger("tuf").setLevel(logging.CRITICAL)
    try:
        told: dict[str, object] = fetch(load(given.settings, os.environ), given.path)
    except TargetRefusedError as error:
        told = {"code": error.code.value, "sentence": str(error), "again": False}
    except (SettingsError, MalformedError) as error:
        told = {"code": UpdateCode.NOT_SET_UP.value, "sentence": str(error), "again": False}
    except AgentError as error:
        told = {"code": UpdateCode.UNREACHABLE.value, "sentence": str(error), "again": True}
    print(json.dumps(told))
    return 0


def fetch(settings: Settings, path: str) -> dict[str, object]:
    """Bring the repository's metadata up to date and the target onto the disk; where it is, and its digest.

    Raises:
        TargetRefusedError: what came is not to be trusted, or there is no such target.
        SettingsError: this device has no root to trust.
        UnavailableError: the repository is not reached, or the disk is full.
    """
    component = target_path(path)
    folder = settings.data_dir / "tuf"
    images = folder / "images" / component.value
    stage = "metadata"
    try:
        images.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "metadata").mkdir(exist_ok=True, mode=0o700)
        base = f"{settings.cloud.device_url}{PREFIX}"
        updater = Updater(
            str(folder / "metadata"),
            f"{base}/metadata/",
            target_base_url=f"{base}/targets/",
            fetcher=MutualTls(settings),
            config=CONFIG,
            bootstrap=_root(settings),
        )
        updater.refresh()
        found = updater.get_targetinfo(path)
        if found is None:
            raise TargetRefusedError(UpdateCode.UNKNOWN_TARGET, path)
        stage = path
        return _download(updater, found, images, component)
    except (tuf_errors.RepositoryError, tuf_errors.DownloadError) as error:
        raise _judged(error, stage) from error
    except OSError as error:
        raise UnavailableError(f"{folder}: {error.strerror or error}; free some space") from error


def _wall_ms() -> int:
    return int(time.time() * 1000)  # noqa: TID251 - what the machine says, to be judged by the device's clock


def _root(settings: Settings) -> bytes:
    file = settings.updates.root_file
    if file is None:
        raise SettingsError("updates.root_file is not set; give the repository's root.json")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"updates.root_file {file}: {error.strerror}; copy the repository's root"
        ) from error
    if len(content) > ROOT_BYTES_MAX:
        raise SettingsError(f"updates.root_file {file} is larger than {ROOT_BYTES_MAX} bytes")
    return content


def _download(updater: Updater, found: TargetFile, images: Path, component: Component) -> dict[str, object]:
    if found.length > IMAGE_BYTES_MAX[component]:
        raise TargetRefusedError(UpdateCode.TARGET_TOO_LARGE, found.path)
    sha256 = found.hashes.get("sha256")
    if sha256 is None:
        raise TargetRefusedError(UpdateCode.METADATA_BROKEN, f"entry of {found.path}")
    file = images / hashlib.sha256(found.path.encode()).hexdigest()
    for old in images.iterdir():
        if old != file:
            old.unlink()
    if updater.find_cached_target(found, str(file)) is None:
        file.unlink(missing_ok=True)
        room = os.statvfs(images)
        if room.f_bavail * room.f_frsize < found.length + SPARE_BYTES:
            raise UnavailableError(f"{images} has no room for {found.length} bytes; free some space")
        updater.download_target(found, str(file))
        with file.open("rb") as written:
            os.fsync(written.fileno())
    return {"image": str(file), "sha256": sha256}


def _judged(error: Exception, what: str) -> Exception:
    """What TUF's client found, as this device tells it."""
    target = what != "metadata"
    match error:
        case tuf_errors.ExpiredMetadataError():
            return TargetRefusedError(UpdateCode.METADATA_EXPIRED, what)
        case tuf_errors.BadVersionNumberError():
            return TargetRefusedError(UpdateCode.METADATA_ROLLED_BACK, what)
        case tuf_errors.UnsignedMetadataError():
            return TargetRefusedError(UpdateCode.METADATA_UNDER_SIGNED, what)
        case tuf_errors.LengthOrHashMismatchError():
            code = UpdateCode.TARGET_TAMPERED if target else UpdateCode.METADATA_BROKEN
            return TargetRefusedError(code, what)
        case tuf_errors.DownloadLengthMismatchError():
            code = UpdateCode.TARGET_TOO_LARGE if target else UpdateCode.METADATA_BROKEN
            return TargetRefusedError(code, what)
        case tuf_errors.DownloadError():
            return UnavailableError(f"the repository is not reached: {error}")
        case _:
            return TargetRefusedError(UpdateCode.METADATA_BROKEN, what)


if __name__ == "__main__":
    sys.exit(main())
