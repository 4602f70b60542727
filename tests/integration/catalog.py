"""Keystone's catalog in the lab."""

import contextlib
from collections.abc import Iterator

from tests.integration.lab import Lab

__all__ = ["in_catalog"]


@contextlib.contextmanager
def in_catalog(lab: Lab, type_: str, url: str) -> Iterator[None]:
    """Put an endpoint into the catalog, as deploy/os-fping.md says."""
    for left in lab.call("identity", "GET", f"/services?type={type_}")["services"]:  # by a run broken off
        lab.call("identity", "DELETE", f"/services/{left['id']}")
    created = lab.call("identity", "POST", "/services", {"service": {"type": type_, "name": type_}})
    id_ = created["service"]["id"]
    endpoint = {"service_id": id_, "interface": "public", "region_id": "RegionOne", "url": url}
    lab.call("identity", "POST", "/endpoints", {"endpoint": endpoint})
    try:
        yield
    finally:
        lab.call("identity", "DELETE", f"/services/{id_}")  # its endpoints go with it
