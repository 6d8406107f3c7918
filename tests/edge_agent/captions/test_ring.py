"""The last minute of sound."""

from edge_agent.captions.child_protocol import Audio, Gap
from edge_agent.captions.ring import Found, Ring

BLOCK = bytes(200)


def block(number: int) -> Audio:
    return Audio(number * 100, BLOCK)


def test_the_oldest_sound_gives_way():
    ring = Ring(bytes_max=600)
    for number in range(5):
        ring.append(block(number))
    assert ring.bytes == 600
    assert ring.at(0) == Found(2, block(2))
    assert ring.at(4) == Found(4, block(4))
    assert ring.at(5) is None


def test_a_position_is_found_in_its_block_or_the_one_after():
    ring = Ring(bytes_max=10_000)
    for number in (1, 2, 5):
        ring.append(block(number))
    serials = [ring.serial_of(position) for position in (0, 100, 199, 200, 299, 300, 450, 500, 599, 600)]
    assert serials == [0, 0, 0, 1, 1, 2, 2, 2, 2, 3]


def test_a_gap_is_heard_again_with_the_sound_around_it():
    ring = Ring(bytes_max=10_000)
    for frame in (block(0), Gap(), block(7)):
        ring.append(frame)
    assert ring.serial_of(50) == 0
    assert ring.at(1) == Found(1, Gap())


def test_what_was_cleared_is_gone_and_numbers_go_on():
    ring = Ring(bytes_max=10_000)
    ring.append(block(0))
    ring.clear()
    assert ring.bytes == 0
    assert ring.at(0) is None
    ring.append(block(1))
    assert ring.at(0) == Found(1, block(1))
