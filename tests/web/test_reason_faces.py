"""The page, the text and the JSON say the same of an instance, for each reason."""

import time

import msgspec
import pytest

from fping_exporter.cli.explanation_text import as_text
from fping_exporter.config import Config
from fping_exporter.explanation.asking import explain_from_here
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Reason, Snapshot
from fping_exporter.web import create_app
from tests.build import ORIGIN
from tests.explanation.scenes import ID, REASONS
from tests.web.pages import Exporter, Pinger
from tests.web.test_instance_page import text_of


class Fixed:
    """A monitor that has one snapshot."""

    age = 0.0

    def __init__(self, snapshot: Snapshot, settings: Config) -> None:
        self.latest = snapshot
        self.settings = settings

    def snapshot(self, **_options: object) -> Snapshot:
        return self.latest

    def last_day(self, _id: str) -> None:
        return None


@pytest.mark.parametrize("reason", Reason)
def test_page_text_and_json_agree(reason: Reason) -> None:
    world = REASONS[reason]
    snapshot = world.snapshot()
    monitor = Fixed(snapshot, Config(probe=world.probe))
    app = create_app(
        lambda: Exporter(lambda: world.inventory, Pinger({})).monitor,
        whole=lambda: monitor,
        telemetry=Telemetry(),
        telemetry_path="/metrics",
        origin=lambda: ORIGIN,
    )
    page = text_of(app.test_client().get(f"/instance/{ID}").text)
    told = explain_from_here(snapshot.verdicts[0], snapshot, probe=world.probe)
    text = " ".join(as_text(told, now=time.time()).split())

    said = [told.meaning, told.next.sentence, told.next.command, told.nova.status, *told.remarks]
    for each in told.addresses:
        said += [each.ip, each.owner, each.why_not_asked, each.security.text, each.layer2.text]
        said += [each.port_id, each.mac, each.icmp_error.meaning if each.icmp_error else None]
        said += [part for other in each.others for part in (other.id, other.name)]
        said += [] if each.sent is None else [f"{each.received} of {each.sent} answered"]
    for sentence in filter(None, said):
        assert sentence in page
        assert sentence in text
    assert reason.replace("_", " ") in page
    assert f"{reason}: " in text
    assert msgspec.to_builtins(told)["reason"] == reason
