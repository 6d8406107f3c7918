"""`python -m edge_agent.enrolment --settings FILE`: enrols this device and ends.

With --renew it gets the next certificate into the spare slot and prints one line of JSON: `{"server_ms": …}`,
or `{"reason": "unavailable" | "refused", "sentence": …}`, with `after_s` where it is not to be tried before;
with --encrypt it puts plain keys under the vault's secret and prints `{"encrypted": 1}` or as above. Both are
what a running agent asks of it.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from edge_agent import logs
from edge_agent.enrolment.attempt import attempt, encrypt, renew
from edge_agent.errors import AgentError, MalformedError, RefusedError, SettingsError, UnavailableError
from edge_agent.link.identity import Wallet
from edge_agent.link.membership import membership
from edge_agent.link.reconnection import CAP_S, Lost, Reason, Reconnection, TimePassed, Told
from edge_agent.settings import Settings, load

log = logging.getLogger("edge_agent.enrolment")


def main() -> int:
    """0 enrolled, or said in JSON; 78 wrong settings. With --once also: 69 nobody answers, 77 refused."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.enrolment", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="the agent's TOML file")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="do not try again")
    how.add_argument("--renew", action="store_true", help="get the next certificate")
    how.add_argument("--encrypt", action="store_true", help="encrypt keys that lie there in plain")
    parser.add_argument(
        "--instead", action="store_true", help="with --renew: the next certificate that is there was refused"
    )
    arguments = parser.parse_args()
    logs.configure()
    try:
        settings = load(arguments.settings, os.environ)
        wallet = membership(settings, _wall_ms).wallet
        if arguments.renew:
            _say(lambda: {"server_ms": renew(settings, wallet, instead=arguments.instead)})
        elif arguments.encrypt:
            _say(lambda: {"encrypted": encrypt(wallet)})
        elif arguments.once:
            attempt(settings, wallet)
        else:
            asyncio.run(_enrol(settings, wallet))
    except AgentError as error:
        print(f"edge_agent.enrolment: {error}", file=sys.stderr)
        if isinstance(error, SettingsError):
            return os.EX_CONFIG
        return os.EX_UNAVAILABLE if isinstance(error, UnavailableError) else os.EX_NOPERM
    return os.EX_OK


async def _enrol(settings: Settings, wallet: Wallet) -> None:
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
            await asyncio.to_thread(attempt, settings, wallet)
        except UnavailableError as error:
            reason, sentence = "unavailable", str(error)
            if error.after_s:
                wait = Told(error.after_s, error.after_s + CAP_S, valid_s=CAP_S)
                waits.handle(wait, time.monotonic())
        except (RefusedError, MalformedError) as error:
            reason, sentence = "refused", str(error)
        else:
            return
        now = time.monotonic()
        waits.handle(Lost(reason), now)
        wait_s = round((waits.deadline() or now) - now, 1)
        log.warning("enrolment_failed", extra={"reason": reason, "sentence": sentence, "retry_in_s": wait_s})


def _say(work: Callable[[], dict[str, object]]) -> None:
    try:
        told = work()
    except UnavailableError as error:
        told = {"reason": "unavailable", "sentence": str(error), "after_s": error.after_s}
    except AgentError as error:
        told = {"reason": "refused", "sentence": str(error)}
    print(json.dumps(told))


def _wall_ms() -> int:
    return int(time.time() * 1000)


if __name__ == "__main__":
    sys.exit(main())
