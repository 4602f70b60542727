"""What a caller is told of a server whose host Nova does not show."""

import msgspec
import pytest

from fping_exporter.config import Config
from fping_exporter.explanation.asking import Asker
from fping_exporter.model import Inventory, Reason, SecurityRule, Snapshot
from fping_exporter.os_fping.explainer import Explainer
from tests.build import address
from tests.explanation.scenes import GUEST, ID, KNOWN, REASONS, World, port


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("cached", [True, False])
def test_no_sentence_names_a_host_that_nova_hides(
    reason: Reason,
    cached: bool,  # noqa: FBT001, a case
) -> None:
    world = REASONS[reason]
    listed = world.snapshot()

    def sweep(alone: Inventory, _replies: object) -> Snapshot:
        assert alone.instances[0].host == GUEST.host, "or it could not be planned"
        return msgspec.structs.replace(listed, inventory=alone)

    explainer = Explainer(Config(probe=world.probe), snapshot=lambda: listed, asker=Asker(sweep))
    shown = msgspec.structs.replace(world.guest, host="", hypervisor="")
    told = explainer.explain(shown, cached=cached, to_tenant=True)
    assert told
    assert told.reason is reason
    assert GUEST.host not in msgspec.json.encode(told).decode()


def test_a_tenant_is_not_told_what_others_call_their_security_groups() -> None:
    ip = "127.0.0.9"  # to which every machine has a route, and so a source address
    guest = msgspec.structs.replace(GUEST, addresses=(address(ip),))
    topology = msgspec.structs.replace(
        KNOWN,
        ports={ID: (port(ip=ip),)},
        rules={"g1": (SecurityRule(4, group="g2"),)},
        group_names={"g1": "default", "g2": "rivals"},
        loopback=True,
    )
    listed = World(guest=guest, topology=topology).snapshot()
    explainer = Explainer(Config(), snapshot=lambda: listed, asker=Asker(lambda *_: listed))

    def security(*, to_tenant: bool) -> str:
        told = explainer.explain(guest, cached=True, to_tenant=to_tenant)
        assert told
        return told.addresses[0].security.text

    assert "default (g1) lets pings in from members of rivals (g2)" in security(to_tenant=False)
    assert "default (g1) lets pings in from members of group g2" in security(to_tenant=True)
