"""The old client against Nova of today: why there is an os-fping of our own."""

import pytest

from tests.integration.novaclient import Novaclient

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("version", ["2", "2.1", "2.35"])
def test_nova_has_dropped_it(novaclient: Novaclient, version: str) -> None:
    answer = novaclient.fping("list", version=version)

    assert (answer.found, answer.code) == (None, 410)
