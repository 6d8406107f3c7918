"""`python -m cloud COMMAND`: the control plane's command line; `--help` lists the commands.

Exit codes are those of sysexits.h: 78 for settings that a person must correct, 69 for a service that is
away, 65 for input that is not taken. Answers are one JSON object on stdout, logs JSON lines on stderr.
"""

import argparse
import csv
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.orm import Session, sessionmaker

from cloud import logs, settings
from cloud.database import migrate
from cloud.database.engine import connect
from cloud.devices import views
from cloud.enrolment import (
    broker_config,
    ends,
    issuers,
    members,
    office,
    pki,
    registry,
    revocations,
    succession,
    tokens,
)
from cloud.enrolment.authority import Authority, common_name
from cloud.errors import CloudError, MalformedError, SettingsError, UnavailableError
from cloud.jobs.service import Jobs
from cloud.operators.accounts import ONE_TIME_BYTES, Accounts, one_time_password
from cloud.operators.actors import Actor, audit
from cloud.operators.roles import Role
from cloud.settings import Settings

ADMINISTRATOR = "admin"
COMMAND_LINE = "command-line"
"""The actor in the audit for what is done with a shell on the server."""
AFTERWARDS = "run broker-config, restart the broker, then control plane and ingest"
EXIT_DATA = 65
EXIT_UNAVAILABLE = 69
EXIT_SETTINGS = 78


def main(words: Sequence[str]) -> int:
    """Do what the command line says; gives the exit code."""
    given = _parser().parse_args(words)
    os.umask(0o077)  # databases, keys and bundles are nobody else's
    try:
        chosen = settings.load(given.settings, os.environ)
        logs.configure()
        answer = given.do(chosen, given)
    except CloudError as error:
        print(f"cloud: {error}", file=sys.stderr)
        return _exit_code(error)
    if answer is not None:
        print(json.dumps(answer))
    return 0


def initialise(chosen: Settings, given: argparse.Namespace) -> dict[str, Any]:
    """Make what is missing: folder, keys, tables, the administrator. Again changes nothing."""
    now = datetime.now(UTC)
    try:
        chosen.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _prepare(chosen, now)
    except OSError as error:
        raise SettingsError(f"data_dir {chosen.data_dir}: {error.strerror}; choose another") from error
    password = one_time_password(secrets.token_bytes(ONE_TIME_BYTES))
    migrated = _bring_up_to_date(chosen)
    with _sessions(chosen) as sessions, _kept(password, given.password_file) as keep:
        created = Accounts(sessions).create(ADMINISTRATOR, password, now, Role.ADMINISTRATOR)
        handed = keep() if created else {}
    return {"admin": ADMINISTRATOR, "migrated": migrated} | handed


def _prepare(chosen: Settings, now: datetime) -> None:
    pki.prepare(
        chosen.pki_dir, _hosts(chosen), now, root=chosen.root_dir, key_file=chosen.certificates.key_file
    )


def _bring_up_to_date(chosen: Settings) -> bool:
    """Bring the tables to this release; gives whether anything had to be done."""
    engine = connect(chosen.main_database_url)
    try:
        before = migrate.revision(engine)
        migrate.upgrade(engine)
        return before != migrate.revision(engine)
    finally:
        engine.dispose()


@contextmanager
def _kept(password: str, path: Path | None) -> Iterator[Callable[[], dict[str, Any]]]:
    """Hands a one-time password over: on stdout, or in a file that is on the disk before the account is."""
    if path is None:
        yield lambda: {"one_time_password": password}
        return
    beside = path.with_name(f".{path.name}.new")

    def keep() -> dict[str, Any]:
        beside.replace(path)
        return {"password_file": str(path)}

    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{password}\n")
            file.flush()
            os.fsync(file.fileno())
        yield keep
    except OSError as error:
        raise SettingsError(
            f"--password-file {path}: {error.strerror}; give a file in a folder of ours"
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def check(chosen: Settings, _given: argparse.Namespace) -> dict[str, Any]:
    """Only read the settings; tells what a script wants to know of them."""
    return {"pages_port": chosen.pages.port, "data_dir": str(chosen.data_dir)}


def serve(chosen: Settings, _given: argparse.Namespace) -> None:
    """Run the control plane until it is told to stop."""
    from cloud.main import serve as run  # the workflow engine takes a second to import

    run(chosen)


def ingest(chosen: Settings, _given: argparse.Namespace) -> None:
    """Run the consumer of telemetry until it is told to stop."""
    from cloud.telemetry.run import ingest as run  # not needed by the other commands

    run(chosen)


def worker(chosen: Settings, _given: argparse.Namespace) -> None:
    """Transcribe recordings until it is told to stop; several may run, each with its own executor_id."""
    from cloud.recordings.worker import work  # takes the speech engine into memory

    work(chosen, lambda: datetime.now(UTC))


def enrol_token(chosen: Settings, given: argparse.Namespace) -> dict[str, Any]:
    """Register devices that are new, and give each a one-time token."""
    now = datetime.now(UTC)
    wanted = _wanted(given)
    issued = []
    with _sessions(chosen) as sessions, sessions.begin() as session:
        for device, kind, site in wanted:
            registry.register(session, device, kind, site, now)
            token = tokens.issue(session, device, kind, now, secrets.token_bytes(tokens.TOKEN_BYTES))
            audit(session, Actor(COMMAND_LINE, now), "issue-enrolment-token", device, {"kind": kind})
            issued.append({"device": device, "token": token})
    return {"tokens": issued} if given.list else issued[0]


def _wanted(given: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Device, kind and site of each device that the command line or its list names."""
    if given.list is None:
        if None in (given.device, given.kind, given.site):
            raise MalformedError(
                "give --device, --kind and --site, or --list FILE with lines device,kind,site"
            )
        return [(given.device, given.kind, given.site)]
    try:
        with given.list.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MalformedError(f"{given.list} cannot be read as CSV: {error}") from error
    if not rows or any(len(row) != 3 for row in rows):
        raise MalformedError(f"{given.list}: each line is device,kind,site")
    return [(device.strip(), kind.strip(), site.strip()) for device, kind, site in rows]


def revoke(chosen: Settings, given: argparse.Namespace) -> dict[str, Any]:
    """Revoke every certificate of a device, sign the list anew, and have its live connection ended.

    The broker's unit reads the list; the control plane, which must run, ends the connection.
    """
    with _office(chosen) as (desk, actor):
        ended = desk.revoke(actor, given.device, given.reason)
    return {"device": given.device, "revoked": ended}


def decommission(chosen: Settings, given: argparse.Namespace) -> dict[str, Any]:
    """Take a device out of service for good: as revoke, its jobs are cancelled, its name stays its own."""
    with _office(chosen) as (desk, actor):
        desk.take_out(actor, given.device)
    return {"device": given.device, "in_service": False}


def readmit(chosen: Settings, given: argparse.Namespace) -> dict[str, Any]:
    """Let a device that was taken out of service enrol again, with a new token."""
    with _office(chosen) as (desk, actor):
        desk.take_back(actor, given.device)
    return {"device": given.device, "in_service": True}


@contextmanager
def _office(chosen: Settings) -> Iterator[tuple[office.Office, Actor]]:
    def publish(_topic: str, _ids: dict[str, str], _payload: bytes, _retained: bool = False) -> None:
        """Say nothing: the device that it is for is not let in any more."""

    now = datetime.now(UTC)
    with _sessions(chosen) as sessions:
        pki.load(chosen.pki_dir, chosen.certificates.key_file)
        listed = revocations.Revocations(sessions, chosen.pki_dir, chosen.certificates.key_file)
        jobs = Jobs(sessions=sessions, publish=publish, clock=lambda: now)
        known, ending = partial(issuers.read, chosen.pki_dir), partial(ends.read, chosen.pki_dir)
        yield office.Office(sessions, listed.publish, jobs.remove, known, ending), Actor(COMMAND_LINE, now)


def new_issuer(chosen: Settings, given: argparse.Namespace) -> dict[str, Any]:
    """Let a new issuing authority take over, below the same root, or finish what was interrupted.

    Afterwards make the broker's configuration anew and restart the broker, then control plane and ingest.
    Devices change by themselves when they renew.
    """
    now, root = datetime.now(UTC), _root(chosen, given)
    prepare = partial(_prepare, chosen, now)
    with _sessions(chosen) as sessions, sessions.begin() as session:
        made = succession.take_over(chosen.pki_dir, root, now, prepare, chosen.certificates.key_file)
        name = common_name(made.subject)
        audit(session, Actor(COMMAND_LINE, now), "new-issuer", name, {"serial": f"{made.serial_number:x}"})
        ended = _distrust(chosen, root, session, now) if given.distrust_old else []
    until = made.not_valid_after_utc.isoformat()
    return {"issuer": name, "until": until, "distrusted": ended, "next": AFTERWARDS}


def distrust_issuers(chosen: Settings, given: argparse.Namespace) -> dict[str, Any]:
    """End the trust in every issuing authority before the present one.

    Afterwards make the broker's configuration anew and restart the broker, then control plane and ingest.
    Devices with a certificate of theirs can renew it, which they do when the broker refuses them, and
    nothing else.
    """
    now, root = datetime.now(UTC), _root(chosen, given)
    with _sessions(chosen) as sessions, sessions.begin() as session:
        return {"distrusted": _distrust(chosen, root, session, now), "next": AFTERWARDS}


def _distrust(chosen: Settings, root: Authority, session: Session, now: datetime) -> list[str]:
    ended = succession.distrust(chosen.pki_dir, root, now, partial(_prepare, chosen, now))
    for each in ended:
        details = {"serial": f"{each.serial_number:x}"}
        audit(session, Actor(COMMAND_LINE, now), "distrust-issuers", common_name(each.subject), details)
    return [common_name(each.subject) for each in ended]


def _root(chosen: Settings, given: argparse.Namespace) -> Authority:
    path = given.root_key or chosen.root_dir / "root.key"
    return succession.root_authority(chosen.pki_dir, path, chosen.certificates.key_file)


def device(chosen: Settings, given: argparse.Namespace) -> dict[str, Any]:
    """Tell what the registry knows of a device: whether it has enrolled, and whether it is there now."""
    with _sessions(chosen) as sessions, sessions() as session:
        known = views.one(session, given.device)
        good = members.good(session, given.device, datetime.now(UTC))
    if known is None:
        return {"device": given.device, "registered": False, "certificates": 0}
    return {
        "device": known.device,
        "registered": True,
        "kind": known.kind,
        "site": known.site,
        "certificates": good,
        "presence": known.presence,
        "boot": known.boot,
        "agent": known.agent,
        "last_seen_at": known.last_seen_at.isoformat() if known.last_seen_at else None,
    }


def reset_password(chosen: Settings, given: argparse.Namespace) -> dict[str, Any]:
    """Give an operator who cannot sign in any more a new one-time password."""
    now = datetime.now(UTC)
    password = one_time_password(secrets.token_bytes(ONE_TIME_BYTES))
    with _sessions(chosen) as sessions:
        Accounts(sessions).reset(given.operator, password)
        with sessions.begin() as session:
            audit(session, Actor(COMMAND_LINE, now), "reset-password", given.operator, {})
    return {"operator": given.operator, "one_time_password": password}


def configure_broker(chosen: Settings, given: argparse.Namespace) -> dict[str, Any]:
    """Write what mosquitto needs."""
    path = broker_config.write(
        chosen.broker,
        chosen.pki_dir,
        given.out,
        bind=given.bind,
        port=given.port,
        root=os.geteuid() == 0,
        home=given.home,
    )
    return {"configuration": str(path)}


@contextmanager
def _sessions(chosen: Settings) -> Iterator[sessionmaker[Session]]:
    engine = connect(chosen.main_database_url)
    try:
        migrate.check(engine)
        yield sessionmaker(engine, expire_on_commit=False)
    finally:
        engine.dispose()


def _hosts(chosen: Settings) -> list[str]:
    """Under what names this machine is reached; the first one stands in the certificates' subject."""
    public = urlsplit(chosen.public_url).hostname or ""
    return list(dict.fromkeys(filter(None, ["localhost", "127.0.0.1", public, chosen.broker.host])))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m cloud", description="Civic Fleet's control plane.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: Any) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=do.__doc__, description=do.__doc__)
        sub.add_argument("--settings", type=Path, required=True, metavar="FILE", help="the settings, TOML")
        sub.set_defaults(do=do)
        return sub

    command("check", check)
    init = command("init", initialise)
    init.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="where the administrator's one-time password goes instead of stdout",
    )
    command("serve", serve)
    command("ingest", ingest)
    command("worker", worker)
    token = command("enrol-token", enrol_token)
    token.add_argument("--device", metavar="ID", help="its name: a DNS label")
    token.add_argument("--kind", help="kiosk or recorder")
    token.add_argument("--site", help="where it stands, as staff know the place")
    token.add_argument("--list", type=Path, metavar="FILE", help="many at once: CSV lines device,kind,site")
    asked = command("device", device)
    asked.add_argument("--device", required=True, metavar="ID")
    ended = command("revoke", revoke)
    ended.add_argument("--device", required=True, metavar="ID")
    ended.add_argument("--reason", default="operator", help="one word, for the audit")
    for name, do in (("decommission", decommission), ("readmit", readmit)):
        command(name, do).add_argument("--device", required=True, metavar="ID")
    for name, do in (("new-issuer", new_issuer), ("distrust-issuers", distrust_issuers)):
        command(name, do).add_argument(
            "--root-key", type=Path, metavar="FILE", help="default: root.key in certificates.root_dir"
        )
    commands.choices["new-issuer"].add_argument(
        "--distrust-old", action="store_true", help="and distrust-issuers at once: a key is known to others"
    )
    reset = command("reset-password", reset_password)
    reset.add_argument("--operator", required=True, metavar="NAME")
    broker = command("broker-config", configure_broker)
    broker.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to fill")
    broker.add_argument(
        "--home", type=Path, metavar="DIR", help="where the broker finds the files; default: the folder"
    )
    broker.add_argument("--port", type=int, required=True, help="where the broker listens")
    broker.add_argument("--bind", default="127.0.0.1", metavar="ADDRESS", help="default: this machine only")
    return parser


def _exit_code(error: CloudError) -> int:
    if isinstance(error, SettingsError):
        return EXIT_SETTINGS
    return EXIT_UNAVAILABLE if isinstance(error, UnavailableError) else EXIT_DATA


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
