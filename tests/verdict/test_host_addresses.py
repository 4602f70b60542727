"""Addresses that no guest can have."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.verdict.host_addresses import is_host_address


@pytest.mark.parametrize(
    "ip",
    [
        *("0.0.0.0", "127.0.0.1", "127.0.0.5", "224.0.0.1", "239.255.255.250", "255.255.255.255"),
        *("::", "::1", "::ffff:7f00:1", "ff02::1", "ff05::1:3", "fe80::1", "febf::1", "fe80::1%eth0"),
        "fd00::1%eth0",
    ],
)
def test_no_guest_has_it(ip: str) -> None:
    assert not is_host_address(ip)


@pytest.mark.parametrize(
    "ip",
    [
        "10.0.0.1",
        "192.0.2.255",
        "169.254.169.254",
        "223.255.255.254",
        "1.0.0.0",
        "fd00::1",
        "2001:db8::",
        "fec0::1",
    ],
)
def test_a_guest_may_have_it(ip: str) -> None:
    assert is_host_address(ip)


def is_special(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if ip.version == 4 and (ip in ipaddress.ip_network("0.0.0.0/8") or ip == ipaddress.ip_address(2**32 - 1)):
        return True
    if ip.version == 6 and (ip.is_link_local or ip in ipaddress.ip_network("::/16")):
        return True
    return ip.is_multicast or ip.is_loopback or ip.is_unspecified


@given(st.ip_addresses())
def test_the_text_says_what_ipaddress_says(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert is_host_address(str(ip)) is not is_special(ip)


@given(st.integers(0, 255), st.integers(0, 2**24 - 1))
def test_every_first_byte(first: int, rest: int) -> None:
    ip = ipaddress.IPv4Address(first << 24 | rest)
    assert is_host_address(str(ip)) is not is_special(ip)
