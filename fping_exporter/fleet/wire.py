"""The document in which a list of instances travels from a central to an agent: JSON.

    {"format":"fping-exporter inventory","version":1,"cloud":"mine","region":"west",
     "instances":[{"id":...},...],"projects":{...},"hypervisors":[...],
     "topology":{"ports":{...},...},"parts":{...}}

Instances, projects, hypervisors and topology have the fields of :mod:`fping_exporter.model`, as in the stored
state; ``tests/golden/inventory.json`` holds them fast. There is no time in it, so that the same list is the
same document: its age travels in the header ``Age``.

A reader reads its own version, the one before and the one after: it ignores fields that it does not know, and
has defaults for those that are missing. So a field that is added needs a default, and the next version. A new
value of an enumeration, or another meaning, needs two: one that reads it, and one that writes it.
"""

from collections.abc import Mapping

import msgspec

from fping_exporter.errors import CentralError
from fping_exporter.model import Hypervisor, Instance, Inventory, Project, Topology

__all__ = ["VERSION", "Document", "decode", "encode"]

VERSION = 1
_FORMAT = "fping-exporter inventory"


class _Identity(msgspec.Struct):
    """The part of a document that stays the same in all versions."""

    format: str = ""
    version: int = 0


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of an inventory that an agent asked for."""

    format: str = ""
    version: int = 0
    cloud: str = ""
    """The central's name for the cloud; empty if it has none."""
    region: str = ""
    instances: tuple[Instance, ...] = ()
    """In the order of their ids."""
    projects: Mapping[str, Project] = {}
    hypervisors: tuple[Hypervisor, ...] = ()
    topology: Topology = Topology()
    parts: Mapping[str, bool] = {}


_json = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Document)


def encode(inventory: Inventory, *, cloud: str, region: str) -> bytes:
    """Return the document of an inventory; the same list makes the same bytes in every process."""
    return _json.encode(
        Document(
            format=_FORMAT,
            version=VERSION,
            cloud=cloud,
            region=region,
            instances=tuple(sorted(inventory.instances, key=lambda instance: instance.id)),
            projects=inventory.projects,
            hypervisors=inventory.hypervisors,
            topology=inventory.topology,
            parts=inventory.parts,
        )
    )


def decode(body: bytes) -> Document:
    """Read what :func:`encode` wrote, in this version or a neighbouring one; else raise CentralError."""
    try:
        identity = msgspec.json.decode(body, type=_Identity)
    except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors
        raise CentralError(f"its answer is no list of fping-exporter ({error})") from error
    if identity.format != _FORMAT:
        raise CentralError("its answer is no list of fping-exporter")
    if abs(identity.version - VERSION) > 1:
        older = "the central" if identity.version < VERSION else "this agent"
        raise CentralError(
            f"its list is of version {identity.version} of the format, and this agent reads {VERSION - 1} to "
            f"{VERSION + 1}: upgrade {older}"
        )
    try:
        return _decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise CentralError(f"its list cannot be read ({error})") from error
