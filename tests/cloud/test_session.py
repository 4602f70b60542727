"""The border: what may pass is tried again, everything else becomes one line of ours."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
import yaml
from openstack.config import OpenStackConfig

from fping_exporter.cloud import Cloud
from fping_exporter.config import Config
from fping_exporter.demo.http import Answer, Request
from fping_exporter.demo.standin import Standin
from fping_exporter.errors import AuthError, CloudError, ConfigError
from tests.cloud.faulty import ADMIN, MEMBER, SERVERS, TOKENS, FaultyCloud, connect

BUSY = Answer(503, b"busy")


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("path", ["/identity/v3", TOKENS, SERVERS])
def test_what_may_pass_is_tried_again_with_longer_and_longer_waits(
    standin: FaultyCloud, path: str, code: int
) -> None:
    standin.fail(path, *[Answer(code, b"")] * 3)
    listed = connect(standin)
    assert len(listed.cloud.inventory().instances) == 4
    assert listed.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("path", ["/identity/v3", TOKENS, SERVERS])
def test_the_tries_end(standin: FaultyCloud, path: str) -> None:
    standin.fail(path, *[BUSY] * 9)
    listed = connect(standin)
    with pytest.raises(CloudError, match="HTTP 503"):
        listed.cloud.inventory()
    assert listed.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("retry_after", "slept"), [("7", 7.0), ("30", 30.0), ("0", 0.5), ("soon", 0.5), ("-5", 0.5)]
)
def test_retry_after_is_heeded(standin: FaultyCloud, code: int, retry_after: str, slept: float) -> None:
    standin.fail(SERVERS, Answer(code, b"", {"Retry-After": retry_after}))
    listed = connect(standin)
    assert len(listed.cloud.inventory().instances) == 4
    assert listed.slept == [slept]


def test_a_server_that_wants_a_long_pause_gets_it_from_the_caller(standin: FaultyCloud) -> None:
    limit = {"overLimit": {"code": 429, "message": "Too many requests.", "retryAfter": "31"}}
    standin.fail(SERVERS, Answer(429, limit, {"Retry-After": "31"}))
    listed = connect(standin)
    with pytest.raises(CloudError, match="HTTP 429: Too many requests"):
        listed.cloud.inventory()
    assert listed.slept == []


@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 501])
def test_what_will_not_pass_is_not_tried_again(standin: FaultyCloud, code: int) -> None:
    standin.fail(SERVERS, *[Answer(code, b"")] * 2)
    listed = connect(standin)
    with pytest.raises(CloudError, match=f"HTTP {code}"):
        listed.cloud.inventory()
    assert listed.slept == []


def test_a_token_that_is_no_longer_valid_is_renewed(standin: FaultyCloud) -> None:
    listed = connect(standin)
    listed.cloud.inventory()
    standin.forget_tokens()
    assert len(listed.cloud.inventory().instances) == 4
    assert len(standin.asked(TOKENS)) == 2
    assert listed.observed["compute", 401] == 1


def test_a_token_that_is_about_to_expire_is_renewed_before(standin: FaultyCloud) -> None:
    standin.token_seconds = 5
    listed = connect(standin)
    listed.cloud.inventory()
    listed.cloud.inventory()
    assert len(standin.asked(TOKENS)) > 2
    assert not listed.observed["compute", 401]


def test_wrong_credentials_are_one_line_without_the_password(standin: FaultyCloud) -> None:
    region = standin.region(MEMBER)
    standin.users.remove(MEMBER)
    with pytest.raises(AuthError) as caught:
        Cloud(Config(), region=region).inventory()
    assert str(caught.value) == (
        f"the credentials were not accepted: {standin.url}{TOKENS}: HTTP 401: "
        "The request you have made requires authentication."
    )


def test_every_response_is_counted_by_service_and_code(standin: FaultyCloud) -> None:
    standin.fail(SERVERS, BUSY)
    listed = connect(standin)
    listed.cloud.inventory()
    codes = {"/identity/v3": 200, TOKENS: 201}
    assert listed.observed == {
        ("identity", 200): 2,  # versions, projects
        ("identity", 201): 1,  # token
        ("compute", 200): 5,  # versions, two pages, services, hypervisors
        ("compute", 503): 1,
    }
    assert listed.observed.total() == len(standin.requests)
    assert {request.path: codes[request.path] for request in standin.requests[:2]} == codes


def test_the_exporter_says_who_it_is(standin: FaultyCloud) -> None:
    connect(standin).cloud.inventory()
    assert all(request.headers["User-Agent"].startswith("fping-exporter") for request in standin.requests)


def test_nobody_listening_is_told_in_one_line(standin: FaultyCloud) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        standin.url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        listed = connect(standin)
        with pytest.raises(CloudError) as caught:
            listed.cloud.inventory()
    assert str(caught.value) == f"{standin.url}/identity/v3: no connection: [Errno 111] Connection refused"
    assert listed.slept == [0.5, 1.0, 2.0]


def test_a_server_that_breaks_off_is_asked_again(standin: FaultyCloud) -> None:
    short = Answer(200, b'{"servers": ', {"Content-Length": "99", "Connection": "close"})
    standin.fail(SERVERS, short)
    listed = connect(standin)
    assert len(listed.cloud.inventory().instances) == 4
    assert listed.slept == [0.5]


def test_a_server_that_does_not_answer_is_given_up_at_the_timeout(standin: FaultyCloud) -> None:
    over = threading.Event()

    def hangs(_request: Request) -> None:
        over.wait(5)

    standin.fail(SERVERS, hangs)
    settings = OpenStackConfig(load_yaml_config=False, load_envvars=False)
    region = settings.get_one(**standin.cloud(), api_timeout=0.1)
    try:
        with pytest.raises(CloudError) as caught:
            Cloud(Config(), region=region).inventory()
    finally:
        over.set()
    assert str(caught.value) == f"{standin.url}{SERVERS}: no connection: timed out"
    assert len(standin.asked(SERVERS)) == 1


@pytest.mark.parametrize("path", ["/identity/v3", TOKENS, "/compute/v2.1", SERVERS, "/identity/v3/projects"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"7",
        b"{}",
        b'{"token": {}}',
        b'{"token": {"catalog": [{}]}}',
        b'{"version": []}',
    ],
)
@pytest.mark.parametrize("code", [200, 404])
def test_nonsense_never_ends_in_anything_but_our_errors(
    standin: FaultyCloud, path: str, body: bytes, code: int
) -> None:
    standin.fail(path, *[Answer(code, body, {"X-Subject-Token": "t"})] * 9)
    with contextlib.suppress(CloudError):
        connect(standin).cloud.inventory()


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

    def test_os_cloud(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OS_CLOUD", "joes")
        assert len(Cloud(Config(all_projects=False)).inventory().instances) == 2

    def test_an_empty_os_cloud_is_none(
        self, standin: FaultyCloud, clouds: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OS_CLOUD", "")
        clouds.write_text(yaml.safe_dump({"clouds": {"only": standin.cloud()}}), encoding="utf-8")
        assert len(Cloud(Config()).inventory().instances) == 4

    def test_os_variables(self, standin: FaultyCloud, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OS_CLIENT_CONFIG_FILE")
        for name, value in standin.cloud()["auth"].items():
            monkeypatch.setenv(f"OS_{name.upper()}", value)
        assert len(Cloud(Config()).inventory().instances) == 4

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
        with pytest.raises(ConfigError, match="Region Mars is not a valid region name for cloud prod"):
            Cloud(Config(cloud="prod", region="Mars"))

    def test_a_region_that_keystone_does_not_know(self, standin: FaultyCloud, clouds: Path) -> None:
        cloud = {"auth": standin.cloud()["auth"]}
        clouds.write_text(yaml.safe_dump({"clouds": {"prod": cloud}}), encoding="utf-8")
        with pytest.raises(CloudError) as caught:
            Cloud(Config(cloud="prod", region="Mars")).inventory()
        assert str(caught.value) == "public endpoint for compute service in Mars region not found"


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
