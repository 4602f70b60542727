"""The stand-in of a cloud, with as much of a Neutron as the exporter asks for."""

from typing import Any

from fping_exporter.demo.neutron import Neutron
from fping_exporter.demo.standin import NovaServer
from tests.cloud.faulty import FaultyCloud

__all__ = [
    "EXTENSIONS",
    "FLOATING",
    "GROUPS",
    "NETWORKS",
    "PORTS",
    "NeutronCloud",
    "floating_ip",
    "group",
    "port",
    "rule",
]

_ROOT = "/network/v2.0/"
PORTS, GROUPS, NETWORKS, FLOATING, EXTENSIONS = (
    _ROOT + what for what in ("ports", "security-groups", "networks", "floatingips", "extensions")
)
_TELL_CHANGES = ("standard-attr-timestamp", "standard-attr-revisions")


class NeutronCloud(FaultyCloud):
    """A cloud with a Neutron."""

    def __init__(self, *servers: NovaServer) -> None:
        super().__init__(*servers)
        self.network_api = self.neutron = Neutron()

    @property
    def network(self) -> dict[str, list[dict[str, Any]]]:
        """Neutron's lists, by name."""
        return self.network_api.entries

    @network.setter
    def network(self, entries: dict[str, list[dict[str, Any]]]) -> None:
        self.network_api.entries = entries

    def tell_changes(self) -> None:
        """Be a Neutron that can be asked for what changed."""
        self.network_api.extensions = _TELL_CHANGES


def port(
    id_: str, *ips: str, device: str = "", owner: str = "compute:nova", **changes: Any
) -> dict[str, Any]:
    return {
        "id": id_,
        "device_id": device,
        "device_owner": owner,
        "network_id": "net",
        "mac_address": f"mac-{id_}",
        "fixed_ips": [{"ip_address": ip, "subnet_id": "sub6" if ":" in ip else "sub4"} for ip in ips],
        "allowed_address_pairs": [],
        "security_groups": ["default"],
        "port_security_enabled": True,
    } | changes


def floating_ip(id_: str, ip: str, port_id: str | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "floating_ip_address": ip,
        "floating_network_id": "public",
        "port_id": port_id,
        "fixed_ip_address": None,
    } | changes


def rule(**changes: Any) -> dict[str, Any]:
    """A rule that admits everything of IPv4, but for what is given."""
    return {
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_ip_prefix": None,
        "remote_group_id": None,
        "remote_address_group_id": None,
    } | changes


def group(id_: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {"id": id_, "security_group_rules": list(rules)}
