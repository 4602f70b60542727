"""docs/metrics.md lists the exporter's own metrics with their labels: all of them, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import LOCAL, Layer2Sweep, Target
from tests.build import ALIVE, inventory, sweep
from tests.units import exporter_metrics

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def documented() -> Iterator[tuple[str, str]]:
    """Yield name and labels, as the page has them, of each row of its tables of metrics."""
    tables = re.findall(
        r"^\| metric \| labels \| value \|\n\|[-|]+\|\n((?:\|.*\n)+)",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    for row in "".join(tables).splitlines():
        _, names, labels, *_ = row.split("|")
        for name in re.findall(r"`(\w+)`", names):
            yield f"fping_exporter_{name}", labels.strip()


def busy() -> Telemetry:
    """Return the metrics of an exporter that has done everything that is counted by a label."""
    telemetry = Telemetry()
    asked = sweep({Target(LOCAL, "192.0.2.1"): ALIVE})
    telemetry.observe_sweep(msgspec.structs.replace(asked, layer2=Layer2Sweep(trusted={"local": True})))
    telemetry.observe_inventory(msgspec.structs.replace(inventory(), parts={"ports": True}))
    telemetry.observe_state(success=True)
    telemetry.observe_request("compute", 200)
    telemetry.observe_os_fping(200)
    telemetry.observe_share(members=2, answered_at=0)
    telemetry.observe_own_share(1)
    telemetry.expect_fleet(read=True)
    telemetry.observe_fleet(started_at=1, duration=1, instances=1, exporters={"heard": 1}, partial=False)
    return telemetry


def exported() -> Iterator[tuple[str, str]]:
    """Yield name and labels of each of our own metrics; one that `busy` leaves out has no samples."""
    for metric in exporter_metrics(busy()).collect():
        if not metric.name.startswith("process_"):
            assert metric.samples, f"{metric.name}: observe it in busy()"
            for sample in metric.samples:
                yield sample.name, ", ".join(sample.labels)


def test_the_page_lists_the_metrics_that_there_are() -> None:
    assert sorted(documented()) == sorted(set(exported()))
