"""Log lines: one each, in the style asked for."""

import json
import logging
import subprocess
import sys

import pytest

from fping_exporter import log

PROGRAM = """
import logging
from fping_exporter import log
from fping_exporter.log_context import log_as
log.set_up(level="{level}", style="{style}")
logging.getLogger("one").info('said "%s"', "it", extra={{"address": "127.0.0.1:1"}})
logging.getLogger("urllib3").info("chatter")
with log_as("lon1"):
    logging.getLogger("three").debug("of one cloud")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("two").exception("broken")
"""


def lines(*, level: str, style: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(level=level, style=style)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json() -> None:
    first, second = map(json.loads, lines(level="info", style="json"))
    assert first.pop("ts").endswith("Z")
    assert first == {"level": "info", "logger": "one", "msg": 'said "it"', "address": "127.0.0.1:1"}
    assert second["msg"] == "broken"
    assert "ZeroDivisionError" in second["exception"]


def test_logfmt() -> None:
    first, second = lines(level="info", style="logfmt")
    assert first.endswith(r'level=info logger=one msg="said \"it\"" address=127.0.0.1:1')
    assert "ZeroDivisionError" in second


def test_a_line_of_one_of_several_clouds_names_it() -> None:
    _, line, _ = map(json.loads, lines(level="debug", style="json"))
    assert (line["msg"], line["cloud"]) == ("of one cloud", "lon1")


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("warn", 1), ("error", 1)])
def test_levels(level: str, count: int) -> None:
    assert len(lines(level=level, style="logfmt")) == count


def test_the_levels_are_those_of_logging() -> None:
    assert all(isinstance(logging.getLevelName(level.upper()), int) for level in log.LEVELS)
