"""Names of hosts."""

import pytest

from fping_exporter.hosts import is_loopback, own_host, same_host


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("c1", "C1", True),
        ("c1", "c1.example.org", True),
        ("c1.example.org", "c1.example.com", False),
        ("c1", "c10", False),
        ("", "", False),
    ],
)
def test_hosts_by_short_and_long_names(one: str, other: str, *, same: bool) -> None:
    assert same_host(one, other) == same_host(other, one) == same


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("localhost", True),
        ("127.example.org", False),
        ("128.0.0.1", False),
        ("::", False),
        ("", False),
    ],
)
def test_loopback_addresses_and_localhost_are_this_machine(host: str, *, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_the_own_host_can_be_given() -> None:
    assert own_host("compute-7") == "compute-7"
    assert own_host("self") == own_host(None) != "self"
