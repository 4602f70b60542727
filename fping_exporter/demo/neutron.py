"""The stand-in's Neutron: lists of ports, networks, floating IPs, security groups and address groups."""

from datetime import datetime
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

import msgspec

from fping_exporter.demo.http import Answer, Request

__all__ = ["Neutron"]


class Neutron:
    """Holds lists of objects as Neutron shows them, by the name of the list.

    Whoever asks for what changed since is shown those with an `updated_at`, a Unix time, as late.
    """

    def __init__(self) -> None:
        """Begin without objects, and without extensions."""
        self.entries: dict[str, list[dict[str, Any]]] = {
            kind: [] for kind in ("ports", "networks", "floatingips", "security_groups", "address_groups")
        }
        self.extensions: tuple[str, ...] = ()
        """The aliases of extensions."""
        self.page = 1000
        """Entries of a page at most."""

    def answer(self, kind: str, request: Request, *, now: float, project: str | None = None) -> Answer:
        """Answer a request for the list `kind` at the Unix time `now`.

        Entries with a `tenant_id` are shown to their project only; None: to all.
        """
        if kind == "extensions":
            return Answer(200, {"extensions": [{"alias": alias} for alias in self.extensions]})
        if kind not in self.entries:
            return _fault(404, "HTTPNotFound", "The resource could not be found.")
        query = parse_qs(request.query_string)
        query.pop("fields", None)
        limit = min(int(query.pop("limit", [str(self.page)])[0]), self.page)
        marker = query.pop("marker", [""])[0]
        ips = [each.removeprefix("ip_address=") for each in query.pop("fixed_ips", [])]
        (since,) = query.pop("changed_since", [""])
        if since and (kind == "address_groups" or not self.extensions):
            return _fault(400, "HTTPBadRequest", "['changed_since'] is invalid attribute for filtering")
        changed_since = datetime.fromisoformat(since).timestamp() if since else 0.0
        entries = [
            entry
            for entry in self.entries[kind]
            if entry.get("updated_at", 0.0) >= changed_since
            and project in (None, entry.get("tenant_id", project))
            and all(str(entry.get(key, "")) in values for key, values in query.items())
            and (not ips or any(fixed["ip_address"] in ips for fixed in entry["fixed_ips"]))
        ]
        ids = [entry["id"] for entry in entries]
        if marker and marker not in ids:
            return _fault(404, "NotFound", f"{kind} {marker} could not be found")
        start = 1 + ids.index(marker) if marker else 0
        page = entries[start : start + limit]
        links = [{"rel": "next", "href": "x"}] if len(page) == limit else []
        headers = {"Date": formatdate(now, usegmt=True)}
        return Answer(200, msgspec.json.encode({kind: page, f"{kind}_links": links}), headers)


def _fault(status: int, kind: str, message: str) -> Answer:
    return Answer(status, {"NeutronError": {"type": kind, "message": message, "detail": ""}})
