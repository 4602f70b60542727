"""One server, asked for by its id."""

import pytest

from fping_exporter.demo.http import Answer
from fping_exporter.errors import CloudError, NotFoundError
from tests.cloud.faulty import FaultyCloud, connect


def test_what_a_list_says_of_it(standin: FaultyCloud) -> None:
    cloud = connect(standin).cloud
    for listed in cloud.inventory().instances:
        assert cloud.look_up(listed.id) == listed


def test_none_of_that_id(standin: FaultyCloud) -> None:
    cloud = connect(standin).cloud
    gone = standin.servers.pop()
    with pytest.raises(NotFoundError):
        cloud.look_up(gone.id)
    with pytest.raises(NotFoundError):
        cloud.look_up("../servers/detail")


def test_what_cannot_be_read(standin: FaultyCloud) -> None:
    cloud = connect(standin).cloud
    id_ = standin.servers[0].id
    standin.fail(f"/compute/v2.1/servers/{id_}", Answer(200, {"server": {"id": id_}}))
    with pytest.raises(CloudError, match="cannot be read"):
        cloud.look_up(id_)
