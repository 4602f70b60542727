"""clouds.yaml and the OS_* variables: what counts, and how their errors are told."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from fping_exporter.cloud import Cloud
from fping_exporter.config import Config, Instances
from fping_exporter.demo.http import Answer, Request
from fping_exporter.demo.standin import Standin
from fping_exporter.errors import CloudError, ConfigError
from tests.cloud.faulty import ADMIN, MEMBER, TOKENS, FaultyCloud


class TestConfiguration:
    """clouds.yaml and the OS_* variables, read by openstacksdk, their faults told in one line."""

    @pytest.fixture(autouse=True)
    def clouds(self, standin: FaultyCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        path = tmp_path / "clouds.yaml"
        clouds = {"prod": standin.cloud(), "joes": standin.cloud(MEMBER)}
        path.write_text(yaml.safe_dump({"clouds": clouds}), encoding="utf-8")
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
        return path

    def test_an_entry_of_clouds_yaml(self) -> None:
        assert len(Cloud(Config(cloud="prod")).inventory().instances) == 4

    def test_the_name_and_the_region_that_pages_show(self) -> None:
        cloud = Cloud(Config(cloud="prod"))
        assert (cloud.name, cloud.region) == ("prod", "RegionOne")

    def test_os_cloud(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OS_CLOUD", "joes")
        assert len(Cloud(Config(all_projects=False)).inventory().instances) == 2

    def test_an_empty_os_cloud_is_none(
        self, standin: FaultyCloud, clouds: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OS_CLOUD", "")
        clouds.write_text(yaml.safe_dump({"clouds": {"only": standin.cloud()}}), encoding="utf-8")
        cloud = Cloud(Config())
        assert len(cloud.inventory().instances) == 4
        assert cloud.name == "only"

    def test_os_variables(self, standin: FaultyCloud, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OS_CLIENT_CONFIG_FILE")
        for name, value in standin.cloud()["auth"].items():
            monkeypatch.setenv(f"OS_{name.upper()}", value)
        cloud = Cloud(Config())
        assert len(cloud.inventory().instances) == 4
        assert (cloud.name, cloud.region) == ("127.0.0.1", "")

    def test_an_application_credential(self, standin: FaultyCloud, clouds: Path) -> None:
        auth = {"application_credential_id": "i", "application_credential_secret": "s"}
        auth["auth_url"] = standin.cloud()["auth"]["auth_url"]
        cloud = {"auth_type": "v3applicationcredential", "auth": auth}
        clouds.write_text(yaml.safe_dump({"clouds": {"app": cloud}}), encoding="utf-8")
        seen = []

        def log_in(request: Request) -> Answer:
            seen.append(msgspec.json.decode(request.body)["auth"]["identity"])
            user = {"name": ADMIN.name, "password": ADMIN.password}
            body = {"auth": {"identity": {"password": {"user": user}}}}
            return Standin.answer(standin, request._replace(body=msgspec.json.encode(body)))

        standin.fail(TOKENS, log_in)
        assert len(Cloud(Config(cloud="app")).inventory().instances) == 4
        assert seen == [
            {"methods": ["application_credential"], "application_credential": {"id": "i", "secret": "s"}}
        ]

    def test_an_unknown_entry(self) -> None:
        with pytest.raises(ConfigError) as caught:
            Cloud(Config(cloud="pord"))
        assert str(caught.value) == 'cloud: "pord" is not an entry of clouds.yaml; known are joes, prod'

    def test_no_credentials_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OS_CLIENT_CONFIG_FILE")
        with pytest.raises(ConfigError) as caught:
            Cloud(Config())
        assert str(caught.value) == (
            "no complete credentials for OpenStack, missing: auth_url; set `cloud` to an entry of "
            "clouds.yaml, or the OS_* variables"
        )

    def test_an_entry_without_a_clouds_yaml(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OS_CLIENT_CONFIG_FILE")
        with pytest.raises(ConfigError) as caught:
            Cloud(Config(cloud="prod"))
        assert str(caught.value) == (
            'cloud: "prod" is not an entry of clouds.yaml; known are none: no clouds.yaml was found'
        )

    def test_the_variable_names_an_entry_without_a_clouds_yaml(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OS_CLIENT_CONFIG_FILE")
        monkeypatch.setenv("OS_CLOUD", "prod")
        with pytest.raises(ConfigError) as caught:
            Cloud(Config())
        assert str(caught.value) == (
            'OS_CLOUD: "prod" is not an entry of clouds.yaml; known are none: no clouds.yaml was found'
        )

    @pytest.mark.parametrize("variable", ["OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE"])
    def test_a_file_is_named_that_is_not_there(
        self, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, str(tmp_path / "none.yaml"))
        with pytest.raises(ConfigError) as caught:
            Cloud(Config(cloud="prod"))
        assert str(caught.value) == (
            f"{variable}: {tmp_path}/none.yaml cannot be read: No such file or directory"
        )

    def test_a_directory_as_docker_makes_where_a_file_to_mount_is_missing(self, clouds: Path) -> None:
        clouds.unlink()
        clouds.mkdir()
        with pytest.raises(ConfigError) as caught:
            Cloud(Config())
        assert str(caught.value) == f"OS_CLIENT_CONFIG_FILE: {clouds} cannot be read: Is a directory"

    @pytest.mark.parametrize(
        "text",
        [
            "clouds:\n  prod:\n    auth: {password: hunter2, username: [}",
            "clouds: [hunter2]",
            "hunter2",
            "clouds: {prod: hunter2}",
            "clouds: {prod: {auth: hunter2}}",
            "clouds: {prod: {auth: {password: hunter2, auth_url: 7}, auth_type: magic}}",
            "clouds: {prod: {auth: {password: hunter2}, region_name: a, regions: [b]}}",
        ],
    )
    def test_a_bad_clouds_yaml_is_one_line_without_its_secrets(self, clouds: Path, text: str) -> None:
        clouds.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            Cloud(Config(cloud="prod"))
        assert "\n" not in str(caught.value)
        assert "hunter2" not in str(caught.value)

    def test_a_region_that_clouds_yaml_does_not_know(self) -> None:
        with pytest.raises(ConfigError) as caught:
            Cloud(Config(cloud="prod", region="Mars"))
        assert str(caught.value) == (
            'region: "Mars", from the configuration, is none of "prod" in clouds.yaml, which has RegionOne'
        )

    def test_a_region_that_keystone_does_not_know(self, standin: FaultyCloud, clouds: Path) -> None:
        cloud = {"auth": standin.cloud()["auth"]}
        clouds.write_text(yaml.safe_dump({"clouds": {"prod": cloud}}), encoding="utf-8")
        with pytest.raises(CloudError) as caught:
            Cloud(Config(cloud="prod", region="Mars")).inventory()
        assert str(caught.value) == "public endpoint for compute service in Mars region not found"


class TestRegions:
    """A cloud of several regions: which one counts, and that it is said."""

    @pytest.fixture(autouse=True)
    def clouds(self, standin: FaultyCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        path = tmp_path / "clouds.yaml"
        entry = standin.cloud()
        del entry["region_name"]
        clouds = {"prod": entry | {"regions": ["North", "RegionOne"]}, "free": entry}
        path.write_text(yaml.safe_dump({"clouds": clouds}), encoding="utf-8")
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
        return path

    @staticmethod
    def in_two_regions(body: Any) -> Any:
        for service in body["token"]["catalog"]:
            there = {"url": "http://127.0.0.1:1/", "region": "North", "region_id": "North"}
            service["endpoints"] = [each | there for each in service["endpoints"]] + service["endpoints"]
        return body

    @pytest.mark.parametrize("cloud", ["prod", "free"])
    @pytest.mark.parametrize("source", ["the configuration", "OS_REGION_NAME"])
    def test_the_chosen_one_is_listed_and_logged(
        self,
        standin: FaultyCloud,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        cloud: str,
        source: str,
    ) -> None:
        caplog.set_level("INFO", "fping_exporter")
        standin.rewrite(TOKENS, self.in_two_regions)
        config = Config(cloud=cloud)
        if source == "OS_REGION_NAME":
            monkeypatch.setenv("OS_REGION_NAME", "RegionOne")
        else:
            config = Config(cloud=cloud, region="RegionOne")
            monkeypatch.setenv("OS_REGION_NAME", "North")
        assert len(Cloud(config).inventory().instances) == 4
        [record] = [record for record in caplog.records if record.message == "region chosen"]
        assert {"cloud": cloud, "region": "RegionOne", "source": source}.items() <= vars(record).items()

    def test_none_is_chosen_of_several_in_clouds_yaml(self) -> None:
        with pytest.raises(ConfigError) as caught:
            Cloud(Config(cloud="prod"))
        assert str(caught.value) == (
            'region: "prod" in clouds.yaml has several, set one here or in OS_REGION_NAME: North, RegionOne'
        )

    def test_none_is_chosen_of_several_in_the_catalog(self, standin: FaultyCloud) -> None:
        standin.rewrite(TOKENS, self.in_two_regions)
        cloud = Cloud(Config(cloud="free"))
        told = (
            "region: set it, or OS_REGION_NAME; the catalog has the compute service in several: "
            "North, RegionOne"
        )
        with pytest.raises(ConfigError) as caught:
            cloud.inventory()
        assert str(caught.value) == told
        with pytest.raises(CloudError) as for_a_caller:
            cloud.session.client("compute").get_as({}, "/servers/detail", params={}, timeout=5)
        assert str(for_a_caller.value) == told

    def test_the_only_one_of_the_catalog_needs_no_choice(self) -> None:
        assert len(Cloud(Config(cloud="free")).inventory().instances) == 4

    def test_a_variable_that_names_none_of_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OS_REGION_NAME", "Mars")
        with pytest.raises(ConfigError) as caught:
            Cloud(Config(cloud="prod"))
        assert str(caught.value) == (
            'region: "Mars", from OS_REGION_NAME, is none of "prod" in clouds.yaml, which has '
            "North, RegionOne"
        )


class TestUnreadable:
    """A file of which openstacksdk takes no notice, as this user may not read it."""

    RIGHT = (
        f"cannot be read: Permission denied; make it readable for uid {os.geteuid()} or gid {os.getegid()}, "
        "which the exporter runs as"
    )

    @staticmethod
    def start(directory: Path, **environment: str) -> str:
        """Return what is told by a start in `directory`, without root's power to read everything."""
        program = (
            "import logging\n"
            "from fping_exporter.cloud import Cloud\n"
            "from fping_exporter.config import Config\n"
            "logging.basicConfig(format='%(message)s')\n"
            "try: Cloud(Config()); print('started')\n"
            "except Exception as error: print(f'{type(error).__name__}: {error}')"
        )
        drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*drop, sys.executable, "-c", program],
            cwd=directory,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        return done.stdout.rstrip("\n")

    @pytest.fixture
    def clouds(self, standin: FaultyCloud, tmp_path: Path) -> Path:
        path = tmp_path / "clouds.yaml"
        path.write_text(yaml.safe_dump({"clouds": {"prod": standin.cloud()}}), encoding="utf-8")
        return path

    @pytest.mark.parametrize("variable", ["OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE"])
    def test_that_a_variable_names(self, clouds: Path, variable: str) -> None:
        named = clouds.rename(clouds.with_name("named.yaml"))
        named.chmod(0)
        told = self.start(clouds.parent, **{variable: str(named)})
        assert told == f"ConfigError: {variable}: {named} {self.RIGHT}"

    def test_that_is_to_have_an_entry(self, clouds: Path) -> None:
        clouds.chmod(0)
        assert self.start(clouds.parent, OS_CLOUD="prod") == (
            'ConfigError: OS_CLOUD: "prod" is not an entry of clouds.yaml; known are none; '
            f"{clouds} {self.RIGHT}"
        )

    def test_that_is_to_have_the_only_entry(self, clouds: Path) -> None:
        clouds.chmod(0)
        assert self.start(clouds.parent) == (
            "ConfigError: no complete credentials for OpenStack, missing: auth_url; set `cloud` to an entry "
            f"of clouds.yaml, or the OS_* variables; {clouds} {self.RIGHT}"
        )

    def test_beside_one_that_is_named(self, clouds: Path) -> None:
        named = clouds.rename(clouds.with_name("named.yaml"))
        clouds.touch(0)
        assert self.start(clouds.parent, OS_CLIENT_CONFIG_FILE=str(named)) == "started"

    def test_with_the_secrets(self, clouds: Path) -> None:
        secure = clouds.with_name("secure.yaml")
        secure.touch(0)
        assert self.start(clouds.parent) == f"{secure} {self.RIGHT}\nstarted"


@pytest.mark.parametrize(
    ("all_projects", "own"), [(True, {}), (False, {"auth.username": "joe", "auth.project_name": "alpha"})]
)
def test_what_tells_clouds_apart_has_no_secret(
    all_projects: bool,  # noqa: FBT001
    own: dict[str, str],
    standin: FaultyCloud,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud = standin.cloud(MEMBER)
    cloud["region_name"] = "RegionOne"
    cloud["auth"]["auth_url"] = "https://user:secret-of-the-proxy@keystone.example/v3"
    (tmp_path / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"prod": cloud}}), encoding="utf-8")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    scope = Cloud(Config(all_projects=all_projects, instances=Instances(host="self"))).scope
    assert "secret" not in str(scope)
    assert scope["auth.auth_url"] == "https://keystone.example/v3"
    assert scope["region_name"] == "RegionOne"
    assert scope["instances.host"] == socket.gethostname()
    assert own.items() <= scope.items()
    assert all_projects == ("auth.username" not in scope)
