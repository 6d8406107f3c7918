"""Makes this device a member: key, request, certificate, each on the disk before the next step.

A crash between two steps costs nothing: the key is used again, and a token file is deleted only after the
certificate is on the disk.
"""

import asyncio
import logging
import random
import time
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from edge_agent.enrolment import keys
from edge_agent.enrolment.est import EstClient
from edge_agent.errors import MalformedError, RefusedError, SettingsError, UnavailableError
from edge_agent.link.identity import identity
from edge_agent.link.reconnection import Lost, Reason, Reconnection, TimePassed
from edge_agent.settings import Settings

log = logging.getLogger(__name__)

TOKEN_LENGTH_MAX = 512


async def enrol(settings: Settings) -> None:
    """Enrol, trying again until it has worked; who is refused waits minutes, for a person must act.

    Raises:
        SettingsError: the settings are wrong, or name no token file.
    """
    waits = Reconnection(random.Random(), time.monotonic())  # noqa: S311 jitter, not a secret
    while True:
        await asyncio.sleep(max(0.0, (waits.deadline() or 0.0) - time.monotonic()))
        waits.handle(TimePassed(), time.monotonic())
        reason: Reason
        try:
            await asyncio.to_thread(attempt, settings)
        except UnavailableError as error:
            reason, sentence = "unavailable", str(error)
        except (RefusedError, MalformedError) as error:
            reason, sentence = "refused", str(error)
        else:
            return
        now = time.monotonic()
        waits.handle(Lost(reason), now)
        wait_s = round((waits.deadline() or now) - now, 1)
        log.warning("enrolment_failed", extra={"reason": reason, "sentence": sentence, "retry_in_s": wait_s})


def attempt(settings: Settings) -> None:
    """Enrol once; does nothing if the device has its certificate already.

    Raises:
        SettingsError: the settings are wrong, or name no token file.
        UnavailableError: the control plane does not answer.
        RefusedError: it does not take the token, or there is none.
        MalformedError: what it sent is no certificate for this device.
    """
    who = identity(settings.data_dir, settings.cloud.ca_file)
    if not who.complete:
        if settings.token_file is None:
            raise SettingsError("this device has no certificate, and the settings name no token_file")
        token = _token(settings.token_file)
        key = keys.own_key(who.key)
        client = EstClient(settings.cloud.bootstrap_url, who.trusted, settings.cloud.timeout_s)
        authorities = client.authorities()
        answer = client.enrol(settings.device, token, keys.request(key, settings.device))
        certificate = keys.issued(answer, authorities, key, settings.device)
        keys.write_durably(who.certificate, certificate.public_bytes(Encoding.PEM))
        log.info("device_enrolled", extra={"device": settings.device})
    if settings.token_file is not None:
        settings.token_file.unlink(missing_ok=True)


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        token = ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"token_file {path} cannot be read: {error}") from error
    if not token:
        raise RefusedError(
            f"there is no token in {path}; make one with `python -m cloud enrol-token` and write it there"
        )
    if len(token) > TOKEN_LENGTH_MAX or not token.isprintable() or ":" in token:
        raise RefusedError(f"what stands in {path} is no enrolment token")
    return token
