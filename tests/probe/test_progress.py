"""How far a sweep has come, told while it goes on.

On a loopback where nobody else pings, and all of 127.0.0.0/8 answers: icmplib's sockets each receive what
comes to all, and a sweep of another test makes them overflow.
"""

import pytest

from fping_exporter import config
from fping_exporter.model import LOCAL, Target
from fping_exporter.probe import make_prober
from tests.netns import Namespace, need_root

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("engine", ["sweep", "multiping"])
def test_every_answer_is_told_once(engine: str) -> None:
    told: list[int] = []
    settings = config.Probe(engine=engine, count=2)  # type: ignore[arg-type]  # one of the two
    prober = make_prober(settings, progress=told.append)
    need_root()
    with Namespace("progress") as here, here.entered():
        sweep = prober.probe([Target(LOCAL, f"127.0.1.{number}") for number in range(1, 101)])
    assert sum(told) == sweep.received == 200
