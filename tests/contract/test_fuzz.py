"""Whatever arrives: every decoder of the contract gives a value or `MalformedError`, and nothing else."""

import json
import random
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import contract
from contract import enrolment, firmware, recordings, telemetry, topics, updates
from contract.errors import MalformedError
from contract.messages import MESSAGE_BYTES_MAX, open_envelope, read

EXAMPLES = Path(__file__).parents[2] / "contract" / "examples"
MUTANTS = 12
"""Of each byte of each golden file."""
MEMORY_BYTES_MAX = 48_000_000
"""A message of 128 KiB may cost this much while it is read: short keys and lists are dear in Python."""
Decoder = Callable[[bytes], object]


def structs() -> dict[str, type[msgspec.Struct]]:
    """Every struct of the contract, found by looking, so that a new one is tried too."""
    found: dict[str, type[msgspec.Struct]] = {}
    for module in iter_modules(contract.__path__):
        if module.name == "__main__":
            continue
        named = vars(import_module(f"contract.{module.name}")).items()
        found |= {n: each for n, each in named if isinstance(each, type) and issubclass(each, msgspec.Struct)}
    return {name: each for name, each in found.items() if not name.startswith("_")}


def reader(kind: type[msgspec.Struct]) -> Decoder:
    return lambda data: read(data, kind)


def text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


CHECKED: dict[str, Decoder] = {
    "batch, held to the metrics": lambda data: telemetry.check(read(data, telemetry.TelemetryBatch)),
    "news of a recording, held to its limits": lambda data: recordings.check_news(
        read(data, recordings.RecordingNews)
    ),
    "floor event, held to its limits": lambda data: recordings.check_floor(read(data, recordings.FloorEvent)),
    "order of an update, held to its limits": lambda data: updates.check(read(data, updates.ApplyUpdate)),
    "envelope": open_envelope,
    "envelope and its body": lambda data: read(open_envelope(data).body, telemetry.TelemetryBatch),
    "firmware image": firmware.parse,
    "topic": lambda data: topics.parse(text(data)),
    "device id": lambda data: enrolment.device_id(text(data)),
    "path of a target": lambda data: updates.target_path(text(data)),
    "version": lambda data: updates.version_key(text(data)),
}
OTHERS = {"firmware image", "topic", "device id", "path of a target", "version"}
"""Not JSON, and with limits of their own."""
DECODERS = CHECKED | {name: reader(kind) for name, kind in structs().items()}

LITERALS = (
    "NaN", "-Infinity", "1e400", "-1e400", "1e-400", "9" * 400, "9" * 5000, "-" + "9" * 30, "0" * 60,
    "1." + "0" * 5000, "-0", "1E+5", "true", "null", '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"',
    '"\\\\u0000"', '"\\x"', '"' + "a" * 5000 + '"', "[" * 3000 + "]" * 3000,
    '{"a":' * 3000 + "1" + "}" * 3000, "[" * 5000, "{}", "[]", "",
)  # fmt: skip
"""What JSON readers trip over, as it stands in the text."""
FIELDS = sorted(
    {field.encode_name for kind in structs().values() for field in msgspec.structs.fields(kind)}
    | {metric.name for metric in telemetry.METRICS}
)
number = st.integers(-(2**70), 2**70).map(str) | st.floats().map(str)
literal = st.sampled_from(LITERALS) | number | st.text(max_size=20).map(json.dumps)


def _listed(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(children, max_size=4).map(lambda each: f"[{','.join(each)}]")


def _tree(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Objects with fields that we know, some of them twice."""
    pair = st.tuples(st.sampled_from(FIELDS), children).map(lambda each: f'"{each[0]}":{each[1]}')
    return st.lists(pair, max_size=8).map(lambda each: "{" + ",".join(each) + "}")


hostile = st.recursive(literal, lambda children: _listed(children) | _tree(children), max_leaves=20).map(
    lambda each: each.encode(errors="surrogatepass")
)
quick = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
thorough = settings(
    max_examples=20_000, deadline=None, derandomize=False, suppress_health_check=list(HealthCheck)
)


def golden() -> list[bytes]:
    """Every golden file, and the bodies of those that travel in an envelope."""
    found = [path.read_bytes() for path in sorted(EXAMPLES.glob("*.json"))]
    enveloped = [each for each in found if b'"boot"' in each and b'"body"' in each]
    return found + [bytes(open_envelope(each).body) for each in enveloped]


def give_or_refuse(decode: Decoder, data: bytes) -> bool:
    """Whether `data` was taken; anything but a value or MalformedError is a failure of the test."""
    try:
        decode(data)
    except MalformedError as error:
        refused: MalformedError | None = error
    else:
        refused = None
    assert refused is None or 0 < len(str(refused)) < 300, "a sentence, and not the message itself"
    return refused is None


def ask(decode: Decoder, how: settings) -> None:
    @how
    @given(hostile | st.binary(max_size=300))
    def never_anything_else(data: bytes) -> None:
        give_or_refuse(decode, data)

    never_anything_else()


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_gives_a_value_or_says_malformed(name: str) -> None:
    ask(DECODERS[name], quick)


@pytest.mark.long
@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_gives_a_value_or_says_malformed_link_contract_at_length(name: str) -> None:
    ask(DECODERS[name], thorough)


@pytest.mark.parametrize("name", DECODERS)
def test_every_known_trap_is_refused_or_taken(name: str) -> None:
    for trap in LITERALS:
        give_or_refuse(DECODERS[name], trap.encode())
        for field in FIELDS:
            give_or_refuse(DECODERS[name], f'{{"{field}":{trap}}}'.encode())


def mutants(data: bytes, chance: random.Random) -> list[bytes]:
    """`data` with each byte changed, left out or doubled, and cut off there."""
    found = []
    for at in range(len(data)):
        found += [data[:at] + chance.randbytes(1) + data[at + 1 :] for _ in range(MUTANTS)]
        found += [data[:at], data[:at] + data[at + 1 :], data[: at + 1] + data[at:]]
    return found


def test_golden_files_with_any_byte_changed_are_read_or_refused() -> None:
    """By every decoder, not only by their own: a message may come on any topic."""
    chance = random.Random(7)
    taken = refused = 0
    for data in golden():
        deck = list(DECODERS.values())
        for number, mutant in enumerate(mutants(data, chance)):
            for decode in (open_envelope, deck[number % len(deck)]):
                if give_or_refuse(decode, mutant):
                    taken += 1
                else:
                    refused += 1
    assert min(taken, refused) > 1000, "mutants that are all alike prove nothing"


def test_traps_in_each_place_of_each_golden_file_are_refused_or_taken() -> None:
    readers = [DECODERS[name] for name in ("envelope and its body", "Presence", "Update", "View")]
    for data in golden():
        tree = json.loads(data)
        for path in paths(tree):
            for trap in LITERALS:
                mutant = json.dumps(with_mark(tree, path)).replace('"@"', trap).encode()
                for decode in readers:
                    give_or_refuse(decode, mutant)


def paths(tree: object, here: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The place of every value in `tree`."""
    match tree:
        case dict():
            inner = [each for key, value in tree.items() for each in paths(value, (*here, key))]
        case list():
            inner = [each for number, value in enumerate(tree) for each in paths(value, (*here, number))]
        case _:
            inner = []
    return [here, *inner]


def with_mark(tree: object, path: tuple[object, ...]) -> object:
    """`tree` with the word `@` at `path`."""
    if not path:
        return "@"
    copy = dict(tree) if isinstance(tree, dict) else dict(enumerate(tree))  # type: ignore[call-overload] # a list
    copy[path[0]] = with_mark(copy[path[0]], path[1:])
    return copy if isinstance(tree, dict) else list(copy.values())


@pytest.mark.parametrize("name", sorted(DECODERS.keys() - OTHERS))
def test_ten_mebibytes_are_refused_before_they_are_read(name: str) -> None:
    with pytest.raises(MalformedError, match="at most 131072 are taken"):
        DECODERS[name](b"[" * 10_485_760)


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_ten_mebibytes_are_refused_without_being_repeated(name: str) -> None:
    assert not give_or_refuse(DECODERS[name], b"a" * 10_485_760)


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    """Sentences are logged, and payloads may hold what nobody may read there."""
    with pytest.raises(MalformedError) as refused:
        DECODERS["Evidence"](b'{"document":"d","job":"j","outcome":"Agron Krasniqi\'s paper"}')
    assert str(refused.value) == "not a Evidence: Invalid enum value - at `$.outcome`"


@pytest.mark.parametrize(
    "dear",
    [
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b"[" * MESSAGE_BYTES_MAX,
        b'{"samples":[' + b"{}," * 43_000 + b"{}]}",
        b'{"samples":[{"at":1795423200000,"values":{%s}}]}'
        % b",".join([b'"%x":1' % each for each in range(12_000)]),
        b'{"jobDocument":{"a":[' + b"[]," * 40_000 + b'[]]},"timestamp":1}',
        b'"' + b"\\u00e9" * 21_000 + b'"',
    ],
    ids=["deep objects", "open lists", "empty samples", "unknown metrics", "a large document", "escapes"],
)  # fmt: skip
def test_a_message_within_the_limit_costs_bounded_memory(dear: bytes) -> None:
    assert len(dear) <= MESSAGE_BYTES_MAX + 70_000
    for decode in DECODERS.values():
        tracemalloc.start()
        try:
            give_or_refuse(decode, dear[:MESSAGE_BYTES_MAX])
            give_or_refuse(decode, dear)
            assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES_MAX
        finally:
            tracemalloc.stop()


def test_a_message_that_is_nested_too_deeply_is_malformed() -> None:
    """It once ended the process that read it, and stood first in its queue again after the restart."""
    deep = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    for name in ("envelope", "Presence", "UpdateAnswer", "batch, held to the metrics"):
        with pytest.raises(MalformedError, match="recursion"):
            DECODERS[name](b'{"jobDocument":%s}' % deep)


def test_no_text_holds_the_character_that_ends_texts_in_c() -> None:
    """PostgreSQL stores none, so that the message would be tried again and again."""
    evidence = b'{"document":"%s","job":"j","outcome":"printed"}'
    with pytest.raises(MalformedError, match=r"U\+0000"):
        DECODERS["Evidence"](evidence % b"a\\u0000b")
    with pytest.raises(MalformedError, match=r"U\+0000"):
        DECODERS["Evidence"](evidence % b"\\\\\\u0000")
    assert give_or_refuse(DECODERS["Evidence"], evidence % b"\\\\u0000"), "these are six plain characters"


@pytest.mark.parametrize("boot", ["", "x" * 65, "a\\u0000", "a\\n", "\\u00e9", "\\ud83d\\ude00"])
def test_a_boot_is_short_and_printable(boot: str) -> None:
    sealed = b'{"boot":"%s","lane":"events","seq":1,"at":1795423200000,"sent":1,"body":{}}'
    with pytest.raises(MalformedError, match="boot is out of range"):
        open_envelope(sealed % boot.encode())
