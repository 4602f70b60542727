"""From a guest of a real cloud that dies to the mail that says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.cloud import CONTACT
from tests.deploy.stack import alerting
from tests.deploy.test_mail import OPERATOR, expect
from tests.integration.conftest import Start
from tests.integration.lab import Fate, Lab, Server
from tests.integration.process import eventually

pytestmark = pytest.mark.lab


@pytest.fixture
def guest(lab: Lab) -> Iterator[Server]:
    """A server of alpha on lab-shared, which answers."""
    created = lab.create("mail")
    yield created
    lab.delete(created.id)


def test_a_guest_dies_and_its_contact_is_told_and_told_again_when_it_is_back(
    lab: Lab, guest: Server, start: Start, tmp_path: Path
) -> None:
    exporter = start(
        cloud="admin",
        contacts={"alpha": CONTACT},
        cache={"inventory": "2s", "sweep": "1s"},
        # A busy machine is slow to answer, and must not seem dead.
        probe={"timeout": "2s", "retries": 0},
    )

    def check() -> None:
        alive = exporter.scrape().value("instance_alive", id=guest.id, project_id=guest.project_id)
        assert alive == 1

    eventually(check)
    with alerting(tmp_path, target=exporter.address) as sink:
        lab.set_fate(Fate.SILENT, guest.id)
        expect(sink, CONTACT, 1)
        lab.set_fate(Fate.ALIVE, guest.id)
        expect(sink, CONTACT, 2)

    died, back = sink.to(CONTACT)
    assert died.message["Subject"] == "[cloud] WARNING InstanceSilent alpha: 1 now"
    assert died.message["To"] == CONTACT
    assert f"{guest.name} does not answer" in died.part("plain")
    assert guest.id in died.part("plain")
    assert back.message["Subject"] == "[cloud] RESOLVED InstanceSilent alpha: 1 over"
    assert f"{guest.name} answers again" in back.part("plain")
    assert guest.id in back.part("plain")
    assert all(guest.name not in mail.part("plain") for mail in sink.to(OPERATOR)), str(sink)
