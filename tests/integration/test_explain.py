"""``fping-exporter explain`` against a real cloud: one that answers, one silent, one blocked, one off."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.exporter import write_config
from tests.integration.lab import Fate, Lab, Server
from tests.integration.process import ROOT
from tests.integration.test_reasons import SENDER, Groups

pytestmark = pytest.mark.lab


class Explained(NamedTuple):
    exit_code: int
    told: dict[str, Any]


class Scene(NamedTuple):
    answering: Server
    silent: Server
    blocked: Server
    off: Server


@pytest.fixture(scope="module")
def scene(lab: Lab) -> Iterator[Scene]:
    guests = {each.id: each for each in lab.guests("alpha-private")}
    fates = {each.server_id: each.fate for each in lab.addrs() if each.server_id in guests}
    [answering, *_] = [guests[id_] for id_, fate in fates.items() if fate is Fate.ALIVE]
    [silent, blocked, *_] = [guests[id_] for id_, fate in fates.items() if fate is Fate.SILENT]
    off = next(each for each in lab.servers().values() if each.status == "SHUTOFF")
    with Groups(lab) as groups:
        (port,) = groups.call("GET", f"ports?device_id={blocked.id}")["ports"]
        groups.change(port["id"], security_groups=[groups.create(project=blocked.project_id)])
        yield Scene(answering, silent, blocked, off)


@pytest.fixture(scope="module")
def explained(lab: Lab, scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Explained]:
    """What is said of each, by its id; all are asked at once, as an import takes a second or more."""
    config = write_config(
        tmp_path_factory.mktemp("explain"),
        cloud="admin",
        probe={"vantages": ["local", "qdhcp"], "timeout": "1s", "retries": 1},
    )
    processes = {each.id: _start(lab, config, each.id) for each in scene}
    found = {}
    for id_, process in processes.items():
        output, errors = process.communicate(timeout=60)
        assert output, errors
        found[id_] = Explained(process.returncode, json.loads(output))
    return found


def _start(lab: Lab, config: Path, id_: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "fping_exporter", "explain", id_, "--json", "--config.file", config],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "OS_CLIENT_CONFIG_FILE": str(lab.clouds)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def asked(told: dict[str, Any]) -> dict[str, Any]:
    """Return what is said of the address of IPv4 that was asked in the project's own network."""
    return next(each for each in told["addresses"] if each["ip"].startswith("10.182."))


def test_one_that_answers(scene: Scene, explained: dict[str, Explained]) -> None:
    code, told = explained[scene.answering.id]
    assert (code, told["alive"], told["reason"], told["next"]["command"]) == (0, True, None, None)
    assert told["nova"]["hypervisor"] == scene.answering.hypervisor
    assert told["nova"]["created_at"] <= told["nova"]["launched_at"]
    address = asked(told)
    assert address["vantage"] == f"qdhcp-{address['network_id']}"
    assert (address["source"], address["received"] > 0) == (SENDER, True)
    assert address["security"]["decision"] == "admitted"
    assert f"rule {address['security']['rule_id']} of " in address["security"]["text"]


def test_one_that_is_silent(scene: Scene, explained: dict[str, Explained]) -> None:
    code, told = explained[scene.silent.id]
    assert (code, told["alive"]) == (1, False)
    assert told["reason"] in {"no_reply", "icmp_ignored"}, "as its kernel answers at layer 2 or not"
    assert asked(told)["sent"] > asked(told)["received"] == 0
    assert told["next"]["command"].endswith(f"{scene.silent.id} --lines 50")


def test_one_whose_security_group_blocks_pings(scene: Scene, explained: dict[str, Explained]) -> None:
    code, told = explained[scene.blocked.id]
    assert (code, told["alive"], told["reason"]) == (1, False, "icmp_blocked")
    security = asked(told)["security"]
    assert (security["decision"], security["groups"][0]["name"]) == ("blocked", "test-reasons")
    assert f"an ingress rule for ICMP from {SENDER} is missing in test-reasons" in security["text"]


def test_one_that_is_off(scene: Scene, explained: dict[str, Explained]) -> None:
    code, told = explained[scene.off.id]
    assert (code, told["reason"], told["nova"]["status"]) == (0, "not_active", "SHUTOFF")
    assert told["next"]["command"] == f"openstack server event list {scene.off.id}"
