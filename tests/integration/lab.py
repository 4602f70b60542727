"""The lab as tests see it: Nova's word, the truth behind each address, and hands to change both."""

import contextlib
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from keystoneauth1.exceptions import NotFound
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

__all__ = ["STATE", "Addr", "Fate", "Lab", "Server", "Service", "Truth"]

STATE = Path(os.environ.get("OPENSTACK_LAB_DIR", "/var/tmp/openstack-lab"))  # noqa: S108, as its scripts have it
SCRIPTS = Path(__file__).parents[1] / "lab"
SERVERS = 60
OWN = "test-"
"""What the names of the servers begin with that tests create."""


class Fate(StrEnum):
    """What happens to an echo request to an address."""

    ALIVE = "alive"
    ABSENT = "absent"
    """Nobody has the address."""
    SILENT = "silent"
    """Somebody has it, and drops what is sent to it."""


class Service(StrEnum):
    """A service that a test may take away, by its name in the lab."""

    KEYSTONE = "keystone"
    NEUTRON = "neutron-server"
    NOVA = "nova-api"


@dataclass(frozen=True, kw_only=True)
class Server:
    """What Nova says of a server."""

    id: str
    project_id: str
    name: str
    status: str
    hypervisor: str
    zone: str
    addresses: tuple[str, ...]

    @property
    def active(self) -> bool:
        return self.status == "ACTIVE"


@dataclass(frozen=True)
class Addr:
    """An address as it was built."""

    ip: str
    fate: Fate
    server_id: str
    network_id: str
    network_kind: str
    """``shared``, ``external`` (a floating address) or ``tenant``."""
    host: str
    """The host of nova-compute that its server is on."""

    @property
    def from_root(self) -> Fate | None:
        """What happens to an echo request from the root namespace; None where it has no route."""
        return None if self.network_kind == "tenant" else self.fate


@dataclass(frozen=True)
class Truth:
    """What the exporter in the root namespace is to say of a server."""

    alive: bool | None
    """None where it could not be asked, or not told whose an answer is."""
    reason: str | None


class Lab:
    """A lab that is up. All waits are for Nova's own answer, and end with a failure."""

    clouds = STATE / "clouds.yaml"

    @classmethod
    def running(cls) -> "Lab":
        """Return the lab, raised and filled where it is not, and every guest as it was at first."""
        if not (STATE / "state" / "seeded").exists() or "stopped" in _run("svc.sh", "status"):
            _run("up.sh")
            _run("seed.py", str(SERVERS), "--ipv6", "--floating", "2")
        lab = cls()
        for server in lab.servers().values():
            if server.name.startswith(OWN):  # left by a run that was broken off
                lab.call("compute", "DELETE", f"/servers/{server.id}")
        _wait(lambda: not any(server.name.startswith(OWN) for server in lab.servers().values()))
        lab.restore_ports()
        lab.let_pings_in()
        _run("vms.py", "up")
        for addr in lab.addrs():
            _assert_stays_here(addr.ip)
        return lab

    # --------------------------------------------------------- Nova's word
    def call(
        self, service: str, method: str, path: str, body: object = None, *, cloud: str = "admin"
    ) -> dict[str, Any]:
        """Ask a service, by its type in the catalog, as a user of clouds.yaml; an error status raises."""
        response = _session(cloud).request(
            path,
            method,
            json=body,
            endpoint_filter={"service_type": service},
            headers={"OpenStack-API-Version": "compute 2.79"} if service == "compute" else {},
        )
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer

    def token(self, cloud: str) -> str:
        """Return a token of a user of clouds.yaml."""
        return str(_session(cloud).get_token())

    def project_id(self, cloud: str) -> str:
        """Return the project that a user of clouds.yaml belongs to."""
        return str(_session(cloud).get_project_id())

    def servers(self, *, cloud: str = "admin") -> dict[str, Server]:
        """Return Nova's servers by id: an admin's of all projects, a member's of its own."""
        query = "?all_tenants=1" if cloud == "admin" else ""
        listed = self.call("compute", "GET", f"/servers/detail{query}", cloud=cloud)["servers"]
        return {entry["id"]: _server(entry) for entry in listed}

    def launched_at(self) -> dict[str, float]:
        """Return when Nova launched each server, in Unix time; those that it never launched are left out."""
        listed = self.call("compute", "GET", "/servers/detail?all_tenants=1")["servers"]
        times = {}
        for entry in listed:
            created, launched = entry["created"], entry["OS-SRV-USG:launched_at"]
            if launched:
                at = datetime.fromisoformat(launched).replace(tzinfo=UTC)
                assert 0 <= (at - datetime.fromisoformat(created)).total_seconds() < 3600, "not in UTC"
                times[entry["id"]] = at.timestamp()
        return times

    def server(self, name: str) -> Server:
        """Return the server of that name."""
        (found,) = (server for server in self.servers().values() if server.name == name)
        return found

    def has(self, server_id: str) -> bool:
        """Whether Nova has a server of that id."""
        try:
            self.call("compute", "GET", f"/servers/{server_id}")
        except NotFound:
            return False
        return True

    def guests(self, series: str) -> list[Server]:
        """Return the ACTIVE servers of a series of seed.py's, such as ``alpha-shared``, by name."""
        found = [s for s in self.servers().values() if s.active and s.name.startswith(f"{series}-")]
        return sorted(found, key=lambda server: server.name)

    def hypervisors(self) -> dict[str, bool]:
        """Return whether nova-compute is up, by the name of the hypervisor."""
        services = self.call("compute", "GET", "/os-services?binary=nova-compute")["services"]
        up = {service["host"]: service["state"] == "up" for service in services}
        listed = self.call("compute", "GET", "/os-hypervisors/detail")["hypervisors"]
        return {entry["hypervisor_hostname"]: up[entry["service"]["host"]] for entry in listed}

    def network_id(self, name: str, *, project_id: str) -> str:
        """Return the id of a project's network."""
        path = f"/v2.0/networks?name={name}&project_id={project_id}"
        (network,) = self.call("network", "GET", path)["networks"]
        return str(network["id"])

    def project_names(self) -> dict[str, str]:
        """Return the names of Keystone's projects by id."""
        listed = self.call("identity", "GET", "/projects")["projects"]
        return {project["id"]: project["name"] for project in listed}

    def endpoints(self) -> dict[str, str]:
        """Return the URLs of the services that the exporter asks, by their types in the catalog."""
        types = ("compute", "identity", "network")
        return {type_: str(_session("admin").get_endpoint(service_type=type_)) for type_ in types}

    def write_clouds(self, directory: Path, **admin: object) -> Path:
        """Write a clouds.yaml in which the entry `admin` has these values as well."""
        content = yaml.safe_load(self.clouds.read_text(encoding="utf-8"))
        content["clouds"]["admin"] |= admin
        path = directory / "clouds.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    # ----------------------------------------------------------- the truth
    def addrs(self) -> list[Addr]:
        """Return every address that a server was built with."""
        kinds: dict[str, str] = {}
        found = []
        for line in (STATE / "vms.tsv").read_text(encoding="utf-8").splitlines():
            kind, *fields = line.split("\t")
            if kind == "net":
                kinds[fields[0]] = fields[2]
            else:
                network, ip, fate, server, _name, _project, _status, _mac, host, *_ = fields
                found.append(Addr(ip, Fate(fate), server, network, kinds[network], host))
        return found

    def ambiguous(self, *, seen: Collection[str] | None = None) -> set[str]:
        """Return the addresses of more than one server, of those with the ids `seen` (None: of all)."""
        owners = defaultdict(set)
        for addr in self.addrs():
            if seen is None or addr.server_id in seen:
                owners[addr.ip].add(addr.server_id)
        return {ip for ip, having in owners.items() if len(having) > 1}

    def truth(
        self, servers: Mapping[str, Server], *, seen: Collection[str] | None = None
    ) -> dict[str, Truth]:
        """Return what an exporter in the root namespace is to say of each server, by id.

        `seen` are the ids of the servers whose ports its credentials may see; None: of all.
        """
        several = self.ambiguous(seen=seen)
        fates: dict[str, set[Fate]] = defaultdict(set)
        ambiguous = set()
        for addr in self.addrs():
            if addr.ip in several:
                ambiguous.add(addr.server_id)
            elif fate := addr.from_root:
                fates[addr.server_id].add(fate)
        return {
            server.id: _judge(server, fates[server.id], ambiguous=server.id in ambiguous)
            for server in servers.values()
        }

    # --------------------------------------------------------------- hands
    def set_fate(self, fate: Fate, *who: str) -> None:
        """Change what happens to echo requests to these addresses or servers (ids or names)."""
        _run("vms.py", "set", fate, *who)

    def announce(self, *who: str) -> None:
        """Do what guests do that boot: nobody sends any more to the MAC that had their addresses before."""
        _run("vms.py", "announce", *who)

    def restore_ports(self) -> None:
        """Put servers' ports back into the default groups, from where a run that was broken off left them."""
        groups = self.call("network", "GET", "/v2.0/security-groups")["security_groups"]
        default = {group["project_id"]: group["id"] for group in groups if group["name"] == "default"}
        for port in self.call("network", "GET", "/v2.0/ports")["ports"]:
            if not port["device_owner"].startswith("compute:"):
                continue
            whole = {
                "port_security_enabled": True,
                "security_groups": [default[port["project_id"]]],
                "allowed_address_pairs": [],
            }
            if whole != {name: port[name] for name in whole}:
                self.call("network", "PUT", f"/v2.0/ports/{port['id']}", {"port": whole})
        for group in groups:
            if group["name"].startswith(OWN):
                self.call("network", "DELETE", f"/v2.0/security-groups/{group['id']}")

    def let_pings_in(self) -> None:
        """Let the groups that servers are in by default admit every ping: silence is then the guest's."""
        listed = self.call("network", "GET", "/v2.0/security-groups?name=default")["security_groups"]
        for group in listed:
            for version, protocol in (("IPv4", "icmp"), ("IPv6", "ipv6-icmp")):
                if any(
                    (rule["ethertype"], rule["protocol"]) == (version, protocol)
                    for rule in group["security_group_rules"]
                ):
                    continue
                rule = {
                    "security_group_id": group["id"],
                    "direction": "ingress",
                    "ethertype": version,
                    "protocol": protocol,
                }
                self.call("network", "POST", "/v2.0/security-group-rules", {"security_group_rule": rule})

    def follow(self) -> None:
        """Build the addresses of new servers, which answer; take those of deleted ones away."""
        _run("vms.py", "refresh", "--alive", "100")

    def create(self, name: str, *, cloud: str = "alpha", network: str | None = "lab-shared") -> Server:
        """Boot the server ``test-<name>``, which answers once it is ACTIVE; without a network it cannot."""
        return self.finish(self.boot(name, cloud=cloud, network=network))

    def boot(self, name: str, *, cloud: str = "alpha", network: str | None = "lab-shared") -> str:
        """Begin to boot a server; return its id at once."""
        nets = self.call("network", "GET", f"/v2.0/networks?name={network}")["networks"]
        body = {
            "name": OWN + name,
            "imageRef": self.call("image", "GET", "/v2/images?name=lab-image")["images"][0]["id"],
            "flavorRef": next(
                flavor["id"]
                for flavor in self.call("compute", "GET", "/flavors")["flavors"]
                if flavor["name"] == "lab.tiny"
            ),
            "networks": [{"uuid": nets[0]["id"]}] if network else "none",
        }
        created = self.call("compute", "POST", "/servers", {"server": body}, cloud=cloud)["server"]
        return str(created["id"])

    def finish(self, server_id: str) -> Server:
        """Wait until a server is ACTIVE, and let its addresses answer."""
        server = self._wait_for_status(server_id, "ACTIVE")
        self.follow()
        return server

    def delete(self, server_id: str) -> None:
        """Delete a server and wait until Nova no longer lists it; its addresses answer no more."""
        self.call("compute", "DELETE", f"/servers/{server_id}")
        _wait(lambda: not self.has(server_id))
        self.follow()

    def stop(self, server_id: str) -> None:
        """Stop a server, wait until Nova says SHUTOFF, and let its addresses be silent."""
        self.call("compute", "POST", f"/servers/{server_id}/action", {"os-stop": None})
        self._wait_for_status(server_id, "SHUTOFF")
        self.set_fate(Fate.SILENT, server_id)

    def start(self, server_id: str) -> None:
        """Start a server, wait until Nova says ACTIVE, and let its addresses answer."""
        self.call("compute", "POST", f"/servers/{server_id}/action", {"os-start": None})
        self._wait_for_status(server_id, "ACTIVE")
        self.set_fate(Fate.ALIVE, server_id)

    @contextlib.contextmanager
    def without(self, service: Service) -> Iterator[None]:
        """Do without a service: nobody listens on its port."""
        try:
            _run("svc.sh", "stop", service)
            yield
        finally:
            _run("svc.sh", "start", service)

    @contextlib.contextmanager
    def hanging(self, service: Service) -> Iterator[None]:
        """Let a service accept requests and answer none."""
        try:
            _run("svc.sh", "pause", service)
            yield
        finally:
            _run("svc.sh", "resume", service)

    @contextlib.contextmanager
    def forced_down(self, host: str) -> Iterator[None]:
        """Tell Nova that the nova-compute of a host is down."""
        listed = self.call("compute", "GET", f"/os-services?binary=nova-compute&host={host}")
        path = f"/os-services/{listed['services'][0]['id']}"
        self.call("compute", "PUT", path, {"forced_down": True})
        try:
            yield
        finally:
            self.call("compute", "PUT", path, {"forced_down": False})

    def _wait_for_status(self, server_id: str, status: str) -> Server:
        def shown() -> Server:
            return _server(self.call("compute", "GET", f"/servers/{server_id}")["server"])

        _wait(lambda: shown().status in (status, "ERROR"))
        server = shown()
        assert server.status == status
        return server


def _run(script: str, *arguments: str) -> str:
    done = subprocess.run([SCRIPTS / script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script} {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


@cache
def _session(cloud: str) -> Session:
    clouds = yaml.safe_load(Lab.clouds.read_text(encoding="utf-8"))["clouds"]
    return Session(auth=v3.Password(**clouds[cloud]["auth"]), timeout=60)


def _server(entry: Mapping[str, Any]) -> Server:
    return Server(
        id=entry["id"],
        project_id=entry["tenant_id"],
        name=entry["name"],
        status=entry["status"],
        hypervisor=entry.get("OS-EXT-SRV-ATTR:hypervisor_hostname") or "",
        zone=entry["OS-EXT-AZ:availability_zone"],
        addresses=tuple(address["addr"] for net in entry["addresses"].values() for address in net),
    )


def _judge(server: Server, fates: set[Fate], *, ambiguous: bool) -> Truth:
    if Fate.ALIVE in fates:
        return Truth(alive=True, reason=None)
    alive = False if fates or not server.addresses else None
    if not server.active:
        reason = "not_active"
    elif not server.addresses:
        reason = "no_address"
    elif not fates:
        reason = "ambiguous_address" if ambiguous else "no_vantage"
    else:
        reason = "unreachable" if fates == {Fate.ABSENT} else "no_reply"
    return Truth(alive=alive, reason=reason)


def _assert_stays_here(ip: str) -> None:
    """No packet to a server may leave the machine, whatever else is wrong."""
    route = subprocess.run(["ip", "route", "get", ip], capture_output=True, text=True, check=False)
    here = route.returncode or any(link in route.stdout for link in (" dev lab-root ", " dev lab-pub "))
    assert here, f"{ip} would leave the machine: {route.stdout}"


def _wait(condition: Callable[[], bool], *, timeout: float = 120) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "Nova did not do it"
        time.sleep(0.3)
