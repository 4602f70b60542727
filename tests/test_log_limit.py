"""The same warning, sweep after sweep."""

from fping_exporter.log_context import log_as
from fping_exporter.log_limit import LogLimit


def test_a_warning_comes_again_only_after_the_interval() -> None:
    now = 0.0
    limit = LogLimit(10, clock=lambda: now)
    assert [limit.allows("a"), limit.allows("b"), limit.allows("a")] == [True, True, False]
    now = 9.9
    assert not limit.allows("a")
    now = 10.0
    assert [limit.allows("a"), limit.allows("a")] == [True, False]


def test_a_warning_of_one_cloud_keeps_back_none_of_another() -> None:
    limit = LogLimit()
    allowed = []
    for cloud in ("lon1", "lon2", "lon1"):
        with log_as(cloud):
            allowed.append(limit.allows("a"))
    assert allowed == [True, True, False]
