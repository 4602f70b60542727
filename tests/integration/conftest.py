"""Fixtures: the lab, an exporter of it, a Prometheus of that."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.exporter import Exporter, write_config
from tests.integration.lab import Lab

Start = Callable[..., Exporter]


@pytest.fixture(scope="session")
def lab() -> Lab:
    """A lab with every guest as it was at first."""
    if os.geteuid() != 0:
        pytest.fail("the tests marked lab need root")
    return Lab.running()


@pytest.fixture
def start(lab: Lab, tmp_path: Path) -> Iterator[Start]:
    """Start an exporter of the lab with the settings given, and stop it after the test."""
    with ExitStack() as stack:

        def run(**settings: object) -> Exporter:
            config = write_config(tmp_path, **settings)
            return stack.enter_context(Exporter(config, clouds=lab.clouds, log=tmp_path / "exporter.log"))

        yield run
