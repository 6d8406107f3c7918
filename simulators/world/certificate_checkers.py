"""What must hold of certificates in every world: each checker one sentence."""

from collections.abc import Iterable, Iterator

from edge_agent.enrolment.renewal import TRIALS_MAX
from simulators.world.clock import START
from simulators.world.scene import Checker, Scene

NEEDED_S = 100.0
"""A device needs no further certificate more often than this: certificates live for 300 s at least."""


def last_certificate_is_not_revoked(scene: Scene) -> Iterator[str]:
    """No certificate is revoked while its device has no other on its disk that is good for something."""
    for sentence in scene.unlucky:
        yield f"the last usable certificate of its device was revoked: {sentence}"


def old_ends_after_the_proof(scene: Scene) -> Iterator[str]:
    """A certificate is superseded only once its device has proven another one."""
    rows = scene.cloud.certificates.rows.values()
    for row in rows:
        if row.superseded_at is None:
            continue
        proven = [each.proven_at for each in rows if each.device == row.device and each is not row]
        if not any(at is not None and at <= row.superseded_at for at in proven):
            yield f"{row.certificate.serial} was superseded, and no other one was proven"


def proofs_are_connections(scene: Scene) -> Iterator[str]:
    """A certificate is proven only by a connection that the broker has let in with it."""
    for serial, row in scene.cloud.certificates.rows.items():
        if row.proven_at is None:
            continue
        at_s = scene.broker.admitted.get(serial)
        if at_s is None or at_s > (row.proven_at - START).total_seconds():
            yield f"{serial} was proven, and had connected at {at_s} s"


def chosen_are_proven(scene: Scene) -> Iterator[str]:
    """A device gives its certificate up for no other than one that the control plane has taken as proven."""
    for certificates in scene.certificates:
        for serial in certificates.chosen:
            if scene.cloud.certificates.rows[serial].proven_at is None:
                yield f"{certificates.name} has made {serial} its own, which was never proven"


def certificates_are_few(scene: Scene) -> Iterator[str]:
    """A device asks for no more certificates than it needs."""
    for certificates in scene.certificates:
        rows = scene.cloud.certificates.rows.values()
        mine = [row for row in rows if row.device == certificates.name]
        wrong = sum(not row.certificate.taken for row in mine)
        # A clock that is ahead makes a device ask once in a life of the agent, before it is told the time.
        allowed = 2 + certificates.starts + scene.now_s / NEEDED_S + 2 * wrong
        if len(mine) > allowed:
            yield f"{certificates.name} got {len(mine)} certificates"


def in_step(done: Iterable[tuple[float, str]], what: str) -> Iterator[str]:
    """A sentence for each two devices that have done it in one moment; `done` says when, and who."""
    devices: dict[float, str] = {}
    for at, device in done:
        other = devices.setdefault(at, device)
        if other != device:
            yield f"{other} and {device} {what} together at {at:.3f} s"


def nobody_asks_in_step(scene: Scene) -> Iterator[str]:
    """No two devices ask for a certificate at the very same moment, whatever has ended for both."""
    yield from in_step(scene.cloud.asked, "asked for certificates")


def refused_are_given_up(scene: Scene) -> Iterator[str]:
    """A certificate that the broker does not take is given up after a few trials in a life of the agent."""
    starts = {certificates.name: certificates.starts for certificates in scene.certificates}
    for serial, row in scene.cloud.certificates.rows.items():
        times = scene.broker.turned_away[serial]
        if not row.certificate.taken and times > TRIALS_MAX * starts[row.device]:
            yield f"{serial} was turned away {times} times"


ALWAYS: tuple[Checker, ...] = (
    last_certificate_is_not_revoked,
    old_ends_after_the_proof,
    proofs_are_connections,
    chosen_are_proven,
    certificates_are_few,
    nobody_asks_in_step,
    refused_are_given_up,
)


def certificates_are_in_order(scene: Scene) -> Iterator[str]:
    """In the end every device shows a certificate that is proven and good, and keeps no other."""
    for certificates in scene.certificates:
        current = certificates.current
        row = scene.cloud.certificates.rows[current.serial]
        if row.state != "active" or not scene.cloud.certificates.admits(current):
            yield f"{current.serial} is the identity of its device, and it is {row.state}"
        if not certificates.pointer.proven or certificates.pointer.spare_is_old:
            yield f"{certificates.name} has not ended its renewal: {certificates.pointer}"
        if certificates.next is not None:
            yield f"{certificates.name} still has {certificates.next.serial} beside {current.serial}"


HEALED: tuple[Checker, ...] = (certificates_are_in_order,)
