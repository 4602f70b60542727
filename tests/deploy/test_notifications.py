"""When mails fail, the pager tells of it: a real Prometheus that scrapes a real Alertmanager."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.stack import Sink, alerting
from tests.deploy.test_mail import Cloud, serving
from tests.integration.process import eventually, free_port

pytestmark = pytest.mark.e2e


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def sink(cloud: Cloud, tmp_path: Path) -> Iterator[Sink]:
    port = free_port()
    with serving(cloud, port=port), alerting(tmp_path, target=f"127.0.0.1:{port}") as sink:
        yield sink


def test_the_pager_tells_that_mails_fail(cloud: Cloud, sink: Sink) -> None:
    sink.accepts_mail = False
    cloud.dead |= {"a1"}
    eventually(lambda: expect_page(sink))
    [page] = sink.pages
    [alert] = page["alerts"]
    assert alert["annotations"]["summary"].endswith("cannot send by email")
    assert not sink.mails


def expect_page(sink: Sink) -> None:
    assert [page["groupLabels"]["alertname"] for page in sink.pages] == ["NotificationsFailed"]
