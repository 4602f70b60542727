"""Which instances are missed, which never answered, and when the exporter is blind."""

from collections.abc import Mapping

import msgspec
import pytest

from fping_exporter import config
from fping_exporter.history import History
from fping_exporter.model import NOT_ASKED, Instance, Layer2Sweep, Outcome, Port, Snapshot, Target, Topology
from fping_exporter.verdict.instance_errors import InstanceErrors
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.layer2 import plan_layer2
from fping_exporter.verdict.missed import find_missed
from fping_exporter.verdict.plan import plan
from tests.build import ALIVE, NOW, SILENT, UNREACHABLE, address, instance, inventory, sweep

DAY = 86_400.0
IP = "10.0.0.1"
ONE = instance("a", address(IP, mac="fa:16:3e:00:00:01"))
CLOSED = Topology(ports={"a": (Port("n", "fa:16:3e:00:00:01", {IP: "s"}, ("none",)),)}, rules={"none": ()})


class Exporter:
    """Looks at instances time and again, and remembers."""

    def __init__(self) -> None:
        self.history = History()

    def look(
        self,
        *instances: Instance,
        outcomes: Mapping[str, Outcome] | Mapping[Target, Outcome] | Outcome = SILENT,
        at: float = 0,
        topology: Topology = Topology(),  # noqa: B008, it is frozen
        layer2: bool | None = None,
    ) -> Snapshot:
        there = inventory(*instances, topology=topology)
        if isinstance(outcomes, Outcome):
            outcomes = {each.ip: outcomes for one in instances for each in one.addresses}
        targets = plan(there.instances, Topology(), config.Probe())
        pings = msgspec.structs.replace(sweep(outcomes), started_at=NOW + at)
        second = plan_layer2(there, targets, pings.outcomes, InstanceErrors())
        answers = {} if layer2 is None else dict.fromkeys(second.distinct(), layer2)
        judged = judge(
            there,
            targets=targets,
            sweep=msgspec.structs.replace(pings, layer2=Layer2Sweep(alive=answers)),
            layer2=second,
            last_replies=self.history.last_replies,
            sources=lambda asked: dict.fromkeys(asked, "10.0.0.254"),
        )
        found = find_missed(judged, self.history)
        self.history = self.history.after(found)
        return found


@pytest.fixture
def exporter() -> Exporter:
    return Exporter()


def with_status(status: str, one: Instance = ONE) -> Instance:
    return msgspec.structs.replace(one, status=status)


@pytest.mark.parametrize("outcome", [SILENT, UNREACHABLE])
def test_one_that_answered_and_is_silent_is_missed_until_it_answers(
    exporter: Exporter, outcome: Outcome
) -> None:
    assert not exporter.look(ONE, outcomes=ALIVE).missed
    assert exporter.look(ONE, outcomes=outcome, at=60).missed == {"a"}
    assert not exporter.look(ONE, outcomes=ALIVE, at=120).missed


def test_one_that_never_answered_is_not_missed(exporter: Exporter) -> None:
    assert not exporter.look(ONE).missed
    assert not exporter.look(ONE, at=60).missed


def test_one_that_answered_more_than_a_day_ago_is_not_missed(exporter: Exporter) -> None:
    exporter.look(ONE, outcomes=ALIVE)
    exporter.look(with_status("SHUTOFF"), at=60)
    assert not exporter.look(ONE, at=DAY).missed


def test_one_that_is_missed_is_so_for_as_long_as_it_is_silent(exporter: Exporter) -> None:
    exporter.look(ONE, outcomes=ALIVE)
    exporter.look(ONE, at=60)
    assert exporter.look(ONE, at=3 * DAY).missed == {"a"}


@pytest.mark.parametrize("status", ["SHUTOFF", "PAUSED", "SUSPENDED", "SHELVED_OFFLOADED", "SOFT_DELETED"])
def test_one_that_nova_calls_off_is_not_missed_and_not_afterwards(exporter: Exporter, status: str) -> None:
    exporter.look(ONE, outcomes=ALIVE)
    exporter.look(ONE, at=60)
    assert not exporter.look(with_status(status), at=120).missed
    assert not exporter.look(ONE, at=2 * DAY).missed


@pytest.mark.parametrize("status", ["REBOOT", "ERROR", "MIGRATING"])
def test_what_nova_does_with_one_that_is_missed_explains_nothing(exporter: Exporter, status: str) -> None:
    exporter.look(ONE, outcomes=ALIVE)
    assert not exporter.look(with_status(status), at=30).missed
    exporter.look(ONE, at=60)
    assert exporter.look(with_status(status), at=120).missed == {"a"}
    assert exporter.look(ONE, at=2 * DAY).missed == {"a"}


def test_one_that_nobody_asks_is_not_missed_and_afterwards_it_is(exporter: Exporter) -> None:
    exporter.look(ONE, outcomes=ALIVE)
    exporter.look(ONE, at=60)
    assert not exporter.look(ONE, outcomes=NOT_ASKED, at=120).missed
    assert not exporter.look(instance("a"), at=180).missed
    assert exporter.look(ONE, at=2 * DAY).missed == {"a"}


def test_one_that_a_list_lacks_is_remembered(exporter: Exporter) -> None:
    exporter.look(ONE, outcomes=ALIVE)
    exporter.look(ONE, at=60)
    exporter.look(at=120)
    assert exporter.look(ONE, at=180).missed == {"a"}


def test_a_security_group_explains_a_silence_that_begins_with_it_and_none_from_before(
    exporter: Exporter,
) -> None:
    exporter.look(ONE, outcomes=ALIVE)
    assert not exporter.look(ONE, topology=CLOSED, at=60).missed
    exporter.look(ONE, outcomes=ALIVE, at=120)
    exporter.look(ONE, at=180)
    assert exporter.look(ONE, topology=CLOSED, at=240).missed == {"a"}


@pytest.mark.parametrize(
    ("before", "missed"), [("ACTIVE", {"a"}), ("SHUTOFF", set()), ("BUILD", set()), ("UNKNOWN", set())]
)
def test_while_its_cell_is_down_the_status_before_counts(
    exporter: Exporter, before: str, missed: set[str]
) -> None:
    exporter.look(with_status(before), outcomes=ALIVE)
    exporter.look(with_status("UNKNOWN"), outcomes=ALIVE, at=60)
    assert exporter.look(with_status("UNKNOWN"), at=120).missed == missed


def test_one_whose_pings_were_blocked_is_not_missed_while_its_cell_is_down(exporter: Exporter) -> None:
    exporter.look(ONE, outcomes=ALIVE)
    exporter.look(ONE, topology=CLOSED, at=60)
    assert not exporter.look(with_status("UNKNOWN"), at=120).missed


def launched(at: float) -> Instance:
    return msgspec.structs.replace(ONE, launched_at=NOW + at)


def test_one_that_was_launched_and_does_not_boot_has_never_answered(exporter: Exporter) -> None:
    exporter.look()
    new = launched(60)
    exporter.look(new, at=90)
    assert not exporter.look(new, at=60 + 900).never_answered
    found = exporter.look(new, at=60 + 901)
    assert found.never_answered == {"a"}
    assert not found.missed
    assert not exporter.look(new, topology=CLOSED, at=60 + 1000).never_answered
    assert not exporter.look(new, outcomes=NOT_ASKED, at=60 + 1000).never_answered
    assert not exporter.look(new, at=60 + DAY).never_answered
    assert not exporter.look(new, outcomes=ALIVE, at=2000).never_answered


def test_of_one_that_was_there_before_the_exporter_nobody_can_say_it(exporter: Exporter) -> None:
    exporter.look()
    exporter.look(launched(-1), at=60)
    assert not exporter.look(launched(-1), at=2000).never_answered


def test_one_that_comes_from_elsewhere_may_have_answered_there(exporter: Exporter) -> None:
    """It was moved to this agent's host, or the exporter whose share it was is gone."""
    exporter.look()
    exporter.look(at=5000)
    moved = launched(60)
    assert not exporter.look(moved, at=5015).never_answered
    assert not exporter.look(moved, at=9000).never_answered


def test_that_a_launch_was_watched_outlives_a_restart(exporter: Exporter) -> None:
    exporter.look()
    exporter.look(launched(60), at=90)
    exporter.history = exporter.history.stored.moved_back(0).resumed(stopped_at=NOW + 800, now=NOW + 1000)
    assert exporter.look(launched(60), at=1010).never_answered == {"a"}


MANY = tuple(
    instance(f"i{number}", f"10.0.0.{number}", project_id=f"p{number % 2}", hypervisor=f"c{number % 3}")
    for number in range(1, 11)
)


def answers(alive: int) -> dict[str, Outcome]:
    return {f"10.0.0.{number}": ALIVE if number <= alive else SILENT for number in range(1, 11)}


@pytest.mark.parametrize(("alive", "blind"), [(10, False), (5, False), (4, True), (0, True)])
def test_most_that_fall_silent_at_once_make_it_blind(exporter: Exporter, alive: int, *, blind: bool) -> None:
    exporter.look(*MANY, outcomes=ALIVE)
    assert exporter.look(*MANY, outcomes=answers(alive), at=60).blind == blind


def test_those_that_were_silent_for_long_do_not_make_it_blind(exporter: Exporter) -> None:
    exporter.look(*MANY, outcomes=ALIVE)
    assert exporter.look(*MANY, outcomes=answers(2), at=60).blind
    assert not exporter.look(*MANY, outcomes=answers(2), at=60 + DAY).blind


def test_those_whose_silence_a_security_group_explains_do_not_make_it_blind(exporter: Exporter) -> None:
    """Half of those that should answer do."""
    guests = (*MANY, instance("blocked", "10.0.0.99"))
    port = Port("n", "fa:16:3e:00:00:99", {"10.0.0.99": "s"}, ("none",))
    closed = Topology(ports={"blocked": (port,)}, rules={"none": ()})
    exporter.look(*guests, outcomes=ALIVE)
    found = exporter.look(*guests, outcomes=answers(5) | {"10.0.0.99": SILENT}, topology=closed, at=60)
    assert len(found.missed) == 5
    assert not found.blind


@pytest.mark.parametrize(
    ("changes", "blind"),
    [({"project_id": "p"}, False), ({"hypervisor": "c"}, False), ({"hypervisor": ""}, True)],
)
def test_one_project_or_one_hypervisor_is_not_the_exporter(
    exporter: Exporter, changes: dict[str, str], *, blind: bool
) -> None:
    guests = [msgspec.structs.replace(each, **changes) for each in MANY]
    exporter.look(*guests, outcomes=ALIVE)
    assert exporter.look(*guests, at=60).blind == blind


def test_four_silent_ones_are_too_few(exporter: Exporter) -> None:
    exporter.look(*MANY[:4], outcomes=ALIVE)
    assert not exporter.look(*MANY[:4], at=60).blind


def test_instances_in_a_cell_that_is_down_count(exporter: Exporter) -> None:
    exporter.look(*MANY, outcomes=ALIVE)
    assert exporter.look(*(with_status("UNKNOWN", each) for each in MANY), at=60).blind


NEAR, FAR = Target("local", "192.0.2.1"), Target("qdhcp-1", "10.0.0.9")


class TestVantages:
    """Two guests, one of which is asked from a namespace."""

    def look(self, exporter: Exporter, far: Outcome | None, *, at: float, status: str = "ACTIVE") -> Snapshot:
        guests = (instance("near", NEAR.ip), instance("far", FAR.ip, status=status))
        there = inventory(*guests)
        planned = plan(there.instances, there.topology, config.Probe())
        (near_probed,), (far_probed,) = planned["near"], planned["far"]
        planned = {
            "near": (msgspec.structs.replace(near_probed, target=NEAR),),
            "far": (msgspec.structs.replace(far_probed, target=FAR if far else None),),
        }
        outcomes = {NEAR: ALIVE} | ({FAR: far} if far else {})
        judged = judge(
            there,
            targets=planned,
            sweep=msgspec.structs.replace(sweep(outcomes), started_at=NOW + at),
            last_replies=exporter.history.last_replies,
        )
        found = find_missed(judged, exporter.history)
        exporter.history = exporter.history.after(found)
        return found

    @pytest.mark.parametrize("far", [None, NOT_ASKED])
    def test_a_namespace_that_goes_or_is_shut_makes_it_blind_for_an_hour(
        self, exporter: Exporter, far: Outcome | None
    ) -> None:
        assert not self.look(exporter, ALIVE, at=0).blind
        assert self.look(exporter, far, at=60).blind
        assert self.look(exporter, far, at=3599).blind
        assert not self.look(exporter, far, at=3600).blind

    def test_one_that_is_back_does_not(self, exporter: Exporter) -> None:
        self.look(exporter, ALIVE, at=0)
        self.look(exporter, None, at=60)
        assert not self.look(exporter, SILENT, at=120).blind

    def test_one_that_never_could_send_does_not(self, exporter: Exporter) -> None:
        assert not self.look(exporter, NOT_ASKED, at=0).blind
        assert not self.look(exporter, NOT_ASKED, at=60).blind

    def test_one_whose_guests_are_off_or_gone_does_not(self, exporter: Exporter) -> None:
        self.look(exporter, ALIVE, at=0)
        assert not self.look(exporter, None, at=60, status="SHUTOFF").blind
        assert not exporter.look(instance("near", NEAR.ip), outcomes={NEAR: ALIVE}, at=120).blind


def test_one_that_answers_at_layer_2_only_is_not_missed(exporter: Exporter) -> None:
    exporter.look(ONE, outcomes=ALIVE)
    assert not exporter.look(ONE, layer2=True, at=60).missed
    assert exporter.look(ONE, layer2=False, at=120).missed == {"a"}
    assert not exporter.look(ONE, layer2=True, at=180).missed
    assert not exporter.look(ONE, outcomes=NOT_ASKED, at=240).missed, "that it answered ended it"


@pytest.mark.parametrize("topology", [CLOSED, Topology()])
def test_one_that_was_never_pingable_is_missed_when_layer_2_falls_silent(
    exporter: Exporter, topology: Topology
) -> None:
    assert not exporter.look(ONE, topology=topology, layer2=True).missed
    assert exporter.look(ONE, topology=topology, layer2=False, at=60).missed == {"a"}
    assert exporter.look(ONE, topology=topology, layer2=None, at=120).missed == {"a"}, "nobody can ask it now"
    assert exporter.look(ONE, topology=topology, layer2=False, at=3 * DAY).missed == {"a"}
    assert not exporter.look(ONE, topology=topology, layer2=True, at=3 * DAY + 60).missed


def test_one_that_never_answered_anywhere_is_not_missed(exporter: Exporter) -> None:
    for at in (0, 60):
        assert not exporter.look(ONE, topology=CLOSED, layer2=False, at=at).missed


def test_what_answered_at_layer_2_more_than_a_day_ago_is_not_missed(exporter: Exporter) -> None:
    exporter.look(ONE, topology=CLOSED, layer2=True)
    exporter.look(with_status("SHUTOFF"), topology=CLOSED, layer2=False, at=60)
    assert not exporter.look(ONE, topology=CLOSED, layer2=False, at=DAY).missed


def test_without_layer_2_a_closed_group_explains_the_silence(exporter: Exporter) -> None:
    exporter.look(ONE, topology=CLOSED, layer2=True)
    assert not exporter.look(ONE, topology=CLOSED, layer2=None, at=60).missed


def test_what_layer_2_said_outlives_a_restart_and_a_list_that_lacks_it(exporter: Exporter) -> None:
    exporter.look(ONE, topology=CLOSED, layer2=True)
    exporter.history = exporter.history.stored.resumed(stopped_at=NOW + 10, now=NOW + 60)
    exporter.look(at=90)
    assert exporter.look(ONE, topology=CLOSED, layer2=False, at=120).missed == {"a"}


def test_one_whose_kernel_answers_has_booted(exporter: Exporter) -> None:
    exporter.look(at=-60)
    launched = msgspec.structs.replace(ONE, launched_at=NOW)
    exporter.look(launched, layer2=False, at=60)
    assert exporter.look(launched, layer2=False, at=1000).never_answered == {"a"}
    assert not exporter.look(launched, layer2=True, at=1060).never_answered


def test_guests_that_answer_at_layer_2_show_that_the_way_is_there(exporter: Exporter) -> None:
    """Pings are blocked on the way, say: most are silent to them, and none is missed."""
    many = [
        instance(
            f"i{n}",
            address(f"10.0.1.{n}", mac=f"fa:16:3e:00:01:{n:02x}"),
            project_id=f"p{n % 3}",
            hypervisor=f"h{n % 3}",
        )
        for n in range(12)
    ]
    exporter.look(*many, outcomes=ALIVE)
    assert exporter.look(*many, at=60).blind
    found = exporter.look(*many, layer2=True, at=120)
    assert not found.blind
    assert not found.missed


def test_one_that_answered_at_layer_2_has_answered_since_its_launch(exporter: Exporter) -> None:
    exporter.look(at=-60)
    launched = msgspec.structs.replace(ONE, launched_at=NOW)
    exporter.look(launched, layer2=True, at=60)
    found = exporter.look(launched, layer2=False, at=1000)
    assert found.missed == {"a"}
    assert not found.never_answered


@pytest.mark.parametrize("topology", [CLOSED, Topology()])
def test_one_that_was_never_pingable_is_missed_for_days_over_a_restart_and_a_list_that_lacks_it(
    exporter: Exporter, topology: Topology
) -> None:
    exporter.look(ONE, topology=topology, layer2=True)
    exporter.look(ONE, topology=topology, layer2=False, at=60)
    exporter.look(ONE, topology=topology, layer2=False, at=2 * DAY)
    exporter.look(at=2 * DAY + 60)
    exporter.history = exporter.history.stored.resumed(stopped_at=NOW + 2 * DAY + 70, now=NOW + 2 * DAY + 80)
    assert exporter.look(ONE, topology=topology, layer2=False, at=2 * DAY + 90).missed == {"a"}
    exporter.look(at=2 * DAY + 120)
    exporter.look(at=3 * DAY + 120)
    assert not exporter.look(ONE, topology=topology, layer2=False, at=3 * DAY + 180).missed, "gone for a day"


@pytest.mark.parametrize(("layer2", "missed"), [(None, set()), (True, set()), (False, {"a"})])
def test_of_one_whose_pings_were_blocked_layer_2_has_to_tell_while_its_cell_is_down(
    exporter: Exporter,
    layer2: bool | None,  # noqa: FBT001
    missed: set[str],
) -> None:
    exporter.look(ONE, outcomes=ALIVE)
    exporter.look(ONE, topology=CLOSED, layer2=True, at=60)
    exporter.look(with_status("UNKNOWN"), topology=CLOSED, layer2=True, at=120)
    assert exporter.look(with_status("UNKNOWN"), topology=CLOSED, layer2=layer2, at=180).missed == missed
