from collections.abc import Iterator

import pytest

from tests.cloud.faulty import BETA, FaultyCloud, make_servers


@pytest.fixture
def standin() -> Iterator[FaultyCloud]:
    """A cloud of two servers in each of two projects."""
    with FaultyCloud(*make_servers(2), *make_servers(2, project=BETA)) as cloud:
        yield cloud
