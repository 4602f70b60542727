"""What the exporter counts of its vantages."""

import msgspec

from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import LOCAL, NOT_ASKED, Layer2Rejection, Layer2Sweep, Sweep, Target
from tests.build import ALIVE, SILENT, inventory, sweep


def observed(telemetry: Telemetry, name: str) -> dict[str, float]:
    """The values of a metric of the vantages, by kind."""
    return {
        sample.labels["vantage"]: sample.value
        for family in telemetry.registry.collect()
        for sample in family.samples
        if sample.name == f"fping_exporter_{name}"
    }


def test_vantages_are_counted_by_kind_and_those_that_went_away_are_none() -> None:
    telemetry = Telemetry()
    telemetry.observe_sweep(
        sweep(
            {
                Target(LOCAL, "192.0.2.1"): ALIVE,
                Target("qdhcp-1", "10.0.0.1"): SILENT,
                Target("qdhcp-1", "10.0.0.2"): NOT_ASKED,
                Target("qdhcp-2", "10.0.0.1"): NOT_ASKED,
            }
        )
    )
    assert observed(telemetry, "vantage_targets") == {"local": 1, "qdhcp": 3}
    assert observed(telemetry, "vantages") == {"local": 1, "qdhcp": 2}
    assert observed(telemetry, "vantage_up") == {"local": 1, "qdhcp": 1}

    telemetry.observe_sweep(sweep({Target("ovnmeta-1", "10.0.0.1"): ALIVE}))
    assert observed(telemetry, "vantage_targets") == {"local": 0, "qdhcp": 0, "ovnmeta": 1}
    assert observed(telemetry, "vantage_up") == {"local": 0, "qdhcp": 0, "ovnmeta": 1}


def test_what_came_of_layer_2() -> None:
    telemetry = Telemetry()
    layer2 = Layer2Sweep(
        sent=5, received=3, rejected={Layer2Rejection.MAC: 2}, trusted={"qdhcp": True, "ovnmeta": False}
    )
    asked = msgspec.structs.replace(sweep({Target(LOCAL, "192.0.2.1"): ALIVE}), layer2=layer2)
    for _ in range(2):
        telemetry.count_packets(asked)
    telemetry.observe_sweep(asked)
    value = telemetry.registry.get_sample_value
    assert value("fping_exporter_layer2_sent_total") == 10
    assert value("fping_exporter_layer2_received_total") == 6
    assert value("fping_exporter_layer2_rejected_total", {"reason": "mac"}) == 4
    assert value("fping_exporter_layer2_rejected_total", {"reason": "late"}) == 0, (
        "each kind is there at once"
    )
    assert observed(telemetry, "layer2_trusted") == {"qdhcp": 1, "ovnmeta": 0}
    telemetry.observe_sweep(sweep({Target(LOCAL, "192.0.2.1"): ALIVE}))
    assert observed(telemetry, "layer2_trusted") == {}


def test_overflows_add_up() -> None:
    telemetry = Telemetry()
    for overflows in (0, 3, 4):
        outcomes = {Target(LOCAL, "192.0.2.1"): ALIVE}
        telemetry.count_packets(
            Sweep(outcomes=outcomes, sent=1, received=1, overflows=overflows, started_at=0, duration=0)
        )
    name = "fping_exporter_neighbour_table_overflows_total"
    assert telemetry.registry.get_sample_value(name) == 7


def test_a_first_sweep_that_could_send_nothing_leaves_no_vantage_up() -> None:
    telemetry = Telemetry()
    telemetry.observe_failed_sweep({LOCAL, "qdhcp-1", "qdhcp-2"})
    assert observed(telemetry, "vantage_targets") == {"local": 0, "qdhcp": 0}
    assert observed(telemetry, "vantages") == {"local": 1, "qdhcp": 2}
    assert observed(telemetry, "vantage_up") == {"local": 0, "qdhcp": 0}


def test_a_later_sweep_that_could_send_nothing_leaves_no_vantage_up_either() -> None:
    telemetry = Telemetry()
    telemetry.observe_sweep(sweep({Target(LOCAL, "192.0.2.1"): ALIVE, Target("qdhcp-1", "10.0.0.1"): ALIVE}))
    telemetry.observe_failed_sweep({LOCAL})
    assert observed(telemetry, "vantage_targets") == {"local": 1, "qdhcp": 1}
    assert observed(telemetry, "vantage_up") == {"local": 0, "qdhcp": 0}


def test_refused_packets_add_up_by_errno() -> None:
    telemetry = Telemetry()
    for _ in range(2):
        refused = {"EPERM": 3, "unknown": 1}
        telemetry.count_packets(
            Sweep(outcomes={}, sent=0, received=0, refused=refused, started_at=0, duration=0)
        )
    name = "fping_exporter_packets_refused_total"
    values = [
        telemetry.registry.get_sample_value(name, {"reason": reason})
        for reason in ("EPERM", "unknown", "ENETUNREACH")
    ]
    assert values == [6, 2, 0]


def test_what_cannot_be_read_is_counted_listing_by_listing() -> None:
    telemetry = Telemetry()

    def skipped(part: str) -> float | None:
        return telemetry.registry.get_sample_value("fping_exporter_entries_skipped_total", {"part": part})

    assert (skipped("servers"), skipped("projects")) == (0, None)
    for counts in ({}, {"servers": 2}, {"servers": 1, "projects": 3}):
        telemetry.observe_inventory(msgspec.structs.replace(inventory(), skipped=counts))
    assert (skipped("servers"), skipped("projects"), skipped("hypervisors")) == (3, 3, 0)


def test_instances_that_met_a_bug_are_counted() -> None:
    telemetry = Telemetry()
    for failed in (0, 2):
        telemetry.count_packets(msgspec.structs.replace(sweep({}), failed=failed))
    assert telemetry.registry.get_sample_value("fping_exporter_instances_failed_total") == 2


def test_ambiguous_targets_are_those_of_the_newest_sweep() -> None:
    telemetry = Telemetry()
    for count in (3, 0):
        telemetry.observe_sweep(msgspec.structs.replace(sweep({}), ambiguous=count))
        assert telemetry.registry.get_sample_value("fping_exporter_ambiguous_targets") == count
