"""What to do next leads somewhere."""

import re
from pathlib import Path

import pytest

from fping_exporter.explanation import advice
from fping_exporter.explanation.advice import REASONS, Advice, advise, anchor_of
from fping_exporter.model import Reason, Verdict
from tests.build import instance

RUNBOOK = (Path(__file__).parents[2] / "deploy" / "runbook.md").read_text("utf-8")
HEADINGS = set(re.findall(r"(?m)^### (.+)$", RUNBOOK))
ALL = {
    *(each.advice for each in REASONS.values()),
    *(each for each in vars(advice).values() if isinstance(each, Advice)),
}


@pytest.mark.parametrize("each", sorted(ALL))
def test_every_section_is_in_the_runbook(each: Advice) -> None:
    assert each.section in HEADINGS
    assert anchor_of(each.section) == f"#{each.section.lower()}"
    assert each.sentence.endswith((".", "?"))


def test_an_id_is_no_command_of_the_shell() -> None:
    evil = instance("x; rm -rf ~", "10.0.0.1")
    step = advise(Verdict(instance=evil, alive=False, reason=Reason.NO_REPLY))
    assert step.command == "openstack console log show 'x; rm -rf ~' --lines 50"
