from collections.abc import Iterator

import pytest

from tests.netns import Network, need_root


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    need_root()
    with Network() as network:
        yield network
