"""What a line of the log holds, and what it never holds."""

import io
import json
import logging

import pytest

from cloud import logs
from cloud.errors import UnavailableError


@pytest.fixture
def lines():
    root, cloud = logging.getLogger(), logging.getLogger("cloud")
    before = root.handlers[:], root.level, cloud.level
    stream = io.StringIO()
    logs.configure(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], level, cloud_level = before
    root.setLevel(level)
    cloud.setLevel(cloud_level)


def test_one_object_a_line_with_the_event_and_its_fields(lines):
    logging.getLogger("cloud.x").info("document_printed", extra={"document": "d-1", "sheets": 2})
    (line,) = lines()
    assert (line["event"], line["document"], line["sheets"]) == ("document_printed", "d-1", 2)
    assert (line["level"], line["logger"]) == ("info", "cloud.x")
    assert line["at"].endswith("+00:00")


def test_libraries_speak_only_when_something_is_wrong(lines):
    logging.getLogger("sqlalchemy.engine").info("SELECT …")
    logging.getLogger("uvicorn.error").warning("watch out\nfor this")
    assert [line["event"] for line in lines()] == ["watch out\nfor this"]


def test_an_exception_is_told_without_the_values_in_it(lines):
    try:
        {}["1234567890 Arta Krasniqi"]
    except KeyError:
        logging.getLogger("cloud.x").exception("request_failed")
    (line,) = lines()
    assert line["error"] == "KeyError"
    assert "test_logs.py" in line["stack"][-1]
    assert "Krasniqi" not in json.dumps(line)


def test_our_own_sentences_are_told(lines):
    try:
        raise UnavailableError("the registry does not answer; try again later")
    except UnavailableError:
        logging.getLogger("cloud.x").exception("request_failed")
    assert lines()[0]["error_text"] == "the registry does not answer; try again later"
