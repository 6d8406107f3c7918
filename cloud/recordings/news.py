"""What recorders say of their recordings and of the floor; handlers at the broker, in its transaction."""

import logging
from collections.abc import Callable

from cloud.broker import Received
from cloud.errors import MalformedError
from cloud.recordings import core, store
from contract.messages import read
from contract.recordings import FloorEvent, RecorderState, RecordingNews, check_floor, check_news

log = logging.getLogger(__name__)

OnUploaded = Callable[[str], None]
"""`on_uploaded(recording)`: every segment is stored. It is called again until the recording goes on."""


class News:
    """Takes what recorders say; it may come late, twice, or in any order."""

    def __init__(self, on_uploaded: OnUploaded) -> None:
        self._on_uploaded = on_uploaded

    def on_news(self, message: Received) -> None:
        """Handler of `recordings`.

        Raises:
            MalformedError: no news, out of its limits, or at odds with what was said before.
            RefusedError: the sitting is not in this device's hall.
        """
        assert message.envelope is not None, "news travels in an envelope"
        news = read(message.envelope.body, RecordingNews)
        check_news(news)
        if news.recording != message.ids["recording"]:
            raise MalformedError("the news is of another recording than its topic")
        now = message.received_at
        sitting = store.hall_of(message.session, message.device, news.session, news.channel)
        row = store.open_recording(message.session, sitting, news.lang, now)
        for entry in news.segments:
            store.announce(message.session, row.recording, entry)
        for gap in news.gaps:
            store.note_gap(message.session, row.recording, gap)
        if news.revision > row.revision:
            row.revision = news.revision
            if news.state is RecorderState.FINISHED:
                row.segments_expected = news.segment_count
            store.put(row, core.follow(core.Standing(row.state, row.failure), news.state), now)
        uploaded = store.settle(message.session, row, now)
        name, state = row.recording, row.state
        message.after_commit(lambda: self._told(name, state, uploaded))

    def on_floor(self, message: Received) -> None:
        """Handler of `floor`.

        Raises:
            MalformedError: no floor event, or of another sitting than its topic.
            RefusedError: the sitting is not in this device's hall.
        """
        assert message.envelope is not None, "floor events travel in an envelope"
        event = read(message.envelope.body, FloorEvent)
        check_floor(event)
        if event.session != message.ids["session"]:
            raise MalformedError("the floor event is of another sitting than its topic")
        store.hall_of(message.session, message.device, event.session, None)
        store.note_floor(message.session, message.device, event, message.received_at)

    def _told(self, recording: str, state: str, uploaded: bool) -> None:
        log.info("recording_told", extra={"recording": recording, "state": state})
        if uploaded:
            self._on_uploaded(recording)
