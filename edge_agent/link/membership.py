"""Puts together what makes this device a member of its fleet: its identities, and what it knows of time."""

from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.errors import MalformedError, SettingsError
from edge_agent.link.certificate import lives
from edge_agent.link.clock import DeviceClock
from edge_agent.link.floor_file import FloorFile
from edge_agent.link.identity import Wallet, server_trust, vault_of
from edge_agent.settings import Settings

WallMs = Callable[[], int]
"""The machine's clock: milliseconds since 1970 UTC, right or wrong."""


@dataclass(frozen=True)
class Membership:
    """The device's two slots, its clock, and where the clock's floor is kept."""

    wallet: Wallet
    clock: DeviceClock
    floor: FloorFile


def membership(settings: Settings, wall_ms: WallMs) -> Membership:
    """That of the device of `settings`; a device that has not enrolled has empty slots.

    Raises:
        SettingsError: the fleet's authority or the device's certificate cannot be read.
    """
    trusted = settings.cloud.ca_file
    wallet = Wallet(
        settings.data_dir,
        trusted,
        vault_of(settings.data_dir, settings.certificate.key_file),
        lambda: _seconds(clock.judge_ms(wall_ms())),
    )
    server_trust(trusted)  # a missing file is told in this sentence
    try:
        known = lives(trusted.read_bytes())
    except (OSError, MalformedError) as error:
        raise SettingsError(
            f"cloud.ca_file {trusted}: {error}; copy the fleet's ca.pem to this path"
        ) from error
    base_s = max(life.not_before_s for life in known)
    ceiling_s = max(life.not_after_s for life in known)
    if wallet.current.complete:
        own = wallet.current.life
        base_s, ceiling_s = max(base_s, own.not_before_s), own.not_after_s
    floor = FloorFile(settings.data_dir / "time-floor")
    clock = DeviceClock(floor.load(), round(base_s * 1000), round(ceiling_s * 1000))
    return Membership(wallet, clock, floor)


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000
