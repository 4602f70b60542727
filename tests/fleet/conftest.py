"""Certificates of a fleet: one CA for centrals and agents."""

from pathlib import Path

import pytest
import trustme

from tests.fleet.centrals import Pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """A directory with the certificates of a central on loopback, of agents, and of a stranger."""
    directory: Path = tmp_path_factory.mktemp("fleet")
    authority, other = trustme.CA(), trustme.CA()
    for name, issuer, names in (
        ("central", authority, ("127.0.0.1",)),
        ("cn-1", authority, ("cn-1.example",)),
        ("cn-2", authority, ("cn-2.example",)),
        ("stranger", other, ("cn-1.example",)),
    ):
        certificate = issuer.issue_cert(*names)
        certificate.private_key_pem.write_to_path(directory / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    other.cert_pem.write_to_path(directory / "other-ca.pem")
    return Pki(directory)
