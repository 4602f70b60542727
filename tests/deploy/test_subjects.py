"""The subject of a mail names the alerts and what they are about, within a bounded length."""

from pathlib import Path

import pytest

from tests.deploy.stack import alertmanager, tell
from tests.integration.process import eventually, free_port

pytestmark = pytest.mark.e2e

EXPORTER = {"job": "fping-exporter"}
NASTY = "x\r\nBcc: everyone@example.com"
GROUPS = {
    "[cloud] ALERT HypervisorManySilent compute-7: 1 now": [
        {"alertname": "HypervisorManySilent", "hypervisor": "compute-7"},
    ],
    "[cloud] ALERT HypervisorUpNoneAnswering c1, c2: 2 now": [
        {"alertname": "HypervisorUpNoneAnswering", "hypervisor": each} for each in ("c1", "c2")
    ],
    "[fping-exporter] ALERT FpingExporterGone x1:10605: 1 now": [
        {"alertname": "FpingExporterGone", "instance": "x1:10605"} | EXPORTER,
    ],
    "[cloud] ALERT Watchdog: 1 now": [{"alertname": "Watchdog"}],
    # Two OpenStack services refuse requests of one exporter.
    "[fping-exporter] ALERT FpingExporterOpenStackRefuses x1: 2 now": [
        {"alertname": "FpingExporterOpenStackRefuses", "instance": "x1", "code": code} | EXPORTER
        for code in ("500", "503")
    ],
    "[cloud] CRITICAL HypervisorDown c8: 1 now": [
        {"alertname": "HypervisorDown", "hypervisor": "c8", "severity": "critical"},
    ],
    # Warnings on the monitoring itself are one mail, and those on hypervisors another.
    "[fping-exporter] WARNING FpingExporterReloadFailed, FpingExporterInventoryStale x1, x2: 2 now": [
        {"alertname": "FpingExporterReloadFailed", "instance": "x1", "severity": "warning"} | EXPORTER,
        {"alertname": "FpingExporterInventoryStale", "instance": "x2", "severity": "warning"} | EXPORTER,
    ],
    "[cloud] WARNING HypervisorDown, HypervisorDownGuestsAnswering c5, c6: 2 now": [
        {"alertname": "HypervisorDown", "hypervisor": "c5", "severity": "warning"},
        {"alertname": "HypervisorDownGuestsAnswering", "hypervisor": "c6", "severity": "warning"},
    ],
    # A project without a contact; its id where its name is not known.
    "[cloud] ALERT InstanceFlapping, InstanceSilent Beta: 3 now": [
        {"alertname": alert, "id": id_, "project_id": "b", "project": "Beta", "hypervisor": "c9"}
        for alert, id_ in (("InstanceSilent", "1"), ("InstanceFlapping", "1"), ("InstanceSilent", "2"))
    ],
    "[cloud] ALERT InstanceSilent 5fa0: 1 now": [{"alertname": "InstanceSilent", "project_id": "5fa0"}],
    f"[cloud] ALERT InstanceSilent {NASTY}: 1 now": [
        {"alertname": "InstanceSilent", "project_id": "n", "project": NASTY}
    ],
    # Of one cloud among several, and of two that have a hypervisor of the same name.
    "[cloud eu] ALERT InstanceSilent Beta: 1 now": [
        {"alertname": "InstanceSilent", "project_id": "b", "project": "Beta", "cloud": "eu"}
    ],
    "[cloud us] ALERT InstanceSilent Beta: 1 now": [
        {"alertname": "InstanceSilent", "project_id": "b", "project": "Beta", "cloud": "us"}
    ],
    "[cloud] CRITICAL HypervisorOfSeveral eu c1, us c1: 2 now": [
        {"alertname": "HypervisorOfSeveral", "hypervisor": "c1", "cloud": each, "severity": "critical"}
        for each in ("eu", "us")
    ],
    "[fping-exporter eu] CRITICAL FpingExporterNoResults x1: 1 now": [
        {"alertname": "FpingExporterNoResults", "instance": "x1", "cloud": "eu", "severity": "critical"}
        | EXPORTER,
    ],
    # A whole rack.
    "[cloud] ALERT HypervisorDownGuestsAnswering "
    "node00.example.com, node01.example.com, node02.example.com, ...: 40 now": [
        {"alertname": "HypervisorDownGuestsAnswering", "hypervisor": f"node{number:02}.example.com"}
        for number in range(40)
    ],
    # All alerts of a project whose name is as long as Keystone allows.
    f"[cloud] ALERT InstanceAnsweringThoughOff, InstanceFlapping, InstancePacket... {'p' * 60}...: 6 now": [
        {"alertname": alert, "project_id": "long", "project": "p" * 64}
        for alert in (
            "InstanceAnsweringThoughOff",
            "InstanceFlapping",
            "InstancePacketLoss",
            "InstanceSilent",
            "InstanceStuckBuilding",
            "InstanceStuckMoving",
        )
    ],
}


def test_the_subject_says_which_alerts_and_where_in_a_line_that_ends(tmp_path: Path) -> None:
    listening = f"127.0.0.1:{free_port()}"
    with alertmanager(tmp_path / "alertmanager", address=listening) as sink:
        tell(listening, *(labels for alerts in GROUPS.values() for labels in alerts))

        def check() -> None:
            subjects = [mail.message["Subject"] for mail in sink.mails]
            assert sorted(subjects) == sorted(GROUPS)

        eventually(check)
        assert all(mail.message["Bcc"] is None for mail in sink.mails)
