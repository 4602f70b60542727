"""What can be read of a port, or of a floating IP, that cannot be read as a whole."""

from typing import Any, NamedTuple

from fping_exporter.cloud.neutron_lists import canonical_address
from fping_exporter.model import Port

__all__ = ["UnreadablePort", "read_floating_address", "read_fragments"]


class UnreadablePort(NamedTuple):
    """What is known of a port that cannot be read."""

    id: str
    """Empty if it cannot be read."""
    device: str
    """The instance or other device that has it, or a text that is no device's id."""
    network_id: str
    """Empty if it cannot be read."""
    ips: tuple[str, ...]
    ips_complete: bool
    """Whether `ips` are all of its addresses."""
    groups: frozenset[str] | None
    """The ids of its security groups; None if they cannot be read."""

    def value(self) -> Port:
        """Return it as one of the owners of its addresses."""
        return Port(self.network_id, "", {}, None, self.device)


def read_fragments(entry: Any) -> UnreadablePort:  # noqa: ANN401, any JSON
    """Return what can be read of the port `entry`."""
    fields = entry if isinstance(entry, dict) else {}
    device = fields.get("device_id")
    if not isinstance(device, str) or not device or str(fields.get("device_owner")).startswith("network:"):
        device = f"port {fields.get('id')!r:.60}"
    id_, network_id = fields.get("id"), fields.get("network_id")
    fixed_ips, groups = fields.get("fixed_ips"), fields.get("security_groups")
    ips = [_address_in(fixed, "ip_address") for fixed in fixed_ips] if isinstance(fixed_ips, list) else [None]
    return UnreadablePort(
        id=id_ if isinstance(id_, str) else "",
        device=device,
        network_id=network_id if isinstance(network_id, str) else "",
        ips=tuple(filter(None, ips)),
        ips_complete=all(ips),
        groups=frozenset(groups)
        if isinstance(groups, list) and all(isinstance(group, str) for group in groups)
        else None,
    )


def read_floating_address(entry: Any) -> str | None:  # noqa: ANN401, any JSON
    """Return the address of the floating IP `entry`; None if that cannot be read."""
    return _address_in(entry, "floating_ip_address")


def _address_in(entry: Any, key: str) -> str | None:  # noqa: ANN401, any JSON
    text = entry.get(key) if isinstance(entry, dict) else None
    try:
        return canonical_address(text) if isinstance(text, str) else None
    except ValueError:
        return None
