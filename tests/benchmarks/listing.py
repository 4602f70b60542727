"""Listing beside openstacksdk's own: ``python -m tests.benchmarks.listing``.

10,000 servers of the demo's cloud, which runs in a process of its own, so that what it costs does not
count. The reference is the same pages read through the same session and decoded by ``json``.
"""

import json
import multiprocessing
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import openstack.connection
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion

from fping_exporter.cloud import Cloud
from fping_exporter.cloud.pages import PAGE_LIMIT, Page, read_list
from fping_exporter.cloud.session import connect
from fping_exporter.config import Config
from fping_exporter.demo import Demo

SERVERS = 10_000
ROUNDS = 7


class Cost(NamedTuple):
    """What a run took, in seconds."""

    wall: float
    cpu: float


def serve(told: Connection) -> None:
    """Be the cloud until the other side hangs up."""
    with Demo(instances=SERVERS) as demo:
        demo.neutron = None  # the reference reads nothing from it
        told.send(demo.cloud())
        told.recv()


def measure(run: Callable[[], int]) -> Cost:
    """Time a run, which must find every server."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = run()
    cost = Cost(time.perf_counter() - wall, time.process_time() - cpu)
    if found != SERVERS:
        sys.exit(f"{found} servers, {SERVERS} expected: no figure counts")
    return cost


def decoding(region: CloudRegion) -> Callable[[], int]:
    """Read the pages and decode them, no more."""
    compute = connect(Config(), region=region).client("compute")

    def get(params: Mapping[str, str]) -> bytes:
        return compute.get("/servers/detail", params=params, microversion="2.69")

    def read(body: bytes) -> Page[Any]:
        servers = json.loads(body)["servers"]
        return Page(servers, {"marker": servers[-1]["id"]} if servers else None)

    return lambda: len(read_list(get, {"all_tenants": "1", **PAGE_LIMIT}, read).entries)


def resources(region: CloudRegion) -> int:
    """List as openstacksdk does."""
    connection = openstack.connection.Connection(config=region)
    return sum(1 for _ in connection.compute.servers(all_projects=True, limit=1000))


def main() -> int:
    """Print the table; return 1 if a mark is missed."""
    warnings.simplefilter("ignore")
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True).start()
    settings = OpenStackConfig(load_yaml_config=False, load_envvars=False)
    region = settings.get_one(**ours.recv())

    cloud = Cloud(Config(), region=region)
    decode = decoding(region)
    decode()
    first = measure(lambda: len(cloud.inventory().instances))
    rounds = [(measure(decode), measure(lambda: len(cloud.inventory().instances))) for _ in range(ROUNDS)]
    reference, inventory = (
        Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))
        for costs in zip(*rounds, strict=True)
    )
    sdk = measure(lambda: resources(region))
    ours.send(None)

    rows = {
        "pages and json.loads": reference,
        "Cloud.inventory(), first": first,
        "Cloud.inventory()": inventory,
        "conn.compute.servers()": sdk,
    }
    print(f"{SERVERS} servers, median of {ROUNDS} (first and openstacksdk: 1)")
    print(f"{'':26}{'wall s':>9}{'CPU s':>9}{'CPU/json':>10}{'CPU/sdk':>10}")
    for name, cost in rows.items():
        ratios = f"{cost.cpu / reference.cpu:10.2f}{cost.cpu / sdk.cpu:10.4f}"
        print(f"{name:26}{cost.wall:9.3f}{cost.cpu:9.3f}{ratios}")
    marks = {
        "CPU <= 1/30 of conn.compute.servers()": inventory.cpu <= sdk.cpu / 30,
        "CPU <= 2 x pages and json.loads": inventory.cpu <= 2 * reference.cpu,
    }
    for mark, reached in marks.items():
        print(f"{'reached' if reached else 'MISSED ':8} {mark}")
    return 0 if all(marks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
