"""The stand-in of a cloud, with as much of a Neutron as the exporter asks for."""

from datetime import datetime
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

import msgspec

from fping_exporter.demo.http import Answer, Request
from fping_exporter.demo.standin import NovaServer
from tests.cloud.faulty import TOKENS, FaultyCloud

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
    """Holds lists of objects as Neutron shows them, by the name of the list.

    Whoever asks for what changed since is shown those with an `updated_at`, a Unix time, as late.
    """

    def __init__(self, *servers: NovaServer) -> None:
        super().__init__(*servers)
        self.network: dict[str, list[dict[str, Any]]] = {
            kind: [] for kind in ("ports", "networks", "floatingips", "security_groups", "address_groups")
        }
        self.extensions: tuple[str, ...] = ()
        self.page = 1000
        self.endpoint = f"{self.url}/network"
        self.rewrite(TOKENS, self.with_network)

    def with_network(self, body: Any) -> Any:
        """Add Neutron to the catalog of a token; an error has none."""
        if "token" not in body:
            return body
        entry = {"interface": "public", "region": "RegionOne", "region_id": "RegionOne", "id": "n"}
        endpoint = entry | {"url": self.endpoint}
        body["token"]["catalog"].append({"type": "network", "name": "neutron", "endpoints": [endpoint]})
        return body

    def tell_changes(self) -> None:
        """Be a Neutron that can be asked for what changed."""
        self.extensions = _TELL_CHANGES

    def answer(self, request: Request) -> Answer:
        answer = super().answer(request)
        if answer.status != 404 or not request.path.startswith("/network"):
            return answer
        if request.path.rstrip("/") == "/network":
            link = {"rel": "self", "href": f"{self.url}{_ROOT}"}
            return Answer(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})
        return self.listed(request.path.removeprefix(_ROOT).replace("-", "_"), request)

    def listed(self, kind: str, request: Request) -> Answer:
        """Answer a request for the list `kind`."""
        if kind == "extensions":
            return Answer(200, {"extensions": [{"alias": alias} for alias in self.extensions]})
        query = parse_qs(request.query_string)
        query.pop("fields", None)
        limit = min(int(query.pop("limit", [str(self.page)])[0]), self.page)
        marker = query.pop("marker", [""])[0]
        ips = [each.removeprefix("ip_address=") for each in query.pop("fixed_ips", [])]
        (since,) = query.pop("changed_since", [""])
        if since and (kind == "address_groups" or not self.extensions):
            message = "['changed_since'] is invalid attribute for filtering"
            return Answer(400, {"NeutronError": {"type": "HTTPBadRequest", "message": message, "detail": ""}})
        changed_since = datetime.fromisoformat(since).timestamp() if since else 0.0
        entries = [
            entry
            for entry in self.network[kind]
            if entry.get("updated_at", 0.0) >= changed_since
            and all(str(entry.get(key, "")) in values for key, values in query.items())
            and (not ips or any(fixed["ip_address"] in ips for fixed in entry["fixed_ips"]))
        ]
        ids = [entry["id"] for entry in entries]
        if marker and marker not in ids:
            message = f"{kind} {marker} could not be found"
            return Answer(404, {"NeutronError": {"type": "NotFound", "message": message, "detail": ""}})
        start = 1 + ids.index(marker) if marker else 0
        page = entries[start : start + limit]
        links = [{"rel": "next", "href": "x"}] if len(page) == limit else []
        headers = {"Date": formatdate(self.clock(), usegmt=True)}
        return Answer(200, msgspec.json.encode({kind: page, f"{kind}_links": links}), headers)


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
