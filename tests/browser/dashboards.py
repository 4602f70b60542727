"""Screenshots of the dashboards: ``python -m tests.browser.dashboards UID=FILE.png``.

A real Prometheus scrapes an exporter of the demo's cloud for five minutes. All run in one network namespace,
whose nftables rules drop the pings of some guests for a while. Then grafana/picture draws the dashboards with
Grafana's published libraries, because Grafana itself is in no package registry. Needs root and a built
grafana/picture; ``make pictures`` does both.
"""

import contextlib
import functools
import http.server
import random
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import yaml
from selenium.webdriver.support.wait import WebDriverWait

from fping_exporter.demo import Demo
from fping_exporter.demo.standin import NovaServer
from tests.browser.chrome import Chrome, chrome
from tests.deploy.stack import prometheus
from tests.integration.process import Process, free_port
from tests.netns import Namespace

__all__ = ["main"]

_INSTANCES = 400
_SECONDS = 300
"""The time range of the graphs; the scene puts the events of some hours into it."""
_STEP = 2
"""Seconds between two points of a graph, and between two sweeps."""
_WIDTH = 1600
_GRAFANA = Path(__file__).parents[2] / "grafana"
_RULES = """
table ip demo {
    set silent { type ipv4_addr; flags timeout; }
    set lossy { type ipv4_addr; flags timeout; }
    chain input {
        type filter hook input priority 0;
        icmp type echo-request ip daddr @silent drop
        icmp type echo-request ip daddr @lossy numgen random mod 10 < 6 drop
    }
}
"""


def main(pictures: Mapping[str, Path]) -> None:
    """Save a screenshot of each dashboard, given by its uid, to a PNG file."""
    target = f"127.0.0.1:{free_port()}"
    with (
        tempfile.TemporaryDirectory() as scratch,
        Namespace("picture") as network,
        network.entered(),
        Demo(instances=_INSTANCES) as demo,
        _exporter(Path(scratch), demo=demo, target=target),
        prometheus(Path(scratch, "prometheus"), target=target, alertmanager="127.0.0.1:9") as address,
    ):
        _live(network, demo)
        now = time.time()
        *_, instance = _neighbours(demo)
        asked = {
            "prometheus": f"http://{address}",
            "from": int(1000 * (now - _SECONDS)),
            "to": int(1000 * now),
            "step": _STEP,
        }
        chosen = {
            "fping-project": {"var-project": instance.project_id},
            "fping-instance": {"var-project": instance.project_id, "var-id": instance.id},
        }
        with _pages() as pages, chrome() as browser:
            for uid, path in pictures.items():
                parameters = asked | {"dashboard": uid} | chosen.get(uid, {})
                _draw(browser, f"{pages}/picture/?{urllib.parse.urlencode(parameters)}", path)


@contextlib.contextmanager
def _exporter(directory: Path, *, demo: Demo, target: str) -> Iterator[None]:
    """Run the exporter for the demo's cloud, with a sweep for each point of the graphs."""
    config, clouds = directory / "fping-exporter.yml", directory / "clouds.yaml"
    settings = {
        "cloud": "demo",
        "probe": {"timeout": "200ms"},
        "cache": {"inventory": "5s", "sweep": f"{_STEP}s"},
    }
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    clouds.write_text(yaml.safe_dump({"clouds": {"demo": demo.cloud()}}), encoding="utf-8")
    command = [sys.executable, "-m", "fping_exporter", "--config.file", str(config)]
    with Process(
        [*command, "--web.listen-address", target],
        log=directory / "log",
        environment={"OS_CLIENT_CONFIG_FILE": str(clouds)},
    ) as exporter:
        exporter.wait_for("msg=listening")
        yield


def _live(network: Namespace, demo: Demo) -> None:
    """Silence guests for a while, and once a whole hypervisor; let guests lose packets; stop guests."""
    network.nft(_RULES)
    chance = random.Random(1)  # noqa: S311, no secret
    active = [server for server in demo.servers if server.status == "ACTIVE"]
    for second in range(_SECONDS):
        if second % 4 == 0:
            _drop(network, "silent", [chance.choice(active)], seconds=chance.randint(5, 60))
        if second % 10 == 0:
            _drop(network, "lossy", [chance.choice(active)], seconds=chance.randint(30, 90))
        if second == _SECONDS // 2:
            _drop(network, "silent", _neighbours(demo), seconds=_SECONDS // 6)
        if second % 60 == 0:
            stopped = chance.choice(active)
            stopped.status = "SHUTOFF"
            _drop(network, "silent", [stopped], seconds=_SECONDS)
        time.sleep(1)


def _neighbours(demo: Demo) -> list[NovaServer]:
    """Return all instances of one hypervisor, always the same."""
    hypervisor = demo.hypervisors[2].name
    return [server for server in demo.servers if server.hypervisor == hypervisor]


def _drop(network: Namespace, fate: str, servers: Iterable[NovaServer], *, seconds: int) -> None:
    addresses = {address.ip for server in servers for address in server.addresses}
    elements = ", ".join(f"{ip} timeout {seconds}s" for ip in addresses)
    network.nft(f"add element ip demo {fate} {{ {elements} }}")


@contextlib.contextmanager
def _pages() -> Iterator[str]:
    """Serve the folder grafana/ over HTTP and yield its base URL."""
    handler = functools.partial(_Quiet, directory=str(_GRAFANA))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _draw(browser: Chrome, url: str, path: Path) -> None:
    browser.be(_WIDTH, 900)
    browser.get(url)
    WebDriverWait(browser, 60).until(lambda browser: browser.title != "drawing")
    assert browser.title == "drawn", browser.title
    browser.be(_WIDTH, browser.evaluate("return document.body.firstElementChild.offsetHeight"))
    browser.picture(path)
    complaints = [each for each in browser.complaints() if "chrome://" not in each]  # of a new tab
    assert not complaints, complaints


if __name__ == "__main__":
    main({uid: Path(path) for uid, path in (each.split("=", 1) for each in sys.argv[1:])})
