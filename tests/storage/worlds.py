"""States as clouds have them, and as no cloud should."""

import time
from io import BytesIO

from hypothesis import strategies as st

from fping_exporter.history import History
from fping_exporter.model import (
    Address,
    AddressKind,
    Hypervisor,
    Instance,
    Inventory,
    Network,
    Port,
    Project,
    SecurityRule,
    Topology,
)
from fping_exporter.storage.clock import Moment
from fping_exporter.storage.format import State, write
from fping_exporter.timeline import Timeline
from tests.build import NOW

__all__ = ["SCOPE", "packed", "state_of", "states"]

SCOPE = {
    "cloud": None,
    "all_projects": True,
    "projects": ("alpha", "beta"),
    "auth.auth_url": "http://[::1]/v3",
}

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_ids = st.text("abcdef0123456789-", max_size=8)
_times = st.floats(0, NOW)
_ports = st.dictionaries(
    _ids,
    st.lists(
        st.builds(
            Port,
            network_id=_ids,
            mac=_text,
            subnets=st.dictionaries(_text, _ids, max_size=2),
            security_groups=st.none() | st.lists(_ids, max_size=2).map(tuple),
            device=_ids,
        ),
        max_size=2,
    ).map(tuple),
    max_size=4,
)
_instances = st.builds(
    Instance,
    id=_ids,
    project_id=_ids,
    name=_text,
    status=_text,
    addresses=st.lists(
        st.builds(
            Address,
            ip=_text,
            family=st.sampled_from([4, 6]),
            kind=st.sampled_from(AddressKind),
            network=_text,
            mac=_text,
        ),
        max_size=2,
    ).map(tuple),
    tags=st.lists(_text, max_size=2).map(tuple),
    metadata=st.dictionaries(_text, _text, max_size=2),
    launched_at=st.none() | _times,
)
_rules = st.builds(SecurityRule, family=st.sampled_from([4, 6]), prefix=st.none() | _text)
_topologies = st.builds(
    Topology,
    ports=_ports,
    owners=_ports,
    floating=st.dictionaries(_text, st.lists(_ids, max_size=2).map(tuple), max_size=3),
    claims=st.dictionaries(_text, st.frozensets(_ids, max_size=3), max_size=3),
    networks=st.dictionaries(
        _ids,
        st.builds(Network, id=_ids, name=_text, external=st.booleans(), shared=st.booleans()),
        max_size=2,
    ),
    distributed=st.frozensets(_ids, max_size=3),
    rules=st.dictionaries(_ids, st.lists(_rules, max_size=2).map(tuple), max_size=2),
    loopback=st.booleans(),
)
_inventories = st.builds(
    Inventory,
    instances=st.lists(_instances, max_size=5).map(tuple),
    projects=st.dictionaries(_ids, st.builds(Project, id=_ids, name=_text, domain_id=_ids), max_size=3),
    contacts=st.dictionaries(_ids, _text, max_size=2),
    hypervisors=st.lists(st.builds(Hypervisor, name=_text, up=st.booleans()), max_size=2).map(tuple),
    topology=_topologies,
    parts=st.dictionaries(_text, st.booleans(), max_size=2),
    listed_at=_times,
    duration=st.floats(0, 100),
)
_replies = st.dictionaries(_ids, _times, max_size=5)
_timelines = st.dictionaries(
    _ids,
    st.builds(
        Timeline,
        results=st.binary(min_size=16, max_size=16),
        alive=st.booleans(),
        since=_times,
        at_least=st.booleans(),
    ),
    max_size=3,
)
states = st.builds(
    State,
    inventory=_inventories,
    list_began=st.floats(0, 60).map(lambda age: time.monotonic() - age),
    unconfirmed=st.frozensets(_ids, max_size=3),
    history=st.builds(
        History,
        begun_at=_times,
        last_replies=_replies,
        missed=_replies,
        launches=st.frozensets(_ids, max_size=3),
        sweeps=st.lists(_times, min_size=1, max_size=3).map(tuple),
        timelines=_timelines,
    ),
)


def state_of(inventory: Inventory, *, age: float = 0, history: History = History()) -> State:  # noqa: B008, it is frozen
    """Return a state whose list was begun `age` seconds ago."""
    return State(inventory, time.monotonic() - age, frozenset(), history)


def packed(state: State, *, now: Moment) -> bytes:
    """Return the bytes of the file."""
    file = BytesIO()
    write(state, file, scope=SCOPE, now=now)
    return file.getvalue()
