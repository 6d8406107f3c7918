"""Carries out what the renewal decides, and tells telemetry and diagnostics how it stands.

It runs beside everything else: the outbox bridges the moment in which a new certificate is tried.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, assert_never

import msgspec

from contract.enrolment import PROVEN_PATH
from contract.telemetry import Value
from edge_agent.enrolment import renewal as r
from edge_agent.enrolment.child import Desk
from edge_agent.errors import AgentError, RefusedError, UnavailableError
from edge_agent.files import remove_durably
from edge_agent.link.certificate import Life
from edge_agent.link.https import Answer
from edge_agent.link.identity import Wallet

log = logging.getLogger(__name__)

SENTENCE_LENGTH_MAX = 300
TokenSeen = tuple[int, int]
"""What tells one token file from another without reading it: when it was written, and its inode."""


class Dialer(Protocol):
    """The link, as the renewal sees it; `edge_agent.link.run.Link` is the real one."""

    def on_connected(self, handler: Callable[[], None]) -> None:
        """Before the link runs: call `handler` whenever the link has come up."""

    def on_disconnected(self, handler: Callable[[], None]) -> None:
        """Before the link runs: call `handler` whenever the link has gone down."""

    def on_refused(self, handler: Callable[[str], None]) -> None:
        """Before the link runs: call `handler` with a sentence whenever the broker, or TLS, has said no."""

    async def redial(self) -> None:
        """Connect anew at once; when this returns, nothing more is heard of the connection before."""


class DeviceApi(Protocol):
    """Requests with the certificate that the wallet shows; `link.https.DeviceHttps` is the real one."""

    async def request(self, method: str, path: str) -> Answer:
        """Ask once. Raises UnavailableError, MalformedError, SettingsError."""


class Renewing:
    """The certificates of one device.

    `utc_s` says what is known of the time; `told_time` and `renewed` hear what a new certificate and its
    giver say of it. `update_on_trial` says whether the version of the agent that runs may be taken back.
    """

    def __init__(
        self,
        *,
        wallet: Wallet,
        link: Dialer,
        api: DeviceApi,
        desk: Desk,
        token_file: Path | None,
        limits: r.Limits,
        chance: r.Chance,
        utc_s: Callable[[], float],
        told_time: Callable[[int], None],
        renewed: Callable[[Life], None],
        update_on_trial: Callable[[], bool],
    ) -> None:
        self._wallet = wallet
        self._link = link
        self._api = api
        self._desk = desk
        self._token_file = token_file
        self._utc_s = utc_s
        self._told_time = told_time
        self._renewed = renewed
        self._update_on_trial = update_on_trial
        self._events: deque[r.Event] = deque()
        self._wake = asyncio.Event()
        self._asked_with: TokenSeen | None = None
        pointer, current = wallet.pointer(), wallet.current
        found = r.Found(
            life=current.life,
            proven=pointer.proven,
            plain=current.plain,
            staged=wallet.next is not None,
            leftover=pointer.spare_is_old,
            update_on_trial=update_on_trial(),
        )
        self._core = r.Renewal(found, limits, chance, self._now())
        link.on_connected(lambda: self._put(r.LinkUp()))
        link.on_disconnected(lambda: self._put(r.LinkDown()))
        link.on_refused(lambda sentence: self._put(r.LinkRefused(sentence)))

    @property
    def readings(self) -> Mapping[str, Value | None]:
        """For telemetry."""
        return {
            "certificate_days_left": round(self._core.days_left(self._utc_s()), 3),
            "certificate_failures": self._core.failures,
        }

    @property
    def facts(self) -> dict[str, object]:
        """For diagnostics: ids, times and our own sentences."""
        life = self._core.life
        return {
            "state": self._core.state,
            "begins": _iso(life.begins_s),
            "ends": _iso(life.not_after_s),
            "days_left": round(self._core.days_left(self._utc_s()), 3),
            "failures": self._core.failures,
            "sentence": self._core.sentence,
            "slot": self._wallet.pointer().current,
        }

    async def run(self) -> None:
        """Keep the certificate good until cancelled."""
        while True:
            await self._handle(await self._next())

    async def _next(self) -> r.Event:
        if not self._events:
            self._wake.clear()
            try:
                async with asyncio.timeout(max(0.0, self._core.deadline() - time.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                return r.TimePassed(self._update_on_trial())
        return self._events.popleft()

    async def _handle(self, event: r.Event) -> None:
        """The core is asked, and what it wants is done, until it waits for something to happen."""
        answer: r.Event | None = event
        while answer is not None:
            effects = self._core.handle(answer, self._now())
            if isinstance(answer, r.Failed):
                self._log_failure(answer)
            answer = None
            for effect in effects:
                answer = await self._perform(effect)

    async def _perform(self, effect: r.Effect) -> r.Event | None:
        """Do it; the answer, if it has one."""
        try:
            match effect:
                case r.Ask(instead):
                    return await self._ask(instead)
                case r.Use(following):
                    await self._use(following)
                case r.Hold(sentence):
                    self._wallet.hold(sentence)
                    log.warning("link_held", extra={"sentence": sentence})
                case r.Release():
                    self._wallet.hold("")
                    await self._redial()
                case r.Prove():
                    return await self._prove()
                case r.Commit():
                    return await self._commit()
                case r.NoteProven():
                    await asyncio.to_thread(self._wallet.prove)
                    return await self._forget_token()
                case r.ClearSpare():
                    await asyncio.to_thread(self._wallet.clear_spare)
                    return r.Done()
                case r.Encrypt():
                    await self._desk.encrypt()
                    return r.Done()
                case r.LookForToken():
                    token = self._token()
                    return r.TokenSeen() if token is not None and token != self._asked_with else None
                case _:
                    assert_never(effect)
        except UnavailableError as error:
            return r.Failed(False, str(error), error.after_s)
        except AgentError as error:
            return r.Failed(True, str(error))
        return None

    async def _ask(self, instead: bool) -> r.Event:
        self._asked_with = self._token()
        log.info("certificate_asked_for", extra={"days_left": self.readings["certificate_days_left"]})
        server_ms = await self._desk.renew(instead)
        if server_ms is not None:
            self._told_time(server_ms)
        log.info("certificate_staged")
        return r.Staged()

    async def _use(self, following: bool) -> None:
        self._wallet.show_next(following)
        if following:
            self._wallet.hold("")
        event = "certificate_trial_began" if following else "certificate_trial_ended"
        log.info(event, extra={"sentence": self._core.sentence})
        await self._redial()

    async def _redial(self) -> None:
        await self._link.redial()
        self._events.clear()  # whatever the link said until now, it said of the connection before

    async def _prove(self) -> r.Event:
        answer = await self._api.request("POST", PROVEN_PATH)
        if answer.status < 300:
            return r.Proven()
        said = f"the control plane has not taken this device's certificate ({answer.status}{_detail(answer)})"
        if answer.status in (401, 403, 409):
            raise RefusedError(said)
        raise UnavailableError(said)

    async def _commit(self) -> r.Event:
        await self._forget_token()
        life = (self._wallet.next or self._wallet.current).life
        await asyncio.to_thread(self._wallet.commit)
        self._renewed(life)
        log.info("certificate_committed", extra={"ends": _iso(life.not_after_s)})
        return r.Committed(life)

    async def _forget_token(self) -> r.Event:
        """Where the cloud has taken this identity, a token is of no more use."""
        if self._token_file is not None and self._token() == self._asked_with:
            await asyncio.to_thread(remove_durably, self._token_file)
        return r.Done()

    def _token(self) -> TokenSeen | None:
        try:
            found = self._token_file.stat() if self._token_file is not None else None
        except OSError:
            return None
        return None if found is None else (found.st_mtime_ns, found.st_ino)

    def _log_failure(self, failed: r.Failed) -> None:
        wait_s = round(max(0.0, self._core.again_at - time.monotonic()), 1)
        extra = {"reason": "refused" if failed.refused else "unavailable", "sentence": failed.sentence}
        log.warning("certificate_not_renewed", extra=extra | {"looks_again_in_s": wait_s})

    def _now(self) -> r.Moment:
        return r.Moment(time.monotonic(), self._utc_s())

    def _put(self, event: r.Event) -> None:
        self._events.append(event)
        self._wake.set()


def _detail(answer: Answer) -> str:
    """What a problem document (RFC 9457) says, in bounds and printable."""
    try:
        detail = msgspec.json.decode(answer.body, type=dict[str, object]).get("detail")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return ": " + "".join(c for c in str(detail) if c.isprintable())[:SENTENCE_LENGTH_MAX] if detail else ""


def _iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")
