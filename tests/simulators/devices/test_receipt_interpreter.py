"""The simulated receipt printer's reading of ESC/POS, whatever the pieces that the bytes come in."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from simulators.devices.receipt_printer import Interpreter

RECEIPT = (
    b"\x1b@\x1ba\x01\x1bE\x01\x1bt\x12" + "Komuna e Prishtinës\n".encode("cp852") + b"\x1ba\x00"
    b"\x1d!\x11" + "Šđžćč ".encode("cp852") + b"4,00 \x1bt\x13\xd5\x1bt\x12\n\x10\x04\x04\x1dV\x42\x03"
)
TEXT = "Komuna e Prishtinës\nŠđžćč 4,00 €\n"


@given(st.lists(st.integers(1, len(RECEIPT) - 1), max_size=10))
def test_pieces_make_no_difference(cuts: list[int]) -> None:
    interpreter = Interpreter()
    places = [0, *sorted(set(cuts)), len(RECEIPT)]
    asked = sum(interpreter.feed(RECEIPT[a:b]) for a, b in pairwise(places))
    assert interpreter.receipts == [TEXT]
    assert asked == 1
    assert interpreter.unfinished == ""


@given(st.binary(max_size=300))
def test_noise_is_printed_or_ignored_and_never_stops_it(noise: bytes) -> None:
    interpreter = Interpreter()
    interpreter.feed(noise)
    interpreter.feed(b"\x00" * 8)
    interpreter.feed(b"\x1b@\x1bt\x12still here\n\x1dV\x00")
    assert interpreter.receipts[-1].endswith("still here\n")
