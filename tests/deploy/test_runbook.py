"""The runbook's commands are those that the exporter has."""

import re
import shlex
from pathlib import Path

import pytest

from fping_exporter.cli.parser import parse_arguments

RUNBOOK = (Path(__file__).parents[2] / "deploy" / "runbook.md").read_text(encoding="utf-8")
SOURCE = "\n".join(
    path.read_text(encoding="utf-8") for path in (Path(__file__).parents[2] / "fping_exporter").rglob("*.py")
)
COMMANDS = sorted(set(re.findall(r"(?m)^    fping-exporter ?([^|#\n]*?) *(?:[|#].*)?$", RUNBOOK)))


def test_the_runbook_has_commands() -> None:
    assert {"list --silent", "--config.check"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_takes_a_command_of_the_runbook(command: str) -> None:
    assert parse_arguments(shlex.split(command))


def test_the_log_has_the_words_that_the_runbook_looks_for() -> None:
    greps = re.findall(r"(?m)^    journalctl -u fping-exporter .*\| grep (?:-\w )?'(.+?)'", RUNBOOK)
    words = {word for pattern in greps for word in re.split(r"\\?\|", pattern)}
    assert len(words) > 5
    assert {word for word in words if word not in SOURCE} == set()
