"""What must hold in every world: each checker one sentence, asked at every moment or once all has healed."""

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta

from cloud.captions.core import Change
from cloud.devices.presence import OFFLINE
from cloud.documents.core import Attention, Hold
from cloud.jobs.core import PENDING
from cloud.link.core import Counted, Declared, Drop, Numbers, place, reconcile
from cloud.recordings.closed import Turned
from cloud.watermark import ABOVE_MAX, Tally, missing
from cloud.watermark import Key as Stream
from contract.messages import Lane
from contract.recordings import FloorAction
from contract.updates import UPDATE
from edge_agent.link.reconnection import TAKEN_OVER_MAX_S, TAKEN_OVER_MIN_S
from simulators.world import certificate_checkers, twin_checkers
from simulators.world.clock import START_MS
from simulators.world.cloud import settled
from simulators.world.recorder import WORD_MS, date_ms, said
from simulators.world.scene import Checker, Scene
from simulators.world.updates import FIRST_VERSION

DATED_MS_MAX = 9_500
"""A line's dates are so near its words: 8 s of a line, 1 s of a timestamp; and an answer's way."""
DATE_MS_MAX = 100
"""A sample's date is so near its moment: offsets are rounded, and a boot's beginning is too."""
BACK_MS_MAX = int((TAKEN_OVER_MAX_S + 60) * 1000)
"""Whoever lost the link to another machine, or thinks that all is well, is back so soon."""
BURST_MAX = 900
"""Messages that may wait for the control plane at once in a world of three devices."""


# --- at every moment ---


def printed_once(scene: Scene) -> Iterator[str]:
    """A paper comes out of a printer at most once."""
    for printer in scene.printers:
        for document, sheets in printer.sheets.items():
            if sheets > 1:
                yield f"{document} was printed {sheets} times"


def stored_once(scene: Scene) -> Iterator[str]:
    """A message is stored at most once, and only if the device had it on its disk."""
    by_name = {device.name: device for device in scene.devices}
    for (name, key), count in scene.cloud.db.stored.items():
        if count > 1:
            yield f"{name} {_words(key)} was stored {count} times"
        if key not in by_name[name].disk.ever:
            yield f"{name} {_words(key)} is stored, and the device never had it on its disk"


def nothing_promised_is_lost(scene: Scene) -> Iterator[str]:
    """A `must` message is on the device's disk until it is stored."""
    for device in scene.devices:
        for key in sorted(device.disk.promised):
            if key not in device.disk.messages and (device.name, key) not in scene.cloud.db.stored:
                yield f"{device.name} {_words(key)} was promised, and it is neither on the disk nor stored"


def every_drop_is_counted(scene: Scene) -> Iterator[str]:
    """What is neither on the disk nor stored was dropped by policy and counted."""
    for device in scene.devices:
        for key in sorted(device.disk.ever - device.disk.promised - device.disk.dropped):
            if key not in device.disk.messages and (device.name, key) not in scene.cloud.db.stored:
                yield f"{device.name} {_words(key)} is gone, and nobody counted it"


def no_mark_passes_a_gap(scene: Scene) -> Iterator[str]:
    """A watermark stands above nothing that is neither stored nor dropped."""
    by_name = {device.name: device for device in scene.devices}
    for stream, mark in scene.cloud.db.marks.items():
        device, lane = by_name[stream.device], Lane(stream.lane)
        for seq in range(1, mark.seq + 1):
            key = stream.boot, lane, seq
            known = (device.name, key) in scene.cloud.db.stored or key in device.disk.dropped
            if key in device.disk.ever and not known:
                yield f"{device.name} {_words(key)} lies below the watermark {mark.seq} and is not stored"


def ledger_equals_truth(scene: Scene) -> Iterator[str]:
    """The ledger counts exactly what is stored, and each device counts exactly what it dropped."""
    stored: dict[tuple[str, str, str], int] = {}
    for name, (boot, lane, _) in scene.cloud.db.stored:
        stored[name, boot, lane] = stored.get((name, boot, lane), 0) + 1
    for stream, count in scene.cloud.db.arrived.items():
        truth = stored.get((stream.device, stream.boot, stream.lane), 0)
        if count != truth:
            yield f"{stream} has {truth} messages, and its ledger says {count}"
    for stream, tally in scene.cloud.db.tallies.items():
        mark = scene.cloud.db.marks[stream]
        told = tally.stored + tally.refused + tally.dropped + tally.given_up
        if told != mark.seq + len(mark.above):
            yield f"{stream} stands at {mark.seq} and {len(mark.above)} above, and its ledger tells of {told}"
    for device in scene.devices:
        if device.on and device.boot and device.outbox.dropped != device.dropped:
            yield f"{device.name} dropped {device.dropped} messages and counts {device.outbox.dropped}"


def queues_are_bounded(scene: Scene) -> Iterator[str]:
    """No queue, outbox or list of gaps grows beyond its bound."""
    for device in scene.devices:
        if len(device.disk.messages) > device.bounds.rows_max + len(device.deletions):
            yield f"{device.name} keeps {len(device.disk.messages)} messages"
        if device.on and device.boot and device.outbox.bytes > device.bounds.bytes_max:
            yield f"{device.name} keeps {device.outbox.bytes} bytes"
    for stream, mark in scene.cloud.db.marks.items():
        if len(mark.above) > ABOVE_MAX:
            yield f"{stream} has {len(mark.above)} messages above a gap"
    if scene.broker.queued_most > BURST_MAX:
        yield f"{scene.broker.queued_most} messages waited for the control plane at once"


def money_goes_one_way(scene: Scene) -> Iterator[str]:
    """No payment is captured and released."""
    for document in sorted(scene.cloud.payments.captured & scene.cloud.payments.released):
        yield f"{document} was captured and released"


def closed_is_silent(scene: Scene) -> Iterator[str]:
    """No word that was said in a part closed to the public is ever published, partial or final."""
    for session, sitting in scene.cloud.captions.sittings.items():
        closed = _closed_parts(sitting.changes)
        published = [*scene.cloud.captions.lines.values(), *scene.cloud.captions.partials]
        for segment in published:
            if segment.session != session:
                continue
            for word in said(segment.text):
                if any(word + WORD_MS > since and word < until for since, until in closed):
                    yield f"{session}: a word of {word / 1000} s was published, and that part was closed"


def closed_is_not_heard(scene: Scene) -> Iterator[str]:
    """No sound of a part closed to the public is in what people hear of a recording."""
    for recorder in scene.recorders:
        for recording, news in recorder.recording.told.items():
            sitting = scene.cloud.captions.sittings[news.session]
            assert sitting.opened_at is not None
            turns = [
                Turned((change.at - sitting.opened_at) / timedelta(milliseconds=1), change.state)
                for change in sitting.changes
            ]
            sure = scene.devices[0].plant.trusts_positions
            for begin, end in recorder.recording.heard(turns, recording, sure=sure):
                if any(begin < until and end > since for since, until in _closed_parts(sitting.changes)):
                    yield f"{recording}: of {begin / 1000} to {end / 1000} s closed sound is heard"


def open_is_recorded(scene: Scene) -> Iterator[str]:
    """A recorder that runs and knows of nothing but an open sitting records, whether it can date or not."""
    for recorder in scene.recorders:
        for since, until in recorder.recording.missed:
            yield f"{recorder.name} did not record {since / 1000} to {until / 1000} s"


def floor_is_kept(scene: Scene) -> Iterator[str]:
    """Who took or gave back the floor of an open sitting is on the recorder's disk until the link has it."""
    for recorder in scene.recorders:
        recording = recorder.recording
        for seat, on in sorted(recording.turns.keys() - recording.kept - recording.sent):
            yield f"{recorder.name} has lost that {seat} {'took' if on else 'gave back'} the floor"


def revisions_grow(scene: Scene) -> Iterator[str]:
    """What readers are shown of a line only ever gets newer."""
    for (session, segment), revisions in scene.cloud.captions.shown.items():
        if revisions != sorted(set(revisions)):
            yield f"{session} line {segment} was shown in revisions {revisions}"


def _dated_ms_max(scene: Scene) -> int:
    """A request waits at the broker while the control plane is away, and its answer tells the time."""
    return DATED_MS_MAX + max((each.answer_ms_max for each in scene.devices), default=0)


def lines_are_dated(scene: Scene) -> Iterator[str]:
    """A line was said neither before nor after its dates, and not long after or before them."""
    near_ms = _dated_ms_max(scene)
    for segment in scene.cloud.captions.lines.values():
        opened_at = scene.cloud.captions.sittings[segment.session].opened_at
        assert opened_at is not None
        since, until = date_ms(segment, int(opened_at.timestamp() * 1000))
        times = list(said(segment.text))
        first, last = times[0], times[-1] + WORD_MS
        if not (first - near_ms <= since <= first and last <= until <= last + near_ms):
            yield f"{segment.session} line {segment.segment} of {first}..{last} is dated {since}..{until} ms"


def refused_only_in_need(scene: Scene) -> Iterator[str]:
    """Nothing that must be kept is refused for a full disk while there is a reserve for it."""
    for device in scene.devices:
        if device.refused_without_need:
            yield f"{device.name} refused {device.refused_without_need} messages and had its reserve"


def samples_are_dated(scene: Scene) -> Iterator[str]:
    """A sample of a device whose clock was right, or not set, is stored with its true moment."""
    for device in scene.devices:
        if device.wall.wrong:
            continue
        for (name, key), at in scene.cloud.db.dates.items():
            true_ms = device.true_ms.get(key) if name == device.name else None
            if true_ms is not None and abs(at - START_MS - true_ms) > DATE_MS_MAX:
                yield f"{name} {_words(key)} of {true_ms} ms is dated {at - START_MS} ms"


def nobody_fights(scene: Scene) -> Iterator[str]:
    """Who lost the session to another machine with its identity leaves it alone for long."""
    for device in scene.devices:
        allowed = device.starts + scene.now_s / TAKEN_OVER_MIN_S + 1
        if device.taken_over > allowed:
            yield f"{device.name} was thrown out {device.taken_over} times in {scene.now_s:.0f} s"


def nobody_dials_in_step(scene: Scene) -> Iterator[str]:
    """No two devices dial at the very same moment, whatever they lost together."""
    yield from certificate_checkers.in_step(scene.broker.dials, "dialed")


def wills_speak_for_themselves(scene: Scene) -> Iterator[str]:
    """The will of an earlier connection ends no other."""
    yield from scene.cloud.db.misled


def boards_boot(scene: Scene) -> Iterator[str]:
    """A board that is switched on runs a whole version that is well, whatever an update is doing."""
    for updater in scene.updaters:
        if not updater.board.bootable:
            yield f"the board of {updater.name} has {updater.board.confirmed} to run"


ALWAYS: tuple[Checker, ...] = (
    printed_once,
    stored_once,
    nothing_promised_is_lost,
    every_drop_is_counted,
    no_mark_passes_a_gap,
    ledger_equals_truth,
    queues_are_bounded,
    money_goes_one_way,
    closed_is_silent,
    closed_is_not_heard,
    open_is_recorded,
    floor_is_kept,
    revisions_grow,
    lines_are_dated,
    refused_only_in_need,
    samples_are_dated,
    nobody_fights,
    nobody_dials_in_step,
    wills_speak_for_themselves,
    boards_boot,
    *certificate_checkers.ALWAYS,
    *twin_checkers.ALWAYS,
)


# --- once everything has healed and come to its end ---


def devices_are_quiet(scene: Scene) -> Iterator[str]:
    """Within a bounded time after the last fault every device is connected and owes nothing to anybody."""
    for device in scene.devices:
        if not device.on or device.reconnection.state != "up":
            yield f"{device.name} is not connected"
        elif device.outbox.rows:
            yield f"{device.name} still keeps {device.outbox.rows} messages"
        elif device.jobs.running is not None:
            yield f"{device.name} still does {device.jobs.running.job_id}"
    for kiosk in scene.kiosks:
        if kiosk.busy:
            yield f"{kiosk.name} has a paper under way"


def presence_is_true(scene: Scene) -> Iterator[str]:
    """Who is connected is believed to be, under its boot."""
    for device in scene.devices:
        known = scene.cloud.db.presence.get(device.name)
        if device.name in scene.broker.presence_dropped:
            continue  # the broker dropped it and told nobody: known, and to be cured with issue B
        if known is None or known.state == OFFLINE or known.boot != device.boot:
            yield f"{device.name} is there as {device.boot}, and believed to be {known}"


def jobs_end(scene: Scene) -> Iterator[str]:
    """Every execution ends, and what a device believes to be settled is what the control plane knows."""
    for job, execution in scene.cloud.db.executions.items():
        if execution.status in PENDING:
            yield f"job {job} is still {execution.status}"
    for device in scene.devices:
        for key, entry in device.disk.entries.items():
            if not entry.settled or entry.outcome is None or key in device.overruled:
                continue
            execution = scene.cloud.db.executions[key[0]]
            known = execution.status
            if execution.number == key[1] and known != entry.outcome.status:
                yield f"{device.name} settled {key[0]} as {entry.outcome.status}, and it is {known}"


def papers_and_money(scene: Scene) -> Iterator[str]:
    """A document is charged if and only if its paper came out, or a person was told; no money stays held."""
    payments = scene.cloud.payments
    sheets: dict[str, int] = {}
    for printer in scene.printers:
        for document, count in printer.sheets.items():
            sheets[document] = sheets.get(document, 0) + count
    for document, facts in scene.cloud.db.facts.items():
        printed = sheets.get(document, 0) > 0
        captured = document in payments.captured
        if not settled(facts):
            yield f"{document} is still {facts.state} with its payment {facts.payment}"
        if captured and not printed:
            yield f"{document} was charged, and there is no paper"
        if printed and not captured and facts.attention is not Attention.PAPER_AFTER_END:
            yield f"{document} was printed, not charged, and nobody was told"
        if not captured and document in payments.held and document not in payments.released:
            yield f"{document} is not charged, and its money is still held"
        if facts.payment is Hold.CAPTURED and not captured:
            yield f"{document} is believed to be charged, and is not"


def nothing_is_missing(scene: Scene) -> Iterator[str]:
    """Of each boot: arrived and dropped are together what was made."""
    for device in scene.devices:
        for key in sorted(device.disk.ever):
            if (device.name, key) not in scene.cloud.db.stored and key not in device.disk.dropped:
                yield f"{device.name} {_words(key)} was made, and neither arrived nor was dropped"


def ledger_tells_every_message(scene: Scene) -> Iterator[str]:
    """What devices made is stored or dropped, by the numbers that staff see; nothing is missing or lost."""
    for device in scene.devices:
        drops: dict[Stream, list[Drop]] = {}
        # What a device has still to declare counts as declared: it would tell.
        for each in [*scene.cloud.db.declared.get(device.name, ()), *device.disk.pending]:
            if each.from_seq:
                drop = Drop(each.from_seq, each.to_seq, each.count)
                drops.setdefault(Stream(device.name, each.boot, each.lane), []).append(drop)
        made = {Stream(device.name, boot, lane) for boot, lane, _ in device.disk.ever}
        for stream in sorted(made | drops.keys()):
            told = _ledger(scene, stream, drops.get(stream, []))
            ever = {key for key in device.disk.ever if key[:2] == (stream.boot, stream.lane)}
            stored = sum((device.name, key) in scene.cloud.db.stored for key in ever)
            if told != Numbers(stored=stored, dropped=len(ever) - stored, repeated=told.repeated):
                yield f"{stream} made {len(ever)}, of which {stored} are stored; the ledger says {told}"


def _ledger(scene: Scene, stream: Stream, drops: list[Drop]) -> Numbers:
    tally = scene.cloud.db.tallies.get(stream, Tally())
    mark = scene.cloud.db.marks.get(stream)
    counted = Counted(
        tally.stored,
        tally.refused,
        missing(mark) if mark else 0,
        tally.dropped,
        tally.given_up,
        tally.repeated,
    )
    declared = Declared(numbered=sum(drop.total for drop in drops))
    known = scene.cloud.plant.placed_by(mark)
    return reconcile(
        counted, place(declared, counted, (known.seq, list(known.above)) if known else None, drops)
    )


def drops_are_declared(scene: Scene) -> Iterator[str]:
    """Whatever a device dropped is declared to the cloud once, and nothing else is."""
    for device in scene.devices:
        told = [*scene.cloud.db.declared.get(device.name, ()), *device.disk.pending]
        numbers = [
            (each.boot, each.lane, seq)
            for each in told
            if each.from_seq
            for seq in range(each.from_seq, each.to_seq + 1)
        ]
        for key in sorted(device.disk.deleted - set(numbers)):
            yield f"{device.name} {_words(key)} was dropped, and nobody was told"
        for key in numbers:
            if (device.name, key) in scene.cloud.db.stored and key not in device.disk.dropped:
                yield f"{device.name} {_words(key)} is stored, and was declared as dropped"
        if len(numbers) > len(set(numbers)):
            yield f"{device.name} declared a message twice"


def reserves_are_there(scene: Scene) -> Iterator[str]:
    """Once there is room, every device has its reserve again."""
    for device in scene.devices:
        if not device.disk.reserve:
            yield f"{device.name} has no reserve"


def finals_arrive(scene: Scene) -> Iterator[str]:
    """A final line that was said in an open part is stored, as it was said."""
    for recorder in scene.recorders:
        for final in recorder.finals.values():
            segment = final.segment
            opened_at = scene.cloud.captions.sittings[segment.session].opened_at
            assert opened_at is not None
            # A line begins where the recogniser began to hear, which is before its first whole word.
            # Its dates hold the moments, and are as far apart as the server's time is uncertain.
            dated = date_ms(segment, int(opened_at.timestamp() * 1000))
            since_ms, until_ms = min(final.since_ms, dated[0]), max(final.until_ms, dated[1])
            if not _was_open(scene, segment.session, since_ms, until_ms):
                continue
            key = (segment.session, segment.segment, segment.revision)
            found = scene.cloud.captions.lines.get(key)
            if found is None or found.text != segment.text:
                yield f"{segment.session} line {segment.segment} of {final.since_ms / 1000} s was lost"


def floor_is_told(scene: Scene) -> Iterator[str]:
    """Who took or gave back the floor is stored with its moment, or as early as its sound is placed."""
    near_ms = _dated_ms_max(scene)
    for recorder in scene.recorders:
        dates: dict[tuple[str, bool], list[int]] = {}
        for event in scene.cloud.db.floor:
            opened_at = scene.cloud.captions.sittings[event.session].opened_at
            assert opened_at is not None
            at = int(opened_at.timestamp() * 1000) - START_MS + event.at_ms
            dates.setdefault((event.seat, event.action is FloorAction.TAKEN), []).append(at)
        for turn, true_ms in recorder.recording.turns.items():
            back_ms = math.inf if turn in recorder.recording.bounded else near_ms
            if not any(true_ms - back_ms <= at <= true_ms + near_ms for at in dates.get(turn, ())):
                yield f"{recorder.name}: {turn} of {true_ms} ms is dated {dates.get(turn)}"


def silence_is_declared(scene: Scene) -> Iterator[str]:
    """Every stretch without captions, for want of the time, is declared once, and nothing else is."""
    for recorder in scene.recorders:
        device = next(each for each in scene.devices if each.name == recorder.name)
        told = [*scene.cloud.db.declared.get(device.name, ()), *device.disk.pending]
        count = sum(each.count for each in told if each.lane is Lane.LIVE)
        if not recorder.left_out_for_good <= count <= recorder.left_out:
            yield f"{recorder.name} was without captions {recorder.left_out} times, and declares {count}"


def recorders_follow(scene: Scene) -> Iterator[str]:
    """A recorder knows the state of its sitting."""
    for recorder in scene.recorders:
        sittings = [s for s in scene.cloud.captions.sittings.values() if s.device == recorder.name]
        if sittings and sittings[-1].opened_at is not None and recorder.state != sittings[-1].state:
            yield f"{recorder.name} believes {recorder.state!r}, and its sitting is {sittings[-1].state}"


def hall_is_heard(scene: Scene) -> Iterator[str]:
    """Once all is well, every word of an open sitting is in the captions."""
    for session, sitting in scene.cloud.captions.sittings.items():
        if sitting.state != "ended" or sitting.changes[-2].state != "open":
            continue
        since, until = (change.at.timestamp() * 1000 - START_MS for change in sitting.changes[-2:])
        device = next(each for each in scene.devices if each.name == sitting.device)
        if device.taken_over and device.outbox.refused:
            continue  # what was said while the outbox was full is derived later, from the sound
        up_ms = int(min(device.up_at * 1000 + 60_000, scene.healed_ms + BACK_MS_MAX))
        since, until = max(since, scene.healed_ms + 300_000, up_ms), until - 20_000
        lines = scene.cloud.captions.lines.values()
        heard = {word for line in lines if line.session == session for word in said(line.text)}
        for word in range(int(-(-since // WORD_MS)) * WORD_MS, int(until), WORD_MS):
            if word not in heard:
                yield f"{session}: the word of {word / 1000} s was not heard"


def updates_end(scene: Scene) -> Iterator[str]:
    """Every update ends in one state, which the control plane knows, and the board runs what it says."""
    for device, updater in zip(scene.devices, scene.updaters, strict=False):
        committed = [FIRST_VERSION]
        for entry in device.disk.updates.values():
            standing = scene.cloud.db.standings.get((device.name, entry.update))
            if entry.state not in UPDATE.ends:
                yield f"{device.name} {entry.update} is still {entry.state}"
            elif standing is None or (standing.state, standing.revision) != (entry.state, entry.revision):
                yield f"{device.name} {entry.update} is {entry.state}, and believed to be {standing}"
            if entry.state == "committed":
                committed.append(entry.order.version)
        if updater.board.running != committed[-1] or updater.board.confirmed != committed[-1]:
            yield f"the board of {device.name} runs {updater.board.running}, committed was {committed[-1]}"
        for (name, update), standing in scene.cloud.db.standings.items():
            if name == device.name and update not in device.disk.updates:
                yield f"{device.name} does not know {update}, which is believed to be {standing.state}"


HEALED: tuple[Checker, ...] = (
    devices_are_quiet,
    presence_is_true,
    jobs_end,
    papers_and_money,
    nothing_is_missing,
    drops_are_declared,
    ledger_tells_every_message,
    reserves_are_there,
    finals_arrive,
    floor_is_told,
    silence_is_declared,
    recorders_follow,
    hall_is_heard,
    updates_end,
    *certificate_checkers.HEALED,
    *twin_checkers.HEALED,
)


def _closed_parts(changes: Sequence[Change]) -> list[tuple[float, float]]:
    """When the public was excluded, in ms of the world."""
    closed = []
    for number, change in enumerate(changes):
        if change.state == "closed_to_public":
            following = changes[number + 1 :]
            until = following[0].at.timestamp() * 1000 - START_MS if following else float("inf")
            closed.append((change.at.timestamp() * 1000 - START_MS, until))
    return closed


def _was_open(scene: Scene, session: str, since_ms: int, until_ms: int) -> bool:
    """Whether the sitting was open all that time, by the control plane's word."""
    changes = scene.cloud.captions.sittings[session].changes
    state = ""
    for change in changes:
        at = change.at.timestamp() * 1000 - START_MS
        if at <= since_ms:
            state = change.state
        elif at <= until_ms + 1:
            return False
    return state == "open"


def _words(key: tuple[str, Lane, int]) -> str:
    return f"{key[0]} {key[1]} {key[2]}"
