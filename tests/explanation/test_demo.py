"""The demo's guests, each of which is explained by what is the matter with it."""

from collections.abc import Iterator

import pytest

from fping_exporter import config
from fping_exporter.cli.explanation_text import as_text
from fping_exporter.cloud import Cloud
from fping_exporter.config.duration import Duration
from fping_exporter.demo import Demo
from fping_exporter.explanation.asking import ask_anew, explain_from_here
from fping_exporter.explanation.values import Explanation
from fping_exporter.model import Inventory, Reason, Snapshot
from fping_exporter.probe import make_layer2_prober, make_prober
from fping_exporter.snapshot import take_snapshot
from tests.build import NOW
from tests.permission import need_ping

SETTINGS = config.Config(probe=config.Probe(timeout=Duration(0.05), retries=0))

SAYS = {
    "selenium-1": (None, "lets pings in"),
    "text-0": (Reason.NO_REPLY, "0 of 1 answered"),
    "text-1": (Reason.NOT_ACTIVE, "openstack server event list"),
    "blocked-by-security-group": (
        Reason.ICMP_BLOCKED,
        "an ingress rule for ICMP from 127.0.0.1 is missing in web-only",
    ),
    "ignores-pings": (Reason.ICMP_IGNORED, "its kernel answers, at MAC"),
    "rejected-by-router": (Reason.UNREACHABLE, "host unreachable (type 3, code 1), from 127.252.255.254"),
    "same-address-blue": (Reason.AMBIGUOUS_ADDRESS, "same-address-green"),
    "network-without-route": (
        Reason.NO_VANTAGE,
        "nothing could be sent to it: Network is unreachable (ENETUNREACH)",
    ),
    "without-address": (Reason.NO_ADDRESS, "Nova lists none"),
    "on-a-dead-hypervisor": (Reason.NO_REPLY, "hypervisor compute-3.example (down)"),
    "off-but-answers": (None, "Runbook: InstanceAnsweringThoughOff"),
}


@pytest.fixture(scope="module")
def inventory() -> Iterator[Inventory]:
    need_ping()
    with Demo() as demo:
        yield Cloud(SETTINGS, region=demo.region()).inventory()


def explain(inventory: Inventory, name: str) -> Explanation:
    def sweep(alone: Inventory) -> Snapshot:
        probe = SETTINGS.probe
        prober, layer2 = make_prober(probe), make_layer2_prober(probe)
        return take_snapshot(alone, prober=prober, layer2=layer2, probe=probe)

    [instance] = [each for each in inventory.instances if each.name == name]
    snapshot = ask_anew(instance, inventory, sweep=sweep)
    return explain_from_here(snapshot.verdicts[0], snapshot, probe=SETTINGS.probe, anew=True)


@pytest.mark.parametrize("name", SAYS)
def test_what_is_the_matter(inventory: Inventory, name: str) -> None:
    reason, said = SAYS[name]
    explanation = explain(inventory, name)
    assert explanation.reason is reason
    assert said in " ".join(as_text(explanation, now=NOW).split())


def test_each_reason_is_shown() -> None:
    assert {reason for reason, _ in SAYS.values()} == {None, *Reason}
