"""What an explanation says, for each reason and of each part."""

import msgspec
import pytest

from fping_exporter import config
from fping_exporter.cli.explanation_text import as_text
from fping_exporter.explanation.advice import REASONS as TEXTS
from fping_exporter.explanation.build import explain, without_others
from fping_exporter.explanation.evidence import Evidence
from fping_exporter.fleet.merge import merge
from fping_exporter.model import (
    LOCAL,
    NOT_ASKED,
    FleetExporter,
    Hypervisor,
    IcmpError,
    Layer2Doubt,
    Layer2Sweep,
    Layer2Target,
    Outcome,
    Reason,
    SecurityRule,
    Target,
    Topology,
    Verdict,
    Witness,
)
from fping_exporter.timeline import Since
from tests.build import ALIVE, NOW, SILENT, address, instance
from tests.explanation.scenes import GUEST, ID, IP, KNOWN, MAC, REASONS, SOURCE, World, port

SAYS = {
    Reason.NO_REPLY: ("0 of 1 answered", "silent, at MAC fa:16:3e:00:00:07", "console log show"),
    Reason.UNREACHABLE: ("0 of 3 answered", "host unreachable (type 3, code 1), from 192.0.2.254"),
    Reason.ICMP_BLOCKED: (
        "no ping gets in: an ingress rule for ICMP from 192.0.2.1 is missing in default (g1)",
        "openstack server show",
    ),
    Reason.ICMP_IGNORED: ("its kernel answers at layer 2", "rule rule-1 of default (g1) lets pings in"),
    Reason.AMBIGUOUS_ADDRESS: (
        "web-2 (rival)",
        "nothing tells whose the answer would be",
        "--fixed-ip ip-address=192.0.2.7",
    ),
    Reason.NO_VANTAGE: ("no namespace of network net-1", "this one is on cn-1", "probe.local_networks"),
    Reason.NO_ADDRESS: ("Nova lists none", "There is no address to ping"),
    Reason.NOT_ACTIVE: ("SHUTOFF", "openstack server event list"),
}


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_is_explained(reason: Reason) -> None:
    explanation = REASONS[reason].explain()
    text = " ".join(as_text(explanation, now=NOW + 10).split())
    assert explanation.reason is reason
    assert f"{reason}: {TEXTS[reason].meaning}" in text
    for said in SAYS[reason]:
        assert said in text
    assert explanation.next.command
    assert explanation.next.section


@pytest.mark.parametrize("width", [1, 60, 80])
def test_a_narrow_terminal_gets_the_same_words(width: int) -> None:
    explanation = REASONS[Reason.ICMP_BLOCKED].explain(anew=True)
    narrow, wide = (as_text(explanation, now=NOW, width=columns) for columns in (width, 1000))
    assert narrow.split() == wide.split()
    told = wide.splitlines()
    for line in set(narrow.splitlines()).difference(told):
        assert len(line) <= width or len(line[20:].split()) <= 1


def test_an_answer_is_explained() -> None:
    explanation = World(outcome=ALIVE).explain(since=Since(NOW - 3600, at_least=True), anew=True)
    text = as_text(explanation, now=NOW + 10)
    assert explanation.summary == "It answers pings, and Nova calls it ACTIVE."
    assert explanation.next.command is None
    assert "from              local, source 192.0.2.1" in text
    assert "packets           1 of 1 answered, best round trip 0.250 ms" in text
    assert "rule rule-1 of default (g1) lets pings in from 192.0.2.0/24" in text
    assert "not asked: the instance answers pings" in text
    assert "this instance alone, by Neutron" in text
    assert "(1h ago), at least" in text
    assert "for this" in text


@pytest.mark.parametrize(
    ("world", "section"),
    [
        (World(outcome=Outcome(3, 2, 0.001)), "InstancePacketLoss"),
        (
            World(outcome=ALIVE, guest=msgspec.structs.replace(GUEST, status="PAUSED")),
            "InstanceAnsweringThoughOff",
        ),
        (
            World(layer2_alive=True, guest=msgspec.structs.replace(GUEST, status="PAUSED")),
            "InstanceAnsweringThoughOff",
        ),
        (World(guest=msgspec.structs.replace(GUEST, status="BUILD")), "InstanceStuckBuilding"),
        (World(guest=msgspec.structs.replace(GUEST, status="RESIZE")), "InstanceStuckMoving"),
        (World(), "InstanceNeverAnswered"),
        (World(layer2_alive=True), "InstanceIgnoresPing"),
    ],
)
def test_the_section_of_the_runbook(world: World, section: str) -> None:
    step = world.explain(runbook="https://wiki.example/runbook.html").next
    assert (step.section, step.url) == (section, f"https://wiki.example/runbook.html#{section.lower()}")


def test_without_memory_nobody_knows_whether_it_ever_answered() -> None:
    explanation = World().explain(remembered=False)
    assert explanation.next.section == "InstanceSilent"
    assert "last reply        unknown" in as_text(explanation, now=NOW)
    assert "last reply        none to this exporter" in as_text(World().explain(), now=NOW)


def test_a_hypervisor_that_is_down_comes_first() -> None:
    snapshot = World().snapshot()
    down = msgspec.structs.replace(
        snapshot.inventory, hypervisors=(Hypervisor("cn-1.example", up=False, host="cn-1"),)
    )
    explanation = explain(snapshot.verdicts[0], Evidence(down, snapshot.sweep, config.Probe()))
    assert explanation.nova.hypervisor_up is False
    assert explanation.next.section == "HypervisorDown"
    assert "hypervisor cn-1.example (down)" in as_text(explanation, now=NOW)


def test_what_was_refused_is_said_with_the_reason() -> None:
    unsent = {Target(LOCAL, IP): "Network is unreachable (ENETUNREACH): there is no route"}
    world = World(outcome=NOT_ASKED, unsent=unsent)
    [told] = world.explain().addresses
    assert told.why_not_asked == f"nothing could be sent to it: {unsent[Target(LOCAL, IP)]}"
    [told] = world._replace(unsent={}).explain().addresses
    assert told.why_not_asked == "nothing could be sent to it"


@pytest.mark.parametrize(
    ("guest", "probe", "why"),
    [
        ("fd00::7", config.Probe(families=(4,)), "IPv6 is not asked (probe.families)"),
        (IP, config.Probe(addresses="floating"), "fixed addresses are not asked (probe.addresses: floating)"),
        ("224.0.0.1", config.Probe(), "it is none that a guest can have"),
    ],
)
def test_why_an_address_was_not_planned(guest: str, probe: config.Probe, why: str) -> None:
    [told] = World(guest=instance(ID, guest), topology=Topology(), probe=probe).explain().addresses
    assert (told.why_not_asked, told.vantage, told.sent) == (why, None, None)


@pytest.mark.parametrize(
    ("kind", "probe", "why"),
    [
        ("floating", config.Probe(vantages=("qdhcp",)), "floating addresses are pinged from local"),
        ("fixed", config.Probe(vantages=("qdhcp",)), "Neutron does not tell its network"),
    ],
)
def test_why_there_is_no_vantage(kind: str, probe: config.Probe, why: str) -> None:
    guest = instance(ID, address(IP, kind=kind))  # type: ignore[arg-type]
    [told] = World(guest=guest, topology=Topology(), probe=probe, outcome=NOT_ASKED).explain().addresses
    assert why in (told.why_not_asked or "")


def test_unknown_owners_are_said_to_be_unknown() -> None:
    lost = msgspec.structs.replace(KNOWN, owners={}, incomplete=frozenset({"ports"}))
    [told] = World(topology=lost).explain().addresses
    assert told.owner == "not known: a port or a floating IP that cannot be read may have it"
    [told] = World(topology=Topology()).explain().addresses
    assert told.owner == "this instance alone, by Nova's list; Neutron does not say"


@pytest.mark.parametrize("probe", [config.Probe(families=(6,)), config.Probe(vantages=("qdhcp",))])
def test_owners_are_unknown_whether_or_not_the_address_is_asked(probe: config.Probe) -> None:
    lost = msgspec.structs.replace(KNOWN, owners={}, incomplete=frozenset({"ports"}))
    [told] = World(topology=lost, probe=probe).explain().addresses
    assert told.owner == "not known: a port or a floating IP that cannot be read may have it"


def test_what_another_member_of_a_share_asks_is_not_called_this_hosts_own() -> None:
    snapshot = msgspec.structs.replace(World().snapshot(), others=(instance("anothers", "192.0.2.8"),))
    whole = merge(snapshot, None, max_age=60)
    [told] = explain(whole.verdicts[-1], Evidence(whole.inventory, whole.sweep, config.Probe())).addresses
    assert told.why_not_asked
    assert told.why_not_asked.startswith("this exporter leaves it to another one, or ")


def test_an_address_of_this_host_is_no_guests() -> None:
    snapshot = World().snapshot()
    verdict = Verdict(instance=GUEST, alive=False, reason=Reason.NO_ADDRESS)
    [told] = explain(verdict, Evidence(snapshot.inventory, snapshot.sweep, config.Probe())).addresses
    assert told.why_not_asked == "it is one of this host's own, or a broadcast address"


def test_of_many_others_ten_are_named() -> None:
    claims = {IP: frozenset({ID, *(f"other-{number:04}" for number in range(5000))})}
    [told] = World(topology=Topology(claims=claims)).explain().addresses
    assert (len(told.others), told.others_count) == (10, 5000)


@pytest.mark.parametrize("doubt", Layer2Doubt)
def test_why_layer_2_is_not_believed(doubt: Layer2Doubt) -> None:
    snapshot = World().snapshot()
    target = Layer2Target(LOCAL, IP, MAC)
    swept = msgspec.structs.replace(snapshot.sweep, layer2=Layer2Sweep(doubtful={target: doubt}))
    evidence = Evidence(snapshot.inventory, swept, config.Probe())
    [told] = explain(snapshot.verdicts[0], evidence).addresses
    assert told.layer2.alive is None
    assert told.layer2.text.startswith("not known: ")


SECURITY = [
    (None, "g1", {}, "port security is off, or Neutron does not tell"),
    ((), "", {}, "the port is in no security group, so that no rule lets ICMP in"),
    (("g1",), "g1", {}, "the rules of default (g1) could not be read"),
    (
        ("g1",),
        "g1",
        {"g1": (SecurityRule(4, group="g2"),)},
        "from members of group g2, and these are not known",
    ),
    (("g1",), "g1", {"g1": (SecurityRule(4, address_group="a"),)}, "from address group a, and these"),
    (("g1",), "g1", {"g1": (SecurityRule(4),)}, "a rule of default (g1) lets pings in from 0.0.0.0/0"),
    (("g1", "g2"), "g2", {"g2": (SecurityRule(4, id="r"),)}, "rule r of group g2 lets pings in"),
]


@pytest.mark.parametrize(("groups", "_deciding", "rules", "text"), SECURITY)
def test_the_rule_that_decides(
    groups: tuple[str, ...] | None, _deciding: str, rules: dict[str, tuple[SecurityRule, ...]], text: str
) -> None:
    topology = msgspec.structs.replace(KNOWN, ports={ID: (port(groups=groups),)}, rules=rules)
    [told] = World(topology=topology).explain().addresses
    assert text in told.security.text


def test_without_a_source_address_no_rule_is_named() -> None:
    [told] = World().explain(sources=False).addresses
    assert (told.source, told.security.rule_id) == (None, None)
    assert told.security.text == "not known: it depends on the address that pings come from"
    assert [group.name for group in told.security.groups] == ["default"]


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (IcmpError("", 3, 13), "prohibited by a filter (type 3, code 13)"),
        (IcmpError("", 3, 200), "ICMP error of type 3, code 200"),
    ],
)
def test_icmp_errors_in_words(error: IcmpError, meaning: str) -> None:
    [told] = World(outcome=Outcome(1, 0, None, unreachable=True, error=error)).explain().addresses
    assert told.icmp_error
    assert (told.icmp_error.meaning, told.icmp_error.sender) == (meaning, None)


def test_remarks() -> None:
    remarks = World(layer2_alive=False).explain(anew=True, blind=True, selected=False).remarks
    said = " ".join(remarks)
    assert "lost its way" in said
    assert "does not select it" in said
    assert "asked alone" in said


@pytest.mark.parametrize("reason", Reason)
def test_a_silence_that_is_explained_says_nothing_against_nova(reason: Reason) -> None:
    """Nor does one of which nobody knows anything: where nothing was sent, or this exporter is blind."""
    remark = "The ping contradicts Nova's status."
    counts = reason in {Reason.UNREACHABLE, Reason.NO_REPLY}
    assert (remark in REASONS[reason].explain().remarks) is counts
    assert remark not in REASONS[reason].explain(blind=True).remarks


def test_an_answer_of_one_that_is_off_counts_against_nova() -> None:
    off = World(outcome=ALIVE, guest=msgspec.structs.replace(GUEST, status="PAUSED"))
    assert off.explain(blind=True).remarks == ("The ping contradicts Nova's status.",)


def test_other_exporters_and_other_owners_are_hidden_from_tenants() -> None:
    snapshot = REASONS[Reason.AMBIGUOUS_ADDRESS].snapshot()
    exporter = FleetExporter(name="cn-7.example:10605", age=3, swept_at=NOW, blind=False)
    verdict = msgspec.structs.replace(
        snapshot.verdicts[0], witnesses=(Witness(exporter, alive=False, reason=Reason.NO_REPLY),)
    )
    whole = explain(verdict, Evidence(snapshot.inventory, snapshot.sweep, config.Probe()))
    assert "cn-7.example:10605: silent: no_reply" in as_text(whole, now=NOW)
    told = without_others(whole)
    body = msgspec.json.encode(told).decode() + as_text(told, now=NOW)
    assert not {"web-2", "rival", "cn-7"} & set(body.replace('"', " ").split())
    assert "rival" not in body
    assert "cn-7" not in body
    assert told.addresses[0].others_count == 1


@pytest.mark.parametrize(
    ("alive", "summary", "step"),
    [
        (None, "Nobody knows whether it answers pings", "Ask anew: whether it answers is not known."),
        (False, "There is no address to ping, and", "Ask anew: why it is silent is not known."),
    ],
)
def test_an_unknown_reason_is_said(
    alive: bool | None,  # noqa: FBT001, a case
    summary: str,
    step: str,
) -> None:
    verdict = Verdict(instance=GUEST, alive=alive, reason=None)
    snapshot = World(outcome=SILENT).snapshot()
    explanation = explain(verdict, Evidence(snapshot.inventory, snapshot.sweep, config.Probe()))
    assert explanation.summary.startswith(summary)
    assert explanation.next.sentence == step


def test_source_is_the_senders() -> None:
    assert World().explain().addresses[0].source == SOURCE
