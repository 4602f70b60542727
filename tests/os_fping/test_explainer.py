"""What a caller is told of a server whose host Nova does not show."""

import msgspec
import pytest

from fping_exporter.config import Config
from fping_exporter.explanation.asking import Asker
from fping_exporter.model import Inventory, Reason, Snapshot
from fping_exporter.os_fping.explainer import Explainer
from tests.explanation.scenes import GUEST, REASONS


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("cached", [True, False])
def test_no_sentence_names_a_host_that_nova_hides(
    reason: Reason,
    cached: bool,  # noqa: FBT001, a case
) -> None:
    world = REASONS[reason]
    listed = world.snapshot()

    def sweep(alone: Inventory, _replies: object) -> Snapshot:
        assert alone.instances[0].host == GUEST.host, "or it could not be planned"
        return msgspec.structs.replace(listed, inventory=alone)

    explainer = Explainer(Config(probe=world.probe), snapshot=lambda: listed, asker=Asker(sweep))
    shown = msgspec.structs.replace(world.guest, host="", hypervisor="")
    told = explainer.explain(shown, cached=cached)
    assert told
    assert told.reason is reason
    assert GUEST.host not in msgspec.json.encode(told).decode()
