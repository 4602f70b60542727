"""A bug that one instance meets costs no other instance its verdict."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter import config
from fping_exporter.model import Instance, Port, Reason, SecurityRule, Snapshot, Topology
from fping_exporter.verdict.instance_errors import InstanceErrors
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.plan import plan
from tests.build import ALIVE, SILENT, address, instance, inventory, sweep

SENDER = "10.0.0.250"
TOPOLOGY = Topology(
    ports={
        "odd": (Port("n", "m1", {"10.0.0.1": "s"}, ("g",)),),
        "silent": (Port("n", "m2", {"10.0.0.2": "s"}, ("closed",)),),
    },
    rules={"g": (SecurityRule(4, prefix="10.0.0.0/24"),), "closed": ()},
)
ODD = instance("odd", address("10.0.0.1", mac="m1"))
SOUND = (instance("silent", address("10.0.0.2", mac="m2")), instance("alive", address("10.0.0.3")))


def judged(odd: Instance, topology: Topology, errors: InstanceErrors) -> Snapshot:
    there = inventory(odd, *SOUND, topology=topology)
    targets = plan(there.instances, topology, config.Probe(), errors=errors)
    asked = {each.target for probed in targets.values() for each in probed if each.target}
    outcomes = {target: ALIVE if target.ip == "10.0.0.3" else SILENT for target in asked}
    return judge(
        there,
        targets=targets,
        sweep=sweep(outcomes),
        last_replies={"odd": 5.0},
        sources=lambda targets: dict.fromkeys(targets, SENDER),
        errors=errors,
    )


def test_a_rule_that_is_no_network_costs_only_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    topology = msgspec.structs.replace(
        TOPOLOGY, rules={**TOPOLOGY.rules, "g": (SecurityRule(4, prefix="10.0.0.0/33"),)}
    )
    for _ in range(2):
        errors = InstanceErrors()
        odd, silent, alive = judged(ODD, topology, errors).verdicts
        assert errors.ids == {"odd"}
        assert (odd.alive, odd.reason) == (False, Reason.NO_REPLY)
        assert (silent.reason, alive.alive) == (Reason.ICMP_BLOCKED, True)
    (record,) = caplog.records
    assert "nothing is known" not in record.message
    assert "instance odd met a bug: ValueError(\"'10.0.0.0/33'" in record.message
    assert record.exc_info


@pytest.mark.parametrize("status", ["ACTIVE", "SHUTOFF"])
def test_an_instance_that_cannot_be_planned_is_unknown(status: str) -> None:
    broken = msgspec.structs.replace(ODD.addresses[0], ip=None)
    errors = InstanceErrors()
    odd, silent, alive = judged(
        msgspec.structs.replace(ODD, addresses=(broken,), status=status), TOPOLOGY, errors
    ).verdicts
    assert errors.ids == {"odd"}
    assert odd.alive is None
    assert odd.reason is (Reason.NO_VANTAGE if status == "ACTIVE" else Reason.NOT_ACTIVE)
    assert odd.last_reply_at == 5.0
    assert (silent.reason, alive.alive) == (Reason.ICMP_BLOCKED, True)


WRONG: st.SearchStrategy[Any] = st.sampled_from([None, 5, 5.5, "text", (), ("x",), b"", True])


@given(
    st.sampled_from(["family", "kind", "network", "mac", "ip"]),
    WRONG,
    st.sampled_from([("network_id",), ("mac",), ("subnets",), ("security_groups",), ("device",), ()]),
    WRONG,
)
def test_no_field_of_one_instance_costs_another_its_verdict(
    field: str, value: Any, port_fields: tuple[str, ...], port_value: Any
) -> None:
    [one], [port] = ODD.addresses, TOPOLOGY.ports["odd"]
    odd = msgspec.structs.replace(ODD, addresses=(msgspec.structs.replace(one, **{field: value}),))
    odd_port = msgspec.structs.replace(port, **dict.fromkeys(port_fields, port_value))
    topology = msgspec.structs.replace(TOPOLOGY, ports={**TOPOLOGY.ports, "odd": (odd_port,)})
    unknown, silent, alive = judged(odd, topology, InstanceErrors()).verdicts
    assert not unknown.alive
    assert (silent.alive, silent.reason, alive.alive) == (False, Reason.ICMP_BLOCKED, True)
