"""A cloud, and whoever is told of it by the shipped rules."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.cloud import Cloud, serving
from tests.deploy.stack import Sink, alerting
from tests.integration.process import free_port


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def sink(cloud: Cloud, tmp_path: Path) -> Iterator[Sink]:
    port = free_port()
    with serving(cloud, port=port), alerting(tmp_path, target=f"127.0.0.1:{port}") as sink:
        yield sink
