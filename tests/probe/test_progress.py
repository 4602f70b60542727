"""How far a sweep has come, told while it goes on; on loopback, where all of 127.0.0.0/8 answers."""

import pytest

from fping_exporter import config
from fping_exporter.model import LOCAL, Target
from fping_exporter.probe import make_prober

pytestmark = pytest.mark.netns  # which needs the right to ping


@pytest.mark.parametrize("engine", ["sweep", "multiping"])
def test_every_answer_is_told_once(engine: str) -> None:
    told: list[int] = []
    settings = config.Probe(engine=engine, count=2)  # type: ignore[arg-type]  # one of the two
    prober = make_prober(settings, progress=told.append)
    sweep = prober.probe([Target(LOCAL, f"127.0.1.{number}") for number in range(1, 101)])
    assert sum(told) == sweep.received == 200
