"""The commands around releases and the repository: `keys`, `release`, `publish`, `refresh`, `status`.

Each raises RefusedError with a sentence that says what to do, and changes nothing then.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from firmware_tools import release, repository
from firmware_tools.errors import RefusedError
from firmware_tools.repository import DELEGATED, KEYS, Repository
from firmware_tools.wheels import build_wheels

Command = Callable[[argparse.Namespace, datetime], dict[str, Any]]


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the commands and their words."""
    keys = commands.add_parser("keys", help="make the keys of a repository, or one more key")
    keys.add_argument("--out", type=Path, required=True, help="folder (mode 0700); one file for each key")
    keys.add_argument(
        "--role", action="append", choices=sorted(KEYS), help="only of this role; may be repeated"
    )
    keys.add_argument("--name", help="one more key by name, for example root-4")
    made = commands.add_parser("release", help="put wheels of the agent into one release")
    source = made.add_mutually_exclusive_group(required=True)
    source.add_argument("--wheels", type=Path, help="folder with the wheels")
    source.add_argument("--tree", type=Path, help="source tree; its wheels are built with hatchling first")
    made.add_argument("--version", help="with --tree: the version of the release")
    made.add_argument("--out", type=Path, required=True, help="the release (.zip)")
    made.add_argument("--dependencies", action="store_true", help="the wheels of all dependencies are there")
    publish = commands.add_parser("publish", help="sign targets and put them into the repository")
    publish.add_argument("--version", help="the target's version, as assignments name it")
    publish.add_argument("--renew", action="append", default=[], choices=["root", "targets", *DELEGATED])
    publish.add_argument("--exchange-root", nargs=2, metavar=("OUT", "NEW"), help="rotate a root key")
    publish.add_argument("target", nargs="?", help="agent/NAME, firmware/NAME or models/NAME")
    publish.add_argument("file", nargs="?", type=Path, help="the bytes")
    refresh = commands.add_parser("refresh", help="sign the timestamp anew, with its key alone")
    status = commands.add_parser("status", help="what is published, and until when each role holds")
    for command in (publish, refresh, status):
        command.add_argument("--repository", type=Path, required=True, help="folder of the repository")
    for command in (publish, refresh):
        command.add_argument("--keys", type=Path, required=True, help="folder with the keys that are at hand")


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Do one of the commands; what it tells, for a program.

    Raises:
        RefusedError: it was not done, and why.
    """
    return COMMANDS[given.command](given, datetime.now(UTC))  # noqa: TID251 - a program's own clock


def _keys(given: argparse.Namespace, _now: datetime) -> dict[str, Any]:
    if given.name:
        given.out.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = [repository.make_key(given.out, given.name)]
    else:
        made = repository.make_keys(given.out, given.role or tuple(KEYS))
    return {"keys": [path.name for path in made]}


def _release(given: argparse.Namespace, _now: datetime) -> dict[str, Any]:
    if given.tree is None:
        built = release.build(sorted(given.wheels.glob("*.whl")), given.out, dependencies=given.dependencies)
    else:
        if not given.version:
            raise RefusedError("say which --version the tree is to be released as")
        with tempfile.TemporaryDirectory() as folder:
            built = release.build(build_wheels(given.tree, Path(folder), given.version), given.out)
    return {
        "file": built.file.name,
        "version": built.version,
        "wheels": built.wheels,
        "complete": built.complete,
        "size": built.size,
    }


def _publish(given: argparse.Namespace, now: datetime) -> dict[str, Any]:
    opened = Repository(given.repository, given.keys, now)
    if opened.exists:
        opened.load()
    else:
        opened.create()
    told: dict[str, Any] = {}
    if given.target is not None:
        if given.file is None or not given.version:
            raise RefusedError("say which file and which --version the target is")
        told["target"] = vars(opened.add(given.target, given.file, given.version))
    if given.exchange_root:
        opened.rotate_root(*given.exchange_root)
    opened.renew(*given.renew)
    opened.publish()
    return told | _status_of(opened)


def _refresh(given: argparse.Namespace, now: datetime) -> dict[str, Any]:
    opened = Repository(given.repository, given.keys, now)
    opened.load()
    return {"expires": opened.refresh_timestamp().isoformat()}


def _status(given: argparse.Namespace, now: datetime) -> dict[str, Any]:
    opened = Repository(given.repository, given.repository, now)
    opened.load()
    return _status_of(opened)


def _status_of(opened: Repository) -> dict[str, Any]:
    roles = [vars(role) | {"expires": role.expires.isoformat()} for role in opened.status()]
    return {"roles": roles, "targets": [vars(target) for target in opened.published()]}


COMMANDS: Mapping[str, Command] = {
    "keys": _keys,
    "release": _release,
    "publish": _publish,
    "refresh": _refresh,
    "status": _status,
}


def as_json(told: dict[str, Any]) -> str:
    """What a command prints."""
    return json.dumps(told, indent=1)
