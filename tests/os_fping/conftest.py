"""Fixtures: the two clouds, and an exporter for each."""

from collections.abc import Iterator

import pytest

from tests.integration.conftest import lab, novaclient
from tests.os_fping.exporter import Api, serving
from tests.os_fping.worlds import LabWorld, Recorder, StandinWorld, World

__all__ = ["admin", "alpha", "api", "lab", "novaclient", "standin", "world"]


@pytest.fixture
def standin() -> Iterator[Recorder]:
    """A stand-in that a test may change."""
    with Recorder() as standin:
        yield standin


@pytest.fixture(scope="package", params=["standin", pytest.param("lab", marks=pytest.mark.lab)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A cloud that stays as it is."""
    if request.param == "lab":
        yield LabWorld(request.getfixturevalue("lab"))
        return
    with Recorder() as standin:
        yield StandinWorld(standin)


@pytest.fixture(scope="package")
def api(world: World) -> Iterator[Api]:
    """An exporter of that cloud, which has no limit on requests."""
    with serving(world.region(), prober=world.prober) as api:
        yield api


@pytest.fixture(scope="package")
def alpha(world: World) -> str:
    """A token of a member's."""
    return world.token("alpha")


@pytest.fixture(scope="package")
def admin(world: World) -> str:
    """A token of an admin's."""
    return world.token("admin")
