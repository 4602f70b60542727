"""Addresses that are read again and again."""

import pytest

from fping_exporter.cloud.address_cache import AddressCache
from fping_exporter.model import Address, AddressKind


def fill(cache: AddressCache, network: str, number: int) -> list[Address | None]:
    return [cache.get(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "fixed", network, "") for n in range(number)]


@pytest.mark.parametrize(
    ("text", "ip", "family"),
    [("10.0.0.1", "10.0.0.1", 4), ("FD00:0::1", "fd00::1", 6)],
)
def test_an_address_is_read_in_its_canonical_form(text: str, ip: str, family: int) -> None:
    got = AddressCache().get(text, "floating", "net", "fa:16:3e:00:00:01")
    assert got == Address(ip, family, AddressKind.FLOATING, "net", "fa:16:3e:00:00:01")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "10.0.0", "host", "fe80::1%eth0"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert AddressCache().get(text, "fixed", "net", "") is None


def test_addresses_that_are_gone_are_forgotten_in_the_end_and_no_others() -> None:
    cache = AddressCache()
    first = cache.get("192.0.2.1", "fixed", "net", "")
    for number in range(4):
        cache.trim(len(fill(cache, f"{number}", 16_000)))
    assert cache.get("192.0.2.1", "fixed", "net", "") is first
    cache.trim(len(fill(cache, "last", 16_000)))
    assert cache.get("192.0.2.1", "fixed", "net", "") is not first
