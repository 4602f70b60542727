"""Alertmanager accepts every mail address that the exporter exports."""

from pathlib import Path

import pytest

from fping_exporter.config.mail_address import are_mail_addresses
from tests.config.test_mail_address import ATEXT, GOOD
from tests.deploy.stack import Sink, alertmanager, tell
from tests.integration.process import eventually, free_port

pytestmark = pytest.mark.e2e

EVERY_CHARACTER = [f"{one}{one}.{one}@example.org" for one in ATEXT]
DIVIDED = "admin,ops@alpha.example"


def test_every_address_of_a_list_gets_the_mail(tmp_path: Path) -> None:
    addresses = (*GOOD, *EVERY_CHARACTER)
    # Alertmanager writes the whole list on one line of the header To. RFC 5322 allows 998 characters a line.
    lists = [addresses[start : start + 10] for start in range(0, len(addresses), 10)]
    assert are_mail_addresses(",".join(addresses))
    listening = f"127.0.0.1:{free_port()}"
    with alertmanager(tmp_path / "alertmanager", address=listening) as sink:
        for number, each in enumerate(lists):
            labels = {"project_id": f"p{number}", "email": ",".join(each)}
            tell(listening, {"alertname": "InstanceSilent"} | labels)
        eventually(lambda: expect_mails(sink, len(lists)))
    assert sorted(mail.recipients for mail in sink.mails) == sorted(lists)


def test_a_list_of_which_one_is_no_address_gets_none(tmp_path: Path) -> None:
    """Alertmanager then mails nobody on the list, so the exporter leaves an invalid address out."""
    listening = f"127.0.0.1:{free_port()}"
    with alertmanager(tmp_path / "alertmanager", address=listening) as sink:
        labels = {"project_id": "alpha", "email": f"ann@example.org,{DIVIDED}"}
        tell(listening, {"alertname": "InstanceSilent"} | labels)
        log = tmp_path / "alertmanager" / "log"
        eventually(lambda: expect_refusal(log))
        assert not sink.mails
    assert not are_mail_addresses(DIVIDED)


def expect_mails(sink: Sink, count: int) -> None:
    assert len(sink.mails) == count, str(sink)


def expect_refusal(log: Path) -> None:
    assert "parse 'to' addresses: mail:" in log.read_text()
