"""The lines that ``wait`` prints."""

import json

import pytest

from fping_exporter.cli.wait import as_json, as_text
from fping_exporter.model import LOCAL, Probed, Reason, Target, Verdict
from fping_exporter.wait import Ended, Result
from tests.build import SILENT, instance, inventory

WEB = instance("11-22", "10.0.0.7", name="web\x1b", project_id="p")
ASKED = (Probed(WEB.addresses[0], Target(LOCAL, "10.0.0.7"), SILENT),)


def verdict(
    *, alive: bool | None, reason: Reason | None, asked: bool = True, rtt: float | None = None
) -> Verdict:
    return Verdict(instance=WEB, alive=alive, reason=reason, probed=ASKED if asked else (), rtt=rtt)


@pytest.mark.parametrize(
    ("result", "newest", "down", "said"),
    [
        (
            Result.ANSWERS,
            verdict(alive=True, reason=None, rtt=0.000345),
            False,
            "answers after 12.3 s (0.345 ms)",
        ),
        (Result.ANSWERS, verdict(alive=True, reason=None), False, "answers after 12.3 s"),
        (
            Result.DOWN,
            verdict(alive=False, reason=Reason.NO_REPLY),
            True,
            "is down after 12.3 s: no_reply, ACTIVE",
        ),
        (Result.DELETED, None, True, "was deleted after 12.3 s"),
        (
            Result.MISSING,
            verdict(alive=False, reason=Reason.ICMP_BLOCKED),
            False,
            "does not answer: icmp_blocked, ACTIVE",
        ),
        (
            Result.MISSING,
            verdict(alive=False, reason=Reason.ICMP_BLOCKED),
            True,
            "is silent, and not known to be down: icmp_blocked, ACTIVE",
        ),
        (Result.MISSING, verdict(alive=True, reason=None), True, "answers still, ACTIVE"),
        (
            Result.MISSING,
            verdict(alive=None, reason=Reason.NO_VANTAGE, asked=False),
            False,
            "could not be pinged: no_vantage, ACTIVE",
        ),
        (Result.MISSING, None, False, "could not be pinged: not_pinged, ACTIVE"),
    ],
)
def test_text(result: Result, newest: Verdict | None, said: str, *, down: bool) -> None:
    line = as_text(Ended(WEB, result, 12.345, newest), down=down)
    assert line == f"11-22  web\N{REPLACEMENT CHARACTER}  {said}"


def test_json() -> None:
    newest = verdict(alive=False, reason=Reason.NO_REPLY)
    line = as_json(Ended(WEB, Result.MISSING, 12.34567, newest), inventory(WEB))
    assert "\n" not in line
    assert json.loads(line) == {
        "id": "11-22",
        "name": "web\x1b",
        "project_id": "p",
        "project": "p",
        "status": "ACTIVE",
        "result": "missing",
        "seconds": 12.346,
        "alive": False,
        "layer2_alive": None,
        "reason": "no_reply",
        "rtt_seconds": None,
        "addresses": ["10.0.0.7"],
    }


def test_json_of_one_that_was_never_pinged() -> None:
    row = json.loads(as_json(Ended(WEB, Result.MISSING, 1, None), inventory(WEB)))
    assert (row["alive"], row["reason"], row["rtt_seconds"]) == (None, None, None)
