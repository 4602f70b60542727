"""The shares of the open files, and the limit at the start."""

import resource
from collections.abc import Iterator

import pytest

from fping_exporter import open_files
from fping_exporter.open_files import Shares


@pytest.fixture
def _limit_comes_back() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def lower_limit(limit: int) -> int:
    """Set the soft limit; return the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return hard


@pytest.mark.usefixtures("_limit_comes_back")
@pytest.mark.parametrize(
    ("limit", "shares"),
    [
        (256, Shares(icmp_sockets=128, connections=64)),
        (1024, Shares(icmp_sockets=512, connections=256)),
        (4096, Shares(icmp_sockets=3520, connections=256)),
    ],
)
def test_what_is_left_for_whom(limit: int, shares: Shares) -> None:
    lower_limit(limit)
    assert open_files.shares() == shares


@pytest.mark.usefixtures("_limit_comes_back")
def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    hard = lower_limit(512)
    assert open_files.raise_limit() == hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
