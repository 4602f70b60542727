"""When mails fail, the pager tells of it: a real Prometheus that scrapes a real Alertmanager."""

import pytest

from tests.deploy.cloud import Cloud
from tests.deploy.stack import Sink
from tests.integration.process import eventually

pytestmark = pytest.mark.e2e


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
