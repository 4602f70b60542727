"""The addresses of instances, as the same objects in every listing."""

import ipaddress

from fping_exporter.model import Address, AddressKind

__all__ = ["AddressCache"]


class AddressCache:
    """Returns the same address object in every listing: few change, and :mod:`ipaddress` is slow.

    It grows with the cloud. An LRU cache of a fixed size would miss every single address as
    soon as the cloud has one more than that, since a listing always asks in the same order.
    """

    _LEAST = 1 << 16
    _LISTINGS = 4

    def __init__(self) -> None:
        """Begin without any."""
        self._known: dict[tuple[str, str, str, str], Address | None] = {}
        self._largest = 0

    def get(self, text: str, kind: str, network: str, mac: str) -> Address | None:
        """Return the address; None if `text` is not one."""
        key = text, kind, network, mac
        try:
            return self._known[key]
        except KeyError:
            return self._known.setdefault(key, _address(*key))

    def trim(self, listed: int) -> None:
        """Forget everything if there is much more than `listed`, or than any earlier listing had."""
        self._largest = max(self._largest, listed)
        if len(self._known) > max(self._LEAST, self._LISTINGS * self._largest):
            self._known.clear()


def _address(text: str, kind: str, network: str, mac: str) -> Address | None:
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    if "%" in text:  # a zone of the hypervisor's means nothing here
        return None
    return Address(
        ip=str(ip),
        family=4 if isinstance(ip, ipaddress.IPv4Address) else 6,
        kind=AddressKind.FLOATING if kind == "floating" else AddressKind.FIXED,
        network=network,
        mac=mac,
    )
