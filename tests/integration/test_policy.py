"""The shipped role: what it reads is what an admin reads, and it may do nothing else."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import yaml
from keystoneauth1.exceptions import HttpError

from fping_exporter.cloud import Cloud
from fping_exporter.config import Config, Instances
from fping_exporter.model import Inventory
from tests.integration.lab import Lab

pytestmark = pytest.mark.lab

POLICY = Path(__file__).parents[2] / "deploy" / "policy"
FILES = ("nova", "neutron", "neutron-old-defaults", "keystone")
ROLE = "fping-exporter"


def rules(name: str) -> dict[str, str]:
    loaded: dict[str, str] = yaml.safe_load((POLICY / f"{name}.yaml").read_text())
    return loaded


def validate(name: str, policy: Mapping[str, str], home: Path) -> subprocess.CompletedProcess[str]:
    """Let oslo.policy compare rules with those that the service defines.

    Nova's half of the validator takes no configuration, and looks into the home directory for one.
    """
    service, _, _ = name.partition("-")
    path = home / "policy.yaml"
    path.write_text(yaml.safe_dump(dict(policy)))
    settings = f"[oslo_policy]\npolicy_file = {path}\n"
    (home / f".{service}").mkdir()
    for config in (home / "oslo.conf", home / f".{service}" / f"{service}.conf"):
        config.write_text(settings)
    return subprocess.run(
        [
            *("/usr/bin/oslopolicy-validator", "--namespace", service),
            *("--config-file", str(home / "oslo.conf")),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "HOME": str(home)},
    )


@pytest.mark.parametrize("name", FILES)
def test_the_validator_knows_every_rule(name: str, tmp_path: Path) -> None:
    checked = validate(name, rules(name), tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", FILES)
def test_the_validator_refuses_a_name_that_is_none(name: str, tmp_path: Path) -> None:
    checked = validate(name, {**rules(name), "get_nothing": "role:fping-exporter"}, tmp_path)
    assert checked.returncode == 1
    assert "Unknown rule found in policy file: get_nothing" in checked.stdout + checked.stderr


def test_both_files_of_neutron_let_the_role_read_the_same() -> None:
    new, old = rules("neutron"), rules("neutron-old-defaults")
    reads = {name: rule for name, rule in new.items() if not name.startswith(("update_", "delete_"))}
    assert reads.items() <= old.items()
    assert len(reads) == len(new) - 2


def passes(name: str, rule: str, *, roles: list[str], home: Path) -> bool:
    """Ask oslo.policy's checker whether somebody of another project with these roles may do it."""
    access = {
        "token": {
            "methods": ["password"],
            "roles": [{"id": role, "name": role} for role in roles],
            "user": {"id": "u", "name": "u", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": "p", "name": "p", "domain": {"id": "default", "name": "Default"}},
            "issued_at": "2026-01-01T00:00:00Z",
            "expires_at": "2099-01-01T00:00:00Z",
        }
    }
    (home / "access.json").write_text(json.dumps(access))
    (home / "target.json").write_text(json.dumps({"project_id": "another", "tenant_id": "another"}))
    checked = subprocess.run(
        [
            *("/usr/bin/oslopolicy-checker", "--policy", POLICY / f"{name}.yaml", "--rule", rule),
            *("--access", home / "access.json", "--target", home / "target.json"),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    (verdict,) = (line for line in checked.stdout.splitlines() if line.endswith(f": {rule}"))
    return verdict.startswith("passed")


@pytest.mark.parametrize(
    ("name", "rule", "granted"),
    [
        ("nova", "os_compute_api:servers:detail:get_all_tenants", True),
        ("neutron", "context_is_advsvc", True),
        ("neutron", "update_port", False),
        ("neutron", "delete_port", False),
        ("neutron-old-defaults", "create_port", False),
        ("neutron-old-defaults", "update_port", False),
        ("keystone", "identity:list_projects", True),
    ],
)
def test_the_checker_grants_the_role_what_it_reads(
    name: str,
    rule: str,
    granted: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    assert passes(name, rule, roles=[ROLE, "reader"], home=tmp_path) is granted
    without = passes(name, rule, roles=["reader"], home=tmp_path)
    assert without is rule.startswith("create_"), "the old defaults let everybody create"


@pytest.fixture
def clouds(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(lab.clouds))


def listed(cloud: str, host: str | None) -> Inventory:
    config = Config(cloud=cloud, contacts_from_keystone=True, instances=Instances(host=host))
    inventory = Cloud(config).inventory()
    return msgspec.structs.replace(inventory, listed_at=0.0, duration=0.0)


@pytest.mark.parametrize("host", [None, "lab-compute-1"])
@pytest.mark.usefixtures("clouds")
def test_the_role_lists_what_an_admin_lists(host: str | None) -> None:
    with_role, as_admin = listed(ROLE, host), listed("admin", host)
    assert with_role == as_admin
    assert len(with_role.instances) > 20
    assert set(with_role.parts.values()) == {True}


class Action(NamedTuple):
    """Something that an admin may do."""

    service: str
    method: str
    path: str
    body: object = None


def actions(lab: Lab) -> Iterator[Action]:
    """Yield what would change other people's things, or the cloud."""
    server = lab.guests("alpha-shared")[0]
    path = f"/servers/{server.id}"
    for body in (
        {"os-stop": None},
        {"reboot": {"type": "HARD"}},
        {"os-resetState": {"state": "error"}},
        {"os-migrateLive": {"host": None, "block_migration": "auto"}},
        {"lock": None},
        {"createImage": {"name": "x"}},
        {"rebuild": {"imageRef": server.id}},
    ):
        yield Action("compute", "POST", f"{path}/action", body)
    yield Action("compute", "DELETE", path)
    yield Action("compute", "PUT", path, {"server": {"name": "x"}})
    yield Action("compute", "POST", f"{path}/os-interface", {"interfaceAttachment": {}})
    [service, *_] = lab.call("compute", "GET", "/os-services?binary=nova-compute")["services"]
    yield Action("compute", "PUT", f"/os-services/{service['id']}", {"status": "disabled"})
    yield Action("compute", "POST", "/flavors", {"flavor": {"name": "x", "ram": 1, "vcpus": 1, "disk": 0}})
    yield Action("compute", "POST", "/os-aggregates", {"aggregate": {"name": "x"}})

    [port, *_] = lab.call("network", "GET", f"/v2.0/ports?device_id={server.id}")["ports"]
    yield Action("network", "PUT", f"/v2.0/ports/{port['id']}", {"port": {"name": "x"}})
    yield Action("network", "PUT", f"/v2.0/ports/{port['id']}", {"port": {"security_groups": []}})
    yield Action("network", "DELETE", f"/v2.0/ports/{port['id']}")
    yield Action("network", "POST", "/v2.0/ports", {"port": {"network_id": port["network_id"]}})
    network = f"/v2.0/networks/{port['network_id']}"
    yield Action("network", "PUT", network, {"network": {"name": "x"}})
    yield Action("network", "DELETE", network)
    [group, *_] = lab.call("network", "GET", "/v2.0/security-groups?name=default")["security_groups"]
    rule = {"security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv4"}
    yield Action("network", "POST", "/v2.0/security-group-rules", {"security_group_rule": rule})
    yield Action("network", "DELETE", f"/v2.0/security-groups/{group['id']}")
    [floating, *_] = lab.call("network", "GET", "/v2.0/floatingips")["floatingips"]
    yield Action("network", "PUT", f"/v2.0/floatingips/{floating['id']}", {"floatingip": {"port_id": None}})

    for kind in ("network", "router", "security_group"):
        yield Action("network", "POST", f"/v2.0/{kind.replace('_', '-')}s", {kind: {"name": "x"}})

    project = lab.project_id("alpha")
    yield Action("identity", "PATCH", f"/projects/{project}", {"project": {"enabled": False}})
    yield Action("identity", "DELETE", f"/projects/{project}")
    yield Action("identity", "POST", "/users", {"user": {"name": "x", "domain_id": "default"}})
    [admin] = lab.call("identity", "GET", "/roles?name=admin")["roles"]
    [me] = lab.call("identity", "GET", f"/users?name={ROLE}")["users"]
    yield Action("identity", "PUT", f"/projects/{project}/users/{me['id']}/roles/{admin['id']}")
    yield Action("identity", "DELETE", f"/users/{me['id']}")


def test_nothing_else_is_granted(lab: Lab) -> None:
    wanted = list(actions(lab))
    assert len(wanted) >= 20
    granted = []
    for action in wanted:
        try:
            lab.call(action.service, action.method, action.path, action.body, cloud=ROLE)
        except HttpError as error:
            assert error.http_status in {403, 404}, (action, str(error))
        else:
            granted.append(action)
    assert granted == []
