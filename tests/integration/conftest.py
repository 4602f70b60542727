"""Fixtures: the lab, an exporter of it, the old client."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.exporter import Exporter, write_config
from tests.integration.lab import STATE, Lab
from tests.integration.novaclient import Novaclient

Start = Callable[..., Exporter]


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab with every guest as it was at first, which no other test run changes meanwhile."""
    if os.geteuid() != 0:
        pytest.fail("the tests marked lab need root")
    with Path(f"{STATE}.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # the process's own: the fixture may be there twice
        yield Lab.running()


@pytest.fixture(scope="session")
def novaclient(lab: Lab, pytestconfig: pytest.Config) -> Iterator[Novaclient]:
    """The last client with ``fping``, installed once for all runs."""
    assert pytestconfig.cache
    with Novaclient(pytestconfig.cache.mkdir("novaclient"), clouds=lab.clouds) as client:
        yield client


@pytest.fixture
def start(lab: Lab, tmp_path: Path) -> Iterator[Start]:
    """Start an exporter of the lab with the settings given, and stop it after the test."""
    with ExitStack() as stack:

        def run(**settings: object) -> Exporter:
            config = write_config(tmp_path, **settings)
            return stack.enter_context(Exporter(config, clouds=lab.clouds, log=tmp_path / "exporter.log"))

        yield run
