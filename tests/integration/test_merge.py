"""What a real Nova tells to have changed, merged, is what it lists."""

import random
from collections.abc import Callable

import msgspec
import pytest

from fping_exporter.cloud import Cloud
from fping_exporter.config import Config
from fping_exporter.model import Instance, Inventory
from tests.integration.lab import OWN, Lab
from tests.integration.process import eventually

pytestmark = pytest.mark.lab

SEED = 14
"""What is random here is so for each run alike: a change that Nova refuses would be another test."""
SERVERS = 2
CHANGES = 10


@pytest.fixture
def changing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Cloud]:
    """Make a cloud of the lab."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(lab.clouds))

    def connect(**settings: object) -> Cloud:
        return Cloud(msgspec.convert(settings, Config))

    return connect


def comparable(inventory: Inventory) -> dict[str, tuple[Instance, frozenset[str]]]:
    """What changes and Neutron tell."""
    return {
        instance.id: (
            msgspec.structs.replace(instance, tags=(), addresses=()),
            frozenset(address.ip for address in instance.addresses),
        )
        for instance in inventory.instances
    }


def boot(lab: Lab, name: str) -> str:
    """Boot a server, and do not wait for it."""
    (network,) = lab.call("network", "GET", "/v2.0/networks?name=lab-shared")["networks"]
    (image,) = lab.call("image", "GET", "/v2/images?name=lab-image")["images"]
    flavors = lab.call("compute", "GET", "/flavors")["flavors"]
    body = {
        "name": OWN + name,
        "imageRef": image["id"],
        "flavorRef": next(flavor["id"] for flavor in flavors if flavor["name"] == "lab.tiny"),
        "networks": [{"uuid": network["id"]}],
    }
    created = lab.call("compute", "POST", "/servers", {"server": body}, cloud="alpha")["server"]
    return str(created["id"])


def change(lab: Lab, id_: str, what: str, number: int) -> None:
    """Change a server at random; it may be in the middle of another change."""
    path = f"/servers/{id_}"
    if what == "rename":
        lab.call("compute", "PUT", path, {"server": {"name": f"{OWN}renamed-{number}"}})
    elif what == "metadata":
        lab.call("compute", "POST", f"{path}/metadata", {"metadata": {"number": str(number)}})
    else:
        lab.call("compute", "POST", f"{path}/action", {what: {"type": "HARD"} if what == "reboot" else None})


def test_random_changes_are_merged(lab: Lab, changing: Callable[..., Cloud]) -> None:
    draw = random.Random(SEED)  # noqa: S311, no secret
    admin = changing(cloud="admin"), changing(cloud="admin")
    member = changing(cloud="alpha", all_projects=False), changing(cloud="alpha", all_projects=False)

    def check(merging: Cloud, listing: Cloud) -> None:
        """Between two changes of Nova's own the two lists are the same."""
        merged = merging.inventory()
        assert not merged.full
        assert comparable(merged) == comparable(listing.inventory(full=True))

    for merging, _ in (admin, member):
        assert merging.inventory().full
    mine = [boot(lab, f"merged-{number}") for number in range(SERVERS)]
    try:
        eventually(lambda: check(*admin))
        for number in range(CHANGES):
            id_ = draw.choice(mine)
            eventually(lambda id_=id_: _assert_settled(lab, id_))  # type: ignore[misc]
            power = (
                "os-stop"
                if lab.call("compute", "GET", f"/servers/{id_}")["server"]["status"] == "ACTIVE"
                else "os-start"
            )
            change(lab, id_, draw.choice(["rename", "metadata", "lock", "unlock", "reboot", power]), number)
            if number == CHANGES // 2:
                eventually(lambda: check(*admin))
        gone = mine.pop()
        lab.call("compute", "DELETE", f"/servers/{gone}")
        eventually(lambda: _assert_gone(lab, gone))
        for clouds in (admin, member):
            eventually(lambda clouds=clouds: check(*clouds))  # type: ignore[misc]
            merging, _ = clouds
            assert gone not in comparable(merging.inventory())
            assert merging.inventory(full=True).corrections == 0
    finally:
        for id_ in mine:
            lab.call("compute", "DELETE", f"/servers/{id_}")
            eventually(lambda id_=id_: _assert_gone(lab, id_))  # type: ignore[misc]
    eventually(lambda: check(*admin))


def _assert_settled(lab: Lab, id_: str) -> None:
    server = lab.call("compute", "GET", f"/servers/{id_}")["server"]
    assert (server["OS-EXT-STS:task_state"], server["status"]) in {(None, "ACTIVE"), (None, "SHUTOFF")}


def _assert_gone(lab: Lab, id_: str) -> None:
    assert not lab.has(id_)
