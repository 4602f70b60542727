"""The clouds that the conformance suite runs on: a stand-in with every odd case, and the lab."""

import time
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion

from fping_exporter import config
from fping_exporter.demo.http import Answer, Request
from fping_exporter.demo.standin import KeystoneUser, NovaHypervisor, NovaServer, Standin
from fping_exporter.model import Outcome, Project, Sweep, Target
from fping_exporter.probe import Prober, make_prober
from tests.build import ALIVE, SILENT, address
from tests.integration.lab import Lab

__all__ = ["GONE", "Entry", "Guests", "LabWorld", "Recorder", "StandinWorld", "World", "token_of", "uuid"]

Entry = dict[str, Any]
"""A server as the API is to tell of it."""


class World(Protocol):
    """A cloud with the users admin, alpha and beta; the latter two are members of projects of their names."""

    prober: Prober
    max_microversion: str
    """The highest of its Nova."""

    def region(self, user: str = "admin") -> CloudRegion: ...

    def token(self, user: str) -> str: ...

    def project(self, user: str) -> str: ...

    def servers(self, user: str) -> Mapping[str, Entry]:
        """Return the truth by id: a member's project's, an admin's of all projects."""
        ...


class Guests:
    """A prober to which some addresses answer; it remembers what it was asked."""

    def __init__(self, *alive: str) -> None:
        self.alive = set(alive)
        self.asked: list[set[Target]] = []

    def probe(self, targets: Collection[Target]) -> Sweep:
        self.asked.append(set(targets))
        outcomes: dict[Target, Outcome] = {
            target: ALIVE if target.ip in self.alive else SILENT for target in targets
        }
        return Sweep(outcomes=outcomes, sent=len(outcomes), received=0, started_at=0, duration=0)


ALPHA, BETA, ADMIN = (
    Project(f"{i:032x}", name, "default") for i, name in enumerate(("alpha", "beta", "admin"))
)
USERS = (
    KeystoneUser("admin", "secret-admin", ADMIN, "admin"),
    KeystoneUser("alpha", "secret-alpha", ALPHA, "member"),
    KeystoneUser("beta", "secret-beta", BETA, "member"),
)


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


SERVERS = (
    NovaServer(id=uuid(1), name="fixed", project_id=ALPHA.id, addresses=(address("10.0.0.1"),)),
    NovaServer(id=uuid(2), name="silent", project_id=ALPHA.id, addresses=(address("10.0.0.2"),)),
    NovaServer(
        id=uuid(3),
        name="floating",
        project_id=ALPHA.id,
        addresses=(address("10.0.0.3"), address("192.0.2.3", kind="floating")),
    ),
    NovaServer(
        id=uuid(4), name="v6", project_id=ALPHA.id, addresses=(address("10.0.0.4"), address("2001:db8::4"))
    ),
    NovaServer(
        id=uuid(5), name="off", project_id=ALPHA.id, status="SHUTOFF", addresses=(address("10.0.0.5"),)
    ),
    NovaServer(id=uuid(6), name="new", project_id=ALPHA.id, status="BUILD", task_state="spawning"),
    NovaServer(id=uuid(7), name="broken", project_id=ALPHA.id, status="ERROR"),
    NovaServer(
        id=uuid(8), name="gone", project_id=ALPHA.id, status="SOFT_DELETED", addresses=(address("10.0.0.1"),)
    ),
    NovaServer(id=uuid(9), name="beta-1", project_id=BETA.id, addresses=(address("10.0.0.9"),)),
    NovaServer(id=uuid(10), name="beta-2", project_id=BETA.id, addresses=(address("10.0.0.10"),)),
)
LISTED_ALIVE = {uuid(1), uuid(3), uuid(4), uuid(9)}
GONE = uuid(8)


class Recorder(Standin):
    """A stand-in that remembers what it was asked, and that can be taken away."""

    def __init__(self) -> None:
        super().__init__(
            servers=SERVERS,
            projects=(ALPHA, BETA, ADMIN),
            hypervisors=(NovaHypervisor("n1", "h1"),),
            users=USERS,
        )
        self.max_limit = 3  # several pages
        self.requests: list[Request] = []
        self.away: set[str] = set()
        """``identity``, ``compute``: services that answer 503 now."""
        self.seconds = 0.0
        """How long every answer takes."""
        self.hang_ups = 0
        """Requests that get no answer, their connections are closed."""
        self.missing: str | None = None
        """Beginning of the paths that are 404, as when a proxy has lost a service."""
        self.clock_offset = 0.0
        """How many seconds Keystone's clock is ahead of this machine's."""

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        time.sleep(self.seconds)
        if self.hang_ups:
            self.hang_ups -= 1
            raise ConnectionError
        if request.path.split("/")[1] in self.away:
            return Answer(503, b"<html>The service is away.</html>")
        if self.missing and request.path.startswith(self.missing):
            return Answer(404, b"<html>Not found</html>")
        return super().answer(request)

    def _token_body(self, token: Any) -> dict[str, Any]:
        return super()._token_body(token._replace(expires=token.expires + self.clock_offset))


class StandinWorld:
    """Alpha has a server of every kind, beta has two."""

    def __init__(self, standin: Recorder) -> None:
        self.standin = standin
        self.max_microversion = f"2.{standin.max_microversion}"
        self.prober: Prober = Guests("10.0.0.1", "192.0.2.3", "2001:db8::4", "10.0.0.9")

    def region(self, user: str = "admin") -> CloudRegion:
        return self.standin.region(_user(user))

    def token(self, user: str) -> str:
        return token_of(self.region(user))

    def project(self, user: str) -> str:
        return _user(user).project.id

    def servers(self, user: str) -> dict[str, Entry]:
        return {
            server.id: {"id": server.id, "project_id": server.project_id, "alive": server.id in LISTED_ALIVE}
            for server in SERVERS
            if server.id != GONE and (user == "admin" or server.project_id == self.project(user))
        }


class LabWorld:
    """A real Keystone, Nova and Neutron, and real packets."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.prober = make_prober(config.Probe())
        compute = self.region().get_session_client("compute").get_endpoint_data()
        assert compute
        assert compute.max_microversion
        self.max_microversion = ".".join(map(str, compute.max_microversion))

    def region(self, user: str = "admin") -> CloudRegion:
        settings = OpenStackConfig(config_files=[str(self.lab.clouds)], load_envvars=False)
        return settings.get_one(user)

    def token(self, user: str) -> str:
        return token_of(self.region(user))

    def project(self, user: str) -> str:
        return self.lab.project_id(user)

    def servers(self, user: str) -> dict[str, Entry]:
        servers = self.lab.servers(cloud=user)
        truth = self.lab.truth(servers)
        return {
            server.id: {"id": server.id, "project_id": server.project_id, "alive": truth[server.id].alive}
            for server in servers.values()
            if truth[server.id].alive is not None
        }


def token_of(region: CloudRegion) -> str:
    token = region.get_session().get_token()
    assert isinstance(token, str)
    return token


def _user(name: str) -> KeystoneUser:
    return next(user for user in USERS if user.name == name)
