"""A central with 1,000 agents and 20,000 instances: ``python -m tests.benchmarks.agents``.

The cloud is a process of its own. So are the agents: 1,000 times the list of an agent, each with a
certificate and with the pauses that a real one makes. One more agent is a real exporter, on a host with 100
instances. It takes five minutes.
"""

import contextlib
import heapq
import multiprocessing
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import trustme
import yaml

from fping_exporter.config import Config
from fping_exporter.demo.standin import NovaHypervisor, NovaServer
from fping_exporter.errors import CentralError
from fping_exporter.fleet.central import Centrals
from fping_exporter.model import Address, AddressKind
from tests.benchmarks.exporter import verdict
from tests.cloud.faulty import ADMIN, ALPHA, SERVERS
from tests.cloud.neutron import NeutronCloud, group, port, rule
from tests.integration.exporter import Exporter
from tests.integration.process import Process

AGENTS, INSTANCES, CROWDED = 1000, 20_000, 100
GROUPS = 200
INVENTORY_SECONDS = 60
WARM_UP_SECONDS, SECONDS, CHANGES = 70, 190, 20
MOST_CORE, MOST_MIB, MOST_LATE_SECONDS = 0.2, 60.0, 5.0


def serve_cloud(told: Connection) -> None:
    """Be the cloud; change a server, or count Nova's lists, when told to."""
    with NeutronCloud() as cloud:
        cloud.hypervisors[:] = [NovaHypervisor(f"cn-{host}.example", f"cn-{host}") for host in range(AGENTS)]
        self_groups = [f"group-{number}" for number in range(GROUPS)]
        cloud.network["security_groups"] = [group(id_, rule(remote_group_id=id_)) for id_ in self_groups]
        for number in range(INSTANCES):
            host = 0 if number < CROWDED else 1 + number % (AGENTS - 1)
            ip = f"127.{1 + number // 60_000}.{number // 250 % 240}.{1 + number % 250}"
            server = NovaServer(
                id=f"server-{number:06}",
                name=f"vm-{number}",
                project_id=ALPHA.id,
                hypervisor=f"cn-{host}.example",
                addresses=(Address(ip, 4, AddressKind.FIXED, "net"),),
                created="2026-01-01T00:00:00Z",
            )
            cloud.servers.append(server)
            cloud.network["ports"].append(
                port(f"{number:06}", ip, device=server.id, security_groups=[self_groups[number % GROUPS]])
            )
        told.send(cloud.cloud(ADMIN))
        while (number := told.recv()) is not None:
            if number < 0:
                told.send(len(cloud.asked(SERVERS)))
                continue
            now = datetime.now(UTC).strftime(
                "%Y-%m-%dT%H:%M:%SZ"
            )  # the stand-in takes it for the last change
            cloud.servers[number] = msgspec.structs.replace(
                cloud.servers[number], name="changed", created=now
            )
            told.send(time.monotonic())


def serve_agents(told: Connection, settings: list[Config], seconds: float) -> None:
    """Be the agents: tell when each changed instance arrived, and how many requests failed."""
    agents = [Centrals(each) for each in settings]
    due = [
        (time.monotonic() + random.uniform(0, 10), number)  # noqa: S311, no secret
        for number in range(len(agents))
    ]
    heapq.heapify(due)
    arrived: dict[str, float] = {}
    answers: list[bool] = []

    def poll(number: int) -> tuple[float, int]:
        try:
            there = agents[number].inventory()
        except CentralError as error:
            print(error, file=sys.stderr)
            answers.append(False)
        else:
            answers.append(True)
            for each in there.instances:
                if each.name == "changed":
                    arrived.setdefault(each.id, time.monotonic())
        return time.monotonic() + agents[number].next_poll(), number

    end = time.monotonic() + seconds
    with ThreadPoolExecutor(32) as pool:
        running = set()
        while time.monotonic() < end:
            while due and due[0][0] <= time.monotonic():
                running.add(pool.submit(poll, heapq.heappop(due)[1]))
            for done in [each for each in running if each.done()]:
                running.remove(done)
                heapq.heappush(due, done.result())
            time.sleep(0.01)
    told.send((arrived, answers.count(True), answers.count(False)))


def write_files(directory: Path, cloud: dict[str, object]) -> None:
    """Write certificates, configurations and the central's credentials."""
    authority = trustme.CA()
    for name, names in (("central", ("127.0.0.1",)), ("agent", ("agents",))):
        certificate = authority.issue_cert(*names)
        certificate.private_key_pem.write_to_path(directory / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    (directory / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"bench": cloud}}))
    tls = {
        "cert_file": "central.pem",
        "key_file": "central.key",
        "client_auth_type": "VerifyClientCertIfGiven",
        "client_ca_file": "ca.pem",
    }
    (directory / "web.yml").write_text(yaml.safe_dump({"tls_server_config": tls}))
    probe = {"timeout": "100ms", "retries": 0}
    central = {"cloud": "bench", "agents": True, "probe": probe}
    (directory / "central.yml").write_text(yaml.safe_dump(central))


def inventory_of(directory: Path, url: str, host: str) -> dict[str, object]:
    """Return the setting ``inventory`` of an agent."""
    files = {"ca_file": "ca.pem", "cert_file": "agent.pem", "key_file": "agent.key"}
    settings: dict[str, object] = {key: str(directory / name) for key, name in files.items()}
    return settings | {"central": [url], "host": host}


@contextlib.contextmanager
def child(target: Callable[..., None], *arguments: object) -> Iterator[Connection]:
    """Run a function in a process of its own, with a pipe to it."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=target,
        args=(theirs, *arguments),
        daemon=True,
    )
    process.start()
    try:
        yield ours
    finally:
        process.kill()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident(pid: int) -> float:
    found = re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def wait_for_list(agent: Centrals) -> None:
    """Wait for the central's first list."""
    for _ in range(120):
        with contextlib.suppress(CentralError):
            agent.inventory()
            return
        time.sleep(1)
    sys.exit("the central has no list after two minutes")


def measure_agent(directory: Path, url: str) -> float:
    """Return the MiB of a real agent with 100 instances after some scrapes and lists."""
    settings = {
        "inventory": inventory_of(directory, url, "cn-0"),
        "probe": {"timeout": "100ms", "retries": 0},
        "cache": {"sweep": "100ms", "inventory": "200ms"},
    }
    file = directory / "agent.yml"
    file.write_text(yaml.safe_dump(settings))
    with Exporter(file, clouds=Path("/nonexistent"), log=directory / "agent.log") as agent:
        for _ in range(10):
            alive = agent.scrape().by("instance_alive", "id", "project_id")
            time.sleep(0.3)
        if len(alive) != CROWDED:
            sys.exit(f"{len(alive)} instances at the agent, {CROWDED} expected: no figure counts")
        return resident(agent.pid)


def main() -> int:
    """Print the figures; return 1 if a mark is missed."""
    with tempfile.TemporaryDirectory() as name, child(serve_cloud) as cloud:
        directory = Path(name)
        write_files(directory, cloud.recv())
        files: list[str | Path] = [
            "--config.file",
            directory / "central.yml",
            "--web.config.file",
            directory / "web.yml",
        ]
        central = Process(
            [sys.executable, "-m", "fping_exporter", *files, "--web.listen-address", "127.0.0.1:0"],
            log=directory / "central.log",
            environment={"OS_CLIENT_CONFIG_FILE": str(directory / "clouds.yaml")},
        )
        with central:
            address = central.wait_for(r"msg=listening\b.* address=(\S+)")[1]
            url = f"https://{address}"
            settings = [
                msgspec.convert({"inventory": inventory_of(directory, url, f"cn-{host}")}, Config)
                for host in range(AGENTS)
            ]
            wait_for_list(Centrals(settings[0]))
            with child(serve_agents, settings, WARM_UP_SECONDS + SECONDS) as agents:
                time.sleep(WARM_UP_SECONDS)
                cpu, began = cpu_seconds(central.pid), time.monotonic()
                cloud.send(-1)
                lists = cloud.recv()
                changed = {}
                for number in random.sample(range(CROWDED, INSTANCES), CHANGES):
                    time.sleep((SECONDS - INVENTORY_SECONDS - 20) / CHANGES)
                    cloud.send(number)
                    changed[f"server-{number:06}"] = cloud.recv()
                arrived, answered, failed = agents.recv()
                core = (cpu_seconds(central.pid) - cpu) / (time.monotonic() - began)
                cloud.send(-1)
                lists = (cloud.recv() - lists) / (INSTANCES / 1000 + 1)
            memory = resident(central.pid)
            agent_memory = measure_agent(directory, url)
    late = [arrived[id_] - at if id_ in arrived else 999.0 for id_, at in changed.items()]
    print(f"{AGENTS} agents, {INSTANCES} instances, {SECONDS} s: {answered} answers, {failed} failures")
    print(f"central: {100 * core:.1f} % of a core, {memory:.0f} MiB; {lists:.1f} lists of Nova's servers")
    print(f"agent with {CROWDED} instances: {agent_memory:.1f} MiB")
    print(
        f"a change reaches its agent after {statistics.median(late):.0f} s (median), "
        f"{max(late):.1f} s at most, of {CHANGES}"
    )
    return verdict(
        {
            f"<= {100 * MOST_CORE:.0f} % of a core": core <= MOST_CORE,
            "Nova is asked as for one exporter": lists <= SECONDS / INVENTORY_SECONDS + 1,
            f"<= {MOST_MIB:.0f} MiB at an agent": agent_memory <= MOST_MIB,
            f"a change within cache.inventory + {MOST_LATE_SECONDS:.0f} s": max(late)
            <= INVENTORY_SECONDS + MOST_LATE_SECONDS,
            "no failure": failed == 0,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
