"""What Neutron says of addresses, from one list to the next."""

from fping_exporter.cloud.port_addresses import PortAddresses
from fping_exporter.model import Port


def test_what_was_not_known_before_is_compared_once_it_is() -> None:
    """The ports are the same, but nobody could say whether these were all."""
    ports = {"vm": (Port("net", "mac", {}, None, "vm", id="1"),)}
    before = PortAddresses(ports, {}, unknown={"vm"})
    assert before.changed_since(PortAddresses({}, {})) == set()
    assert PortAddresses(ports, {}).changed_since(before) == {"vm"}
