"""Every wait for the cloud has an end, and every answer of it a bound."""

import gzip
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import requests
from openstack.config import OpenStackConfig

from fping_exporter.cloud import Cloud
from fping_exporter.cloud.pages import Page, read_list
from fping_exporter.cloud.time_limit import time_left, time_limit
from fping_exporter.cloud.transport import MAX_BODY_BYTES, BoundedAdapter
from fping_exporter.cloud.worker import GivenUpError, Worker
from fping_exporter.config import Cache, Config, Probe
from fping_exporter.config.duration import Duration
from fping_exporter.demo.http import Answer, Request
from fping_exporter.errors import CloudError, ListingError
from fping_exporter.model import Inventory
from tests.cloud.faulty import ADMIN, SERVERS, TOKENS, connect, make_servers
from tests.cloud.neutron import FLOATING, GROUPS, NETWORKS, PORTS, NeutronCloud, group, port

SOON = 10.0
ROOT = "/identity/v3"
SERVICES, HYPERVISORS = "/compute/v2.1/os-services", "/compute/v2.1/os-hypervisors/detail"
PROJECTS, USERS, ROLES = f"{ROOT}/projects", f"{ROOT}/users", f"{ROOT}/role_assignments"
REQUIRED = [ROOT, TOKENS, "/compute/v2.1", SERVERS]
OPTIONAL = [PROJECTS, USERS, ROLES, SERVICES, HYPERVISORS, PORTS, FLOATING, GROUPS, NETWORKS]


class Wedged(NeutronCloud):
    """A cloud that answers well, until one of its calls is wedged."""

    def __init__(self) -> None:
        super().__init__(*make_servers(2))
        self.network["ports"] = [port("1", "10.0.0.5", device="alpha-0000")]
        self.network["networks"] = [{"id": "net", "name": "net"}]
        self.network["security_groups"] = [group("default")]
        self.over = threading.Event()
        self.mend(USERS)
        self.mend(ROLES)

    def answer(self, request: Request) -> Answer:
        if request.path == "/v3/auth/tokens":  # Keystone at the root of a host of its own
            request = request._replace(path=TOKENS)
        return super().answer(request)

    def mend(self, path: str) -> None:
        """Let `path` be answered well again."""
        self.fail(path)
        if path in (USERS, ROLES):
            self.fail(path, *[Answer(200, {path.rpartition("/")[2]: []})] * 99)

    def hang(self, _request: Request) -> None:
        """Say nothing."""
        self.over.wait(SOON)

    def trickle(self, _request: Request) -> Answer:
        """Never come to an end, but always say something."""

        def pieces() -> Iterator[bytes]:
            while not self.over.wait(0.005):
                yield b" "

        return Answer(200, pieces(), {"Content-Length": "300000000", "X-Subject-Token": "t"})


@pytest.fixture
def standin() -> Iterator[Wedged]:
    with Wedged() as cloud:
        yield cloud
        cloud.over.set()


def within(seconds: float) -> Config:
    """A configuration under which a listing may take so long."""
    cache = Cache(inventory=Duration(0.001), sweep=Duration(0.001), max_stale=Duration(2 * seconds))
    probe = Probe(local_networks=("net",))
    return Config(cache=cache, probe=probe, contacts_from_keystone=True)


def eventually(cloud: Cloud) -> Inventory:
    """Return the next list: on a busy machine, the time for one may be over too soon."""
    deadline = time.monotonic() + SOON
    while True:
        try:
            inventory = cloud.inventory()
            assert all(inventory.parts.values())
        except (AssertionError, CloudError):
            if time.monotonic() > deadline:
                raise
        else:
            return inventory


@pytest.mark.parametrize("kind", [Wedged.hang, Wedged.trickle])
@pytest.mark.parametrize("path", REQUIRED)
def test_a_wedged_call_that_is_needed_ends_the_listing_and_the_next_one_is_whole(
    standin: Wedged, path: str, kind: Callable[[Wedged, Request], Answer | None]
) -> None:
    cloud = Cloud(within(0.5), region=standin.region(ADMIN))
    standin.fail(path, *[lambda request: kind(standin, request)] * 9)
    began = time.monotonic()
    with pytest.raises(CloudError, match=r"no complete response within|no connection: timed out|not asked"):
        cloud.inventory()
    assert time.monotonic() - began < 0.5 + SOON / 2

    standin.mend(path)
    assert len(eventually(cloud).instances) == 2


@pytest.mark.parametrize(
    ("path", "kind"), [(PORTS, Wedged.hang), *((path, Wedged.trickle) for path in OPTIONAL)]
)
def test_a_wedged_call_that_is_optional_costs_its_part_and_those_after_it(
    standin: Wedged, path: str, kind: Callable[[Wedged, Request], Answer | None]
) -> None:
    before = Cloud(within(SOON), region=standin.region(ADMIN))
    whole = before.inventory()
    assert all(whole.parts.values())
    cloud = Cloud(within(0.8), region=standin.region(ADMIN))
    cloud.take_over(before)
    standin.fail(path, *[lambda request: kind(standin, request)] * 9)
    for _ in range(5):
        began = time.monotonic()
        with suppress(CloudError):  # a busy machine may take all of the time for the other calls
            after = cloud.inventory(full=True)
            break
    assert time.monotonic() - began < 0.8 + SOON / 2
    assert after.instances == whole.instances
    assert not all(after.parts.values())
    assert after.topology == whole.topology, "what is known of Neutron stays in use"


SOME = 20


def test_a_hundred_wedged_listings_leave_no_thread_and_no_file_behind(standin: Wedged) -> None:
    cloud = Cloud(within(0.02), region=standin.region(ADMIN))
    with suppress(CloudError):
        cloud.inventory()

    def left() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208, names are enough

    before = left()
    wedges = [standin.hang, standin.trickle]
    for number in range(100):
        path = [*REQUIRED, *OPTIONAL][number % 13]
        standin.fail(path, *[wedges[number % 2]] * 9)
        with suppress(CloudError):
            cloud.inventory()
        standin.mend(path)
    standin.over.set()
    deadline = time.monotonic() + SOON
    # Servers of other tests come and go; a listing that left something would be there a hundred times.
    while max(now - then for now, then in zip(left(), before, strict=True)) > SOME:
        assert time.monotonic() < deadline, (before, left())
        time.sleep(0.01)


class Stuck:
    """An observer that does not return while it is told not to, and can be woken at the test's end only."""

    def __init__(self) -> None:
        self.armed = False
        self.over = threading.Event()

    def __call__(self, _service: str, _code: int) -> None:
        if self.armed:
            self.over.wait(SOON)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    observer = Stuck()
    yield observer
    observer.over.set()


def test_a_thread_that_cannot_be_woken_is_left_behind(standin: Wedged, stuck: Stuck) -> None:
    cloud = Cloud(within(0.5), region=standin.region(ADMIN), observe=stuck)
    eventually(cloud)
    tokens = len(standin.asked(TOKENS))
    stuck.armed = True
    with pytest.raises(
        GivenUpError, match="listing the cloud was given up after 0 s: a call does not return"
    ):
        cloud.inventory()
    stuck.armed = False
    assert len(eventually(cloud).instances) == 2
    assert len(standin.asked(TOKENS)) > tokens, "a new session has a token of its own"


def test_threads_that_are_left_behind_are_few() -> None:
    worker, over = Worker("the work", grace_seconds=0), threading.Event()

    def hanging() -> int:
        return sum(thread.name == "the work" for thread in threading.enumerate())

    for _ in range(8):
        with pytest.raises(GivenUpError, match="the work was given up after 0 s: a call does not return"):
            worker.run(lambda: over.wait(SOON), seconds=0.01)
    for _ in range(100):
        with pytest.raises(CloudError, match="the work: 8 earlier ones hang in calls that do not return"):
            worker.run(lambda: over.wait(SOON), seconds=0.01)
    assert hanging() == 8

    over.set()
    deadline = time.monotonic() + SOON
    while hanging():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert worker.run(lambda: "done", seconds=SOON) == "done"


def test_an_error_of_the_work_is_raised_as_it_is() -> None:
    def fail() -> None:
        raise TimeoutError("the work's own")

    with pytest.raises(TimeoutError, match="the work's own"):
        Worker("the work").run(fail, seconds=SOON)


@pytest.mark.parametrize("tries", [1, 9])
def test_a_version_document_of_keystones_that_wants_a_token_deadlocks_nothing(
    standin: Wedged, tries: int
) -> None:
    standin.fail(ROOT, *[Answer(401, b"")] * tries)
    cloud = Cloud(within(SOON), region=standin.region(ADMIN))
    with pytest.raises(CloudError, match="Keystone wants a token before it tells its versions"):
        cloud.inventory()
    standin.mend(ROOT)
    assert len(cloud.inventory().instances) == 2


def test_a_version_document_that_wants_a_token_is_done_without_where_the_address_has_the_version(
    standin: Wedged,
) -> None:
    entry = standin.cloud()
    entry["auth"]["auth_url"] = f"{standin.url}/v3"
    standin.fail("/v3", *[Answer(401, b"")] * 9)
    settings = OpenStackConfig(load_yaml_config=False, load_envvars=False)
    assert len(Cloud(within(SOON), region=settings.get_one(**entry)).inventory().instances) == 2


def test_a_malformed_token_is_not_kept(standin: Wedged) -> None:
    cloud = Cloud(within(5), region=standin.region(ADMIN))
    standin.fail(TOKENS, *[Answer(201, {"token": {}}, {"X-Subject-Token": "t"})] * 9)
    with pytest.raises(CloudError):
        cloud.inventory()
    standin.mend(TOKENS)
    assert len(cloud.inventory().instances) == 2


def test_a_body_that_is_too_large_is_not_read_to_its_end(standin: Wedged) -> None:
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for sent in range(300):  # noqa: B007
            yield b" " * (1 << 20)

    standin.fail(SERVERS, Answer(200, pieces(), {"Content-Length": str(300 << 20)}))
    with pytest.raises(CloudError) as caught:
        connect(standin).cloud.inventory()
    assert str(caught.value) == f"{standin.url}{SERVERS}: the body is larger than 64 MiB"
    assert sent < 100
    assert len(standin.asked(SERVERS)) == 1, "it is not asked for again"


def test_a_small_body_that_unpacks_to_a_large_one_is_too_large(standin: Wedged) -> None:
    body = gzip.compress(bytes(MAX_BODY_BYTES + 1), compresslevel=1)
    standin.fail(SERVERS, Answer(200, body, {"Content-Encoding": "gzip"}))
    with pytest.raises(CloudError, match="the body is larger than 64 MiB"):
        connect(standin).cloud.inventory()


def test_a_list_of_too_many_pages_is_an_error() -> None:
    numbers = iter(range(100_000))
    with pytest.raises(ListingError, match="more than 10000 pages"):
        read_list(lambda _params: b"", {}, lambda _body: Page([1], {"marker": str(next(numbers))}))


def test_a_caller_of_os_fping_does_not_wait_for_a_trickle_either(standin: Wedged) -> None:
    compute = Cloud(within(5), region=standin.region(ADMIN)).session.client("compute")
    standin.fail(SERVERS, *[standin.trickle] * 9)
    began = time.monotonic()
    with pytest.raises(CloudError, match="no complete response within"):
        compute.get_as({"X-Auth-Token": "t"}, "/servers/detail", params={}, timeout=0.2)
    assert time.monotonic() - began < SOON / 2


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-", b""])
def test_a_head_that_trickles_ends(head: bytes) -> None:
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, suppress(OSError):
            client.sendall(head)
            while not over.wait(0.01):
                client.sendall(b"H")

    with socket.create_server(("127.0.0.1", 0)) as listener, requests.Session() as session:
        session.mount("http://", BoundedAdapter())
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        began = time.monotonic()
        with time_limit(0.2), pytest.raises(CloudError, match="no complete response within 0 s"):
            session.get(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=5)
        assert time.monotonic() - began < SOON / 2
    over.set()


def test_limits_are_only_ever_tightened() -> None:
    with time_limit(100):
        with time_limit(5):
            assert time_left() <= 5
        with time_limit(1000):
            assert 90 < time_left() <= 100
    assert time_left() > 10**9
