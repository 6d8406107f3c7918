"""The ledger as numbers for a time-series store and for OpenMetrics: pure.

Counts grow only and stand in the database, so neither a restart nor a second reader makes them jump.
"""

from collections.abc import Iterator

from cloud.link.books import Account, Ledger

MEASUREMENT = "ledger"
"""What is in it is in `contract.telemetry`."""
CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Values = tuple[tuple[str, float | int], ...]


def values(account: Account) -> Values:
    """The fields of one device's point."""
    numbers = account.numbers
    found: list[tuple[str, float | int]] = [
        ("stored", numbers.stored),
        ("missing", numbers.missing),
        ("dropped", numbers.dropped),
        ("undeclared", numbers.undeclared),
        ("lost", numbers.lost),
        ("refused", sum(account.refused.values())),
        ("repeated", numbers.repeated),
        ("returns", account.returns),
        ("shared", int(account.shared)),
    ]
    if account.skew_ms is not None:
        found.append(("skew_estimate_ms", float(account.skew_ms)))
    return tuple(found)


def openmetrics(ledger: Ledger) -> str:
    """The fleet's numbers as text (OpenMetrics 1.0); single devices are in the time series."""
    return "\n".join([*_families(ledger), "# EOF", ""])


def _families(ledger: Ledger) -> Iterator[str]:
    numbers = ledger.numbers
    for name, value, about in (
        ("stored", numbers.stored, "Messages that are stored."),
        ("dropped", numbers.dropped, "Messages that devices dropped by their policy."),
        ("lost", numbers.lost, "Messages that never came and that no device dropped."),
        ("repeated", numbers.repeated, "Messages that came again."),
    ):
        yield from _family(f"fleet_link_messages_{name}", "counter", about)
        yield f"fleet_link_messages_{name}_total {value}"
    yield from _family("fleet_link_messages_refused", "counter", "Messages that were refused, by reason.")
    for reason, count in sorted(ledger.refused.items()):
        yield f'fleet_link_messages_refused_total{{reason="{reason}"}} {count}'
    yield from _family("fleet_link_identity_returns", "counter", "Signs of two machines with one identity.")
    yield f"fleet_link_identity_returns_total {ledger.returns}"
    for name, value, about in (
        ("messages_missing", numbers.missing, "Messages that have not come although later ones have."),
        ("messages_undeclared", numbers.undeclared, "Dropped messages for which no device gave a reason."),
        ("devices_missing", ledger.with_missing, "Devices of which something is missing."),
        ("identities_shared", ledger.shared, "Identities that two machines use."),
    ):
        yield from _family(f"fleet_link_{name}", "gauge", about)
        yield f"fleet_link_{name} {value}"


def _family(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    yield f"# HELP {name} {about}"
