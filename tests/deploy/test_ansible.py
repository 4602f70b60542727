"""The Ansible role: its structure, and what its templates render, without Ansible."""

import configparser
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import jinja2.nativetypes
import pytest
import trustme
import yaml

from fping_exporter import config
from fping_exporter.httpd.web_config import WebConfig

ROOT = Path(__file__).parents[2]
ANSIBLE = ROOT / "deploy" / "ansible"
ROLE = ANSIBLE / "roles" / "fping_exporter"
SHIPPED = ROOT / "deploy" / "systemd"
AGENT = {"fping_exporter_mode": "agent", "fping_exporter_centrals": ["https://central-1.example:10605"]}
CENTRAL = {"fping_exporter_mode": "central"}
PYTHON_TYPES = {"str": str, "list": list, "dict": dict, "bool": bool, "int": int}


def flags(*given: str) -> dict[str, Any]:
    return {"fping_exporter_flags": list(given)}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def combine(
    first: Mapping[str, Any], second: Mapping[str, Any], *, recursive: bool = False
) -> dict[str, Any]:
    merged = {**first, **second}
    if recursive:
        for key in first.keys() & second.keys():
            if isinstance(first[key], dict) and isinstance(second[key], dict):
                merged[key] = combine(first[key], second[key], recursive=True)
    return merged


def flatten(values: list[Any]) -> list[Any]:
    return [inner for value in values for inner in (value if isinstance(value, list) else [value])]


def regex_search(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found[0] if found else ""


FILTERS: dict[str, Callable[..., Any]] = {
    "basename": lambda path: Path(path).name,
    "bool": bool,
    "combine": combine,
    "comment": lambda text: f"# {text}",
    "difference": lambda values, others: [value for value in values if value not in others],
    "flatten": flatten,
    "kolla_address": lambda _network, host: f"address-of-{host}",
    "put_address_in_context": lambda address, _context: address,
    "regex_replace": lambda text, pattern, new="": re.sub(pattern, new, text),
    "regex_search": regex_search,
    "to_json": json.dumps,
    "to_nice_yaml": lambda value, indent, sort_keys=True: yaml.safe_dump(
        value, indent=indent, sort_keys=sort_keys
    ),
}
"""The filters of Ansible and Kolla that the role and its README use, as far as they do."""


class Role:
    """The variables of the role, evaluated as Ansible does: when they are used, and again each time."""

    def __init__(self, **given: Any) -> None:
        self.raw = {
            "ansible_managed": "Ansible managed",
            "inventory_hostname": "host.example",
            "role_path": str(ROLE),
            "fping_exporter__version": "x",
            **load(ROLE / "defaults" / "main.yml"),
            **load(ROLE / "vars" / "main.yml"),
            **given,
        }
        self.native = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
        self.plain = jinja2.Environment(  # noqa: S701, the templates make no HTML
            undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
        )
        for environment in (self.native, self.plain):
            environment.filters.update(FILTERS)
            environment.tests["regex"] = lambda text, pattern: bool(re.search(pattern, text))
            environment.globals["lookup"] = lambda _plugin, path: Path(path).read_text()

    def __getitem__(self, name: str) -> Any:
        return self.evaluate(self.raw[name])

    def evaluate(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.evaluate(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.evaluate(each) for each in value]
        if isinstance(value, str) and "{{" in value:
            return self.native.from_string(value).render(self.used_in(value))
        return value

    def used_in(self, text: str) -> dict[str, Any]:
        names = jinja2.meta.find_undeclared_variables(self.native.parse(text))
        return {name: self[name] for name in names if name in self.raw}

    def render(self, template: str) -> str:
        return self.render_text((ROLE / "templates" / template).read_text())

    def render_text(self, text: str) -> str:
        return self.plain.from_string(text).render(self.used_in(text))


def test_every_file_is_yaml() -> None:
    paths = [path for path in ANSIBLE.rglob("*.yml") if "templates" not in path.parts]
    assert len(paths) > 15
    assert all(load(path) for path in paths)


def test_every_variable_is_documented_with_its_type() -> None:
    options = load(ROLE / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = load(ROLE / "defaults" / "main.yml")
    assert list(options) == list(defaults)
    for name, default in defaults.items():
        if not (isinstance(default, str) and "{{" in default):
            assert isinstance(default, PYTHON_TYPES[options[name]["type"]]), name
    used = set(
        re.findall(r"fping_exporter_(?!_)\w+", "".join(path.read_text() for path in ROLE.rglob("tasks/*")))
    )
    assert used - {"fping_exporter_admin_cloud"} <= set(defaults)


def test_every_task_that_sees_a_secret_is_silent() -> None:
    secret = re.compile(
        r"keystone_auth|__credential\b|__credential\.|keystone_password|exporter_key_file|clouds\.yaml\.j2|web\.yml\.j2"
    )
    seen = 0
    for path in sorted((ROLE / "tasks").glob("*.yml")):
        for task in tasks(load(path)):
            own = {
                key: value
                for key, value in task.items()
                if key not in {"block", "rescue", "always", "when", "name"}
            }
            if secret.search(json.dumps(own)) and "no_log" not in task:
                pytest.fail(f"{path.name}: {task['name']}")
            seen += "no_log" in task
    assert seen > 8


def tasks(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tasks, and those of all blocks."""
    inner = [
        each for entry in entries for key in ("block", "rescue", "always") for each in entry.get(key, [])
    ]
    return entries + (tasks(inner) if inner else [])


@pytest.mark.parametrize("given", [{}, CENTRAL, AGENT], ids=["single", "central", "agent"])
def test_the_exporter_accepts_the_configuration(given: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "fping-exporter.yml"
    path.write_text(
        Role(**given, fping_exporter_config={"cache": {"sweep": "20s"}}).render("fping-exporter.yml.j2")
    )
    settings = config.load(path)
    assert float(settings.cache.sweep) == 20
    assert bool(settings.agents) == (given == CENTRAL)
    if given == AGENT:
        assert settings.inventory
        assert settings.inventory.central == ("https://central-1.example:10605",)
        assert settings.inventory.key_file == "/etc/fping-exporter/agent.key"


def test_an_empty_configuration_is_all_defaults(tmp_path: Path) -> None:
    path = tmp_path / "fping-exporter.yml"
    path.write_text(Role().render("fping-exporter.yml.j2"))
    assert config.load(path) == config.Config()


def test_an_agent_may_have_a_password_in_place_of_a_certificate(tmp_path: Path) -> None:
    path = tmp_path / "fping-exporter.yml"
    password = {"inventory": {"username": "agent", "password_file": "/etc/fping-exporter/password"}}
    path.write_text(Role(**AGENT, fping_exporter_config=password).render("fping-exporter.yml.j2"))
    inventory = config.load(path).inventory
    assert inventory
    assert (inventory.username, inventory.cert_file) == ("agent", None)


def test_the_exporter_accepts_the_web_configuration_of_a_central(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    text = Role(
        **CENTRAL, fping_exporter_web_config={"basic_auth_users": {"a": "$2y$05$" + 53 * "x"}}
    ).render("web.yml.j2")
    ca = trustme.CA()
    issued = ca.issue_cert("central.example")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "central.pem")
    issued.private_key_pem.write_to_path(tmp_path / "central.key")
    path.write_text(text.replace("/etc/fping-exporter", str(tmp_path)))
    settings = WebConfig(path).settings()
    assert settings.basic_auth_users
    assert list(settings.basic_auth_users) == ["a"]


@pytest.mark.parametrize(
    ("given", "dropins", "flags_dropin"),
    [
        ({}, [], False),
        ({"fping_exporter_config": {"probe": {"vantages": ["local", "qdhcp"]}}}, ["namespaces.conf"], False),
        ({"fping_exporter_listen_address": "127.0.0.1:1"}, [], True),
        ({"fping_exporter_web_config": {"basic_auth_users": {}}}, [], True),
        (CENTRAL, ["central.conf"], False),
        (CENTRAL | {"fping_exporter_flags": ["--log.format=json"]}, ["central.conf"], True),
        (AGENT, ["namespaces.conf", "agent.conf"], False),
        (AGENT | {"fping_exporter_config": {"probe": {"vantages": ["local"]}}}, ["agent.conf"], False),
    ],
)
def test_the_dropins(given: dict[str, Any], dropins: list[str], flags_dropin: bool) -> None:  # noqa: FBT001
    role = Role(**given)
    assert role["fping_exporter__dropins_shipped"] == dropins
    assert role["fping_exporter__needs_flags_dropin"] is flags_dropin
    shipped = {path.name for path in SHIPPED.glob("*.conf")}
    assert set(role["fping_exporter__dropins_known"]) == shipped | {"flags.conf"}


def test_the_dropin_for_flags_starts_what_the_unit_starts() -> None:
    unit = (SHIPPED / "fping-exporter.service").read_text()
    text = Role(**CENTRAL, fping_exporter_flags=['--web.external-url=https://a/%20"$']).render(
        "flags.conf.j2"
    )
    added = r' "--web.config.file=/etc/fping-exporter/web.yml" "--web.external-url=https://a/%%20\"$$"'
    (start,) = re.findall(r"(?m)^ExecStart=(.+)$", unit)
    hang_up, check = re.findall(r"(?m)^ExecReload=(.+)$", unit)
    assert re.findall(r"(?m)^ExecStart=(.*)$", text) == ["", start + added]
    assert re.findall(r"(?m)^ExecReload=(.*)$", text) == ["", hang_up, check + added]
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.read_string(text)
    assert parsed["Service"]["SupplementaryGroups"] == "fping-exporter-keys"


def test_the_credentials() -> None:
    made = {"application_credential_id": "a", "application_credential_secret": 'b"'}
    role = Role(
        fping_exporter_auth_url="https://keystone.example:5000/v3",
        fping_exporter_region="north",
        fping_exporter_openstack_ca_file="ca.pem",
        fping_exporter__credential=made,
    )
    (cloud,) = yaml.safe_load(role.render("clouds.yaml.j2"))["clouds"].values()
    assert cloud.pop("auth") == {"auth_url": "https://keystone.example:5000/v3", **made}
    assert cloud == {
        "auth_type": "v3applicationcredential",
        "interface": "public",
        "region_name": "north",
        "cacert": "/etc/fping-exporter/openstack-ca.pem",
    }
    own = {"clouds": {"mine": {"auth": {"auth_url": "http://a"}}}}
    assert yaml.safe_load(Role(fping_exporter_clouds=own).render("clouds.yaml.j2")) == own


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://127.0.0.1:10605/-/ready"),
        ({"fping_exporter_listen_address": "[::1]:9000"}, "http://[::1]:9000/-/ready"),
        ({"fping_exporter_web_config": {"basic_auth_users": {"a": "b"}}}, "http://127.0.0.1:10605/-/healthy"),
        (CENTRAL, "https://127.0.0.1:10605/-/ready"),
        (flags("--web.external-url=https://ops.example.com"), "http://127.0.0.1:10605/-/ready"),
        (flags("--web.external-url=https://ops.example.com/fping/"), "http://127.0.0.1:10605/fping/-/ready"),
        (flags("--web.external-url=https://a/b", "--web.route-prefix=/"), "http://127.0.0.1:10605/-/ready"),
        (
            flags("--web.external-url=https://a/b", "--web.route-prefix=c/d"),
            "http://127.0.0.1:10605/c/d/-/ready",
        ),
    ],
)
def test_where_readiness_is_asked(given: dict[str, Any], url: str) -> None:
    assert Role(**given)["fping_exporter_ready_url"] == url


def test_the_target_of_prometheus() -> None:
    role = Role(**CENTRAL, fping_exporter_scrape_labels={"cloud": "north"})
    assert yaml.safe_load(role.render("file_sd.yml.j2")) == [
        {"targets": ["host.example:10605"], "labels": {"__scheme__": "https", "cloud": "north"}}
    ]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (["--web.external-url=https://a"], None),
        (["--web.external-url=https://a/fping"], "/fping/metrics"),
        (["--web.telemetry-path=/m", "--web.route-prefix=/fping"], "/fping/m"),
    ],
)
def test_prometheus_scrapes_below_the_prefix(given: list[str], path: str | None) -> None:
    ((target,),) = [yaml.safe_load(Role(**flags(*given)).render("file_sd.yml.j2"))]
    assert target["labels"].get("__metrics_path__") == path


def test_the_files_for_kolla() -> None:
    text = (ANSIBLE / "kolla.md").read_text()
    scrape, haproxy = re.findall(r"<!-- checked by \S+ -->\n```\w+\n(.*?)```", text, re.DOTALL)
    role = Role(
        groups={"compute": ["cn-1", "cn-2"]},
        kolla_internal_vip_address="192.0.2.1",
        kolla_enable_tls_internal=False,
    )
    (job,) = yaml.safe_load(role.render_text(scrape))["scrape_configs"]
    agents, centrals = job["static_configs"]
    assert agents == {"targets": ["address-of-cn-1:10605", "address-of-cn-2:10605"]}
    assert centrals == {"labels": {"__scheme__": "https"}, "targets": ["control01:10605", "control02:10605"]}
    assert "server control01 address-of-control01:10605 check" in role.render_text(haproxy)
