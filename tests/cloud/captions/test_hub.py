"""No viewer loses a final; a slow one is sent away; everybody goes when the house closes."""

import asyncio
import threading

from cloud.captions.hub import FINALS_WAITING_MAX, VIEWERS_MAX, Event, Hub, Kind, Viewer


def _final(number: int) -> Event:
    return Event(Kind.FINAL, "s", number, number, f"final {number}".encode())


def _partial(segment: int, text: str = "") -> Event:
    return Event(Kind.PARTIAL, "s", segment, 0, f"partial {segment} {text}".encode())


async def _frames(viewer: Viewer) -> list[bytes]:
    return [event.frame for event in await viewer.next(0.01)]


def test_a_newer_partial_replaces_the_waiting_one() -> None:
    async def story() -> None:
        viewer = Viewer("s")
        viewer.offer(_partial(1, "a"))
        viewer.offer(_partial(1, "b"))
        assert await _frames(viewer) == [b"partial 1 b"]

    asyncio.run(story())


def test_a_final_ends_its_partial_and_no_later_one() -> None:
    async def story() -> None:
        viewer = Viewer("s")
        viewer.offer(_partial(1))
        viewer.offer(_final(1))
        viewer.offer(_partial(2))
        viewer.offer(_final(1))
        assert await _frames(viewer) == [b"final 1", b"final 1", b"partial 2 "]

    asyncio.run(story())


def test_finals_are_never_dropped_and_a_slow_viewer_is_closed() -> None:
    async def story() -> None:
        viewer = Viewer("s")
        for number in range(1, FINALS_WAITING_MAX + 1):
            viewer.offer(_final(number))
        assert len(await _frames(viewer)) == FINALS_WAITING_MAX
        for number in range(1, FINALS_WAITING_MAX + 2):
            viewer.offer(_final(number))
        assert viewer.closed
        assert await _frames(viewer) == []

    asyncio.run(story())


def test_nothing_within_the_patience_is_an_empty_answer() -> None:
    async def story() -> None:
        assert await Viewer("s").next(0.001) == []

    asyncio.run(story())


def test_events_come_from_other_threads_to_the_viewers_of_their_session() -> None:
    async def story() -> None:
        hub = Hub()
        hub.attach(asyncio.get_running_loop())
        here, elsewhere = hub.enter("s"), hub.enter("other")
        assert here
        assert elsewhere
        thread = threading.Thread(target=hub.post, args=(_final(1),))
        thread.start()
        assert [event.frame for event in await here.next(5)] == [b"final 1"]
        thread.join()
        assert await elsewhere.next(0.001) == []
        hub.leave(here)
        hub.leave(here)
        assert hub.count == 1

    asyncio.run(story())


def test_the_house_has_a_limit_and_closes() -> None:
    async def story() -> None:
        hub = Hub()
        hub.attach(asyncio.get_running_loop())
        viewers = [hub.enter("s") for _ in range(VIEWERS_MAX)]
        assert all(viewers)
        assert hub.enter("s") is None
        hub.close()
        last = viewers[-1]
        assert last is not None
        assert await last.next(5) == []
        assert last.closed
        assert hub.enter("s") is None

    asyncio.run(story())


def test_a_hub_without_a_loop_takes_events_and_does_nothing() -> None:
    Hub().post(_final(1))
