"""The cloud of systemd.sh: one guest on loopback, and one in a tenant's network."""

import signal
import sys
from pathlib import Path

import yaml

from fping_exporter.demo.standin import NovaServer
from fping_exporter.model import Address, AddressKind
from fping_exporter.systemd import notify
from tests.cloud.faulty import ALPHA
from tests.cloud.neutron import NeutronCloud, group, port, rule

_MAC = "fa:16:3e:00:00:01"


def guest(name: str, *ips: str) -> NovaServer:
    addresses = tuple(Address(ip, 6 if ":" in ip else 4, AddressKind.FIXED, name, _MAC) for ip in ips)
    return NovaServer(
        id=name, name=name, project_id=ALPHA.id, addresses=addresses, hypervisor="kvm-1.example"
    )


def main(file: Path, host: str, network: str) -> None:
    """Serve the cloud, and write its clouds.yaml to `file`, with `host` as this machine's name.

    `network` is the id of the tenant's network.
    """
    cloud = NeutronCloud(guest("near", "127.10.0.1", "::1"), guest("tenant", "10.0.0.5"))
    cloud.url = cloud.url.replace("127.0.0.1", host)
    cloud.network["ports"] = [port("port", "10.0.0.5", device="tenant", network_id=network, mac_address=_MAC)]
    cloud.network["security_groups"] = [group("default", rule())]
    with cloud:
        file.write_text(yaml.safe_dump({"clouds": {"alpha": cloud.cloud()}}))
        notify("READY=1")
        signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
