"""An alert outlives restarts of a real Prometheus, of the exporter, and of both."""

import contextlib
import time
from pathlib import Path

import pytest

from tests.deploy.cloud import Cloud, serving
from tests.deploy.stack import prometheus, query
from tests.integration.process import eventually, free_port

pytestmark = pytest.mark.e2e

FIRING = 'ALERTS{alertname="InstanceSilent",alertstate="firing",id="a1",email!=""}'
LONGEST = 8.0
"""Seconds after which an alert has not ended if it goes on: keep_firing_for is three."""


class Stack:
    """A Prometheus and an exporter that are started and stopped one by one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._prometheus = contextlib.ExitStack()
        self._exporter = contextlib.ExitStack()
        self._address = ""

    def start_exporter(self, *, dead: set[str]) -> Cloud:
        """Start one that knows nothing of what was before."""
        cloud = Cloud()
        cloud.dead |= dead
        self._exporter.enter_context(serving(cloud, port=self._port))
        return cloud

    def stop_exporter(self) -> None:
        self._exporter.close()

    def start_prometheus(self, *, calm: bool = False) -> None:
        self._address = self._prometheus.enter_context(
            prometheus(
                self._directory, target=f"127.0.0.1:{self._port}", alertmanager="127.0.0.1:9", calm=calm
            )
        )

    def stop_prometheus(self) -> None:
        self._prometheus.close()

    def is_firing(self) -> bool:
        return bool(query(self._address, FIRING))

    def await_firing(self, *, wanted: bool = True) -> None:
        def check() -> None:
            assert self.is_firing() == wanted

        eventually(check, timeout=60)

    def stays_firing(self) -> None:
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline:
            assert self.is_firing()
            time.sleep(0.2)


def test_no_alert_is_lost_and_none_ends_without_an_answer(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "prometheus")
    with contextlib.ExitStack() as running:
        running.callback(stack.stop_exporter)
        running.callback(stack.stop_prometheus)
        cloud = stack.start_exporter(dead=set())
        stack.start_prometheus(calm=True)
        cloud.dead |= {"a1"}
        stack.await_firing()

        stack.stop_prometheus()
        stack.start_prometheus()
        stack.await_firing()
        stack.stays_firing()

        stack.stop_exporter()
        stack.stays_firing()
        stack.start_exporter(dead={"a1"})
        stack.stays_firing()

        stack.stop_exporter()
        stack.stop_prometheus()
        cloud = stack.start_exporter(dead={"a1"})
        stack.start_prometheus()
        stack.await_firing()
        stack.stays_firing()

        cloud.dead.clear()
        stack.await_firing(wanted=False)
