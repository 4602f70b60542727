"""A stand-in for Keystone, Nova, Neutron and Glance on a loopback port, with the APIs that are asked here."""

import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion

from fping_exporter.cloud.session import DEMO_SERVICE
from fping_exporter.demo.http import Answer, LoopbackServer, Request
from fping_exporter.demo.neutron import Neutron
from fping_exporter.demo.servers import NovaServer, UpdateTimes
from fping_exporter.model import Project

__all__ = ["KeystoneUser", "NovaHypervisor", "NovaServer", "Standin"]

_REGION = "RegionOne"
_TAGS = 26
_HYPERVISOR_PAGES = 33
_FLAVOR_IN_SERVER = 47
"""The microversions 2.x from which Nova shows tags, pages its hypervisors, and describes a flavor."""
_FLAVOR_SIZE = {"vcpus": 1, "ram": 512, "disk": 1, "ephemeral": 0, "swap": 0}
_FLAVOR = {"id": "1", "name": "m1.tiny", "links": [], **_FLAVOR_SIZE}
_IMAGE = {"id": "0f5a2a4e-6d0f-4c8e-9f57-5d5f0a0d8a11", "name": "debian-12", "status": "active"}
_POWER_STATES = {"ACTIVE": 1, "PAUSED": 3, "SHUTOFF": 4, "SUSPENDED": 7}


class NovaHypervisor(msgspec.Struct):
    """A hypervisor and its nova-compute."""

    name: str
    host: str
    up: bool = True


class KeystoneUser(msgspec.Struct):
    """A user of Keystone with one role in one project."""

    name: str
    password: str
    project: Project
    role: str


class _Token(NamedTuple):
    user: KeystoneUser
    expires: float


class Standin:
    """The stand-in, a context manager: it listens within ``with``. Tests may change what it holds."""

    def __init__(
        self,
        *,
        servers: Iterable[NovaServer],
        projects: Iterable[Project],
        hypervisors: Iterable[NovaHypervisor],
        users: Iterable[KeystoneUser],
        port: int = 0,
    ) -> None:
        """Take the cloud's contents; :meth:`region` logs in the first of the users.

        It listens on `port` if that is free.
        """
        self.servers = list(servers)
        self.clock: Callable[[], float] = time.time
        """That of Nova, in Unix seconds."""
        self.update_times = UpdateTimes(self.servers)
        self.projects = list(projects)
        self.hypervisors = list(hypervisors)
        self.users = list(users)
        self.neutron: Neutron | None = None
        """None: the cloud has no Neutron."""
        self.os_fping_url: str | None = None
        """Where the catalog has os-fping; None: it has none."""
        self.max_limit = 1000
        self.max_microversion = 96
        self.token_seconds = 3600.0
        self._tokens: dict[str, _Token] = {}
        self._http = LoopbackServer(self.answer, port=port)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        """Listen."""
        self._http.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._http.stop()

    def region(self, user: KeystoneUser | None = None) -> CloudRegion:
        """Return openstacksdk's configuration for logging `user` in here; files and variables are ignored."""
        settings = OpenStackConfig(load_yaml_config=False, load_envvars=False, app_name="fping-exporter")
        return settings.get_one(**self.cloud(user))

    def cloud(self, user: KeystoneUser | None = None) -> dict[str, Any]:
        """Return a clouds.yaml entry that logs `user` in here."""
        user = user or self.users[0]
        return {
            "auth": {
                "auth_url": f"{self.url}/identity/v3",
                "username": user.name,
                "password": user.password,
                "project_name": user.project.name,
                "user_domain_id": user.project.domain_id,
                "project_domain_id": user.project.domain_id,
            },
            "region_name": _REGION,
        }

    def forget_tokens(self) -> None:
        """Make every token issued so far invalid."""
        self._tokens.clear()

    def answer(self, request: Request) -> Answer:  # noqa: PLR0911, one for each service
        """Answer a request. Tests override this to make the cloud fail."""
        parts = request.path.strip("/").split("/")
        if document := self._answer_anybody(request, parts):
            return document
        token = self._tokens.get(request.headers.get("X-Auth-Token", ""))
        if token is None or token.expires <= time.time():
            return _fault(401, "error", "The request you have made requires authentication.")
        match parts:
            case ["identity", "v3", *rest]:
                return self._identity(request, rest, token.user)
            case ["compute", "v2.1", *rest]:
                return self._compute(request, rest, token.user)
            case ["image", "v2", "images"]:
                return Answer(200, {"images": [_IMAGE]})
            case ["network", "v2.0", kind] if self.neutron:
                project = None if token.user.role == "admin" else token.user.project.id
                kind = kind.replace("-", "_")
                return self.neutron.answer(kind, request, now=self.clock(), project=project)
        return _fault(404, "itemNotFound", "The resource could not be found.")

    def _answer_anybody(self, request: Request, path: list[str]) -> Answer | None:  # noqa: PLR0911, one for each route
        """Answer a request that needs no token: for a list of versions, or for a token."""
        match (request.method, *path):
            case ("GET", "identity"):
                return Answer(300, {"versions": {"values": [self._identity_version()]}})
            case ("GET", "identity", "v3"):
                return Answer(200, {"version": self._identity_version()})
            case ("POST", "identity", "v3", "auth", "tokens"):
                return self._log_in(request)
            case ("GET", "compute"):
                return Answer(200, {"versions": [self._compute_version()]})
            case ("GET", "compute", "v2.1"):
                return Answer(200, {"version": self._compute_version()})
            case ("GET", "image"):
                return Answer(300, {"versions": [self._image_version()]})
            case ("GET", "network") if self.neutron:
                return Answer(200, {"versions": [self._network_version()]})
        return None

    def _identity(self, request: Request, path: list[str], user: KeystoneUser) -> Answer:
        match path:
            case ["auth", "tokens"]:
                subject = request.headers.get("X-Subject-Token", "")
                if token := self._tokens.get(subject):
                    return Answer(200, self._token_body(token), {"X-Subject-Token": subject})
                return _fault(404, "error", "Could not find token.")
            case ["projects", *_] if user.role != "admin":
                return _fault(403, "error", "You are not authorized to perform the requested action.")
            case ["projects"]:
                name = request.query.get("name")
                return Answer(200, {"projects": [p for p in self.projects if name in (None, p.name)]})
            case ["projects", id_]:
                for project in self.projects:
                    if project.id == id_:
                        return Answer(200, {"project": project})
        return _fault(404, "error", "Could not be found.")

    def _compute(self, request: Request, path: list[str], user: KeystoneUser) -> Answer:  # noqa: PLR0911, one for each route
        admin = user.role == "admin"
        hypervisors = {hypervisor.name: hypervisor for hypervisor in self.hypervisors} if admin else None
        try:
            microversion = self._microversion(request)
        except ValueError:
            return _fault(406, "computeFault", "This version is not supported by the API.")
        match path:
            case ["servers"] | ["servers", "detail"]:
                return self._list_servers(request.query, user, microversion, hypervisors)
            case ["servers", id_, *rest]:
                for server in self.servers:
                    if server.id == id_ and (admin or server.project_id == user.project.id):
                        detail = self._detail(server, microversion, hypervisors)
                        return _about_server(server, detail, rest, request.body)
                return _fault(404, "itemNotFound", f"Instance {id_} could not be found.")
            case ["flavors", "detail"]:
                return Answer(200, {"flavors": [_FLAVOR]})
            case ["os-services" as what] | ["os-hypervisors" as what, "detail"] if not admin:
                policy = f"os_compute_api:{what}:list"
                return _fault(403, "forbidden", f"Policy doesn't allow {policy} to be performed.")
            case ["os-services"]:
                return Answer(200, {"services": self._services(request.query)})
            case ["os-hypervisors", "detail"]:
                return self._list_hypervisors(request, microversion)
        return _fault(404, "itemNotFound", "The resource could not be found.")

    def _list_servers(
        self,
        query: Mapping[str, str],
        user: KeystoneUser,
        microversion: int,
        hypervisors: Mapping[str, NovaHypervisor] | None,
    ) -> Answer:
        """Return a page of servers. Deleted ones are on it only if changes are asked for."""
        if "marker" not in query:
            self.update_times.look(self.servers, now=self.clock())
        listed: Iterable[NovaServer] = self.servers
        if since := query.get("changes-since"):
            listed = self.update_times.since(datetime.fromisoformat(since).timestamp(), self.servers)
        servers = sorted(listed, key=lambda server: (server.created, server.id))
        if "all_tenants" not in query:
            servers = [server for server in servers if server.project_id == user.project.id]
        elif user.role != "admin":
            policy = "os_compute_api:servers:detail:get_all_tenants"
            return _fault(403, "forbidden", f"Policy doesn't allow {policy} to be performed.")
        elif project := query.get("project_id"):
            servers = [server for server in servers if server.project_id == project]
        servers = _matching(servers, query, hypervisors)
        ids = [server.id for server in servers]
        start = 0
        if marker := query.get("marker"):
            if marker not in ids:
                return _fault(400, "badRequest", f"marker [{marker}] not found")
            start = ids.index(marker) + 1
        page = servers[start : start + self._limit(query)]
        body: dict[str, Any] = {
            "servers": [self._detail(server, microversion, hypervisors) for server in page]
        }
        if len(page) == self._limit(query):
            body["servers_links"] = [{"rel": "next", "href": f"{self.url}/?marker={page[-1].id}"}]
        return Answer(200, body, {"Date": formatdate(self.clock(), usegmt=True)})

    def _services(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        return [
            {
                "id": host,
                "binary": "nova-compute",
                "host": host,
                "zone": "nova",
                "status": "enabled",
                "state": "up" if up else "down",
                "disabled_reason": None,
            }
            for host, up in {hypervisor.host: hypervisor.up for hypervisor in self.hypervisors}.items()
            if query.get("host") in {None, host}
        ]

    def _list_hypervisors(self, request: Request, microversion: int) -> Answer:
        query = request.query
        start = int(query.get("marker", 0)) if microversion >= _HYPERVISOR_PAGES else 0
        stop = start + self._limit(query) if microversion >= _HYPERVISOR_PAGES else len(self.hypervisors)
        entries = [
            {
                "id": str(number),
                "hypervisor_hostname": hypervisor.name,
                "service": {"host": hypervisor.host, "id": hypervisor.host, "disabled_reason": None},
                "state": "up" if hypervisor.up else "down",
                "status": "enabled",
            }
            for number, hypervisor in enumerate(self.hypervisors, start=1)
        ]
        if pattern := query.get("hypervisor_hostname_pattern"):
            if "limit" in query:
                return _fault(400, "badRequest", "Paging with hypervisor_hostname_pattern is not supported.")
            found = [entry for entry in entries if pattern in str(entry["hypervisor_hostname"])]
            if not found:
                return _fault(404, "itemNotFound", f"No hypervisor matching '{pattern}' could be found.")
            return Answer(200, {"hypervisors": found})
        more = [{"rel": "next", "href": f"{self.url}{request.path}?marker={stop}"}]
        links = {"hypervisors_links": more} if stop < len(self.hypervisors) else {}
        return Answer(200, {"hypervisors": entries[start:stop], **links})

    def _detail(
        self, server: NovaServer, microversion: int, hypervisors: Mapping[str, NovaHypervisor] | None
    ) -> dict[str, Any]:
        """Return Nova's representation of a server; only admins, who get `hypervisors`, see where it runs."""
        url = f"{self.url}/compute/v2.1/servers/{server.id}"
        addresses: dict[str, list[dict[str, Any]]] = {}
        for address in server.addresses:
            addresses.setdefault(address.network, []).append(
                {
                    "version": address.family,
                    "addr": address.ip,
                    "OS-EXT-IPS:type": str(address.kind),
                    "OS-EXT-IPS-MAC:mac_addr": address.mac or "fa:16:3e:00:00:01",
                }
            )
        detail = {
            "id": server.id,
            "name": server.name,
            "status": server.status,
            "tenant_id": server.project_id,
            "user_id": "3f0c5f4d6d3b4f6f8a5a4a7d9b1e2c3d",
            "metadata": server.metadata,
            "hostId": "9c1f6f0d5a8b4e6d8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a" if server.hypervisor else "",
            "image": {"id": _IMAGE["id"], "links": []},
            "flavor": (
                {"original_name": _FLAVOR["name"], **_FLAVOR_SIZE}
                if microversion >= _FLAVOR_IN_SERVER
                else {"id": _FLAVOR["id"], "links": []}
            ),
            "created": server.created,
            "updated": server.created,
            "addresses": addresses,
            "accessIPv4": "",
            "accessIPv6": "",
            "links": [{"rel": "self", "href": url}, {"rel": "bookmark", "href": url}],
            "OS-DCF:diskConfig": "MANUAL",
            "progress": 0,
            "OS-EXT-AZ:availability_zone": "nova" if server.hypervisor else "",
            "config_drive": "",
            "key_name": None,
            "OS-SRV-USG:launched_at": server.created,
            "OS-SRV-USG:terminated_at": None,
            "security_groups": [{"name": name} for name in server.security_groups],
            "OS-EXT-STS:task_state": server.task_state,
            "OS-EXT-STS:vm_state": server.status.lower(),
            "OS-EXT-STS:power_state": _POWER_STATES.get(server.status, 0),
            "os-extended-volumes:volumes_attached": [],
        }
        if microversion >= _TAGS:
            detail["tags"] = server.tags
        if hypervisors is not None:
            hypervisor = hypervisors.get(server.hypervisor or "")
            detail |= {
                "OS-EXT-SRV-ATTR:host": hypervisor and hypervisor.host,
                "OS-EXT-SRV-ATTR:hypervisor_hostname": hypervisor and hypervisor.name,
                "OS-EXT-SRV-ATTR:instance_name": f"instance-{server.id[:8]}",
            }
        return detail

    def _limit(self, query: Mapping[str, str]) -> int:
        return min(int(query.get("limit", self.max_limit)), self.max_limit)

    def _microversion(self, request: Request) -> int:
        """Return the minor number of the version asked for; ValueError if there is no such version."""
        service, _, version = request.headers.get("OpenStack-API-Version", "compute 2.1").partition(" ")
        major, _, minor = version.partition(".")
        if (service, major) != ("compute", "2") or not 1 <= int(minor) <= self.max_microversion:
            raise ValueError(version)
        return int(minor)

    def _log_in(self, request: Request) -> Answer:
        given = msgspec.json.decode(request.body)["auth"]["identity"]["password"]["user"]
        for user in self.users:
            if (user.name, user.password) == (given["name"], given["password"]):
                token = secrets.token_urlsafe(24)
                self._tokens[token] = _Token(user, time.time() + self.token_seconds)
                return Answer(201, self._token_body(self._tokens[token]), {"X-Subject-Token": token})
        return _fault(401, "error", "The request you have made requires authentication.")

    def _token_body(self, token: _Token) -> dict[str, Any]:
        user = token.user
        domain = {"id": user.project.domain_id, "name": "Default"}
        catalog = [
            {
                "type": service,
                "name": name,
                "id": service,
                "endpoints": [
                    {
                        "id": f"{service}-{interface}",
                        "interface": interface,
                        "region": _REGION,
                        "region_id": _REGION,
                        "url": url,
                    }
                    for interface in ("public", "internal", "admin")
                ],
            }
            for service, name, url in (
                ("identity", "keystone", f"{self.url}/identity/v3"),
                ("compute", "nova", f"{self.url}/compute/v2.1"),
                ("image", "glance", f"{self.url}/image"),
                (DEMO_SERVICE, "demo", f"{self.url}/demo"),
                *([("network", "neutron", f"{self.url}/network")] if self.neutron else []),
                *([("fping", "fping-exporter", self.os_fping_url)] if self.os_fping_url else []),
            )
        ]
        return {
            "token": {
                "methods": ["password"],
                "user": {"id": user.name, "name": user.name, "domain": domain},
                "project": {"id": user.project.id, "name": user.project.name, "domain": domain},
                "roles": [{"id": user.role, "name": user.role}],
                "issued_at": _time(time.time()),
                "expires_at": _time(token.expires),
                "catalog": catalog,
            }
        }

    def _identity_version(self) -> dict[str, Any]:
        links = [{"rel": "self", "href": f"{self.url}/identity/v3/"}]
        return {"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z", "links": links}

    def _image_version(self) -> dict[str, Any]:
        links = [{"rel": "self", "href": f"{self.url}/image/v2/"}]
        return {"id": "v2.17", "status": "CURRENT", "links": links}

    def _network_version(self) -> dict[str, Any]:
        links = [{"rel": "self", "href": f"{self.url}/network/v2.0/"}]
        return {"id": "v2.0", "status": "CURRENT", "links": links}

    def _compute_version(self) -> dict[str, Any]:
        return {
            "id": "v2.1",
            "status": "CURRENT",
            "version": f"2.{self.max_microversion}",
            "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z",
            "links": [{"rel": "self", "href": f"{self.url}/compute/v2.1/"}],
        }


def _matching(
    servers: list[NovaServer], query: Mapping[str, str], hypervisors: Mapping[str, NovaHypervisor] | None
) -> list[NovaServer]:
    """Return the servers with the name, and for admins on the host, that the query asks for."""
    if name := query.get("name"):
        servers = [server for server in servers if re.search(name, server.name)]
    if hypervisors is not None and (host := query.get("host")):
        on_host = {hypervisor.name for hypervisor in hypervisors.values() if hypervisor.host == host}
        servers = [server for server in servers if server.hypervisor in on_host]
    return servers


def _about_server(server: NovaServer, detail: dict[str, Any], path: list[str], body: bytes) -> Answer:
    """Answer what is asked about one server: all of it, its console, or what was done with it."""
    match path:
        case []:
            return Answer(200, {"server": detail})
        case ["action"] if "os-getConsoleOutput" in (asked := msgspec.json.decode(body)):
            length = int(asked["os-getConsoleOutput"].get("length") or 0)
            return Answer(200, {"output": "".join(server.console.splitlines(keepends=True)[-length:])})
        case ["os-instance-actions"]:
            action = {
                "action": "stop" if server.status == "SHUTOFF" else "create",
                "instance_uuid": server.id,
                "message": None,
                "project_id": server.project_id,
                "request_id": f"req-{server.id}",
                "start_time": server.created.rstrip("Z"),
                "updated_at": server.created.rstrip("Z"),
                "user_id": detail["user_id"],
            }
            return Answer(200, {"instanceActions": [action]})
    return _fault(404, "itemNotFound", "The resource could not be found.")


def _fault(status: int, name: str, message: str) -> Answer:
    return Answer(status, {name: {"code": status, "message": message}})


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
