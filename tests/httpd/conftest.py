"""Certificates, and a web configuration file beside them."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.RSA)


@pytest.fixture(scope="module")
def issuers(authority: trustme.CA) -> dict[str, trustme.CA]:
    """Who issues certificates to clients."""
    return {"ours": authority, "stranger": trustme.CA()}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Path:
    """A directory with what the configurations name."""
    directory = tmp_path_factory.mktemp("pki")
    server = authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.RSA)
    server.private_key_pem.write_to_path(directory / "server.key")
    with (directory / "server.pem").open("wb") as chain:
        chain.writelines(pem.bytes() for pem in server.cert_chain_pems)
    authority.cert_pem.write_to_path(directory / "ca.pem")
    (directory / "junk.pem").write_text("no certificate")
    return directory


@pytest.fixture
def write(pki: Path) -> Iterator[Callable[[str], Path]]:
    path = pki / "web.yml"

    def write_text(text: str) -> Path:
        path.write_text(text)
        return path

    yield write_text
    path.unlink(missing_ok=True)


@pytest.fixture
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
