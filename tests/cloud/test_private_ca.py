"""A cloud whose certificates are of a private CA: `cacert` in clouds.yaml."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from openstack.config import OpenStackConfig

from fping_exporter.cloud import Cloud
from fping_exporter.config import Config
from fping_exporter.errors import CloudError, ConfigError
from tests.cloud.faulty import FaultyCloud, make_servers


class TlsCloud(FaultyCloud):
    """The stand-in behind TLS, with a certificate of `authority`."""

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__(*make_servers(2))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.url = self.url.replace("http://", "https://")


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    return tmp_path / "ca.pem"


@pytest.fixture
def clouds(ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A clouds.yaml with an entry that names the CA's file, and one that does not."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(ca)
    with TlsCloud(authority) as cloud:
        entries = {"private": cloud.cloud() | {"cacert": str(ca)}, "public": cloud.cloud()}
        path = tmp_path / "clouds.yaml"
        path.write_text(yaml.safe_dump({"clouds": entries}), encoding="utf-8")
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
        yield


@pytest.mark.usefixtures("clouds")
def test_a_cloud_is_listed_whose_ca_is_named() -> None:
    assert len(Cloud(Config(cloud="private")).inventory().instances) == 2


@pytest.mark.usefixtures("clouds")
def test_a_cloud_whose_ca_is_not_named_is_refused() -> None:
    cloud = Cloud(Config(cloud="public"), sleep=lambda _seconds: None)
    with pytest.raises(CloudError, match="certificate verify failed"):
        cloud.inventory()


@pytest.mark.usefixtures("clouds")
def test_a_ca_that_is_not_there_is_named(ca: Path) -> None:
    ca.unlink()
    with pytest.raises(ConfigError, match=r"ca\.pem cannot be read"):
        Cloud(Config(cloud="private"))


@pytest.mark.usefixtures("clouds")
@pytest.mark.parametrize("content", ["", "garbage"])
def test_a_file_that_has_no_ca_is_an_error_of_the_cloud(ca: Path, content: str) -> None:
    ca.write_text(content, encoding="utf-8")
    cloud = Cloud(Config(cloud="private"), sleep=lambda _seconds: None)
    with pytest.raises(CloudError, match="no certificate or crl found"):
        cloud.inventory()


@pytest.mark.usefixtures("clouds")
def test_a_ca_that_goes_away_later_is_an_error_of_the_cloud(ca: Path) -> None:
    cloud = Cloud(Config(cloud="private"))
    ca.unlink()
    with pytest.raises(CloudError, match=r"invalid path: .*ca\.pem"):
        cloud.inventory()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cacert": "/etc/ca\0.pem"}, r"the configuration of OpenStack: /etc/ca\0.pem cannot be read"),
        ({"cert": "/etc/a\0", "key": "/etc/b"}, r"the configuration of OpenStack: /etc/a\0 cannot be read"),
        ({"cacert": ["/etc/ca.pem"]}, "the configuration of OpenStack: expected str, bytes or os.PathLike "),
        (
            {"api_timeout": "soon"},
            "the configuration of OpenStack: could not convert string to float: 'soon'",
        ),
    ],
)
def test_a_setting_that_is_no_path_or_number_is_one_line(
    standin: FaultyCloud, settings: dict[str, Any], message: str
) -> None:
    region = OpenStackConfig(load_yaml_config=False, load_envvars=False).get_one(
        **standin.cloud(), **settings
    )
    with pytest.raises(ConfigError) as caught:
        Cloud(Config(), region=region)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1
