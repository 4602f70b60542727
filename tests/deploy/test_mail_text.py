"""The mails in full, as a real Alertmanager sends them: files in tests/golden/mail, to be read by people.

To write them anew: UPDATE_GOLDEN=1 pytest -m e2e tests/deploy/test_mail_text.py
"""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.stack import ALERTMANAGER_URL, Mail, Sink, alertmanager, post
from tests.integration.process import eventually, free_port

pytestmark = pytest.mark.e2e

GOLDEN = Path(__file__).parents[1] / "golden" / "mail"
OPERATOR, CONTACT = "operator@example.org", "ops@alpha.example"
RUNBOOK = "https://runbooks.example.org/fping-exporter/runbook.md"
WEB_1, WEB_2 = "2c845bff-e2c2-5baf-a526-0fdc4dfd37db", "d7f24523-41d3-5024-8386-f7e14310b273"
ALPHA = {"project_id": "5fa0", "project": "Alpha Shop", "email": CONTACT}
BETA = {"project_id": "77c1", "project": "Beta"}
EXPORTER = {"job": "fping-exporter", "instance": "mon-1:10605"}


def now() -> str:
    """Return the time for an alert: one that began earlier than the group waits would be mailed alone."""
    return datetime.now(UTC).isoformat()


def alert(alertname: str, severity: str, summary: str, description: str, resolved: str, **labels: str) -> Any:
    """Return an alert as Prometheus posts it."""
    return {
        "labels": {"alertname": alertname, "severity": severity} | labels,
        "annotations": {
            "summary": summary,
            "description": description,
            "resolved": resolved,
            "runbook_url": RUNBOOK,
        },
        "startsAt": now(),
    }


def silent(id_: str, name: str, **labels: str) -> Any:
    return alert(
        "InstanceSilent",
        "warning",
        f"{name} does not answer",
        f"Nova called instance {id_} ACTIVE on kvm-3 when it fell silent. It had answered within a day "
        "before, and does not on any of its addresses.",
        f"{name} answers again, or was stopped, moved or deleted",
        id=id_,
        name=name,
        hypervisor="kvm-3",
        **labels,
    )


def project_silent(**labels: str) -> Any:
    return alert(
        "ProjectSilent",
        "critical",
        f"No instance of project {labels['project']} answers",
        "All 7 ACTIVE instances of the project that answered within the last day are silent.",
        f"Instances of project {labels['project']} answer again",
        **labels,
    )


HYPERVISOR_DOWN = alert(
    "HypervisorDown",
    "critical",
    "kvm-3 is down, and 12 of its instances are silent",
    "nova-compute of kvm-3 does not report in, and 12 ACTIVE instances on it that answered within the "
    "last day are silent. Make sure that the host is off before you evacuate it.",
    "kvm-3 is up again, or its instances answer or are gone",
    hypervisor="kvm-3",
)
OUTAGE = alert(
    "ProjectHypervisorOutage",
    "warning",
    "kvm-3 is out, and with it 3 of project Alpha Shop's instances",
    "There is no answer from 3 of the project's instances on the host kvm-3, which is out. The cloud's "
    "operator has been told, and you need not do anything.",
    "The instances of project Alpha Shop on kvm-3 answer again, or were moved",
    hypervisor="kvm-3",
    **ALPHA,
)
STALE = alert(
    "FpingExporterInventoryStale",
    "warning",
    "fping-exporter mon-1:10605 works with a list of instances 9m 20s old",
    "Nova could not be listed since. Known instances go on being pinged until the list is cache.max_stale "
    "old; new ones are not seen.",
    "fping-exporter mon-1:10605 lists instances again",
    **EXPORTER,
)
RELOAD = alert(
    "FpingExporterReloadFailed",
    "warning",
    "fping-exporter mon-1:10605 refused its new configuration",
    "The configuration before it is still in use, and is lost with the next restart.",
    "fping-exporter mon-1:10605 has taken up its configuration",
    **EXPORTER,
)
GONE = alert(
    "FpingExporterGone",
    "critical",
    "fping-exporter mon-1:10605 cannot be scraped",
    "Prometheus gets no answer from it. What it alone can reach is not watched.",
    "fping-exporter mon-1:10605 is scraped again",
    **EXPORTER,
)


def beginning_now(*alerts: Any) -> Iterator[Any]:
    return (each | {"startsAt": now()} for each in alerts)


def in_cloud(cloud: str, given: Any) -> Any:
    """Return an alert of an exporter with several clouds."""
    return given | {"labels": given["labels"] | {"cloud": cloud}}


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def sink(address: str, tmp_path: Path) -> Iterator[Sink]:
    with alertmanager(tmp_path / "alertmanager", address=address) as sink:
        yield sink


def expect(sink: Sink, count: int) -> list[Mail]:
    """Wait for that number of mails, and return them."""

    def check() -> None:
        assert len(sink.mails) >= count, str(sink)

    eventually(check)
    assert len(sink.mails) == count, str(sink)
    return sink.mails


def check_golden(name: str, mail: Mail) -> None:
    """Compare a mail with the files NAME.txt, which has the headers and the text, and NAME.html."""
    headers = "".join(f"{each}: {mail.message[each]}\n" for each in ("From", "To", "Subject"))
    parts = {"txt": f"{headers}\n{mail.part('plain')}", "html": mail.part("html")}
    for suffix, content in parts.items():
        path = GOLDEN / f"{name}.{suffix}"
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "2026-11-26 03:05", content.replace("\r\n", "\n"))
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text()


def test_silent_instances_of_a_project_without_a_contact(sink: Sink, address: str) -> None:
    post(address, silent(WEB_1, "web-1", **BETA), silent(WEB_2, "<b>web 2</b>", **BETA))
    [mail] = expect(sink, 1)
    assert mail.recipients == (OPERATOR,)
    check_golden("instances-operator", mail)
    assert not sink.pages


def test_a_silent_instance_and_one_that_is_back_for_the_contact(sink: Sink, address: str) -> None:
    gone, back = silent(WEB_1, "web-1", **ALPHA), silent(WEB_2, "web-2", **ALPHA)
    post(address, gone, back)
    expect(sink, 1)
    post(address, back | {"endsAt": now()})
    first, second = expect(sink, 2)
    assert first.recipients == second.recipients == (CONTACT,)
    check_golden("instances-project", first)
    check_golden("instance-back-project", second)


def test_a_project_that_is_silent_ranks_before_a_warning(sink: Sink, address: str) -> None:
    stuck = alert(
        "InstanceStuckBuilding",
        "warning",
        "web-9 stays in BUILD",
        f"Nova has had instance {WEB_2} in BUILD for over four minutes.",
        "web-9 is no longer in BUILD",
        id=WEB_2,
        **BETA,
    )
    post(address, stuck, project_silent(**BETA))
    [mail] = expect(sink, 1)
    check_golden("project-operator", mail)
    assert mail.part("plain").index("CRITICAL") < mail.part("plain").index("WARNING")
    eventually(lambda: expect_pages(sink, "ProjectSilent"))


def test_a_hypervisor_is_out_for_its_operator_the_pager_and_an_owner(sink: Sink, address: str) -> None:
    post(address, *beginning_now(HYPERVISOR_DOWN, OUTAGE), silent(WEB_1, "web-1", **ALPHA))
    mails = {mail.recipients: mail for mail in expect(sink, 2)}
    assert "web-1" not in mails[CONTACT,].part("plain"), "the outage inhibits it"
    check_golden("hypervisor-operator", mails[OPERATOR,])
    check_golden("hypervisor-project", mails[CONTACT,])
    eventually(lambda: expect_pages(sink, "HypervisorDown"))


def test_the_exporters_own_trouble_is_told_apart(sink: Sink, address: str) -> None:
    post(address, *beginning_now(STALE, RELOAD, GONE))
    mails = expect(sink, 2)
    assert all(mail.message["Subject"].startswith("[fping-exporter] ") for mail in mails)
    (warnings,) = [mail for mail in mails if "WARNING" in mail.message["Subject"]]
    check_golden("exporter-warnings", warnings)
    eventually(lambda: expect_pages(sink, "FpingExporterGone"))


def test_of_two_clouds_each_has_its_own_outage(sink: Sink, address: str) -> None:
    """The instance of `us` is on a hypervisor with the name of that of `eu`, and in a project with its id."""
    post(
        address,
        *beginning_now(in_cloud("eu", HYPERVISOR_DOWN), in_cloud("ap", HYPERVISOR_DOWN)),
        in_cloud("eu", silent(WEB_1, "web-1", **BETA)),
        in_cloud("us", silent(WEB_2, "web-2", **BETA)),
    )
    mails = expect(sink, 2)
    assert all("web-1" not in mail.part("plain") for mail in mails), "the outage inhibits it"
    (instance,) = [mail for mail in mails if "[cloud us]" in mail.message["Subject"]]
    (outages,) = [mail for mail in mails if mail is not instance]
    check_golden("clouds-hypervisors", outages)
    check_golden("clouds-instance", instance)


def test_an_exporter_that_ends_is_one_alert_whatever_clouds_it_has(sink: Sink, address: str) -> None:
    process = GONE | {"labels": GONE["labels"] | {"job": "fping-exporter-process"}}
    post(address, *beginning_now(process, in_cloud("eu", GONE), in_cloud("us", GONE)))
    [mail] = expect(sink, 1)
    assert mail.message["Subject"] == "[fping-exporter] CRITICAL FpingExporterGone mon-1:10605: 1 now"


def test_a_mail_has_an_end(sink: Sink, address: str) -> None:
    post(address, *(silent(f"id-{number}", f"vm-{number}", **BETA) for number in range(250)))
    [mail] = expect(sink, 1)
    assert ": 250 now" in mail.message["Subject"]
    for part in ("plain", "html"):
        assert mail.part(part).count("does not answer") == 100
        assert "These are 100 of 250." in mail.part(part)
        assert f"{ALERTMANAGER_URL}/#/alerts" in mail.part(part)


def expect_pages(sink: Sink, alert: str) -> None:
    assert [page["groupLabels"]["alertname"] for page in sink.pages] == [alert]
