"""A fleet on the lab: two centrals of the least role, three agents without credentials, and a Prometheus.

Each agent has a network namespace of its own, which is joined to the centrals and to nothing else. It reaches
guests as on a real node, from the namespaces that Neutron would have there.
"""

import contextlib
import subprocess
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import trustme
import yaml

from tests.deploy.stack import quicken
from tests.integration.exporter import Scrape
from tests.integration.lab import Addr, Fate, Lab, Server
from tests.integration.process import Process
from tests.integration.prometheus import Prometheus
from tests.netns import Namespace

__all__ = ["Agent", "Central", "Fleet", "Member", "Verdicts", "fleet"]

Verdicts = dict[str, bool | None]
"""Whether each instance answers, by id; None where nobody knows."""

_MAX_AGE = "10s"

_BRIDGE = "fpx-fleet"
_CENTRALS, _AGENTS = ("10.184.0.1", "10.184.0.2"), ("10.184.0.11", "10.184.0.12", "10.184.0.13")
_PORT = 10605
_RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "fping-exporter.rules.yml"
_CACHE = {"inventory": "4s", "sweep": "2s"}
_PROBE = {"timeout": "500ms", "retries": 1, "layer2": "off"}
_WEB = """
tls_server_config:
  cert_file: central.pem
  key_file: central.key
  client_auth_type: VerifyClientCertIfGiven
  client_ca_file: ca.pem
"""


class Member(Process):
    """An exporter of the fleet, which can be started again after its end."""

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, object],
        *flags: str | Path,
        ip: str,
        environment: Mapping[str, str],
        prefix: Collection[str] = (),
    ) -> None:
        """Prepare to serve at an address with a configuration; `prefix` is a command that runs commands."""
        self.address = f"{ip}:{_PORT}"
        """HOST:PORT."""
        (directory / "state").mkdir(parents=True)
        (directory / "config.yml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
        command = [*prefix, sys.executable, "-m", "fping_exporter", *flags]
        command += ["--config.file", directory / "config.yml", "--storage.path", directory / "state"]
        command += ["--web.listen-address", self.address]
        super().__init__(command, log=directory / "log", environment=environment)


class Agent(Member):
    """An agent in a namespace, on a host of a name of its own, without credentials of a cloud."""

    def __init__(
        self, directory: Path, inventory: Mapping[str, object], vantage: str, *, place: Namespace, ip: str
    ) -> None:
        """Prepare to ping from the namespaces of the kind `vantage`, and to serve at `ip` without TLS."""
        name = directory.name
        super().__init__(
            directory,
            {"inventory": inventory, "cache": _CACHE, "probe": _PROBE | {"vantages": [vantage]}},
            ip=ip,
            environment={"HOME": "/nonexistent", "OS_CLIENT_CONFIG_FILE": "/nonexistent/clouds.yaml"},
            prefix=(
                *("ip", "netns", "exec", place.name),
                *("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name),
            ),
        )

    def scrape(self) -> Scrape:
        """Scrape it as Prometheus does."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=15) as response:
            return Scrape(response.read().decode())


class Central(Member):
    """A central. It pings from this machine's own namespace, and has no way to the tenants' networks."""

    def __init__(self, directory: Path, *, ip: str, prometheus: str, web: Path, clouds: Path) -> None:
        """Prepare to list as the least role of `clouds`, and to serve at `ip` over TLS, as `web` says."""
        super().__init__(
            directory,
            {
                "cloud": "fping-exporter",
                "agents": True,
                "cache": _CACHE,
                "probe": _PROBE,
                "os_fping": {"rate_limit": "unlimited"},
                "fleet": {"prometheus": prometheus, "max_age": _MAX_AGE},
            },
            "--web.config.file",
            web,
            ip=ip,
            environment={"OS_CLIENT_CONFIG_FILE": str(clouds)},
        )

    @property
    def url(self) -> str:
        """The URL of its pages."""
        return f"https://{self.address}"


class Fleet:
    """Everything that runs, and the truth that it is to tell."""

    def __init__(self, directory: Path, lab: Lab, stack: contextlib.ExitStack) -> None:
        """Make the network; what is started later ends with `stack`."""
        self._lab, self._stack = lab, stack
        self.ca_file = directory / "ca.pem"
        """Of the CA that the centrals' certificates are of."""
        self.prometheus = Prometheus(
            directory,
            *(f"{ip}:{_PORT}" for ip in _AGENTS),
            https=[f"{ip}:{_PORT}" for ip in _CENTRALS],
            ca_file=self.ca_file,
            rules=_write_rules(directory),
        )
        _write_certificates(directory)
        web = directory / "web.yml"
        web.write_text(_WEB, encoding="utf-8")
        self.centrals = tuple(
            Central(
                directory / f"central-{number}",
                ip=ip,
                prometheus=self.prometheus.url,
                web=web,
                clouds=lab.clouds,
            )
            for number, ip in enumerate(_CENTRALS, 1)
        )
        self._private = lab.network_id("private", project_id=lab.project_id("alpha"))
        common: dict[str, object] = {
            "central": [central.url for central in self.centrals],
            "ca_file": str(self.ca_file),
            "cert_file": str(directory / "agent.pem"),
            "key_file": str(directory / "agent.key"),
        }
        kinds: Mapping[str, tuple[dict[str, object], str]] = {
            "lab-compute-1": ({"host": "self"}, "ovnmeta"),
            "lab-compute-2": ({"host": "self"}, "qdhcp"),
            "lab-network-1": ({"network": [self._private]}, "qrouter"),
        }
        places = _join_namespaces(stack)
        self.agents = {
            name: Agent(directory / name, common | chosen, vantage, place=places[ip], ip=ip)
            for (name, (chosen, vantage)), ip in zip(kinds.items(), _AGENTS, strict=True)
        }
        """By the name of the host."""

    def start(self, *members: Member) -> None:
        """Start some exporters side by side, and wait until they listen."""
        for member in members:
            self._stack.enter_context(member)
        for member in members:
            member.wait_for("msg=listening", timeout=60)

    @contextlib.contextmanager
    def without(self, *members: Member) -> Iterator[None]:
        """Kill some exporters, and start them again in the end."""
        for member in members:
            member.kill()
        try:
            yield
        finally:
            self.start(*members)

    @contextlib.contextmanager
    def without_prometheus(self) -> Iterator[None]:
        """Stop Prometheus, and start it again in the end."""
        self.prometheus.stop()
        try:
            yield
        finally:
            self._stack.enter_context(self.prometheus)

    def truth(self, servers: Mapping[str, Server], *, agents: Collection[str]) -> Verdicts:
        """Return what the centrals and these agents (by name) together are to say of each server."""
        heard = self.seen_by(*agents)
        return {id_: own.alive or heard.get(id_, own.alive) for id_, own in self._lab.truth(servers).items()}

    def seen_by(self, *agents: str) -> dict[str, bool]:
        """Return whether each server that one of these agents has a way to answers, by id."""
        fates: dict[str, set[Fate]] = defaultdict(set)
        for addr in self._lab.addrs():
            if any(self._reaches(name, addr) for name in agents):
                fates[addr.server_id].add(addr.fate)
        return {id_: Fate.ALIVE in found for id_, found in fates.items()}

    def _reaches(self, agent: str, addr: Addr) -> bool:
        if agent == "lab-network-1":
            return addr.network_id == self._private
        return addr.host == agent and addr.network_kind != "external"


def _write_rules(directory: Path) -> Path:
    """Write the shipped rules, sixty times as fast."""
    path = directory / _RULES.name
    path.write_text(quicken(_RULES.read_text(encoding="utf-8")), encoding="utf-8")
    return path


def _write_certificates(directory: Path) -> None:
    """Write ``ca.pem``, and certificates of it for the centrals and for the agents."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    for name, names in (("central", _CENTRALS), ("agent", ("agent.example",))):
        certificate = authority.issue_cert(*names)
        certificate.private_key_pem.write_to_path(directory / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")


def _join_namespaces(stack: contextlib.ExitStack) -> dict[str, Namespace]:
    """Return a namespace for each agent's address, joined to the centrals by a bridge."""
    stack.callback(subprocess.run, ["ip", "link", "delete", _BRIDGE], check=False)
    _ip(f"link add {_BRIDGE} type bridge", f"link set {_BRIDGE} up")
    _ip(*(f"address add {ip}/24 dev {_BRIDGE}" for ip in _CENTRALS))
    places = {}
    for number, ip in enumerate(_AGENTS, 1):
        place = places[ip] = stack.enter_context(Namespace(f"fleet-{number}"))
        _ip(f"link add fpx-fleet-{number} master {_BRIDGE} type veth peer name eth0 netns {place.name}")
        _ip(f"link set fpx-fleet-{number} up")
        place.ip(f"address add {ip}/24 dev eth0", "link set eth0 up")
    return places


def _ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


@contextlib.contextmanager
def fleet(directory: Path, lab: Lab) -> Iterator[Fleet]:
    """Run a fleet."""
    with contextlib.ExitStack() as stack:
        running = Fleet(directory, lab, stack)
        running.start(*running.centrals, *running.agents.values())
        stack.enter_context(running.prometheus)
        yield running
